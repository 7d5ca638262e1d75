public import Octets

/// Reads a client's LDAP messages until TLS begins (RFC 4511 §4, §4.14).
///
///     | 0x30 | length | 0x02 | length | message id | operation | length | ... |
public struct LDAPClientReader: Hashable, Sendable, BitwiseCopyable {
    /// What the next bytes are.
    public enum Event: Hashable, Sendable {
        /// More bytes are needed.
        case needMore
        /// A message of `byteCount` bytes.
        case message(byteCount: Int)
        /// A TLS record: what follows is a ClientHello.
        case tls
        /// TLS comes no more: nothing that follows is read.
        case finished
    }

    private var isTLSNext = false
    private var messageCount: UInt8 = 0

    /// A reader of a client's stream.
    public init() {}

    /// Whether `bytes`, a stream's beginning, are a request; nil where more are needed.
    public static func matches(_ bytes: RawSpan) -> Bool? {
        guard bytes.byteCount > 0 else { return nil }
        guard bytes.byte(at: 0) == 0x30 else { return false }
        var reader = ByteReader(bytes)
        do throws(WireError) {
            try reader.skip(1)
            let length = try reader.readBERLength()
            guard length >= 5 else { return false }
            guard try reader.readUInt8() == 2 else { return false }
            let idByteCount = Int(try reader.readUInt8())
            guard (1...4).contains(idByteCount) else { return false }
            try reader.skip(idByteCount)
            // Bind, search, extended, and the rest of the requests (RFC 4511 §4.2 to §4.12).
            let operation = try reader.readUInt8()
            return [0x60, 0x63, 0x77, 0x42, 0x66, 0x68, 0x4A, 0x6C, 0x6E, 0x50].contains(operation)
        } catch {
            if case .truncated = error { return nil }
            return false
        }
    }

    /// Reads on. Throws `.malformed` only.
    public mutating func next(_ bytes: RawSpan) throws(WireError) -> Event {
        guard bytes.byteCount > 0 else { return .needMore }
        if isTLSNext, bytes.byte(at: 0) == TLSContentType.handshake { return .tls }
        guard messageCount < Limits.messagesBeforeTLS else { return .finished }
        var reader = ByteReader(bytes)
        do throws(WireError) {
            guard try reader.readUInt8() == 0x30 else { throw reader.malformed("LDAP message") }
            let length = try reader.readBERLength()
            guard length <= Limits.startupBytes else { return .finished }
            var message = try reader.readSlice(length)
            do throws(WireError) {
                guard try message.readUInt8() == 2 else { throw message.malformed("LDAP message id") }
                try message.skip(try message.readBERLength())
                let operation = try message.readUInt8()
                var content = try message.readSlice(try message.readBERLength())
                isTLSNext = operation == 0x77 ? try Self.asksForTLS(&content) : false
            } catch {
                throw message.sealed(error, "LDAP field longer than its message")
            }
            messageCount += 1
            return .message(byteCount: reader.position)
        } catch {
            if case .truncated = error { return .needMore }
            throw error
        }
    }

    /// Whether an ExtendedRequest has StartTLS's name, 1.3.6.1.4.1.1466.20037.
    @_lifetime(content: copy content)
    private static func asksForTLS(_ content: inout ByteReader) throws(WireError) -> Bool {
        guard try content.readUInt8() == 0x80 else { throw content.malformed("LDAP request name") }
        let name = try content.readSpan(try content.readBERLength())
        return name.equalsIgnoringCase("1.3.6.1.4.1.1466.20037")
    }
}

extension ByteReader {
    /// A definite length of BER (X.690 §8.1.3) of at most four bytes.
    @_lifetime(self: copy self)
    mutating func readBERLength() throws(WireError) -> Int {
        let first = try readUInt8()
        guard first & 0x80 != 0 else { return Int(first) }
        let count = Int(first & 0x7F)
        guard (1...4).contains(count) else { throw malformed("BER length") }
        var length = 0
        for _ in 0..<count { length = length << 8 | Int(try readUInt8()) }
        return length
    }
}
