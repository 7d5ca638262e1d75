import Octets
import Testing
import WireProtocols

@testable import FlowInspection

/// What an inspector tells of the bytes of both sides, as text.
struct StreamTrace: Equatable {
    var lines: [String] = []
    var layers: [ApplicationProtocol] = []

    /// Reads `turns`, each of a side, handed over in pieces of at most `size` bytes.
    init(_ turns: [(StreamSide, [UInt8])], size: Int = .max) {
        var inspector = StreamInspector()
        var scratch = InspectionScratch()
        var pending: [StreamSide: [UInt8]] = [:]
        var skip: [StreamSide: Int] = [:]
        do throws(WireError) {
            for (side, bytes) in turns {
                for start in stride(from: 0, to: bytes.count, by: min(size, max(1, bytes.count))) {
                    let end = size > bytes.count ? bytes.count : min(bytes.count, start + size)
                    var piece = Array(bytes[start..<end])
                    let skipped = min(skip[side, default: 0], piece.count)
                    piece.removeFirst(skipped)
                    skip[side, default: 0] -= skipped
                    pending[side, default: []] += piece
                    // Either side may be able to go on by what the other said.
                    for other in [side, .client, .server] {
                        try Self.drain(other, &inspector, &scratch, &pending, &skip, &lines)
                    }
                }
            }
        } catch {
            lines.append(error.text.split(separator: " (").first.map(String.init) ?? "")
        }
        layers = inspector.layers
    }

    private static func drain(
        _ side: StreamSide, _ inspector: inout StreamInspector, _ scratch: inout InspectionScratch,
        _ pending: inout [StreamSide: [UInt8]], _ skip: inout [StreamSide: Int], _ lines: inout [String]
    ) throws(WireError) {
        while true {
            let bytes = pending[side] ?? []
            guard case .step(let fact, let byteCount, _) = try inspector.next(side, bytes.span.bytes, scratch: &scratch)
            else { return }
            if let fact { lines.append(text(fact)) }
            pending[side]?.removeFirst(min(byteCount, bytes.count))
            skip[side, default: 0] += max(0, byteCount - bytes.count)
        }
    }

    private static func text(_ fact: InspectionFact) -> String {
        switch fact {
        case .speaks(let application): "speaks \(application.rawValue)"
        case .hello(let hello, _): "hello \(hello.host?.description ?? "-")"
        case .request(let request):
            "request \(request.method) \(request.authority?.description ?? "-") \(request.path)"
        case .dns(let message):
            "dns \(message.isResponse ? "answer" : "query") \(message.question?.name.description ?? "-")"
        case .question(let question, _): "question \(question.name)"
        case .login(let user, let database): "login \(user) \(database ?? "-")"
        case .software(let text, let side): "\(side) is \(text)"
        case .proxyRequest(let request): "proxy \(request.host):\(request.port)"
        case .unknownVersion(let version): "version \(version)"
        }
    }
}
