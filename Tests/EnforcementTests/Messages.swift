/// Messages of agents, as bytes.
enum Messages {
    /// A TLS 1.3 ClientHello handshake message that names `host`, with `padding` bytes in its padding extension.
    static func clientHello(_ host: String?, padding: Int = 0) -> [UInt8] {
        var extensions: [UInt8] = []
        if let host {
            let name = Array(host.utf8)
            extensions += block(0, number(name.count + 3) + [0] + number(name.count) + name)
        }
        extensions += block(43, [2, 3, 4])
        extensions += block(10, [0, 2, 0, 29])
        extensions += block(13, [0, 2, 4, 3])
        extensions += block(16, [0, 3, 2] + Array("h2".utf8))
        if padding > 0 { extensions += block(21, Array(repeating: 0, count: padding)) }
        let body: [UInt8] =
            [3, 3] + Array(repeating: 7, count: 32) + [0] + [0, 2, 0x13, 0x01] + [1, 0] + number(extensions.count)
            + extensions
        return [1, 0] + number(body.count) + body
    }

    /// The message in records of at most `size` bytes.
    static func records(_ message: [UInt8], size: Int = 16_384) -> [UInt8] {
        stride(from: 0, to: message.count, by: size).flatMap { start -> [UInt8] in
            let part = message[start..<min(start + size, message.count)]
            return [22, 3, 1] + number(part.count) + part
        }
    }

    /// A whole first flight.
    static func hello(_ host: String?, padding: Int = 0) -> [UInt8] {
        records(clientHello(host, padding: padding))
    }

    /// What a client sends after the server's first flight: ChangeCipherSpec and an encrypted record.
    static let secondFlight: [UInt8] = [20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 4, 1, 2, 3, 4]

    /// One request.
    static func request(_ host: String, _ extra: String = "", body: String = "") -> [UInt8] {
        Array("GET /v1?x=1 HTTP/1.1\r\nHost: \(host)\r\n\(extra)\r\n\(body)".utf8)
    }

    private static func block(_ type: Int, _ body: [UInt8]) -> [UInt8] {
        number(type) + number(body.count) + body
    }

    private static func number(_ value: Int) -> [UInt8] {
        [UInt8(value >> 8), UInt8(value & 255)]
    }
}
