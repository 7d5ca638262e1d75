import Foundation

/// Captures and messages made by others, which are no part of this package: found by `SALLYPORT_CONFORMANCE`, else beside the
/// checkout.
enum Corpus {
    static let root: URL? = {
        let named = ProcessInfo.processInfo.environment["SALLYPORT_CONFORMANCE"].map { URL(fileURLWithPath: $0) }
        let beside = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("shared/conformance")
        let url = named ?? beside
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
}

/// One line of `labels.jsonl`: what other programs say of a flow.
struct FlowLabel: Decodable {
    struct Flow: Decodable, Hashable {
        let src: String
        let sport: UInt16
        let dst: String
        let dport: UInt16
        let proto: String
    }

    struct Request: Decodable {
        let frame: Int
        let method: String
        let authority: String?
        let form: String
        let host: [String]
    }

    struct Oracles: Decodable {
        /// JA4 fingerprints by their names in FoxIO's results.
        let ja4: [String: String]?

        init(from decoder: any Decoder) throws {
            let container = try? decoder.container(keyedBy: Key.self)
            ja4 = container.flatMap { try? $0.decodeIfPresent([String: String].self, forKey: .ja4) }
        }

        private enum Key: String, CodingKey { case ja4 }
    }

    struct Hello: Decodable {
        let frame: Int
        let sni: String?
        let alpn: [String]
        let ech: Bool
        let inside: [String]
    }

    let pcap: String
    let flow: Flow
    let app_proto: String
    let hostname: String?
    let hostnames: [String]?
    let scorable: Bool
    let tags: [String]
    let stream: Int
    let http_requests: [Request]?
    let tls: [Hello]?
    let oracles: Oracles?

    /// The capture's packet that completes the first message.
    var firstFrame: Int? { http_requests?.first?.frame ?? tls?.first?.frame }
}
