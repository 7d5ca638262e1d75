import Octets
import PacketHeaders
import Testing

@testable import WireProtocols

@Suite struct ClientHelloTests {
    static func parse(message: [UInt8]) throws(WireError) -> ClientHelloSummary {
        try ClientHelloSummary(parsing: message.span.bytes)
    }

    static func parse(_ extensions: [(type: UInt16, content: [UInt8])]) throws(WireError) -> ClientHelloSummary {
        try parse(message: HelloBuilder(extensions: extensions).message)
    }

    /// The reason for which a ClientHello with these extensions is refused.
    static func reason(_ extensions: [(type: UInt16, content: [UInt8])]) -> String? {
        do throws(WireError) {
            _ = try parse(extensions)
            return nil
        } catch .malformed(let reason, _) {
            return reason.description
        } catch { return "truncated" }
    }

    @Test("reads what is there and leaves absent what is not")
    func plain() throws {
        let empty = try Self.parse([])
        #expect(empty.host == nil && empty.applicationProtocols == nil && empty.version == .tls12)
        var old = HelloBuilder()
        old.version = 0x0301
        var message = old.message
        message.removeLast(2)
        message[3] -= 2
        #expect(try Self.parse(message: message).version == .tls10)
        #expect(try Self.parse([(0xFE0D, [0])]).hasEncryptedClientHello)
        #expect(try Self.parse([(0xFFCE, [0])]).hasEncryptedClientHello)
        #expect(try Self.parse([(42, [])]).offersEarlyData)
        #expect(try Self.parse([(43, [2, 0x1A, 0x1A])]).version == .tls12)
    }

    @Test(
        "normalises the name",
        arguments: [
            ("API.Example.COM.", "api.example.com"), ("a_b.xn--bcher-kva.example", "a_b.xn--bcher-kva.example"),
            ("localhost", "localhost"), ("10.42.0.243", "10.42.0.243"), ("fd00::1", "fd00::1"),
        ])
    func names(name: String, normal: String) throws {
        #expect(try Self.parse([HelloBuilder.serverName(name)]).host?.description == normal)
    }

    @Test(
        "refuses a name that is none",
        arguments: [
            ("a..b", "host name with an empty label"), (".", "host name with an empty label"),
            (".a", "host name with an empty label"), ("a\0b", "host name with a forbidden byte"),
            ("a\nb", "host name with a forbidden byte"), ("a/b", "host name with a forbidden byte"),
            ("a b", "host name with a forbidden byte"), ("bücher.example", "host name with a forbidden byte"),
            ("a:443", "number that may be read as an address"), ("127.1", "number that may be read as an address"),
            ("0x7f.0.0.1", "number that may be read as an address"),
            ("2130706433", "number that may be read as an address"),
            ("[::1]", "number that may be read as an address"),
            (String(repeating: "a", count: 64) + ".b", "host name with a label longer than 63 bytes"),
            (String(repeating: "a.", count: 127) + "b", "host name longer than 253 bytes"),
            (String(repeating: "a", count: 300), "host name with a label longer than 63 bytes"),
        ])
    func badNames(name: String, reason: String) {
        #expect(Self.reason([HelloBuilder.serverName(name)]) == reason)
    }

    @Test("refuses ambiguous and broken extensions")
    func extensions() {
        let name = HelloBuilder.serverName("a.example")
        #expect(Self.reason([name, (10, []), name]) == "extension occurs twice")
        #expect(Self.reason([(0x4469, []), name, (0x4469, [])]) == "extension occurs twice")
        #expect(Self.reason([(0, [0, 10, 0, 0, 2, 97, 98, 0, 0, 2, 99, 100])]) == "more than one server name")
        #expect(Self.reason([(0, [])]) == "field longer than its extension")
        #expect(Self.reason([(0, [0, 0])]) == "server name longer than its list")
        #expect(Self.reason([(0, [0, 3, 0, 0, 0])]) == "vector shorter than allowed")
        #expect(Self.reason([(0, [0, 4, 1, 0, 1, 97])]) == "server name of an unknown type")
        #expect(Self.reason([(0, [0, 4, 0, 0, 1, 97, 0])]) == "bytes behind the server name list")
        #expect(Self.reason([(0, [0, 4, 0, 0, 9, 97])]) == "server name longer than its list")
        #expect(Self.reason([(16, [0, 3, 2, 104, 50, 0])]) == "bytes behind the ALPN list")
        #expect(Self.reason([(16, [0, 3, 9, 104, 50])]) == "ALPN name longer than its list")
        #expect(Self.reason([(16, [0, 4, 2, 104, 50, 0])]) == "vector shorter than allowed")
        #expect(Self.reason([(16, [0, 0])]) == "vector shorter than allowed")
        #expect(Self.reason([(43, [3, 3, 4, 3])]) == "odd length of supported versions")
        #expect(Self.reason([(43, [2, 3, 4, 3])]) == "bytes behind the supported versions")
        #expect(Self.reason([(13, [0, 3, 4, 3, 8])]) == "odd length of signature algorithms")
        #expect(Self.reason((0..<128).map { (UInt16(100 + $0), []) }) == nil)
        #expect(Self.reason((0..<129).map { (UInt16(100 + $0), []) }) == "more than 128 extensions")
    }

    @Test("refuses lengths that contradict each other")
    func lengths() {
        let message = HelloBuilder.usual("a.example").message
        func reason(_ change: (inout [UInt8]) -> Void) -> WireError? {
            var changed = message
            change(&changed)
            do throws(WireError) { _ = try Self.parse(message: changed) } catch { return error }
            return nil
        }
        #expect(reason { $0.append(0) } == .malformed("handshake bytes behind the ClientHello", offset: message.count))
        #expect(reason { $0.removeLast() } == .truncated(needed: 1))
        #expect(reason { $0[4] = 2 } == .malformed("ClientHello version", offset: 4))
        #expect(reason { $0[38] = 33 } == .malformed("session id longer than 32 bytes", offset: 39))
        #expect(reason { $0[72] = 9 } != nil)
        #expect(
            reason {
                $0.append(0)
                $0[3] += 1
            } == .malformed("bytes behind the extensions", offset: message.count))
    }

    @Test("every truncation throws .truncated, every flipped byte returns or throws")
    func robustness() {
        let message = HelloBuilder.usual("a.example").message
        for count in 0..<message.count {
            do throws(WireError) {
                _ = try Self.parse(message: Array(message[..<count]))
                Issue.record("\(count) bytes were enough")
            } catch .truncated(let needed) {
                #expect(needed > 0)
            } catch { Issue.record("\(count): \(error)") }
        }
        for index in message.indices {
            for value in UInt8.min...UInt8.max {
                var changed = message
                changed[index] = value
                _ = try? Self.parse(message: changed)
            }
        }
    }

    @Test("the JA4 of the specification's example")
    func ja4() throws {
        // github.com/FoxIO-LLC/ja4, technical_details/JA4.md
        let hello = HelloBuilder(
            suites: [
                0x2A2A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C,
                0x009D, 0x002F, 0x0035,
            ],
            extensions: [
                (0x9A9A, []), (0x001B, []), HelloBuilder.serverName("a.example"), (0x0033, []),
                HelloBuilder.alpn(["h2", "http/1.1"]), (0x4469, []), (0x0017, []), (0x002D, []),
                (0x000D, [0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1]), (0x0005, []), (0x0023, []),
                (0x0012, []),
                (0x002B, [6, 0x3A, 0x3A, 3, 4, 3, 3]), (0xFF01, []), (0x000B, []), (0x000A, []), (0x0015, []),
            ])
        #expect(try Self.parse(message: hello.message).ja4 == "t13d1516h2_8daaf6152771_e5627efa2ab1")
        let bare = try Self.parse([]).ja4
        #expect(bare.hasPrefix("t12i030000_") && bare.hasSuffix("_000000000000") && bare.utf8.count == 36)
        #expect(try Self.parse([HelloBuilder.alpn(["\u{1}a"])]).ja4.hasPrefix("t12i030101_"))
    }
}
