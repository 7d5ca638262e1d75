import PacketHeaders

/// A TCP segment in an IP packet, written byte by byte for raw sockets.
struct Segment {
    var source: IPAddress
    var destination: IPAddress
    var sourcePort: UInt16 = 40000
    var destinationPort: UInt16
    var sequence: UInt32 = 1000
    var acknowledgement: UInt32 = 0
    /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
    var flags: UInt8
    /// A multiple of four bytes.
    var options: [UInt8] = []
    var payload: [UInt8] = []
    /// What is added to the right checksum.
    var checksumError: UInt16 = 0

    init(from source: IPAddress, to destination: IPAddress, port: UInt16, flags: UInt8) {
        self.source = source
        self.destination = destination
        destinationPort = port
        self.flags = flags
    }

    /// The packet from its IP header on.
    var bytes: [UInt8] {
        var segment = Self.big(sourcePort) + Self.big(destinationPort) + Self.big(sequence) + Self.big(acknowledgement)
        segment += [UInt8((20 + options.count) / 4) << 4, flags, 0x72, 0x10, 0, 0, 0, flags & 32 != 0 ? 1 : 0]
        segment += options + payload
        let pseudo = source.octets + destination.octets + Self.big(UInt32(segment.count)) + [0, 0, 0, 6]
        let checksum = Self.checksum(pseudo + segment) &+ checksumError
        segment[16] = UInt8(checksum >> 8)
        segment[17] = UInt8(checksum & 0xFF)
        if source.family == .v6 {
            return [0x60, 0, 0, 0] + Self.big(UInt16(segment.count)) + [6, 64] + source.octets + destination.octets
                + segment
        }
        var header =
            [0x45, 0] + Self.big(UInt16(20 + segment.count)) + [0, 7, 0x40, 0, 64, 6, 0, 0]
            + source.octets + destination.octets
        let sum = Self.checksum(header)
        header[10] = UInt8(sum >> 8)
        header[11] = UInt8(sum & 0xFF)
        return header + segment
    }

    /// The packet as hexadecimal digits.
    var hex: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func big(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }
    private static func big(_ value: UInt32) -> [UInt8] {
        big(UInt16(value >> 16)) + big(UInt16(value & 0xFFFF))
    }

    private static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            sum += UInt32(bytes[index]) << 8 | (index + 1 < bytes.count ? UInt32(bytes[index + 1]) : 0)
        }
        while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
        return ~UInt16(sum)
    }
}
