import Testing

@testable import Enforcement
