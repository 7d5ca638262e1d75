import Octets

/// Reads a chunked body (RFC 9112 §7.1): where its framing is, and where content. Chunk extensions are refused: no client
/// needs them, and servers differ on where they end.
struct HTTP1ChunkedBody: Hashable, BitwiseCopyable {
    private enum Phase: UInt8, BitwiseCopyable {
        case size
        case sizeLineFeed
        case content
        case contentReturn
        case contentLineFeed
        case lineStart
        case name
        case value
        case lineFeed
        case lastLineFeed
        case done
    }

    private var phase = Phase.size
    private var digits: UInt8 = 0
    private var fieldCount: UInt8 = 0
    private var trailerByteCount: UInt16 = 0
    private var remaining: UInt64 = 0
    private var isSmall = false

    /// Whether the body's last byte was read.
    var isDone: Bool { phase == .done }

    /// Reads on, from the first byte of `bytes`, to where framing ends and content begins or the other way round. Returns how
    /// many bytes were read, and whether they are framing: sizes, line ends, trailers, and the content of chunks of fewer
    /// than `Limits.smallChunkBytes` bytes. Throws `.malformed` only.
    mutating func consume(_ bytes: RawSpan) throws(WireError) -> (byteCount: Int, isFraming: Bool) {
        if phase == .content, !isSmall, bytes.byteCount > 0 { return (skipContent(bytes.byteCount), false) }
        var position = 0
        while position < bytes.byteCount, phase != .done {
            if phase == .content {
                guard isSmall else { break }
                position += skipContent(bytes.byteCount - position)
                continue
            }
            try read(bytes.byte(at: position), at: position)
            position += 1
        }
        return (position, true)
    }

    private mutating func skipContent(_ available: Int) -> Int {
        let count = min(UInt64(available), remaining)
        remaining -= count
        if remaining == 0 { phase = .contentReturn }
        return Int(count)
    }

    private mutating func read(_ byte: UInt8, at offset: Int) throws(WireError) {
        switch phase {
        case .size:
            if let value = byte.hexadecimalValue {
                guard digits < Limits.chunkSizeDigits else { throw .malformed("chunk size too long", offset: offset) }
                remaining = remaining << 4 | UInt64(value)
                digits += 1
                return
            }
            guard digits > 0 else { throw .malformed("chunk without size", offset: offset) }
            if byte == UInt8(ascii: ";") { throw .malformed("chunk extension", offset: offset) }
            guard byte == 0x0D else { throw .malformed("byte in a chunk size", offset: offset) }
            phase = .sizeLineFeed
        case .sizeLineFeed:
            try expect(0x0A, byte, offset)
            phase = remaining == 0 ? .lineStart : .content
            isSmall = remaining < Limits.smallChunkBytes
            digits = 0
        case .content: break
        case .contentReturn:
            try expect(0x0D, byte, offset)
            phase = .contentLineFeed
        case .contentLineFeed:
            try expect(0x0A, byte, offset)
            phase = .size
        case .lineStart, .name, .value, .lineFeed, .lastLineFeed: try readTrailer(byte, at: offset)
        case .done: break
        }
    }

    /// RFC 9112 §7.1.2; the same rules as for a head's fields.
    private mutating func readTrailer(_ byte: UInt8, at offset: Int) throws(WireError) {
        trailerByteCount += 1
        guard trailerByteCount <= Limits.trailerBytes else { throw .malformed("trailer too long", offset: offset) }
        switch phase {
        case .lineStart where byte == 0x0D: phase = .lastLineFeed
        case .lineStart:
            guard byte.isTokenByte else { throw .malformed("trailer field name", offset: offset) }
            fieldCount += 1
            guard fieldCount <= Limits.fields else { throw .malformed("too many trailer fields", offset: offset) }
            phase = .name
        case .name where byte == UInt8(ascii: ":"): phase = .value
        case .name:
            guard byte.isTokenByte else { throw .malformed("trailer field name", offset: offset) }
        case .value where byte == 0x0D: phase = .lineFeed
        case .value:
            guard byte >= 0x20 || byte == 0x09, byte != 0x7F else {
                throw .malformed("control character in a trailer", offset: offset)
            }
        case .lineFeed:
            try expect(0x0A, byte, offset)
            phase = .lineStart
        case .lastLineFeed:
            try expect(0x0A, byte, offset)
            phase = .done
        case .size, .sizeLineFeed, .content, .contentReturn, .contentLineFeed, .done: break
        }
    }

    private func expect(_ wanted: UInt8, _ byte: UInt8, _ offset: Int) throws(WireError) {
        guard byte == wanted else { throw .malformed("CR LF missing in a chunked body", offset: offset) }
    }
}
