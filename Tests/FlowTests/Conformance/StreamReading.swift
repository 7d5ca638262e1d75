import Octets
import PacketHeaders
import WireProtocols

@testable import Flow

/// What the parsers make of one client stream, read as the enforcer reads it: in order, byte by judged byte.
struct StreamReading: Equatable {
    var app = "unknown"
    /// Every host named, in order, without repetition.
    var hosts: [String] = []
    var requests: [String] = []
    var hello: ClientHelloSummary?
    /// All bytes of the stream without a gap, where nothing was acknowledged.
    var bytes: [UInt8] = []
    /// Why reading stopped.
    var error: String?

    /// Reads the client's side of a connection; with `behindRules` only what the kernel's rules let through.
    init(_ connection: CaptureStreams.Connection, behindRules: Bool = false) {
        let segments = connection.segments.filter {
            $0.isFromClient && !$0.payload.isEmpty && (!behindRules || $0.reachesQueue)
        }
        guard let first = connection.first ?? segments.first?.sequence else { return }
        var stream = StreamReassembler(first: first, byteLimit: 1 << 20)
        var parser = Parser()
        for segment in segments {
            do throws(ReassemblyError) {
                try stream.insert(segment.sequence, segment.payload.span.bytes)
            } catch {
                self.error = "\(error)"
                break
            }
            let known = bytes.count
            for offset in max(known, stream.start)..<max(known, stream.end) {
                bytes.append(stream.bytes.byte(at: offset - stream.start))
            }
            if parser.read(stream.bytes, into: &self) {
                // Whole messages are judged; the test has no acknowledgments, so all of them stay for comparison.
                let judged = parser.takeConsumed()
                do throws(ReassemblyError) { try stream.judge(upTo: stream.start + judged) } catch {
                    stream.pass(upTo: stream.start + judged)
                }
            }
            if error != nil { break }
        }
    }

    /// Reads bytes that are there at once.
    init(_ bytes: [UInt8], cutAt cuts: [Int] = []) {
        var parser = Parser()
        var consumed = 0
        for end in cuts + [bytes.count] {
            guard parser.read(bytes.span.bytes.extracting(consumed..<end), into: &self) else { continue }
            consumed += parser.takeConsumed()
            if error != nil || parser.isDone { break }
        }
    }

    mutating func add(host: String?) {
        guard let host, !hosts.contains(host) else { return }
        hosts.append(host)
    }

    /// The state between two segments.
    private struct Parser {
        private enum State {
            case detecting
            case tls(ClientHelloScanner)
            case http(HTTP1RequestReader)
            case done
        }

        private var state = State.detecting
        private var consumed = 0
        private var wasConnect = false

        var isDone: Bool { if case .done = state { true } else { false } }

        mutating func takeConsumed() -> Int {
            defer { consumed = 0 }
            return consumed
        }

        /// Reads what is there; true if something was consumed.
        mutating func read(_ bytes: RawSpan, into reading: inout StreamReading) -> Bool {
            do throws(WireError) {
                while try step(bytes.extracting(consumed..<bytes.byteCount), &reading) {}
            } catch {
                reading.error = "\(error)"
                state = .done
            }
            return consumed > 0
        }

        private mutating func step(_ bytes: RawSpan, _ reading: inout StreamReading) throws(WireError) -> Bool {
            switch state {
            case .done: return false
            case .detecting:
                switch ProtocolDetector.detect(bytes) {
                case .needMore: return false
                case .tls:
                    state = .tls(ClientHelloScanner())
                    reading.app = "tls"
                case .http1:
                    state = .http(HTTP1RequestReader())
                    reading.app = "http"
                case .http2:
                    state = .done
                    reading.app = "h2c"
                case .unknown: state = .done
                }
                return true
            case .tls(var scanner):
                let progress = try scanner.scan(bytes)
                state = .tls(scanner)
                guard case .hello = progress else { return false }
                var scratch = ClientHelloScratch()
                let hello = try ClientHelloSummary(parsing: try scratch.message(found: scanner, in: bytes))
                reading.hello = hello
                reading.add(host: hello.host?.description)
                state = .done
                return false
            case .http(var reader):
                let event = try reader.next(bytes)
                defer { if case .http = state { state = .http(reader) } }
                switch event {
                case .needMore: return false
                case .head(let head):
                    let authority = head.authority(in: bytes)
                    reading.add(host: authority?.host.description)
                    reading.requests.append("\(head.method(in: bytes)) \(authority?.description ?? "-")")
                    wasConnect = head.isConnect
                    consumed += head.byteCount
                case .body(let byteCount, _), .framing(let byteCount, _): consumed += byteCount
                case .tunnel where wasConnect: state = .detecting
                case .tunnel:
                    switch ProtocolDetector.detect(bytes) {
                    case .needMore: return false
                    case .http1: reader.resumeRequests()
                    default: state = .done
                    }
                }
                return true
            }
        }
    }
}
