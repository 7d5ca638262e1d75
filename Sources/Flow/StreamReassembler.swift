public import PacketHeaders

/// Why a segment could not be taken.
public enum ReassemblyError: Error, Hashable, Sendable {
    /// A byte that was seen before came again with another value. What a server keeps of such bytes cannot be known.
    case conflict
    /// More bytes or pieces than the bounds allow, or a segment far ahead of the stream.
    case full
}

/// The client's bytes of one TCP connection in order, within bounds.
///
/// Offsets count payload bytes from the one behind the SYN, without wrapping. The stream has four parts:
///
///     | forgotten | judged pieces that are kept | kept: start ..< end | pending: ahead of a hole |
///
/// The caller reads `start ..< end` and then says of bytes that they were *judged* (kept aside, so that a retransmission is
/// compared with them, until the server has acknowledged them) or *passed* (a message's body: not kept). A byte left of
/// `start` is never read again; one that belongs to a judged piece must be the same as before; one left of `acknowledged`
/// can be compared no more, and the server wants it no more. Nothing is allocated for a connection before its first byte.
public struct StreamReassembler: Sendable {
    /// The offset of the first byte that is neither judged nor passed.
    public private(set) var start = 0
    /// The offset behind the last byte that the server is known to have.
    public private(set) var acknowledged = 0
    /// The most bytes that are kept, of each part.
    public let byteLimit: Int

    private var startSequence: SequenceNumber
    private var kept: [UInt8] = []
    private var judged: [Piece] = []
    private var pending: [Piece] = []

    private struct Piece: Sendable {
        var offset: Int
        var bytes: [UInt8]

        var end: Int { offset + bytes.count }
    }

    /// An empty stream whose first byte has the number `first`.
    public init(first: SequenceNumber, byteLimit: Int) {
        startSequence = first
        self.byteLimit = byteLimit
    }

    /// The offset behind the last byte that is there without a hole.
    public var end: Int { start + kept.count }

    /// Whether every byte that came was judged or passed.
    public var isDrained: Bool { kept.isEmpty && pending.isEmpty }

    /// The offset of a sequence number, taken as near `start`; negative for numbers before the stream.
    public func offset(of sequence: SequenceNumber) -> Int {
        start + sequence.distance(from: startSequence)
    }

    /// The sequence number at an offset.
    public func sequence(at offset: Int) -> SequenceNumber {
        startSequence.advanced(by: offset - start)
    }

    /// How many bytes of a segment that begins at `sequence` the server has already.
    public func staleByteCount(of sequence: SequenceNumber) -> Int {
        max(0, acknowledged - offset(of: sequence))
    }

    /// Whether judged bytes wait for the server's acknowledgment.
    public var hasJudgedBytes: Bool { !judged.isEmpty }

    /// The offset behind the last judged byte that is kept; 0 where there is none.
    public var judgedEnd: Int { judged.last?.end ?? 0 }

    /// How many bytes of judged pieces are kept.
    public private(set) var judgedByteCount = 0

    /// Whether so much is kept of judged pieces that it is worth asking what the server has.
    public var needsAcknowledgment: Bool {
        judgedByteCount > Self.unaskedByteCount || judged.count > Self.unaskedPieceCount
    }

    /// Takes a segment. After an error the stream is of no further use: the flow is refused.
    public mutating func insert(_ sequence: SequenceNumber, _ payload: RawSpan) throws(ReassemblyError) {
        let offset = offset(of: sequence)
        let segmentEnd = offset + payload.byteCount
        try compareJudged(offset, payload)
        guard segmentEnd > start, payload.byteCount > 0 else { return }
        try Self.compare(start, kept, offset, payload)
        for piece in pending { try Self.compare(piece.offset, piece.bytes, offset, payload) }
        let from = max(offset, start)
        guard segmentEnd - start <= byteLimit else { throw .full }
        guard from <= end else {
            guard pending.count < Self.pieceLimit else { throw .full }
            var piece = Piece(offset: from, bytes: [])
            Self.append(payload, from - offset, to: &piece.bytes)
            pending.append(piece)
            return
        }
        if segmentEnd > end { Self.append(payload, end - offset, to: &kept) }
        absorbPending()
    }

    /// Throws `.conflict` where a segment differs from what was judged; takes nothing from it.
    public func verify(_ sequence: SequenceNumber, _ payload: RawSpan) throws(ReassemblyError) {
        try compareJudged(offset(of: sequence), payload)
    }

    /// The bytes from `start` to `end`.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get { kept.span.bytes }
    }

    /// The bytes from `start` up to `offset` were judged: they are kept aside for comparison. Throws `.full` where more
    /// would be kept than the bound allows.
    public mutating func judge(upTo offset: Int) throws(ReassemblyError) {
        let count = min(offset, end) - start
        guard count > 0 else { return }
        guard judgedByteCount + count <= byteLimit, judged.count < Self.judgedPieceLimit else { throw .full }
        if let last = judged.last, last.end == start {
            judged[judged.count - 1].bytes.append(contentsOf: kept[..<count])
        } else {
            judged.append(Piece(offset: start, bytes: Array(kept[..<count])))
        }
        judgedByteCount += count
        advance(by: count)
    }

    /// The bytes from `start` up to `offset` are a message's body: they are forgotten. `offset` may lie ahead of `end`;
    /// then the bytes in between are passed unseen.
    public mutating func pass(upTo offset: Int) {
        guard offset > start else { return }
        advance(by: offset - start)
        absorbPending()
    }

    /// The server has acknowledged everything before `offset`: no retransmission of it can matter.
    public mutating func acknowledge(upTo offset: Int) {
        acknowledged = max(acknowledged, offset)
        var count = 0
        while count < judged.count, judged[count].end <= offset {
            judgedByteCount -= judged[count].bytes.count
            count += 1
        }
        if count > 0 { judged.removeFirst(count) }
    }

    private mutating func advance(by count: Int) {
        kept.removeFirst(min(count, kept.count))
        start += count
        startSequence = startSequence.advanced(by: count)
    }

    /// Moves pending pieces that now touch the stream to its end, and drops what lies left of `start`.
    private mutating func absorbPending() {
        var moved = true
        while moved {
            moved = false
            for (index, piece) in pending.enumerated() where piece.offset <= end {
                pending.remove(at: index)
                if piece.end > end { kept.append(contentsOf: piece.bytes[(end - piece.offset)...]) }
                moved = true
                break
            }
        }
    }

    /// Throws `.conflict` where a segment differs from a judged piece. The pieces lie in order of their offsets.
    private func compareJudged(_ offset: Int, _ payload: RawSpan) throws(ReassemblyError) {
        guard let last = judged.last, offset < last.end else { return }
        var low = 0
        var high = judged.count
        while low < high {
            let middle = (low + high) / 2
            if judged[middle].end <= offset { low = middle + 1 } else { high = middle }
        }
        while low < judged.count, judged[low].offset < offset + payload.byteCount {
            try Self.compare(judged[low].offset, judged[low].bytes, offset, payload)
            low += 1
        }
    }

    /// Throws `.conflict` where two pieces differ in a byte that both have.
    private static func compare(
        _ offset: Int, _ bytes: [UInt8], _ otherOffset: Int, _ other: RawSpan
    ) throws(ReassemblyError) {
        let from = max(offset, otherOffset)
        let to = min(offset + bytes.count, otherOffset + other.byteCount)
        guard from < to else { return }
        let span = bytes.span
        for position in from..<to
        where span[position - offset] != other.unsafeLoad(fromByteOffset: position - otherOffset, as: UInt8.self) {
            throw .conflict
        }
    }

    private static func append(_ payload: RawSpan, _ from: Int, to bytes: inout [UInt8]) {
        payload.extracting(from..<payload.byteCount).withUnsafeBytes { bytes.append(contentsOf: $0) }
    }

    /// Pieces kept ahead of a hole: more is no ordinary connection's beginning.
    private static let pieceLimit = 64
    /// Judged bytes and pieces below which keeping them is cheaper than asking the kernel.
    private static let unaskedByteCount = 2048
    private static let unaskedPieceCount = 16
    /// Judged pieces that the server has not acknowledged: a chunked body leaves one a chunk, and a fast sender has some
    /// hundreds of segments under way.
    private static let judgedPieceLimit = 2048
}
