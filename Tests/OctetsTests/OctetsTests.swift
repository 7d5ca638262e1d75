import Testing

@testable import Octets
