import Foundation
import Octets
import PacketHeaders
import Testing
import WireProtocols

@testable import Flow

/// The names that the parsers find, against what other programs found in the same captures.
@Suite(.enabled(if: Corpus.isThere, "needs the conformance data (SALLYPORT_CONFORMANCE)")) struct TrafficTests {
    /// Lower case, without a trailing dot and a port, and addresses in their canonical text.
    static func normal(_ host: String) -> String {
        var text = host.lowercased()
        if text.hasPrefix("["), let close = text.firstIndex(of: "]") {
            text = String(text[text.index(after: text.startIndex)..<close])
        } else if text.filter({ $0 == ":" }).count == 1, let colon = text.firstIndex(of: ":") {
            text = String(text[..<colon])
        }
        if text.hasSuffix(".") { text.removeLast() }
        return IPAddress(text)?.description ?? text
    }

    /// Captures in which an HTTP request was sent to a server of another protocol; their labels go by the server.
    static let requestsToOtherServers: Set<String> = [
        "pcap/zeek/http__get-to-ssh-server.pcap", "pcap/zeek/http__http-to-ssh.pcap",
        "pcap/zeek/postgresql__http-on-port-5432.pcap", "pcap/suricata-verify/output-eve-anomaly-02__input.pcap",
    ]

    struct Score {
        var right = 0
        var total = 0
        /// No name, because the message breaks a rule on purpose or by mistake: the enforcer refuses it.
        var refused: [String] = []
        var wrong: [String] = []
        var invented: [String] = []

        var share: Double { total == 0 ? 1 : Double(right) / Double(total) }
        /// The share of those that are not refused.
        var wellFormedShare: Double {
            total == refused.count ? 1 : Double(right) / Double(total - refused.count)
        }
    }

    /// Reads every TCP flow that is scored, by capture.
    static func score(_ path: String, prefix: String) throws -> (Score, [String: Score]) {
        let labels = try Corpus.lines(path, as: FlowLabel.self).filter { $0.flow.proto == "tcp" }
        var all = Score()
        var captures: [String: Score] = [:]
        for (pcap, flows) in Dictionary(grouping: labels, by: \.pcap) {
            let file = try Corpus.bytes(prefix + pcap)
            guard file.first != 0x1F else { continue }
            let streams = CaptureStreams(file)
            var seen: [FlowLabel.Flow: Int] = [:]
            for label in flows.sorted(by: { $0.stream < $1.stream }) {
                let position = seen[label.flow, default: 0]
                seen[label.flow] = position + 1
                guard let source = IPAddress(label.flow.src), let destination = IPAddress(label.flow.dst) else {
                    continue
                }
                let flow = FiveTuple(
                    source: source, sourcePort: label.flow.sport, destination: destination,
                    destinationPort: label.flow.dport, transport: .tcp)
                let connections = streams.connections(of: flow)
                let connection =
                    connections.first { connection in
                        connection.segments.contains { $0.isFromClient && $0.frame == label.firstFrame }
                    } ?? (position < connections.count ? connections[position] : nil)
                let reading = connection.map { StreamReading($0) }
                guard label.scorable else { continue }
                let expected: [String]
                switch label.app_proto {
                case "tls", "http": expected = (label.hostnames ?? []).map(normal)
                case "other", "ssh", "mysql", "dns": expected = []
                default: continue
                }
                let found = reading?.hosts ?? []
                let line = """
                    \(pcap) \(label.stream) \(label.flow.sport)>\(label.flow.dport) \(label.app_proto) expected \(expected) \
                    found \(found) \(reading.map { "\($0.app) \($0.error ?? "-")" } ?? "no stream") \(label.tags)
                    """
                let isRight = Set(found) == Set(expected) || requestsToOtherServers.contains(pcap)
                all.total += 1
                captures[pcap, default: Score()].total += 1
                if isRight {
                    all.right += 1
                    captures[pcap, default: Score()].right += 1
                } else if Set(found).isSubset(of: expected) {
                    if reading?.error != nil {
                        all.refused.append(line)
                        captures[pcap, default: Score()].refused.append(line)
                    } else {
                        all.wrong.append(line)
                    }
                } else {
                    all.invented.append(line)
                }
            }
        }
        return (all, captures)
    }

    @Test("names of TLS and HTTP/1 flows are those that others read")
    func names() throws {
        let (score, captures) = try Self.score("labels.jsonl", prefix: "")
        let count = Double(max(1, captures.count))
        let exact = captures.values.map(\.share).reduce(0, +) / count
        let wellFormed = captures.values.map(\.wellFormedShare).reduce(0, +) / count
        print(
            """
            names: \(score.right) of \(score.total) flows exact, \(score.refused.count) refused as malformed, \
            \(score.wrong.count) missed, \(score.invented.count) invented; over \(captures.count) captures \(exact) exact, \
            \(wellFormed) of what is not refused
            """)
        for line in score.invented { print("invented: \(line)") }
        for line in score.wrong.sorted() { print("missed: \(line)") }
        for line in score.refused.sorted() { print("refused: \(line)") }
        #expect(score.invented.isEmpty)
        #expect(wellFormed >= 0.99)
        #expect(exact >= 0.97)
    }

    @Test("ALPN, ECH and JA4 of every ClientHello are those that others read")
    func hellos() throws {
        let labels = try Corpus.lines("labels.jsonl", as: FlowLabel.self).filter {
            $0.flow.proto == "tcp" && $0.scorable
        }
        var checked = 0
        var fingerprints = 0
        for (pcap, flows) in Dictionary(grouping: labels, by: \.pcap) where flows.contains(where: { $0.tls != nil }) {
            let file = try Corpus.bytes(pcap)
            let streams = CaptureStreams(file)
            for label in flows {
                guard let wanted = label.tls?.first, wanted.inside.isEmpty, let flow = Self.flow(label.flow) else {
                    continue
                }
                let connection = streams.connections(of: flow).first { connection in
                    connection.segments.contains { $0.isFromClient && $0.frame == wanted.frame }
                }
                guard let hello = connection.flatMap({ StreamReading($0).hello }) else { continue }
                checked += 1
                #expect((hello.applicationProtocols ?? []) == wanted.alpn, "\(pcap) \(label.stream)")
                #expect(
                    hello.hasEncryptedClientHello == wanted.ech || hello.hasEncryptedClientHello,
                    "\(pcap) \(label.stream)")
                if let ja4 = label.oracles?.ja4?["JA4.1"] ?? label.oracles?.ja4?["JA4"] {
                    fingerprints += 1
                    #expect(hello.ja4 == ja4, "\(pcap) \(label.stream)")
                }
            }
        }
        print("hellos: \(checked) compared, \(fingerprints) fingerprints")
        #expect(checked > 500)
        #expect(fingerprints > 50)
    }

    static func flow(_ label: FlowLabel.Flow) -> FiveTuple? {
        guard let source = IPAddress(label.src), let destination = IPAddress(label.dst) else { return nil }
        return FiveTuple(
            source: source, sourcePort: label.sport, destination: destination, destinationPort: label.dport,
            transport: .tcp)
    }
}
