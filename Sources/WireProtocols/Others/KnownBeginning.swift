import Octets

/// Protocols that are recognised by their first bytes and not read any further.
public enum KnownBeginning: String, Hashable, Sendable {
    /// RESP: an array of bulk strings.
    case redis
    /// A message header with an operation of today.
    case mongodb
    /// CONNECT.
    case mqtt
    /// A peer's handshake.
    case bittorrent

    /// What `bytes`, a client stream's beginning, are; nil for none of these. `mayBecome` says whether more bytes could
    /// change that.
    public static func recognise(_ bytes: RawSpan) -> (found: KnownBeginning?, mayBecome: Bool) {
        for (kind, match) in [
            (KnownBeginning.redis, isRedis(bytes)), (.mongodb, isMongoDB(bytes)), (.mqtt, isMQTT(bytes)),
            (.bittorrent, isBitTorrent(bytes)),
        ] {
            guard let match else { return (nil, true) }
            if match { return (kind, false) }
        }
        return (nil, false)
    }

    /// `*2\r\n$4\r\n` (Redis serialization protocol specification).
    private static func isRedis(_ bytes: RawSpan) -> Bool? {
        var position = 0
        for mark in [UInt8(ascii: "*"), UInt8(ascii: "$")] {
            guard position < bytes.byteCount else { return nil }
            guard bytes.byte(at: position) == mark else { return false }
            position += 1
            let digits = position
            while position < bytes.byteCount, bytes.byte(at: position).isDigit { position += 1 }
            guard position - digits <= 9 else { return false }
            guard position < bytes.byteCount else { return nil }
            guard position > digits, bytes.byte(at: position) == 0x0D else { return false }
            guard position + 1 < bytes.byteCount else { return nil }
            guard bytes.byte(at: position + 1) == 0x0A else { return false }
            position += 2
        }
        return true
    }

    /// Length, request, response to, operation, each 32 bits little endian (MongoDB wire protocol).
    private static func isMongoDB(_ bytes: RawSpan) -> Bool? {
        func word(_ offset: Int) -> UInt32 {
            UInt32(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        guard bytes.byteCount >= 4 else { return nil }
        guard (17...48_000_000).contains(word(0)) else { return false }
        guard bytes.byteCount >= 16 else { return nil }
        return word(8) == 0 && [2004, 2012, 2013].contains(word(12))
    }

    /// Packet type, remaining length, protocol name (OASIS MQTT 5.0 §3.1).
    private static func isMQTT(_ bytes: RawSpan) -> Bool? {
        guard bytes.byteCount > 0 else { return nil }
        guard bytes.byte(at: 0) == 0x10 else { return false }
        var position = 1
        while position < bytes.byteCount, bytes.byte(at: position) & 0x80 != 0, position < 4 { position += 1 }
        position += 1
        guard position + 8 <= bytes.byteCount else { return nil }
        let name = bytes.extracting(position + 2..<bytes.byteCount)
        switch bytes.uint16(at: position) {
        case 4: return name.matchesPrefix("MQTT")
        case 6: return name.matchesPrefix("MQIsdp")
        default: return false
        }
    }

    /// BEP 3.
    private static func isBitTorrent(_ bytes: RawSpan) -> Bool? {
        let text: StaticString = "\u{13}BitTorrent protocol"
        guard bytes.matchesPrefix(text) else { return false }
        return bytes.byteCount >= text.utf8CodeUnitCount ? true : nil
    }
}
