import Testing

@testable import Rego
