import Foundation
import HeaderCompression
import Octets
import Testing
import WireProtocols

@testable import FlowInspection

/// The vectors of RFC 9001, RFC 9369 and of other projects' HPACK tests.
@Suite(.enabled(if: Labels.isThere, "needs the conformance data (SALLYPORT_CONFORMANCE)")) struct VectorTests {
    @Test("the client Initial packets of RFC 9001 A.2 and RFC 9369 A.2", arguments: ["rfc9001", "rfc9369"])
    func initialPackets(name: String) throws {
        let datagram = try Labels.bytes("vectors/\(name)_client_initial.bin")
        var inspector = DatagramInspector(sourcePort: 50_000, destinationPort: 443)
        var scratch = InspectionScratch()
        var hosts: [String] = []
        try inspector.read(datagram.span.bytes, scratch: &scratch) {
            if case .hello(let hello, _) = $0 { hosts.append(hello.host?.description ?? "-") }
        }
        #expect(hosts == ["example.com"])
        #expect(inspector.application == .quic)
    }

    private struct Story: Decodable {
        struct Case: Decodable {
            let wire: String
            let headers: [[String: String]]
            let header_table_size: Int?
        }

        let cases: [Case]
    }

    @Test("HPACK blocks of other encoders")
    func headerBlocks() throws {
        let folder = try #require(Labels.root).appendingPathComponent("traffic/vectors/hpack-test-case")
        var count = 0
        for encoder in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
            let place = folder.appendingPathComponent(encoder)
            for file in (try? FileManager.default.contentsOfDirectory(atPath: place.path)) ?? []
            where file.hasSuffix(".json") {
                let story = try JSONDecoder().decode(
                    Story.self, from: Data(contentsOf: place.appendingPathComponent(file)))
                var decoder = HeaderDecoder()
                for one in story.cases {
                    let wire = try #require(Hex.decode(one.wire))
                    let fields = try decoder.decode(wire)
                    let wanted = one.headers.compactMap { $0.first }
                    #expect(fields.map(\.name) == wanted.map(\.key), "\(encoder) \(file)")
                    #expect(fields.map(\.value) == wanted.map(\.value), "\(encoder) \(file)")
                    count += 1
                }
            }
        }
        print("header blocks: \(count)")
        #expect(count > 500)
    }
}
