import Testing

@testable import WireProtocols

@Suite struct ProtocolDetectorTests {
    static func detect(_ bytes: [UInt8]) -> DetectedProtocol { ProtocolDetector.detect(bytes.span.bytes) }

    static func detect(_ text: String) -> DetectedProtocol { detect(Array(text.utf8)) }

    @Test(
        "recognises a protocol by its bytes",
        arguments: [
            ("GET / HTTP/1.1\r\n", DetectedProtocol.http1), ("X-CUSTOM /", .http1), ("OPTIONS *", .http1),
            ("GET http://a", .http1), ("GET HTTPS://a", .http1), ("CONNECT a:443", .http1), ("\r\n\r\nGET /", .http1),
            ("GET  /", .http1), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .http2), ("PRI * HTTP/1.1\r\n", .http1),
            ("SSH-2.0-OpenSSH_9.2 Debian", .unknown), ("EHLO host.example\r\n", .unknown),
            ("INVITE sip:a@b SIP/2.0\r\n", .unknown), ("a001 LOGIN x y\r\n", .unknown),
            ("\r\n\r\n\r\n\r\n\r\nGET /", .unknown),
            ("\nGET /", .unknown), (" GET /", .unknown), (String(repeating: "A", count: 33), .unknown),
            ("\u{16}\u{3}\u{1}", .tls), ("\u{14}\u{3}\u{3}", .tls), ("\u{16}\u{3}\u{9}", .unknown),
            ("\u{16}\u{2}", .unknown),
        ])
    func detects(text: String, expected: DetectedProtocol) {
        #expect(Self.detect(text) == expected)
        // Every beginning of it says the same, or that it is too short.
        for count in 0..<text.utf8.count {
            let early = Self.detect(Array(text.utf8.prefix(count)))
            #expect(early == .needMore || early == expected, "\(count) bytes: \(early)")
        }
    }

    @Test("an SSLv2 hello goes to the TLS parser, which names and refuses it")
    func ssl2() {
        #expect(Self.detect([0x80, 0x2E, 1, 0, 2]) == .tls)
        #expect(Self.detect([0x80, 0x2E, 1, 3, 1]) == .tls)
        #expect(Self.detect([0x80, 0x2E, 1, 9]) == .unknown)
        #expect(Self.detect([0x80, 0x2E, 4]) == .unknown)
        #expect(Self.detect([0, 0, 0, 8, 4, 0xD2, 0x16, 0x2F]) == .unknown)
        #expect(Self.detect([]) == .needMore)
    }
}
