public import Octets

/// The flag bits of a TCP header (RFC 9293 §3.1, RFC 3168 §6.1), byte 13.
public struct TCPFlags: OptionSet, Hashable, Sendable, BitwiseCopyable {
    /// The eight bits.
    public let rawValue: UInt8

    /// Wraps the bits.
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// No more data from the sender.
    public static let fin = TCPFlags(rawValue: 1)
    /// Synchronise sequence numbers.
    public static let syn = TCPFlags(rawValue: 2)
    /// Reset the connection.
    public static let rst = TCPFlags(rawValue: 4)
    /// Push.
    public static let psh = TCPFlags(rawValue: 8)
    /// The acknowledgment field counts.
    public static let ack = TCPFlags(rawValue: 16)
    /// The urgent pointer counts.
    public static let urg = TCPFlags(rawValue: 32)
    /// Congestion echo.
    public static let ece = TCPFlags(rawValue: 64)
    /// Congestion window reduced.
    public static let cwr = TCPFlags(rawValue: 128)
}

/// The fixed part of a TCP header (RFC 9293 §3.1) and where its options are.
///
///      0                   1                   2                   3
///     |          source port          |       destination port        |
///     |                        sequence number                        |
///     |                     acknowledgment number                     |
///     | offset|  rsvd |     flags     |            window             |
///     |           checksum            |         urgent pointer        |
///     |                           [options]                           |
public struct TCPHeader: Hashable, Sendable, BitwiseCopyable {
    /// The sequence number of the first payload byte, or of the SYN.
    public let sequence: SequenceNumber
    /// The next byte that the sender expects; counts only with `.ack`.
    public let acknowledgment: SequenceNumber
    /// The flags.
    public let flags: TCPFlags
    /// The window as it is on the wire, unscaled.
    public let window: UInt16
    /// The urgent pointer; counts only with `.urg`.
    public let urgentPointer: UInt16
    /// Where the options are, from the start of the IP header; empty where there are none.
    public let options: ByteRange

    /// Reads the header behind the ports and leaves the reader at the payload.
    @_lifetime(reader: copy reader)
    init(parsing reader: inout ByteReader, startingAt start: Int) throws(WireError) {
        sequence = SequenceNumber(rawValue: try reader.readUInt32())
        acknowledgment = SequenceNumber(rawValue: try reader.readUInt32())
        let headerByteCount = Int(try reader.readUInt8() >> 4) * 4
        guard headerByteCount >= Self.minimumByteCount else { throw reader.malformed("TCP data offset below 5") }
        flags = TCPFlags(rawValue: try reader.readUInt8())
        window = try reader.readUInt16()
        try reader.skip(2)
        urgentPointer = try reader.readUInt16()
        try reader.skip(headerByteCount - Self.minimumByteCount)
        options = ByteRange(start + Self.minimumByteCount..<start + headerByteCount)
    }

    /// The number that follows this segment's last byte, SYN and FIN counted, given its payload's length.
    public func nextSequence(payloadByteCount: Int) -> SequenceNumber {
        sequence.advanced(by: payloadByteCount + (flags.contains(.syn) ? 1 : 0) + (flags.contains(.fin) ? 1 : 0))
    }

    /// The sender's clock in the timestamps option (RFC 7323 §3.2); nil without one. `bytes` are those of the whole packet.
    public func timestamp(in bytes: RawSpan) -> UInt32? {
        var offset = options.lowerBound
        while offset < options.upperBound {
            let kind = bytes.byte(at: offset)
            if kind == 0 { return nil }
            if kind == 1 {
                offset += 1
                continue
            }
            guard offset + 1 < options.upperBound else { return nil }
            let length = Int(bytes.byte(at: offset + 1))
            guard length >= 2, offset + length <= options.upperBound else { return nil }
            if kind == 8, length == 10 {
                return UInt32(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset + 2, as: UInt32.self))
            }
            offset += length
        }
        return nil
    }

    static let minimumByteCount = 20
}
