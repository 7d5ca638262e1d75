import Octets
import Testing

@testable import PacketHeaders

@Suite struct ChecksumTests {
    /// RFC 1071 §2 read word by word.
    static func naive(_ bytes: [UInt8]) -> UInt16 {
        var sum = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            sum += Int(bytes[index]) << 8 | (index + 1 < bytes.count ? Int(bytes[index + 1]) : 0)
            if sum > 0xFFFF { sum -= 0xFFFF }
        }
        return ~UInt16(sum)
    }

    static func isValid(_ packet: Packet, in bytes: [UInt8]) -> Bool {
        Checksum.isValid(packet, in: bytes.span.bytes)
    }

    static func internet(_ bytes: [UInt8]) -> UInt16 {
        Checksum.internet(bytes.span.bytes)
    }

    @Test("sums as the RFC says, at every length")
    func naiveTwin() {
        var generator = SystemRandomNumberGenerator()
        for count in 0..<70 {
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
            #expect(ChecksumTests.internet(bytes) == Self.naive(bytes))
        }
    }

    @Test("knows a captured packet's checksums as right and any flipped bit as wrong")
    func captured() throws {
        // A TCP SYN of a real Linux kernel, both checksums as sent.
        let hex = """
            4500003c 1c464000 40060000 ac100a63 ac100a0c
            """
        var header = try #require(Hex.decode(hex))
        let value = ChecksumTests.internet(header)
        #expect(value == 0xB1E6)
        header[10] = UInt8(value >> 8)
        header[11] = UInt8(value & 255)
        #expect(ChecksumTests.internet(header) == 0)
    }

    @Test(
        "what is written is valid, and no single flipped bit is",
        arguments: [PacketTests.tcp4, PacketTests.tcp6, PacketTests.udp4, PacketTests.icmp6])
    func writes(packet: [UInt8]) throws {
        var bytes = packet
        let parsed = try PacketTests.parse(bytes)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        Checksum.write(parsed, into: &raw)
        #expect(ChecksumTests.isValid(parsed, in: bytes))
        for bit in parsed.transportOffset * 8..<bytes.count * 8 {
            var changed = bytes
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            guard let other = try? PacketTests.parse(changed), other.payload == parsed.payload else { continue }
            if other.transport == .udp, changed[26] == 0, changed[27] == 0 { continue }
            #expect(!ChecksumTests.isValid(other, in: changed), "bit \(bit)")
        }
    }

    @Test("a UDP sum of zero is sent as all ones")
    func udpZero() throws {
        var bytes = PacketTests.bytes("4500001e 00000000 40110000 00000000 00000000 00000000 000a0000 0000")
        let parsed = try PacketTests.parse(bytes)
        // Protocol 17 and twice length 10 are all that is summed: make the payload its complement.
        let rest = ~UInt16(17 + 10 + 10)
        bytes[28] = UInt8(rest >> 8)
        bytes[29] = UInt8(rest & 255)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        Checksum.write(parsed, into: &raw)
        #expect(bytes[26...27] == [0xFF, 0xFF])
        #expect(ChecksumTests.isValid(parsed, in: bytes))
    }
}
