public import Octets

/// Reads the messages of one side of a DNS connection over TCP, each behind its length (RFC 1035 §4.2.2, RFC 7766).
///
/// A state without memory: hand `next` the contiguous bytes that were not consumed yet.
public struct DNSStreamReader: Hashable, Sendable, BitwiseCopyable {
    /// What the next bytes are.
    public enum Event: Hashable, Sendable {
        /// More bytes are needed.
        case needMore
        /// A message that takes the first `byteCount` bytes, its length included.
        case message(DNSMessage, byteCount: Int)
    }

    /// A reader at the beginning of a stream.
    public init() {}

    /// Reads on. Throws `.malformed` only.
    public func next(_ bytes: RawSpan) throws(WireError) -> Event {
        guard bytes.byteCount >= 2 else { return .needMore }
        let length = Int(bytes.uint16(at: 0))
        guard length >= DNSMessage.headerByteCount else {
            throw .malformed("DNS message shorter than its header", offset: 0)
        }
        guard bytes.byteCount >= 2 + length else { return .needMore }
        do throws(WireError) {
            return .message(
                try DNSMessage(parsing: bytes.extracting(2..<2 + length)), byteCount: 2 + length)
        } catch {
            throw ByteReader(bytes, base: 0).sealed(error, "DNS message longer than its length")
        }
    }
}

extension DNSStreamReader {
    /// Whether `bytes`, a client stream's beginning, are a query's: the fixed fields of its header leave one chance in some
    /// millions. Nil where more bytes are needed.
    public static func matches(_ bytes: RawSpan) -> Bool? {
        if bytes.byteCount >= 2, Int(bytes.uint16(at: 0)) < DNSMessage.headerByteCount + 5 { return false }
        // No response, no reserved bit; query, notify or update, and the inverse query of old, which the parser refuses.
        if bytes.byteCount >= 5, bytes.byte(at: 4) & 0x80 != 0 { return false }
        if bytes.byteCount >= 6 {
            guard [0, 1, 4, 5].contains(bytes.byte(at: 4) >> 3 & 15), bytes.byte(at: 5) & 0x4F == 0 else {
                return false
            }
        }
        let isInverse = bytes.byteCount >= 6 && bytes.byte(at: 4) >> 3 & 15 == 1
        if bytes.byteCount >= 8, bytes.uint16(at: 6) != (isInverse ? 0 : 1) { return false }
        guard bytes.byteCount >= 15 else { return nil }
        let isUpdate = bytes.byte(at: 4) >> 3 & 15 == 5
        guard isUpdate || bytes.uint16(at: 8) <= 1, isUpdate || bytes.uint16(at: 10) <= 1, bytes.uint16(at: 12) <= 8
        else { return false }
        return bytes.byte(at: 14) <= 63
    }
}
