public import Octets

/// A piece of a request's header block (RFC 9113 §6.2, §6.10).
public struct HTTP2HeaderFragment: Hashable, Sendable, BitwiseCopyable {
    /// The stream; odd.
    public let stream: UInt32
    /// Where the piece lies in the bytes that were read.
    public let block: ByteRange
    /// Whether this is a HEADERS frame, not a CONTINUATION.
    public let isFirst: Bool
    /// Whether the block ends here.
    public let endsBlock: Bool
}

/// Reads the frames that a client sends on one HTTP/2 connection (RFC 9113 §3.4, §4).
///
/// A plain state. Hand `next` the contiguous bytes that it has not consumed yet, from the preface on; frames that matter are
/// read whole, DATA as it comes. Refused as malformed: a connection that does not begin with the preface and SETTINGS, frames
/// out of their order or longer than allowed, PUSH_PROMISE of a client, anything between HEADERS and its last CONTINUATION.
public struct HTTP2FrameReader: Hashable, Sendable, BitwiseCopyable {
    /// What the next bytes are.
    public enum Event: Hashable, Sendable {
        /// More bytes are needed; none was consumed.
        case needMore
        /// A piece of a header block; its frame takes the first `byteCount` bytes.
        case headers(HTTP2HeaderFragment, byteCount: Int)
        /// The first `byteCount` bytes are of a body or of nothing that names a request.
        case passed(byteCount: Int)
    }

    private enum Phase: UInt8, BitwiseCopyable {
        case preface
        case settings
        case frames
    }

    private var phase: Phase
    /// Bytes of a DATA or unknown frame that are still to come.
    private var remaining: UInt32 = 0
    /// The stream whose header block has not ended; 0 for none.
    private var openBlock: UInt32 = 0
    private var blockByteCount: UInt32 = 0

    /// Bytes of a frame's payload that are still to come and name nothing: of DATA, SETTINGS and the like.
    public var remainingPayloadByteCount: Int { Int(remaining) }

    /// A reader at the beginning of a connection.
    public init() {
        phase = .preface
    }

    /// Reads on. Throws `.malformed` only.
    public mutating func next(_ bytes: RawSpan) throws(WireError) -> Event {
        if phase == .preface {
            let preface = ProtocolDetector.http2Preface
            guard bytes.matchesPrefix(preface) else { throw .malformed("HTTP/2 preface", offset: 0) }
            guard bytes.byteCount >= preface.utf8CodeUnitCount else { return .needMore }
            phase = .settings
            return .passed(byteCount: preface.utf8CodeUnitCount)
        }
        if remaining > 0 {
            let count = min(Int(remaining), bytes.byteCount)
            guard count > 0 else { return .needMore }
            remaining -= UInt32(count)
            return .passed(byteCount: count)
        }
        guard bytes.byteCount >= Self.headerByteCount else { return .needMore }
        let length = Int(bytes.byte(at: 0)) << 16 | Int(bytes.uint16(at: 1))
        let type = bytes.byte(at: 3)
        let flags = bytes.byte(at: 4)
        let stream = UInt32(bytes.uint16(at: 5)) << 16 & 0x7FFF_0000 | UInt32(bytes.uint16(at: 7))
        if phase == .settings {
            guard type == FrameType.settings, flags & 1 == 0 else {
                throw .malformed("HTTP/2 connection that does not begin with SETTINGS", offset: 3)
            }
        }
        guard openBlock == 0 || (type == FrameType.continuation && stream == openBlock) else {
            throw .malformed("HTTP/2 frame within a header block", offset: 3)
        }
        switch type {
        case FrameType.headers, FrameType.continuation:
            return try readBlock(bytes, length, type, flags, stream)
        case FrameType.data:
            guard stream % 2 == 1 else { throw .malformed("HTTP/2 DATA on a stream that is no client's", offset: 5) }
        case FrameType.pushPromise: throw .malformed("PUSH_PROMISE of a client", offset: 3)
        case FrameType.settings:
            guard stream == 0, length % 6 == 0, flags & 1 == 0 || length == 0 else {
                throw .malformed("HTTP/2 SETTINGS", offset: 0)
            }
        case FrameType.ping:
            guard stream == 0, length == 8 else { throw .malformed("HTTP/2 PING", offset: 0) }
        case FrameType.resetStream, FrameType.windowUpdate:
            guard length == 4 else { throw .malformed("length of an HTTP/2 frame", offset: 0) }
        case FrameType.priority:
            guard length == 5 else { throw .malformed("length of an HTTP/2 frame", offset: 0) }
        case FrameType.goAway:
            guard stream == 0, length >= 8 else { throw .malformed("HTTP/2 GOAWAY", offset: 0) }
        default: break
        }
        phase = .frames
        remaining = UInt32(length)
        return .passed(byteCount: Self.headerByteCount)
    }

    /// A HEADERS frame with its padding and priority, or a CONTINUATION.
    private mutating func readBlock(
        _ bytes: RawSpan, _ length: Int, _ type: UInt8, _ flags: UInt8, _ stream: UInt32
    ) throws(WireError) -> Event {
        let isFirst = type == FrameType.headers
        guard stream % 2 == 1 else { throw .malformed("HTTP/2 HEADERS on a stream that is no client's", offset: 5) }
        guard isFirst || openBlock != 0 else { throw .malformed("CONTINUATION without HEADERS", offset: 3) }
        guard Int(blockByteCount) + length <= Limits.requestHeadBytes else {
            throw .malformed("HTTP/2 header block too long", offset: 0)
        }
        let end = Self.headerByteCount + length
        guard bytes.byteCount >= end else { return .needMore }
        var start = Self.headerByteCount
        var padding = 0
        if isFirst {
            if flags & Flags.padded != 0 {
                guard start < end else { throw .malformed("HTTP/2 padding", offset: start) }
                padding = Int(bytes.byte(at: start))
                start += 1
            }
            if flags & Flags.priority != 0 { start += 5 }
            guard start + padding <= end else { throw .malformed("HTTP/2 padding", offset: Self.headerByteCount) }
        }
        let endsBlock = flags & Flags.endHeaders != 0
        openBlock = endsBlock ? 0 : stream
        blockByteCount = endsBlock ? 0 : blockByteCount + UInt32(length) + UInt32(Self.headerByteCount)
        return .headers(
            HTTP2HeaderFragment(
                stream: stream, block: ByteRange(start..<end - padding), isFirst: isFirst, endsBlock: endsBlock),
            byteCount: end)
    }

    private static let headerByteCount = 9

    /// RFC 9113 §6.
    private enum FrameType {
        static let data: UInt8 = 0
        static let headers: UInt8 = 1
        static let priority: UInt8 = 2
        static let resetStream: UInt8 = 3
        static let settings: UInt8 = 4
        static let pushPromise: UInt8 = 5
        static let ping: UInt8 = 6
        static let goAway: UInt8 = 7
        static let windowUpdate: UInt8 = 8
        static let continuation: UInt8 = 9
    }

    private enum Flags {
        static let endHeaders: UInt8 = 4
        static let padded: UInt8 = 8
        static let priority: UInt8 = 0x20
    }
}
