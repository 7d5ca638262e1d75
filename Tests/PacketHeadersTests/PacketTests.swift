import Octets
import Testing

@testable import PacketHeaders

@Suite struct PacketTests {
    /// 198.18.0.2:40000 > 198.18.0.1:443, PSH and ACK, a timestamp option, "hello".
    static let tcp4 = bytes(
        """
        45000039 12344000 40060000 c6120002 c6120001
        9c4001bb 01020304 0a0b0c0d 80180200 00000000 0101080a 0000000100000002
        68656c6c6f
        """)
    /// fd00::2 > fd00::1, hop-by-hop options, destination options, TCP SYN without options.
    static let tcp6 = bytes(
        """
        60000000 0024 00 40 fd000000000000000000000000000002 fd000000000000000000000000000001
        3c00010400000000 0600010400000000
        9c4001bb 01020304 00000000 50020200 00000000
        """)
    static let udp4 = bytes("45000021 00000000 40110000 c6120002 c6120001 9c400035 000d0000 68656c6c6f")
    static let icmp6 = bytes(
        "60000000 000a 3a 40 fd000000000000000000000000000002 fd000000000000000000000000000001 8000000000010001 6869")

    static func bytes(_ hex: String) -> [UInt8] { Hex.decode(hex) ?? [] }

    static func parse(_ bytes: [UInt8]) throws(WireError) -> Packet { try Packet(parsing: bytes.span.bytes) }

    @Test("finds the five-tuple, the TCP fields, the options and the payload")
    func readsTCP4() throws {
        let packet = try Self.parse(Self.tcp4)
        #expect(packet.flow.description == "tcp 198.18.0.2:40000 > 198.18.0.1:443")
        #expect(packet.hopLimit == 64)
        #expect(packet.byteCount == 57)
        #expect(packet.transportOffset == 20)
        #expect(packet.payload.range == 52..<57)
        let tcp = try #require(packet.tcp)
        #expect(tcp.sequence.rawValue == 0x0102_0304)
        #expect(tcp.acknowledgment.rawValue == 0x0A0B_0C0D)
        #expect(tcp.flags == [.psh, .ack])
        #expect(tcp.window == 512)
        #expect(tcp.options.range == 40..<52)
        let options = try TCPOptions(parsing: Self.tcp4.span.bytes.extracting(tcp.options))
        #expect(options.timestamp == 1)
        #expect(tcp.nextSequence(payloadByteCount: packet.payload.byteCount).rawValue == 0x0102_0309)
    }

    @Test("walks IPv6 extension headers")
    func readsTCP6() throws {
        let packet = try Self.parse(Self.tcp6)
        #expect(packet.flow.description == "tcp [fd00::2]:40000 > [fd00::1]:443")
        #expect(packet.transportOffset == 56)
        #expect(packet.hasNetworkOptions)
        #expect(packet.tcp?.flags == .syn)
        #expect(packet.payload.isEmpty)
    }

    @Test("reads UDP and ICMP")
    func readsOthers() throws {
        let udp = try Self.parse(Self.udp4)
        #expect(udp.flow.description == "udp 198.18.0.2:40000 > 198.18.0.1:53")
        #expect(udp.payload.range == 28..<33)
        let icmp = try Self.parse(Self.icmp6)
        #expect(icmp.transport == .icmp(type: 128, code: 0))
        #expect(icmp.payload.range == 48..<50)
    }

    @Test("flags fragments and reads no port from them")
    func fragments() throws {
        var first = Self.tcp4
        first[6] = 0x20
        #expect(try Self.parse(first).transport == .fragment(offset: 0, more: true))
        #expect(try Self.parse(first).flow.sourcePort == 0)
        var later = Self.tcp4
        later[6...7] = [0, 2]
        #expect(try Self.parse(later).transport == .fragment(offset: 16, more: false))
        let six = Self.bytes(
            """
            60000000 0010 2c 40 fd000000000000000000000000000002 fd000000000000000000000000000001
            06000009 00000001 9c4001bb 01020304
            """)
        #expect(try Self.parse(six).transport == .fragment(offset: 8, more: true))
    }

    @Test("an atomic IPv6 fragment is whole")
    func atomicFragment() throws {
        let packet = try Self.parse(
            Self.bytes(
                """
                60000000 0012 2c 40 fd000000000000000000000000000002 fd000000000000000000000000000001
                11000000 00000001 9c400035 000a0000 6869
                """))
        #expect(packet.transport == .udp)
        #expect(packet.payload.range == 56..<58)
    }

    @Test("bytes behind the declared length do not belong to the packet")
    func padding() throws {
        #expect(try Self.parse(Self.udp4 + [0, 0, 0]) == Self.parse(Self.udp4))
    }

    @Test(
        "refuses headers that contradict each other or hide where the packet goes",
        arguments: [
            ("00", "IP version", 0),
            ("44000014", "IPv4 header length below 5", 1),
            ("45000010 00000000 4006", "IPv4 total length below its header", 4),
            ("46000018 00000000 40060000 c6120002 c6120001 83000000", "IPv4 source route", 20),
            ("46000018 00000000 40060000 c6120002 c6120001 07050000", "IPv4 option length", 20),
            ("4500001c 00000000 40110000 c6120002 c6120001 9c400035 00070000", "UDP length", 26),
            ("4500001c 00000000 40110000 c6120002 c6120001 9c400035 00090000", "UDP length", 26),
            (
                "4500001c 00000000 40060000 c6120002 c6120001 9c400035 00090000",
                "transport header longer than its packet", 28
            ),
            (
                "45000028 00000000 40060000 c6120002 c6120001 9c4001bb 00000000 00000000 40020000 00000000",
                "TCP data offset below 5", 33
            ),
            (
                "60000000 0010 2b 40 fd000000000000000000000000000002 fd000000000000000000000000000001 0600000100000000",
                "", -8
            ),
            (
                "60000000 0008 2b 40 fd000000000000000000000000000002 fd000000000000000000000000000001 0600000100000000",
                "IPv6 source route", 42
            ),
            (
                "60000000 0010 3c 40 fd000000000000000000000000000002 fd000000000000000000000000000001"
                    + "0000010400000000 0600010400000000", "hop-by-hop options not first", 48
            ),
            (
                "60000000 0008 3c 40 fd000000000000000000000000000002 fd000000000000000000000000000001 0601000000000000",
                "IPv6 extension header longer than its packet", 42
            ),
        ])
    func refuses(hex: String, reason: StaticString, offset: Int) {
        let expected: WireError =
            offset < 0 ? .truncated(needed: -offset) : .malformed(StaticReason(reason), offset: offset)
        #expect(throws: expected) { try Self.parse(Self.bytes(hex)) }
    }

    @Test("bounds the chain of extension headers")
    func chain() {
        let count = 9
        let header = Self.bytes("60000000 00480000 fd000000000000000000000000000002 fd000000000000000000000000000001")
        var packet = header
        packet[6] = 60
        packet[7] = 64
        for _ in 0..<count { packet += Self.bytes("3c00010400000000") }
        #expect(throws: WireError.malformed("IPv6 extension header chain", offset: 104)) { try Self.parse(packet) }
    }

    @Test("every truncation asks for more", arguments: [tcp4, tcp6, udp4, icmp6])
    func truncations(packet: [UInt8]) {
        for count in 0..<packet.count {
            do {
                _ = try Self.parse(Array(packet[..<count]))
                Issue.record("\(count) bytes were enough")
            } catch {
                guard case .truncated(let needed) = error else {
                    Issue.record("\(count): \(error)")
                    continue
                }
                #expect(needed > 0 && count + needed <= packet.count)
            }
        }
    }

    @Test("every flipped byte returns or throws", arguments: [tcp4, tcp6, udp4, icmp6])
    func flips(packet: [UInt8]) {
        for index in packet.indices {
            for value in UInt8.min...UInt8.max {
                var changed = packet
                changed[index] = value
                if let parsed = try? Self.parse(changed) {
                    #expect(parsed.byteCount <= changed.count && parsed.payload.upperBound <= parsed.byteCount)
                    _ = ChecksumTests.isValid(parsed, in: changed)
                }
            }
        }
    }
}
