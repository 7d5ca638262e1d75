import Octets
import Testing

@testable import WireProtocols

@Suite struct ClientHelloScannerTests {
    static let usual = HelloBuilder.usual("api.example.com")

    @Test("finds the name in records of any size", arguments: [1, 2, 3, 5, 6, 7, 50, 100, 16384])
    func records(size: Int) throws {
        let summary = try #require(try firstHello(in: Self.usual.records(of: size)))
        #expect(summary.host?.description == "api.example.com")
        #expect(summary.applicationProtocols == ["h2", "http/1.1"])
        #expect(summary.version == .tls13)
        #expect(!summary.hasEncryptedClientHello)
    }
}
