public import Octets

/// Reads the requests of one client stream, one after another: keep-alive and pipelined.
///
/// A plain state without memory. Hand `next` the contiguous bytes that it has not consumed yet, again with more when it asks;
/// a head's bytes are looked at once while they arrive and once when it is whole, body bytes once. After `.head(head)`,
/// drop `head.byteCount` bytes; after `.body` and `.framing`, drop its count.
public struct HTTP1RequestReader: Hashable, Sendable, BitwiseCopyable {
    /// What the next bytes are.
    public enum Event: Hashable, Sendable {
        /// More bytes are needed; none was consumed.
        case needMore
        /// A whole head; it takes the first `head.byteCount` bytes.
        case head(HTTP1RequestHead)
        /// The first `byteCount` bytes are of a body; `isLast` if the request ends there.
        case body(byteCount: Int, isLast: Bool)
        /// The first `byteCount` bytes are what delimits a chunked body. If other bytes took their place, the next request
        /// would begin elsewhere.
        case framing(byteCount: Int, isLast: Bool)
        /// What follows is no HTTP/1 if the server agreed to CONNECT or to an upgrade, and a request otherwise. The caller
        /// finds out: it calls `resumeRequests` or parses the rest as what it has become.
        case tunnel
    }

    private enum Phase: Hashable, BitwiseCopyable {
        case head
        case fixedBody(UInt64)
        case chunkedBody(HTTP1ChunkedBody)
        case tunnel
    }

    private var phase = Phase.head
    private var isTunnelNext = false
    private var scanner = HeadScanner()
    private let maximumHeadByteCount: UInt32

    /// A reader at the beginning of a stream. `maximumHeadByteCount` bounds one head.
    public init(maximumHeadByteCount: Int = Limits.requestHeadBytes) {
        self.maximumHeadByteCount = UInt32(clamping: maximumHeadByteCount)
    }

    /// Whether the reader stands between two requests with nothing read of the next one.
    public var isIdle: Bool { phase == .head && scanner == HeadScanner() }

    /// How many bytes of a body of known length are still to come; nil outside such a body.
    public var remainingBodyByteCount: UInt64? {
        if case .fixedBody(let remaining) = phase { remaining } else { nil }
    }

    /// Reads on. Throws `.malformed` for what no server should take, or not every server takes in the same way; offsets
    /// count from the first byte of `bytes`.
    public mutating func next(_ bytes: RawSpan) throws(WireError) -> Event {
        switch phase {
        case .tunnel: return .tunnel
        case .head: return try nextHead(bytes)
        case .fixedBody(let remaining):
            guard bytes.byteCount > 0 else { return .needMore }
            let count = min(remaining, UInt64(bytes.byteCount))
            guard count == remaining else {
                phase = .fixedBody(remaining - count)
                return .body(byteCount: Int(count), isLast: false)
            }
            endRequest()
            return .body(byteCount: Int(count), isLast: true)
        case .chunkedBody(var body):
            guard bytes.byteCount > 0 else { return .needMore }
            let (count, isFraming) = try body.consume(bytes)
            let isLast = body.isDone
            if isLast { endRequest() } else { phase = .chunkedBody(body) }
            return isFraming ? .framing(byteCount: count, isLast: isLast) : .body(byteCount: count, isLast: isLast)
        }
    }

    /// After `.tunnel`: the server refused to change the protocol, so requests go on.
    public mutating func resumeRequests() {
        phase = .head
    }

    private mutating func nextHead(_ bytes: RawSpan) throws(WireError) -> Event {
        guard try scanner.scan(bytes, maximumByteCount: Int(maximumHeadByteCount)) else { return .needMore }
        let head = try HTTP1RequestHead(parsing: bytes, line: scanner.line.range, fields: scanner.fields)
        scanner = HeadScanner()
        isTunnelNext = head.isConnect || !head.upgrade.isEmpty
        switch head.bodyLength {
        case .fixed(0): endRequest()
        case .fixed(let byteCount): phase = .fixedBody(byteCount)
        case .chunked: phase = .chunkedBody(HTTP1ChunkedBody())
        }
        return .head(head)
    }

    private mutating func endRequest() {
        phase = isTunnelNext ? .tunnel : .head
        isTunnelNext = false
    }
}

/// Finds the end of a head by its lines, and refuses what is no line: bare LF, bare CR, NUL, HTTP/0.9.
private struct HeadScanner: Hashable, BitwiseCopyable {
    /// The request line without its end; empty until it was found.
    private(set) var line = ByteRange()
    /// Bytes looked at.
    private var position: UInt32 = 0
    private var lineStart: UInt32 = 0
    private var fieldCount: UInt8 = 0
    private var emptyLines: UInt8 = 0

    /// The field lines, once `scan` has found the end.
    var fields: Range<Int> { line.upperBound + 2..<Int(position) - 2 }

    /// Reads on to the end of the head; false if it is not there yet.
    mutating func scan(_ bytes: RawSpan, maximumByteCount: Int) throws(WireError) -> Bool {
        var index = Int(position)
        while index < bytes.byteCount {
            guard index < maximumByteCount else { throw .malformed("request head too long", offset: index) }
            let byte = bytes.byte(at: index)
            guard byte == 0x0D else {
                guard byte != 0x0A else { throw .malformed("bare LF", offset: index) }
                guard byte != 0 else { throw .malformed("NUL in a request head", offset: index) }
                index += 1
                continue
            }
            guard index + 1 < bytes.byteCount else { break }
            guard bytes.byte(at: index + 1) == 0x0A else { throw .malformed("bare CR", offset: index) }
            let start = Int(lineStart)
            position = UInt32(index + 2)
            lineStart = position
            if index > start {
                try endLine(bytes, start..<index)
            } else if !line.isEmpty {
                return true
            } else {
                emptyLines += 1
                guard emptyLines <= Limits.leadingEmptyLines else {
                    throw .malformed("empty lines before a request", offset: start)
                }
            }
            index += 2
        }
        position = UInt32(index)
        return false
    }

    private mutating func endLine(_ bytes: RawSpan, _ range: Range<Int>) throws(WireError) {
        if line.isEmpty {
            // A request of HTTP/0.9 ends with its line: waiting for more would be waiting for ever.
            _ = try HTTP1RequestLine(parsing: bytes, at: range)
            line = ByteRange(range)
        } else {
            fieldCount += 1
            guard fieldCount <= Limits.fields else { throw .malformed("too many fields", offset: range.lowerBound) }
        }
    }
}
