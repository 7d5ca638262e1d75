import HeaderCompression
import Octets
import WireProtocols

/// Reads the requests of one HTTP/2 connection: frames, header blocks put together, HPACK, what they ask for.
struct HTTP2RequestReader: Sendable {
    enum Event {
        case needMore
        case request(HTTP2Request, byteCount: Int)
        /// The header block's fields came to no request: trailers, or a piece that does not end it.
        case block(byteCount: Int)
        /// The preface or a frame's header: with other bytes in their place the next frame would begin elsewhere.
        case framing(byteCount: Int)
        /// Of a payload that names nothing.
        case payload(byteCount: Int)
    }

    private var frames = HTTP2FrameReader()
    private var decoder = HeaderDecoder()
    private var block: [UInt8] = []
    /// The stream of the last request; 0 before the first.
    private(set) var lastStream: UInt32 = 0

    /// Bytes of such a payload that are still to come.
    var remainingPayloadByteCount: Int { frames.remainingPayloadByteCount }

    mutating func next(_ bytes: RawSpan) throws(WireError) -> Event {
        let isPayload = frames.remainingPayloadByteCount > 0
        switch try frames.next(bytes) {
        case .needMore: return .needMore
        case .passed(let byteCount):
            return isPayload ? .payload(byteCount: byteCount) : .framing(byteCount: byteCount)
        case .headers(let fragment, let byteCount):
            bytes.extracting(fragment.block).withUnsafeBytes { block.append(contentsOf: $0) }
            guard fragment.endsBlock else { return .block(byteCount: byteCount) }
            let fields = try decode()
            // A stream that was opened before ends with trailers (RFC 9113 §8.1); numbers of new ones only grow (§5.1.1).
            guard fragment.stream > lastStream else {
                try HTTP2Request.checkTrailers(fields)
                return .block(byteCount: byteCount)
            }
            lastStream = fragment.stream
            return .request(try HTTP2Request(fields), byteCount: byteCount)
        }
    }

    private mutating func decode() throws(WireError) -> [HTTP2Field] {
        defer { block.removeAll(keepingCapacity: true) }
        do throws(HeaderDecodingError) {
            return try decoder.decode(block).map { HTTP2Field(name: $0.name, value: $0.value) }
        } catch {
            throw .malformed("HTTP/2 header compression", offset: 0)
        }
    }
}
