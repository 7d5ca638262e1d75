import Testing

@testable import WireProtocols
