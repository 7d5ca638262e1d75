import Octets

@testable import WireProtocols

/// Writes ClientHellos for tests, right ones by default and wrong ones by its knobs.
struct HelloBuilder {
    var version: UInt16 = 0x0303
    var suites: [UInt16] = [0x1A1A, 0x1301, 0x1302, 0xC02B]
    var extensions: [(type: UInt16, content: [UInt8])] = []

    static func u16(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }

    static func vector8(_ content: [UInt8]) -> [UInt8] { [UInt8(content.count)] + content }

    static func vector16(_ content: [UInt8]) -> [UInt8] { u16(content.count) + content }

    static func serverName(_ name: String) -> (type: UInt16, content: [UInt8]) {
        (0, vector16([0] + vector16(Array(name.utf8))))
    }

    static func alpn(_ names: [String]) -> (type: UInt16, content: [UInt8]) {
        (16, vector16(names.flatMap { vector8(Array($0.utf8)) }))
    }

    static let versions13: (type: UInt16, content: [UInt8]) = (43, [4, 3, 4, 3, 3])
    static let signatures: (type: UInt16, content: [UInt8]) = (13, [0, 4, 4, 3, 8, 4])

    /// A hello as a TLS 1.3 client sends it.
    static func usual(_ name: String) -> HelloBuilder {
        HelloBuilder(extensions: [
            (0x2A2A, []), serverName(name), (23, []), (10, [0, 2, 0, 29]), alpn(["h2", "http/1.1"]), signatures,
            versions13, (51, vector16([0, 29] + vector16(Array(repeating: 7, count: 32)))),
        ])
    }

    /// The handshake message.
    var message: [UInt8] {
        let body =
            Self.u16(Int(version)) + (0..<32).map { UInt8($0) } + Self.vector8(Array(repeating: 9, count: 32))
            + Self.vector16(suites.flatMap { Self.u16(Int($0)) }) + [1, 0]
            + Self.vector16(extensions.flatMap { Self.u16(Int($0.type)) + Self.vector16($0.content) })
        return [1, 0] + Self.u16(body.count) + body
    }

    /// The message in records of at most `size` bytes.
    func records(of size: Int = 16384) -> [UInt8] { Self.records(message, of: size) }

    static func records(_ message: [UInt8], of size: Int) -> [UInt8] {
        stride(from: 0, to: message.count, by: size).flatMap { start -> [UInt8] in
            [22, 3, 1] + vector16(Array(message[start..<min(start + size, message.count)]))
        }
    }
}

/// The facts of the first ClientHello in a stream; nil where more bytes are needed.
func firstHello(in stream: [UInt8]) throws(WireError) -> ClientHelloSummary? {
    var scanner = ClientHelloScanner()
    guard case .hello = try scanner.scan(stream.span.bytes) else { return nil }
    var scratch = ClientHelloScratch()
    return try ClientHelloSummary(parsing: try scratch.message(found: scanner, in: stream.span.bytes))
}
