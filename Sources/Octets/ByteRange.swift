/// A part of some bytes, in eight bytes of its own: `Range<Int>` is not `BitwiseCopyable`, and twice as large.
public struct ByteRange: Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    private let start: UInt32
    private let count: UInt32

    /// No bytes, at the beginning.
    public init() {
        start = 0
        count = 0
    }

    /// The part at `range`. Bounds are those of one message: a bound outside 0...2^32-1 is the caller's bug and traps.
    public init(_ range: Range<Int>) {
        start = UInt32(range.lowerBound)
        count = UInt32(range.count)
    }

    /// Where the part begins.
    public var lowerBound: Int { Int(start) }

    /// Where the part ends: the first byte behind it.
    public var upperBound: Int { Int(start) + Int(count) }

    /// How many bytes it has.
    public var byteCount: Int { Int(count) }

    /// Whether it has none.
    public var isEmpty: Bool { count == 0 }

    /// The same as a range.
    public var range: Range<Int> { lowerBound..<upperBound }

    /// `12..<20`.
    public var description: String { "\(lowerBound)..<\(upperBound)" }
}

extension RawSpan {
    /// The bytes at `part`, borrowed. Traps where the part is not inside: it was found in other bytes.
    @_lifetime(copy self)
    public func extracting(_ part: ByteRange) -> RawSpan {
        extracting(part.range)
    }

    /// The byte at `offset`, which must be inside.
    @inlinable
    public func byte(at offset: Int) -> UInt8 {
        unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }
}
