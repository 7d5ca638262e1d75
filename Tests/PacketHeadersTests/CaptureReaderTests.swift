import Octets
import Testing

@testable import PacketHeaders

@Suite struct CaptureReaderTests {
    /// Every packet as `time link bytes original`, and the error at the end.
    static func read(_ file: [UInt8]) -> ([String], WireError?) {
        var packets: [String] = []
        do throws(WireError) {
            var reader = try CaptureReader(file.span.bytes)
            while let packet = try reader.next() {
                let bytes = Hex.encode(file[packet.bytes])
                packets.append("\(packet.time) \(packet.link.rawValue) \(bytes) \(packet.originalByteCount)")
            }
            return (packets, nil)
        } catch {
            return (packets, error)
        }
    }

    static func bytes(_ hex: String) -> [UInt8] { PacketTests.bytes(hex) }

    static let pcap = bytes(
        """
        d4c3b2a1 0200 0400 00000000 00000000 00000400 65000000
        02000000 03000000 02000000 09000000 4500
        03000000 00000000 01000000 01000000 60
        """)
    static let bigEndian = bytes(
        """
        a1b23c4d 0002 0004 00000000 00000000 00040000 00000001
        00000002 00000003 00000002 00000009 4500
        """)
    /// A section, an interface in nanoseconds with an offset of one second, an enhanced and a simple packet block, an unknown
    /// block; then a big-endian section.
    static let pcapng = bytes(
        """
        0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000
        01000000 2c000000 6500 0000 03000000 0900 0100 09000000 0e00 0800 0100000000000000 0000 0000 2c000000
        06000000 24000000 00000000 01000000 05000000 02000000 09000000 4500 0000 24000000
        77000000 10000000 01020304 10000000
        03000000 14000000 09000000 45000000 14000000
        0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c
        00000001 00000014 0001 0000 00000000 00000014
        00000006 00000024 00000000 00000000 00000007 00000001 00000001 60000000 00000024
        """)

    @Test("reads pcap in both byte orders and resolutions")
    func readsPcap() {
        #expect(Self.read(Self.pcap) == (["2000003000 101 4500 9", "3000000000 101 60 1"], nil))
        #expect(Self.read(Self.bigEndian) == (["2000000003 1 4500 9"], nil))
    }

    @Test("reads pcapng with several sections, interfaces and block types")
    func readsPcapng() {
        let (packets, error) = Self.read(Self.pcapng)
        #expect(error == nil)
        #expect(packets == ["5294967301 101 4500 9", "0 101 450000 9", "7000 1 60 1"])
    }

    @Test("a file that is cut gives what is whole and says so", arguments: [pcap, bigEndian, pcapng])
    func truncations(file: [UInt8]) {
        let (all, _) = Self.read(file)
        for count in 0..<file.count {
            let (packets, error) = Self.read(Array(file[..<count]))
            #expect(packets == Array(all[..<packets.count]))
            guard let error else { continue }
            guard case .truncated = error else {
                Issue.record("\(count): \(error)")
                continue
            }
        }
    }

    @Test("every flipped byte returns or throws", arguments: [pcap, bigEndian, pcapng])
    func flips(file: [UInt8]) {
        for index in file.indices {
            for value in UInt8.min...UInt8.max {
                var changed = file
                changed[index] = value
                _ = Self.read(changed)
            }
        }
    }

    @Test("other files are no captures")
    func others() {
        #expect(Self.read(Array("hello".utf8)).1 == .malformed("neither pcap nor pcapng", offset: 0))
    }
}

@Suite struct LinkTypeTests {
    @Test(
        "finds the IP header behind each kind of frame",
        arguments: [
            (LinkType.ethernet, "000000000000 000000000000 0800 45", 14),
            (.ethernet, "000000000000 000000000000 86dd 60", 14),
            (.ethernet, "000000000000 000000000000 8100 0001 88a8 0002 0800 45", 22),
            (.ethernet, "000000000000 000000000000 8864 1100 0001 0003 0021 45", 22),
            (.ethernet, "000000000000 000000000000 8864 1100 0001 0002 21 45", 21),
            (.ethernet, "000000000000 000000000000 8847 00001140 45", 18),
            (.ethernet, "000000000000 000000000000 8847 00001040 00002140 60", 22),
            (.ethernet, "000000000000 000000000000 8847 00001040 00002140 00", nil),
            (.ethernet, "000000000000 000000000000 8847 00001040 00002040", nil),
            (.ethernet, "000000000000 000000000000 0806 0001", nil), (.ethernet, "00", nil),
            (.linuxCooked, "0000 0001 0006 000000000000 0000 0800 45", 16),
            (.linuxCooked2, "86dd 0000 00000001 0001 00 06 0000000000000000 60", 20),
            (.null, "02000000 45", 4), (.loop, "00000002 45", 4), (.null, "02000000 00", nil), (.raw, "45", 0),
            (.ipv4, "45", 0), (.ipv6, "60", 0), (.raw, "00", nil), (.raw, "", nil), (.ppp, "ff03 0021 45", 4),
            (.ppp, "0057 60", 2), (.ppp, "c021 01", nil), (.ciscoHDLC, "0f00 0800 45", 4),
            (.netfilterLog, "02 00 0000 0800 0a00 00000001 0500 0900 45", 16), (LinkType(rawValue: 105), "45", nil),
        ] as [(LinkType, String, Int?)])
    func offsets(link: LinkType, hex: String, offset: Int?) {
        let frame = PacketTests.bytes(hex)
        let found = link.networkOffset(in: frame.span.bytes)
        #expect(found == offset)
    }
}
