import Octets
import PacketHeaders
import Testing

@testable import WireProtocols

@Suite struct AuthorityTests {
    static func parse(_ text: String) throws(WireError) -> Authority {
        let bytes = Array(text.utf8)
        return try Authority(parsing: bytes.span.bytes)
    }

    @Test(
        "reads names and addresses with and without port",
        arguments: [
            ("A.Example", "a.example", nil), ("a.example.:8080", "a.example", 8080), ("1.2.3.4:80", "1.2.3.4", 80),
            ("[2001:DB8:0::1]:443", "2001:db8::1", 443), ("[::ffff:1.2.3.4]", "::ffff:1.2.3.4", nil),
        ] as [(String, String, UInt16?)])
    func reads(text: String, host: String, port: UInt16?) throws {
        let authority = try Self.parse(text)
        #expect(authority.host.description == host)
        #expect(authority.port == port)
    }

    @Test("an address is an address, not a name")
    func kinds() throws {
        #expect(try Self.parse("1.2.3.4").host == .address(IPAddress(v4: 0x0102_0304)))
        #expect(try Self.parse("1.2.3.4.example").host == .name(try HostName(validating: "1.2.3.4.example")))
        #expect(throws: WireError.malformed("number that may be read as an address", offset: 0)) {
            try Self.parse("01.2.3.4")
        }
    }

    @Test(
        "a host name has one form",
        arguments: [
            ("", HostNameError.empty), (".", .emptyLabel), ("a..b", .emptyLabel), ("a..", .emptyLabel),
            ("a b", .forbiddenByte(0x20)), ("a\u{7F}", .forbiddenByte(0x7F)), ("é", .forbiddenByte(0xC3)),
            ("a:b", .addressLiteral), ("1.2.3.4", .addressLiteral), ("0x7F", .addressLiteral),
            ("a.0x", .addressLiteral),
            (String(repeating: "a", count: 64), .labelTooLong), (String(repeating: "a.", count: 127) + "b", .tooLong),
        ])
    func refuses(text: String, error: HostNameError) {
        #expect(throws: error) { try HostName(validating: text) }
    }

    @Test("the longest names pass")
    func longest() throws {
        let name = String(repeating: "a.", count: 126) + "b"
        #expect(name.utf8.count == 253)
        #expect(try HostName(validating: name + ".").description == name)
        #expect(try HostName(validating: "-A_.3com.EXAMPLE").description == "-a_.3com.example")
    }
}
