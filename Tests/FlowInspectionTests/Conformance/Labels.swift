import Foundation
import Octets
import PacketHeaders

@testable import FlowInspection

/// Captures made by others, which are no part of this package: found by `SALLYPORT_CONFORMANCE`, else beside the checkout.
enum Labels {
    static let root: URL? = {
        let named = ProcessInfo.processInfo.environment["SALLYPORT_CONFORMANCE"].map { URL(fileURLWithPath: $0) }
        var beside = URL(fileURLWithPath: #filePath)
        for _ in 0..<5 { beside.deleteLastPathComponent() }
        let url = named ?? beside.appendingPathComponent("shared/conformance")
        return FileManager.default.fileExists(atPath: url.appendingPathComponent("traffic/labels.jsonl").path)
            ? url : nil
    }()

    static var isThere: Bool { root != nil }

    static func bytes(_ path: String) throws -> [UInt8] {
        guard let root else { return [] }
        return [UInt8](try Data(contentsOf: root.appendingPathComponent("traffic").appendingPathComponent(path)))
    }

    /// The values of a file with one JSON value a line.
    static func lines<Value: Decodable>(_ path: String, as type: Value.Type) throws -> [Value] {
        try bytes(path).split(separator: 0x0A).map { try JSONDecoder().decode(type, from: Data($0)) }
    }

    /// The flows of a capture.
    static func reports(_ path: String) throws -> [FlowReport] {
        let file = try bytes(path)
        var inspector = CaptureInspector()
        inspector.read(file.span.bytes)
        return inspector.reports
    }

    /// Lower case, without a trailing dot and a port, addresses in their canonical text, runs of U+FFFD as one.
    static func normal(_ host: String) -> String {
        var text = unescaped(host).lowercased()
        while text.contains("\u{FFFD}\u{FFFD}") {
            text = text.replacingOccurrences(of: "\u{FFFD}\u{FFFD}", with: "\u{FFFD}")
        }
        if text.hasPrefix("["), let close = text.firstIndex(of: "]") {
            text = String(text[text.index(after: text.startIndex)..<close])
        } else if text.filter({ $0 == ":" }).count == 1, let colon = text.firstIndex(of: ":") {
            text = String(text[..<colon])
        }
        if text.hasSuffix(".") { text.removeLast() }
        return IPAddress(text)?.description ?? text
    }

    /// A name of DNS with its escapes resolved, bytes that are no UTF-8 as U+FFFD.
    private static func unescaped(_ name: String) -> String {
        guard name.contains("\\") else { return name }
        var bytes: [UInt8] = []
        let raw = Array(name.utf8)
        var position = 0
        while position < raw.count {
            let digits = raw.dropFirst(position + 1).prefix(3)
            if raw[position] != 0x5C {
                bytes.append(raw[position])
                position += 1
            } else if digits.count == 3, let value = UInt8(String(decoding: digits, as: UTF8.self)) {
                bytes.append(value)
                position += 4
            } else {
                bytes.append(contentsOf: raw.dropFirst(position + 1).prefix(1))
                position += 2
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
