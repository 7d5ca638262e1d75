import Foundation
import Octets
import PacketHeaders
import Testing

@testable import FlowInspection

/// The names that the inspector finds, against what other programs found in the same captures.
@Suite(.enabled(if: Labels.isThere, "needs the conformance data (SALLYPORT_CONFORMANCE)")) struct CaptureTests {
    private struct Label: Decodable {
        struct Flow: Decodable {
            let src: String
            let sport: UInt16
            let dst: String
            let dport: UInt16
            let proto: String
        }

        struct Message: Decodable { let frame: Int }
        struct Messages: Decodable {
            let queries: [Message]?
            let responses: [Message]?
            let client_hellos: [Message]?
        }

        let pcap: String
        let flow: Flow
        let stream: Int
        let app_proto: String
        let hostnames: [String]?
        let scorable: Bool
        let tls: [Message]?
        let http_requests: [Message]?
        let h2_requests: [Message]?
        let dns: Messages?
        let quic: Messages?

        /// The packet that completes the first message.
        var firstFrame: Int? {
            let lists = [tls, http_requests, h2_requests, dns?.queries, dns?.responses, quic?.client_hellos]
            return lists.compactMap { $0 }.joined().map(\.frame).min()
        }

        var tuple: FiveTuple? {
            guard let source = IPAddress(flow.src), let destination = IPAddress(flow.dst) else { return nil }
            return FiveTuple(
                source: source, sourcePort: flow.sport, destination: destination, destinationPort: flow.dport,
                transport: flow.proto == "tcp" ? .tcp : .udp)
        }
    }

    private struct Score {
        var exact = 0
        var refused = 0
        var total = 0

        /// The share of those that are not refused.
        var share: Double { total == refused ? 1 : Double(exact) / Double(total - refused) }
    }

    /// Labels that go by a port: the bytes are HTTP both ways.
    private static let labelledByPort: Set<String> = ["pcap/zeek/postgresql__http-on-port-5432.pcap"]
    private static let named: Set<String> = ["tls", "quic", "http", "h2c", "dns"]

    @Test("names are those that others read; none is invented")
    func names() throws {
        let labels = try Labels.lines("labels.jsonl", as: Label.self)
        var scores: [String: [String: Score]] = [:]
        for (pcap, flows) in Dictionary(grouping: labels, by: \.pcap) {
            // Some are compressed, which is no capture format.
            guard try Labels.bytes(pcap).first != 0x1F else { continue }
            let reports = try Labels.reports(pcap)
            var seen: [FiveTuple: Int] = [:]
            for label in flows.sorted(by: { $0.stream < $1.stream }) {
                guard let tuple = label.tuple else { continue }
                let same = reports.filter { $0.flow == tuple || $0.flow == tuple.reversed }
                let place = seen[tuple, default: 0]
                seen[tuple] = place + 1
                guard label.scorable else { continue }
                let begun = label.firstFrame.flatMap { frame in same.last { $0.firstPacket <= frame } }
                let report = begun ?? (place < same.count ? same[place] : nil)
                let isNamed = Self.named.contains(label.app_proto)
                let expected = Set(isNamed ? (label.hostnames ?? []).filter { $0 != "<Root>" }.map(Labels.normal) : [])
                let found = Set((report?.hosts ?? []).map(Labels.normal))
                scores[label.app_proto, default: [:]][pcap, default: Score()].total += 1
                if found == expected {
                    scores[label.app_proto]?[pcap]?.exact += 1
                } else if found.isSubset(of: expected) {
                    if report?.error != nil { scores[label.app_proto]?[pcap]?.refused += 1 }
                } else {
                    #expect(Self.labelledByPort.contains(pcap), "\(pcap) \(tuple): \(found.subtracting(expected))")
                }
            }
        }
        for (name, least) in [("tls", 0.995), ("quic", 0.995), ("http", 0.995), ("dns", 0.985), ("h2c", 0.995)] {
            let shares = scores[name, default: [:]].values.map(\.share)
            let share = shares.reduce(0, +) / Double(max(1, shares.count))
            print("captures: \(name) \(share) of what is not refused, over \(shares.count)")
            #expect(share >= least, "\(name)")
        }
    }

    @Test("no capture is beyond reading: whatever it holds, it is read to its end or its error is told")
    func everything() throws {
        for pcap in Set(try Labels.lines("labels.jsonl", as: Label.self).map(\.pcap)) {
            let file = try Labels.bytes(pcap)
            guard file.count < 200_000 else { continue }
            for position in stride(from: 24, to: file.count, by: max(1, file.count / 16)) {
                var changed = file
                changed[position] ^= 0x55
                var inspector = CaptureInspector()
                inspector.read(changed.span.bytes)
                for report in inspector.reports { #expect(report.json.last == "}") }
            }
        }
    }

    private struct TCPCase: Decodable {
        let pcap: String
        let strategy: String
        let server_sni: String?
        let fake_name: String?
    }

    @Test("TCP evasion: the name that the server got, or an error; benign controls without one")
    func evasion() throws {
        for one in try Labels.lines("evasion/tcp/labels.jsonl", as: TCPCase.self) {
            let reports = try Labels.reports("evasion/tcp/" + one.pcap)
            let report = try #require(reports.first { $0.flow.transport == .tcp }, "\(one.strategy)")
            if one.strategy.hasSuffix(".benign") {
                #expect(report.error == nil, "\(one.strategy) \(report.error ?? "")")
            }
            guard let name = one.server_sni else { continue }
            #expect(report.hosts == [name] || report.error != nil, "\(one.strategy) \(report.hosts)")
        }
    }

    private struct QUICCase: Decodable {
        let pcap: String
        let strategy: String
        let expect: String
    }

    @Test("QUIC evasion: every name that a server could get is found, every ambiguity refused")
    func quicEvasion() throws {
        for one in try Labels.lines("evasion/quic/labels.jsonl", as: QUICCase.self) {
            let report = try #require(try Labels.reports("evasion/quic/" + one.pcap).first, "\(one.strategy)")
            let (expect, comment) = (
                one.expect, Comment(rawValue: "\(one.strategy) \(report.hosts) \(report.error ?? "-")")
            )
            if expect == "deny" || expect == "hold" {
                #expect(report.error != nil || report.hosts.isEmpty, comment)
            } else if expect.contains("duplicate packet number") {
                #expect(report.error != nil || report.hosts == ["allow1.example.net"], comment)
            } else if expect.hasSuffix("-or-drop") {
                #expect(report.error != nil || report.hosts.allSatisfy { $0 + "-or-drop" == expect }, comment)
            } else {
                #expect(report.error == nil, comment)
                #expect(Set(report.hosts) == Set(expect.split(separator: "+").map(String.init)), comment)
            }
        }
    }

    private struct Cut: Decodable {
        let pcap: String
        let flow: Label.Flow
        let hostname: String?
    }

    @Test("ordinary ClientHellos cut anew keep their names")
    func resegmented() throws {
        let cuts = try Labels.lines("evasion/resegmented/labels.jsonl", as: Cut.self)
        for (pcap, flows) in Dictionary(grouping: cuts, by: \.pcap) {
            let reports = try Labels.reports("evasion/resegmented/" + pcap)
            for cut in flows {
                let report = reports.first {
                    $0.flow.sourcePort == cut.flow.sport && $0.flow.source == IPAddress(cut.flow.src)
                }
                #expect(report?.hosts == (cut.hostname.map { [$0.lowercased()] } ?? []), "\(pcap) \(cut.flow.sport)")
                #expect(report?.error == nil, "\(pcap) \(cut.flow.sport)")
            }
        }
    }
}
