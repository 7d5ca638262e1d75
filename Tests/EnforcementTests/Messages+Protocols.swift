/// Messages of what is neither TLS nor HTTP/1.
extension Messages {
    /// One HTTP/2 frame.
    static func frame(_ type: UInt8, flags: UInt8 = 0, stream: UInt8 = 0, _ payload: [UInt8] = []) -> [UInt8] {
        [0, UInt8(payload.count >> 8), UInt8(payload.count & 255), type, flags, 0, 0, 0, stream] + payload
    }

    /// How an HTTP/2 connection begins: the preface and empty SETTINGS.
    static let http2Beginning = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(4)

    /// A header block in literals without indexing.
    static func headerBlock(_ authority: String, method: String = "POST") -> [UInt8] {
        literal(":method", method) + literal(":scheme", "http") + literal(":path", "/pkg.Service/Call")
            + literal(":authority", authority)
    }

    /// One field of a header block.
    static func literal(_ name: String, _ value: String) -> [UInt8] { [0] + counted(name) + counted(value) }

    /// A text of less than 128 bytes behind its length.
    static func counted(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }

    /// A request of HTTP/2; it goes on with DATA.
    static func http2Request(_ authority: String, stream: UInt8) -> [UInt8] {
        frame(1, flags: 4, stream: stream, headerBlock(authority))
    }

    /// A DNS query for one name.
    static func query(_ name: String, type: UInt8 = 1, flags: UInt8 = 1, questions: UInt8 = 1) -> [UInt8] {
        var message: [UInt8] = [0xAB, 0xCD, flags, 0, 0, questions, 0, 0, 0, 0, 0, 0]
        for label in name.split(separator: ".") { message += counted(String(label)) }
        return message + [0, 0, type, 0, 1]
    }

    /// The query behind its length, as over TCP.
    static func streamQuery(_ name: String) -> [UInt8] {
        let message = query(name)
        return [UInt8(message.count >> 8), UInt8(message.count & 255)] + message
    }

    static let postgresEncryptionRequest: [UInt8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F]

    /// A PostgreSQL StartupMessage.
    static func postgresStartup(user: String, database: String) -> [UInt8] {
        var pairs: [UInt8] = []
        for text in ["user", user, "database", database, ""] { pairs += Array(text.utf8) + [0] }
        return [0, 0, 0, UInt8(pairs.count + 8), 0, 3, 0, 0] + pairs
    }

    /// A MySQL HandshakeResponse41 with a schema.
    static func mysqlLogin(user: String, schema: String) -> [UInt8] {
        var body: [UInt8] = [0x08, 0x82, 0, 0, 0, 0, 0, 1, 45]
        body += Array(repeating: 0, count: 23)
        body += Array(user.utf8) + [0, 0]
        body += Array(schema.utf8) + [0]
        return [UInt8(body.count), 0, 0, 1] + body
    }

    /// An LDAP StartTLS request.
    static let ldapStartTLS: [UInt8] = {
        let name = Array("1.3.6.1.4.1.1466.20037".utf8)
        let operation: [UInt8] = [0x77, UInt8(name.count + 2), 0x80, UInt8(name.count)]
        return [0x30, UInt8(operation.count + name.count + 3), 2, 1, 1] + operation + name
    }()
}
