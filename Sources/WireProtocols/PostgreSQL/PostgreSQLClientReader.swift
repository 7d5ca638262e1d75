public import Octets

/// What a PostgreSQL client says of itself (StartupMessage).
public struct PostgreSQLStartup: Hashable, Sendable {
    /// The role; never absent in a lawful message.
    public let user: String
    /// The database; the user's name where the client names none.
    public let database: String
    /// Whether replication is asked for.
    public let isReplication: Bool
    /// The minor version of protocol 3.
    public let minorVersion: UInt16
}

/// Reads what a PostgreSQL client sends before it is authenticated (PostgreSQL documentation, "Message Formats").
///
///     | length (32), itself included | code (32) | ... |
///
/// A request for encryption is answered with one byte, and then comes a ClientHello or a StartupMessage in the clear.
public struct PostgreSQLClientReader: Hashable, Sendable, BitwiseCopyable {
    /// What the next bytes are.
    public enum Event: Hashable, Sendable {
        /// More bytes are needed.
        case needMore
        /// SSLRequest or GSSENCRequest of `byteCount` bytes.
        case encryptionRequest(isGSS: Bool, byteCount: Int)
        /// CancelRequest: names no database.
        case cancel(byteCount: Int)
        /// StartupMessage.
        case startup(PostgreSQLStartup, byteCount: Int)
        /// A TLS record: what follows is a ClientHello.
        case tls
    }

    private var requests: UInt8 = 0

    /// A reader at the beginning of a stream.
    public init() {}

    /// Whether `bytes`, a stream's beginning, are PostgreSQL's; nil where more are needed.
    public static func matches(_ bytes: RawSpan) -> Bool? {
        guard bytes.byteCount >= 1 else { return nil }
        guard bytes.byte(at: 0) == 0 else { return false }
        if bytes.byteCount >= 2, bytes.byte(at: 1) != 0 { return false }
        guard bytes.byteCount >= 8 else { return nil }
        let length = Int(bytes.uint16(at: 2))
        let major = bytes.uint16(at: 4)
        let minor = bytes.uint16(at: 6)
        switch major {
        case 3, 2: return length > 8 && minor <= 0xFF
        case 1234: return (5678...5680).contains(minor) && length >= 8
        default: return false
        }
    }

    /// Reads on. Throws `.malformed` only.
    public mutating func next(_ bytes: RawSpan) throws(WireError) -> Event {
        guard bytes.byteCount > 0 else { return .needMore }
        if requests > 0, bytes.byte(at: 0) == TLSContentType.handshake { return .tls }
        guard bytes.byteCount >= 8 else { return .needMore }
        let length = Int(bytes.uint16(at: 0)) << 16 | Int(bytes.uint16(at: 2))
        guard length >= 8, length <= Limits.startupBytes else {
            throw .malformed("PostgreSQL message length", offset: 0)
        }
        let major = bytes.uint16(at: 4)
        let minor = bytes.uint16(at: 6)
        switch (major, minor) {
        case (1234, 5679), (1234, 5680):
            guard length == 8 else { throw .malformed("length of a PostgreSQL encryption request", offset: 0) }
            requests += 1
            // Each of the two kinds once.
            guard requests <= 2 else { throw .malformed("PostgreSQL encryption asked for again", offset: 4) }
            return .encryptionRequest(isGSS: minor == 5680, byteCount: 8)
        case (1234, 5678):
            guard length > 12 else { throw .malformed("length of a PostgreSQL CancelRequest", offset: 0) }
            guard bytes.byteCount >= length else { return .needMore }
            return .cancel(byteCount: length)
        case (3, _):
            guard bytes.byteCount >= length else { return .needMore }
            return .startup(try Self.startup(bytes.extracting(8..<length), minor), byteCount: length)
        default: throw .malformed("PostgreSQL protocol version", offset: 4)
        }
    }

    /// Pairs of names and values that each end in NUL, and one NUL more.
    private static func startup(_ bytes: RawSpan, _ minor: UInt16) throws(WireError) -> PostgreSQLStartup {
        var user: String?
        var database: String?
        var isReplication = false
        var seen: Set<String> = []
        var reader = ByteReader(bytes, base: 8)
        do throws(WireError) {
            while true {
                let name = try reader.readTerminated()
                if name.byteCount == 0 { break }
                let value = try reader.readTerminated()
                guard seen.insert(name.text).inserted else { throw reader.malformed("PostgreSQL parameter twice") }
                switch name.text {
                case "user": user = value.text
                case "database": database = value.text
                case "replication": isReplication = !["false", "off", "no", "0"].contains(value.text)
                default: break
                }
            }
        } catch {
            throw reader.sealed(error, "PostgreSQL parameter longer than its message")
        }
        try reader.expectEnd("bytes behind the PostgreSQL parameters")
        guard let user, !user.isEmpty else { throw .malformed("PostgreSQL startup without user", offset: 8) }
        return PostgreSQLStartup(
            user: user, database: database.flatMap { $0.isEmpty ? nil : $0 } ?? user, isReplication: isReplication,
            minorVersion: minor)
    }
}

extension ByteReader {
    /// The bytes up to a NUL, which is read too.
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    mutating func readTerminated() throws(WireError) -> RawSpan {
        var length = 0
        while let byte = peek(length), byte != 0 { length += 1 }
        guard length < remaining else { throw .truncated(needed: 1) }
        let span = try readSpan(length)
        try skip(1)
        return span
    }
}
