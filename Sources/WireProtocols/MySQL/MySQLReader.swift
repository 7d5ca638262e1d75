public import Octets

/// What a MySQL client says of itself (HandshakeResponse).
public struct MySQLLogin: Hashable, Sendable {
    /// The account's name; may be empty.
    public let user: String
    /// The schema, if one is named.
    public let schema: String?
}

/// Reads the handshake of MySQL and MariaDB (MySQL documentation, "Connection Phase"): the server speaks first.
///
///     | length (24, little endian) | sequence (8) | ... |
public struct MySQLClientReader: Hashable, Sendable, BitwiseCopyable {
    /// What the next bytes are.
    public enum Event: Hashable, Sendable {
        /// More bytes are needed.
        case needMore
        /// SSLRequest: a ClientHello follows, which hides user and schema.
        case encryptionRequest(byteCount: Int)
        /// HandshakeResponse in the clear.
        case login(MySQLLogin, byteCount: Int)
    }

    /// A reader of a client's stream.
    public init() {}

    /// The version in a server's greeting that begins a stream: nil where more bytes are needed, empty where it is none.
    public static func greeting(_ bytes: RawSpan) -> String? {
        if bytes.byteCount > 3, bytes.byte(at: 3) != 0 { return "" }
        if bytes.byteCount > 2, bytes.byte(at: 2) != 0 { return "" }
        guard bytes.byteCount >= 5 else { return nil }
        let length = Int(bytes.byte(at: 0)) | Int(bytes.byte(at: 1)) << 8
        guard length >= 20, length <= 1024, bytes.byte(at: 4) == 10 || bytes.byte(at: 4) == 9 else { return "" }
        var end = 5
        while end < bytes.byteCount, bytes.byte(at: end) != 0 {
            guard (0x20...0x7E).contains(bytes.byte(at: end)), end < 5 + 128 else { return "" }
            end += 1
        }
        guard end < bytes.byteCount else { return nil }
        return end > 5 ? bytes.extracting(5..<end).text : ""
    }

    /// Whether `bytes`, a stream's beginning, are a client's answer to a greeting that was not seen; nil where more are
    /// needed. Only the form since 4.1, whose 23 zeros leave no doubt.
    public static func matches(_ bytes: RawSpan) -> Bool? {
        if bytes.byteCount > 3, bytes.byte(at: 3) != 1 { return false }
        if bytes.byteCount > 2, bytes.byte(at: 2) != 0 { return false }
        if bytes.byteCount > 5, bytes.byte(at: 5) & 2 == 0 { return false }
        for index in 13..<32 where index < bytes.byteCount && bytes.byte(at: index) != 0 { return false }
        guard bytes.byteCount >= 36 else { return nil }
        return (Int(bytes.byte(at: 0)) | Int(bytes.byte(at: 1)) << 8) >= 32
    }

    /// Reads on. Throws `.malformed` only.
    public func next(_ bytes: RawSpan) throws(WireError) -> Event {
        guard bytes.byteCount >= 6 else { return .needMore }
        let length = Int(bytes.byte(at: 0)) | Int(bytes.byte(at: 1)) << 8 | Int(bytes.byte(at: 2)) << 16
        guard bytes.byte(at: 3) == 1 else { throw .malformed("MySQL sequence number", offset: 3) }
        guard length >= 5, length <= Limits.startupBytes else { throw .malformed("MySQL packet length", offset: 0) }
        let low = UInt32(bytes.byte(at: 4)) | UInt32(bytes.byte(at: 5)) << 8
        guard bytes.byteCount >= 4 + length else { return .needMore }
        var reader = ByteReader(bytes.extracting(4..<4 + length), base: 4)
        do throws(WireError) {
            guard low & Capability.protocol41 != 0 else {
                try reader.skip(5)
                if reader.isAtEnd, low & Capability.encryption != 0 { return .encryptionRequest(byteCount: 4 + length) }
                let user = try reader.readTerminated().text
                // The scramble of eight bytes need not be terminated; the schema behind it is.
                var schema: String?
                if low & Capability.schema != 0, !reader.isAtEnd {
                    _ = try reader.readTerminatedOrRest()
                    if !reader.isAtEnd { schema = try reader.readTerminatedOrRest().text }
                }
                return .login(MySQLLogin(user: user, schema: schema), byteCount: 4 + length)
            }
            let capabilities = low | UInt32(bytes.byte(at: 6)) << 16 | UInt32(bytes.byte(at: 7)) << 24
            try reader.skip(32)
            if reader.isAtEnd {
                guard capabilities & Capability.encryption != 0 else {
                    throw reader.malformed("MySQL login without user")
                }
                return .encryptionRequest(byteCount: 4 + length)
            }
            let user = try reader.readTerminatedOrRest().text
            if capabilities & Capability.lengthEncodedAuthentication != 0 {
                if !reader.isAtEnd { try reader.skip(try reader.readLengthEncoded()) }
            } else if capabilities & Capability.secureConnection != 0 {
                if !reader.isAtEnd { try reader.skip(Int(try reader.readUInt8())) }
            } else if !reader.isAtEnd {
                _ = try reader.readTerminatedOrRest()
            }
            var schema: String?
            if capabilities & Capability.schema != 0, !reader.isAtEnd {
                schema = try reader.readTerminatedOrRest().text
            }
            return .login(
                MySQLLogin(user: user, schema: schema.flatMap { $0.isEmpty ? nil : $0 }), byteCount: 4 + length)
        } catch {
            throw reader.sealed(error, "MySQL field longer than its packet")
        }
    }

    private enum Capability {
        static let schema: UInt32 = 0x8
        static let protocol41: UInt32 = 0x200
        static let encryption: UInt32 = 0x800
        static let secureConnection: UInt32 = 0x8000
        static let lengthEncodedAuthentication: UInt32 = 0x20_0000
    }
}

extension ByteReader {
    /// The bytes up to a NUL or to the end.
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    fileprivate mutating func readTerminatedOrRest() throws(WireError) -> RawSpan {
        var length = 0
        while let byte = peek(length), byte != 0 { length += 1 }
        let span = try readSpan(length)
        if !isAtEnd { try skip(1) }
        return span
    }

    /// A length-encoded integer of at most three bytes.
    @_lifetime(self: copy self)
    fileprivate mutating func readLengthEncoded() throws(WireError) -> Int {
        let first = Int(try readUInt8())
        switch first {
        case 0..<251: return first
        case 252: return Int(try readUInt8()) | Int(try readUInt8()) << 8
        case 253: return Int(try readUInt8()) | Int(try readUInt8()) << 8 | Int(try readUInt8()) << 16
        default: throw malformed("MySQL length")
        }
    }
}
