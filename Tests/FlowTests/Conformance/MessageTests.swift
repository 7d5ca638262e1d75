import Octets
import Testing
import WireProtocols

/// Messages from other projects' test suites.
@Suite(.enabled(if: Corpus.isThere, "needs the conformance data (SALLYPORT_CONFORMANCE)")) struct MessageTests {
    private struct Message: Decodable {
        let id: String
        let raw_hex: String
        let raw_preview: String
        let strict_verdict: String
    }

    /// Whether a stream of whole requests is taken to its end.
    private static func isAccepted(_ bytes: [UInt8]) -> (Bool, String) {
        let reading = StreamReading(bytes)
        return (
            reading.app == "http" && reading.error == nil && !reading.requests.isEmpty, reading.error ?? reading.app
        )
    }

    /// Refused by llhttp's configuration or because of what follows, right by RFC 9112.
    private static let rightByRFC: Set<String> = [
        "http-garden/server-41-0", "http-garden/server-48-0", "http-garden/server-48-1", "llhttp/connection/16",
        "llhttp/invalid/41", "llhttp/method/73", "llhttp/method/74", "llhttp/uri/159",
    ]

    /// Rules of ours that are stricter than those of the suites, whose samples mostly leave Host out.
    private static let stricter = [
        "HTTP/1.1 without Host", "Transfer-Encoding other than chunked", "byte in the request target",
        "field name that some programs read as another", "asterisk without OPTIONS", "HTTP version",
        "request line without version", "host name with a forbidden byte", "byte in a field name",
    ]

    @Test("HTTP/1: what others refuse is refused, what they take is taken or refused by a stricter rule")
    func http() throws {
        var accepted = 0
        var refused = 0
        for message in try Corpus.lines("http/messages.jsonl", as: Message.self) {
            let bytes = try #require(Hex.decode(message.raw_hex))
            let (isAccepted, why) = Self.isAccepted(bytes)
            accepted += isAccepted ? 1 : 0
            refused += isAccepted ? 0 : 1
            let comment: Comment = "\(message.id) \(why) \(message.raw_preview.debugDescription)"
            switch message.strict_verdict {
            case "reject", "reject_in_strict_mode", "reject_unless_rfc9112_valid":
                #expect(!isAccepted || Self.rightByRFC.contains(message.id), comment)
            case "parse", "parse_single_request":
                let isCut = message.id == "llhttp/finish/37"
                #expect(isAccepted || isCut || Self.stricter.contains { why.contains($0) }, comment)
            default: break
            }
        }
        print("http messages: \(accepted) accepted, \(refused) refused")
    }

    private struct Vector: Decodable {
        struct Expected: Decodable {
            let proto: String
            let hostname: String?
            let result: String
            let alpn: [String]?
        }

        let id: String
        let kind: String
        let chunks: [String]
        let expected: Expected
    }

    @Test("first messages of TCP streams have the names that other projects expect")
    func vectors() throws {
        for vector in try Corpus.lines("vectors/messages.jsonl", as: Vector.self) where vector.kind == "tcp" {
            let chunks = try vector.chunks.map { try #require(Hex.decode($0)) }
            var cuts: [Int] = []
            for chunk in chunks.dropLast() { cuts.append((cuts.last ?? 0) + chunk.count) }
            let reading = StreamReading(chunks.flatMap { $0 }, cutAt: cuts)
            switch vector.expected.proto {
            case "tls", "http":
                let expected = vector.expected.hostname.map { [TrafficTests.normal($0)] } ?? []
                // Two of them end before their request head does.
                let isCut = vector.id == "xray/http/0" || vector.id == "xray/http/1"
                #expect(reading.hosts == (isCut ? [] : expected), "\(vector.id) \(reading.error ?? "-")")
            default:
                #expect(reading.hosts.isEmpty, "\(vector.id)")
            }
        }
    }
}
