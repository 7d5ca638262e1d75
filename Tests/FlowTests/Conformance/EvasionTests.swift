import Octets
import PacketHeaders
import Testing
import WireProtocols

@testable import Flow

/// Strategies that were played to a real Linux server: what its `recv()` returned is the truth.
@Suite(.enabled(if: Corpus.isThere, "needs the conformance data (SALLYPORT_CONFORMANCE)")) struct EvasionTests {
    private struct Case: Decodable {
        let pcap: String
        let strategy: String
        let expect: String
        let server_hex: String?
        let server_sni: String?
    }

    @Test("a stream is refused, or read as the server read it; benign ones are never refused")
    func tcp() throws {
        var refused: [String] = []
        let cases = try Corpus.lines("evasion/tcp/labels.jsonl", as: Case.self)
        for one in cases {
            let streams = CaptureStreams(try Corpus.bytes("evasion/tcp/" + one.pcap))
            let connection = try #require(
                streams.connections.values.joined().first { $0.hasSYN }, "\(one.strategy) has no connection")
            let reading = StreamReading(connection, behindRules: true)
            if reading.error != nil || reading.app == "unknown" {
                refused.append("\(one.strategy): \(reading.error ?? "unknown protocol")")
                #expect(!one.strategy.hasSuffix(".benign"), "\(one.strategy): \(reading.error ?? "-")")
                continue
            }
            if let hex = one.server_hex, let server = Hex.decode(hex) {
                // Only where the packets take another way than through our rules could the server have more or less.
                #expect(Array(reading.bytes.prefix(server.count)) == server, "\(one.strategy)")
                #expect(reading.hosts == StreamReading(server).hosts, "\(one.strategy)")
            }
            if let name = one.server_sni { #expect(reading.hosts == [name], "\(one.strategy)") }
        }
        print("evasion: \(cases.count) strategies, \(refused.count) refused: \(refused.sorted())")
        #expect(cases.count - refused.count >= 40)
    }

    private struct Cut: Decodable {
        let pcap: String
        let flow: FlowLabel.Flow
        let hostname: String?
        let alpn: [String]
    }

    @Test("ordinary ClientHellos cut anew keep their names")
    func resegmented() throws {
        let cuts = try Corpus.lines("evasion/resegmented/labels.jsonl", as: Cut.self)
        for (pcap, flows) in Dictionary(grouping: cuts, by: \.pcap) {
            let streams = CaptureStreams(try Corpus.bytes("evasion/resegmented/" + pcap))
            for cut in flows {
                let flow = try #require(TrafficTests.flow(cut.flow))
                let connection = try #require(streams.connections(of: flow).first)
                let reading = StreamReading(connection)
                #expect(reading.error == nil, "\(pcap) \(cut.flow.sport)")
                #expect(reading.hosts == (cut.hostname.map { [$0] } ?? []), "\(pcap) \(cut.flow.sport)")
                #expect(reading.hello?.applicationProtocols ?? [] == cut.alpn, "\(pcap) \(cut.flow.sport)")
            }
        }
    }
}
