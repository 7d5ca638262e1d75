public import Octets

/// What a packet with a long header is (RFC 9000 §17.2, RFC 9369 §3.2).
public enum QUICPacketType: Hashable, Sendable, BitwiseCopyable {
    /// Carries the first CRYPTO frames.
    case initial
    /// Early data.
    case zeroRTT
    /// Carries the rest of the handshake.
    case handshake
    /// The server asks for the same again, with a token.
    case retry
    /// The server names the versions that it speaks.
    case versionNegotiation
    /// Of a version that is not known.
    case unknown
}

/// The long header of one packet of a datagram, with its protection on (RFC 9000 §17.2). Offsets count from the packet's
/// first byte.
///
///     |1|1|TT|RRPP|            version (32)               |
///     | DCID len (8) | DCID | SCID len (8) | SCID |
///     | Initial: token length (i) | token | length (i) | packet number and payload |
public struct QUICLongHeader: Hashable, Sendable, BitwiseCopyable {
    /// What the packet is.
    public let type: QUICPacketType
    /// The version.
    public let version: QUICVersion
    /// Where the packet goes.
    public let destination: QUICConnectionID
    /// Where it comes from.
    public let source: QUICConnectionID
    /// Where the destination id lies.
    let destinationRange: ByteRange
    /// Where the token lies; empty without one.
    public let token: ByteRange
    /// Where the packet number begins; the packet's end where there is none.
    let packetNumberOffset: Int
    /// Bytes of the packet; what follows in the datagram is another one.
    public let byteCount: Int

    /// Whether a datagram's first byte is of a long header. The fixed bit is the version's business.
    public static func isLong(_ bytes: RawSpan) -> Bool {
        bytes.byteCount > 0 && bytes.byte(at: 0) & 0x80 != 0
    }

    /// Reads the header of the packet that begins `bytes`, the rest of a datagram.
    ///
    /// Throws `.malformed` for what no endpoint of a known version takes, `.truncated` where the datagram ends within the
    /// header or before the packet's declared end.
    public init(parsing bytes: RawSpan) throws(WireError) {
        var reader = ByteReader(bytes)
        let first = try reader.readUInt8()
        guard first & 0x80 != 0 else { throw .malformed("QUIC short header", offset: 0) }
        version = QUICVersion(rawValue: try reader.readUInt32())
        let destinationByteCount = Int(try reader.readUInt8())
        // RFC 8999 §5.1 allows 255 for other versions; none of those is opened.
        guard destinationByteCount <= QUICConnectionID.maximumByteCount || !version.isKnown else {
            throw reader.malformed("QUIC connection id longer than 20 bytes")
        }
        destinationRange = ByteRange(reader.position..<reader.position + destinationByteCount)
        guard let destination = QUICConnectionID(try reader.readSpan(destinationByteCount)) else {
            throw reader.malformed("QUIC connection id longer than 20 bytes")
        }
        let sourceByteCount = Int(try reader.readUInt8())
        guard let source = QUICConnectionID(try reader.readSpan(sourceByteCount)) else {
            throw reader.malformed("QUIC connection id longer than 20 bytes")
        }
        self.destination = destination
        self.source = source
        type = Self.type(first, version)
        switch type {
        case .initial, .zeroRTT, .handshake:
            guard first & 0x40 != 0 else { throw .malformed("QUIC fixed bit", offset: 0) }
            if type == .initial {
                let tokenByteCount = try reader.readVariableLength()
                guard tokenByteCount <= UInt64(reader.remaining) else {
                    throw reader.malformed("QUIC token longer than its datagram")
                }
                token = ByteRange(reader.position..<reader.position + Int(tokenByteCount))
                try reader.skip(Int(tokenByteCount))
            } else {
                token = ByteRange()
            }
            let length = try reader.readVariableLength()
            guard length <= UInt64(reader.remaining) else {
                throw .truncated(needed: Int(clamping: length) - reader.remaining)
            }
            // A packet number of 4 bytes and the sample behind it must lie inside (RFC 9001 §5.4.2).
            guard length >= 20 else { throw reader.malformed("QUIC packet too short") }
            packetNumberOffset = reader.position
            byteCount = reader.position + Int(length)
        case .retry, .versionNegotiation, .unknown:
            token = ByteRange()
            packetNumberOffset = bytes.byteCount
            byteCount = bytes.byteCount
        }
    }

    private static func type(_ first: UInt8, _ version: QUICVersion) -> QUICPacketType {
        if version == .negotiation { return .versionNegotiation }
        guard version.isKnown else { return .unknown }
        // Version 2 counts from one, so that nobody takes the numbers of version 1 for granted.
        let bits = version == .v2 ? (first >> 4 &- 1) & 3 : first >> 4 & 3
        return switch bits {
        case 0: .initial
        case 1: .zeroRTT
        case 2: .handshake
        default: .retry
        }
    }
}

extension ByteReader {
    /// A variable-length integer (RFC 9000 §16): 6, 14, 30 or 62 bits.
    @_lifetime(self: copy self)
    mutating func readVariableLength() throws(WireError) -> UInt64 {
        guard let first = peek() else { throw .truncated(needed: 1) }
        let byteCount = 1 << Int(first >> 6)
        try require(byteCount)
        var value = UInt64(try readUInt8() & 0x3F)
        for _ in 1..<byteCount { value = value << 8 | UInt64(try readUInt8()) }
        return value
    }
}
