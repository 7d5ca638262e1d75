import Flow
import FlowInspection
import HeaderCompression
import Octets
import PacketHeaders
import WireProtocols

/// What is fuzzed: each reads any bytes and must return or throw.
enum Target: String, CaseIterable {
    case capture
    case datagrams
    case dns
    case headers
    case hello
    case http1
    case http2
    case quic
    case reassembler
    case stream

    func run(_ bytes: RawSpan) {
        switch self {
        case .capture:
            var inspector = CaptureInspector()
            inspector.read(bytes)
            for report in inspector.reports { check(report.json.utf8.last == UInt8(ascii: "}"), "a report is no JSON") }
        case .datagrams: Self.datagrams(bytes)
        case .dns:
            if let message = try? DNSMessage(parsing: bytes) {
                check((message.question?.name.description.utf8.count ?? 0) <= 1020, "a name is too long")
            }
            _ = DNSMessage.question(ofCut: bytes)
            _ = DNSStreamReader.matches(bytes)
        case .headers:
            var decoder = HeaderDecoder()
            // Several blocks on one connection.
            for part in Pieces(bytes, mark: 0xFF) { _ = try? decoder.decode(part) }
        case .hello: Self.hello(bytes)
        case .http1: Self.http1(bytes)
        case .http2:
            let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
            let whole = preface + bytes.withUnsafeBytes { Array($0) }
            Self.differential(whole, [])
        case .quic: Self.quic(bytes)
        case .reassembler: Self.reassembler(bytes)
        case .stream:
            // The first two bytes say where the server begins to speak.
            guard bytes.byteCount > 2 else { return }
            let all = bytes.extracting(2..<bytes.byteCount).withUnsafeBytes { Array($0) }
            let turn = (Int(bytes.byte(at: 0)) << 8 | Int(bytes.byte(at: 1))) % (all.count + 1)
            Self.differential(Array(all[..<turn]), Array(all[turn...]))
            Self.differential(Array(all[turn...]), [])
        }
    }

    /// Records of a ClientHello, whole and byte by byte.
    private static func hello(_ bytes: RawSpan) {
        func summary(_ cuts: [Int]) -> String {
            var scanner = ClientHelloScanner()
            var scratch = ClientHelloScratch()
            do throws(WireError) {
                for cut in cuts {
                    guard case .hello = try scanner.scan(bytes.extracting(0..<cut)) else { continue }
                    let message = try scratch.message(found: scanner, in: bytes.extracting(0..<cut))
                    let found = try ClientHelloSummary(parsing: message)
                    return "\(found.host?.description ?? "-") \(found.ja4)"
                }
                return "more"
            } catch {
                return "refused"
            }
        }
        let whole = summary([bytes.byteCount])
        check(whole == summary(Array(0...bytes.byteCount)), "a ClientHello is read in two ways")
        for place in [ClientHelloScanner.Place.second(afterEarlyData: false), .second(afterEarlyData: true)] {
            let whole = second(place, bytes, [bytes.byteCount])
            check(
                whole == second(place, bytes, Array(0...bytes.byteCount)), "a second ClientHello is read in two ways")
        }
        if let hello = try? ClientHello(parsing: bytes) { _ = hello.ja4(in: bytes) }
    }

    /// What becomes of a stream behind a first ClientHello; what is skipped is taken at once.
    private static func second(_ place: ClientHelloScanner.Place, _ bytes: RawSpan, _ cuts: [Int]) -> String {
        var scanner = ClientHelloScanner(place)
        var start = 0
        do throws(WireError) {
            for cut in cuts where cut >= start {
                switch try scanner.scan(bytes.extracting(start..<cut)) {
                case .needMore: start += scanner.takeSkipped()
                case .hello(let byteCount): return "hello until \(start + byteCount)"
                case .finished: return "finished"
                }
            }
            return "more"
        } catch {
            return "refused"
        }
    }

    private static func http1(_ bytes: RawSpan) {
        func trace(_ size: Int) -> [String] {
            var reader = HTTP1RequestReader()
            var lines: [String] = []
            var start = 0
            var end = min(size, bytes.byteCount)
            do throws(WireError) {
                while true {
                    let event = try reader.next(bytes.extracting(start..<end))
                    switch event {
                    case .needMore:
                        guard end < bytes.byteCount else { return lines }
                        end = min(bytes.byteCount, end + size)
                    case .head(let head):
                        let part = bytes.extracting(start..<end)
                        lines.append("\(head.method(in: part)) \(head.authority(in: part)?.description ?? "-")")
                        start += head.byteCount
                    case .framing(let byteCount, _), .body(let byteCount, _): start += byteCount
                    case .tunnel: return lines + ["tunnel"]
                    }
                }
            } catch {
                return lines + ["refused"]
            }
        }
        check(trace(.max - 1) == trace(1), "requests are read in two ways")
    }

    /// Datagrams, each behind its length in one byte and its side in the top bit of the next.
    private static func datagrams(_ bytes: RawSpan) {
        var inspector = DatagramInspector(sourcePort: 40_000, destinationPort: 53)
        var other = DatagramInspector(sourcePort: 40_000, destinationPort: 443)
        var scratch = InspectionScratch()
        var position = 0
        while position + 2 <= bytes.byteCount {
            let length = Int(bytes.byte(at: position)) << 3 | Int(bytes.byte(at: position + 1) & 7)
            let end = min(bytes.byteCount, position + 2 + length)
            let part = bytes.extracting(position + 2..<end)
            _ = try? inspector.read(part, scratch: &scratch) { _ in }
            _ = try? other.read(part, scratch: &scratch) { _ in }
            position = end
        }
    }

    private static func quic(_ bytes: RawSpan) {
        var reader = QUICInitialReader()
        var opener = QUICInitialOpener()
        for part in Pieces(bytes, mark: 0xFE) { _ = try? reader.read(part.span.bytes, opener: &opener) }
        _ = try? QUICLongHeader(parsing: bytes)
    }

    /// Segments of two bytes of offset and a length, of a stream that is known: what is read is what was written.
    private static func reassembler(_ bytes: RawSpan) {
        let whole = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 3) }
        let first = SequenceNumber(rawValue: 0xFFFF_FC00)
        var stream = StreamReassembler(first: first, byteLimit: 2048)
        var position = 0
        while position + 4 <= bytes.byteCount {
            let offset = Int(bytes.byte(at: position)) << 4 | Int(bytes.byte(at: position + 1) & 15)
            let length = Int(bytes.byte(at: position + 2))
            let action = bytes.byte(at: position + 3)
            position += 4
            let end = min(whole.count, offset + length)
            guard offset < end else { continue }
            var piece = Array(whole[offset..<end])
            if action & 0x80 != 0 { piece[0] ^= 1 }
            do throws(ReassemblyError) {
                try stream.insert(first.advanced(by: offset), piece.span.bytes)
                if action & 3 == 1 { try stream.judge(upTo: stream.start + Int(action >> 2)) }
            } catch {
                return
            }
            if action & 3 == 2 { stream.pass(upTo: stream.start + Int(action >> 2)) }
            if action & 3 == 3 { stream.acknowledge(upTo: stream.start) }
            guard action & 0x80 == 0 else { continue }
        }
        check(stream.end - stream.start <= 2048, "more is kept than allowed")
    }

    /// Both sides of a stream at once, and in pieces: what is told must be the same.
    private static func differential(_ client: [UInt8], _ server: [UInt8]) {
        let whole = Trace(server: server, client: client, size: .max)
        for size in [1, 7] {
            check(whole == Trace(server: server, client: client, size: size), "a stream is read in two ways")
        }
    }

    private static func check(_ isRight: Bool, _ rule: StaticString) {
        precondition(isRight, "\(rule)")
    }

    private func check(_ isRight: Bool, _ rule: StaticString) { Self.check(isRight, rule) }
}

/// The pieces of some bytes between marks.
struct Pieces: Sequence {
    private let pieces: [[UInt8]]

    init(_ bytes: RawSpan, mark: UInt8) {
        let all = bytes.withUnsafeBytes { Array($0) }
        pieces = all.split(separator: mark, maxSplits: 16, omittingEmptySubsequences: false).map { Array($0) }
    }

    func makeIterator() -> some IteratorProtocol<[UInt8]> { pieces.makeIterator() }
}

/// What an inspector tells of a server's and then a client's bytes.
struct Trace: Equatable {
    private var lines: [String] = []

    init(server: [UInt8], client: [UInt8], size: Int) {
        var inspector = StreamInspector()
        var scratch = InspectionScratch()
        do throws(WireError) {
            try read(.server, server, size, &inspector, &scratch)
            try read(.client, client, size, &inspector, &scratch)
        } catch {
            lines.append("refused")
        }
        lines.append("\(inspector.layers)")
    }

    private mutating func read(
        _ side: StreamSide, _ bytes: [UInt8], _ size: Int, _ inspector: inout StreamInspector,
        _ scratch: inout InspectionScratch
    ) throws(WireError) {
        var start = 0
        var end = 0
        while end < bytes.count {
            end = size >= bytes.count ? bytes.count : min(bytes.count, end + size)
            while start <= end {
                let part = bytes.span.bytes.extracting(start..<end)
                guard case .step(let fact, let byteCount, _) = try inspector.next(side, part, scratch: &scratch) else {
                    break
                }
                if let fact { lines.append("\(fact)") }
                start += byteCount
            }
        }
    }
}
