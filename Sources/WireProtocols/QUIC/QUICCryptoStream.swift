import Octets

/// The CRYPTO bytes of a connection's Initial packets, put in order however their frames came (RFC 9000 §19.6), within bounds.
/// Endpoints differ on which copy of an overlapping byte they keep, so a byte that comes again with another value is refused.
struct QUICCryptoStream: Sendable {
    private var bytes: [UInt8] = []
    /// The ranges that are there, in order, neither touching nor overlapping.
    private var ranges: [Range<Int>] = []

    /// Bytes that are there from the beginning without a hole.
    var prefixByteCount: Int {
        guard let first = ranges.first, first.lowerBound == 0 else { return 0 }
        return first.upperBound
    }

    /// Whether there is any byte from `offset` on.
    func hasBytes(from offset: Int) -> Bool { ranges.last.map { $0.upperBound > offset } ?? false }

    /// The handshake message that begins at `offset`, from its type on; nil until it is whole.
    func message(at offset: Int) -> [UInt8]? {
        guard prefixByteCount >= offset + 4 else { return nil }
        let length = Int(bytes[offset + 1]) << 16 | Int(bytes[offset + 2]) << 8 | Int(bytes[offset + 3])
        let end = offset + 4 + length
        return prefixByteCount >= end ? Array(bytes[offset..<end]) : nil
    }

    /// Takes the content of a frame.
    mutating func insert(_ content: RawSpan, at offset: UInt64) throws(WireError) {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(content.byteCount))
        guard !overflow, end <= UInt64(Limits.clientHelloBytes) else {
            throw .malformed("CRYPTO offset beyond any ClientHello", offset: 0)
        }
        guard content.byteCount > 0 else { return }
        let start = Int(offset)
        let new = start..<start + content.byteCount
        if start == bytes.count, ranges.count <= 1, start == prefixByteCount {
            // The usual case: the beginning, or what goes on from there.
            content.withUnsafeBytes { bytes.append(contentsOf: $0) }
            ranges = [0..<new.upperBound]
            return
        }
        if bytes.count < new.upperBound {
            bytes.append(contentsOf: repeatElement(0, count: new.upperBound - bytes.count))
        }
        // Ranges before `position` end before the new one begins.
        var position = 0
        while position < ranges.count, ranges[position].upperBound < new.lowerBound { position += 1 }
        var merged = new
        var last = position
        var cursor = new.lowerBound
        while last < ranges.count, ranges[last].lowerBound <= new.upperBound {
            let known = ranges[last]
            let overlap =
                max(
                    known.lowerBound, new.lowerBound)..<max(
                    min(known.upperBound, new.upperBound), max(known.lowerBound, new.lowerBound))
            for index in overlap where bytes[index] != content.byte(at: index - start) {
                throw .malformed("CRYPTO byte that came twice with different values", offset: 0)
            }
            copy(content, cursor..<max(cursor, overlap.lowerBound), start)
            cursor = max(cursor, overlap.upperBound)
            merged = min(merged.lowerBound, known.lowerBound)..<max(merged.upperBound, known.upperBound)
            last += 1
        }
        copy(content, cursor..<max(cursor, new.upperBound), start)
        ranges.replaceSubrange(position..<last, with: [merged])
        guard ranges.count <= Limits.cryptoRanges else {
            throw .malformed("CRYPTO frames with too many holes", offset: 0)
        }
    }

    private mutating func copy(_ content: RawSpan, _ range: Range<Int>, _ start: Int) {
        guard !range.isEmpty else { return }
        bytes.withUnsafeMutableBytes { bytes in
            content.extracting(range.lowerBound - start..<range.upperBound - start).withUnsafeBytes { content in
                UnsafeMutableRawBufferPointer(rebasing: bytes[range]).copyMemory(from: content)
            }
        }
    }
}
