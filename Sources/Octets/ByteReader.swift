// Octets: reading and writing bytes of the wire.
//
// The lowest module. It imports nothing, not even the C library, so that every parser above it is a pure function from
// bytes to values. `ByteReader` is the only cursor of the project: it borrows a `RawSpan`, checks each load against the
// end, and knows its offset, so that an error can say where the wire was wrong. Integers are big-endian (network order)
// unless a name says otherwise. Nothing here allocates.

/// Why bytes could not be read as what they should be.
public enum WireError: Error, Equatable, Sendable {
    /// The bytes end too early; at least `needed` more may help.
    case truncated(needed: Int)
    /// No further byte can help: `reason` is a fixed text, `offset` counts from the start of the outermost reader.
    case malformed(StaticReason, offset: Int)
}

/// A fixed text that names a rule of the wire which was broken. Comparable and without allocation.
public struct StaticReason: Equatable, Sendable, CustomStringConvertible {
    private let text: StaticString

    /// Wraps a literal.
    public init(_ text: StaticString) {
        self.text = text
    }

    /// The text itself.
    public var description: String { text.description }

    public static func == (left: StaticReason, right: StaticReason) -> Bool {
        left.description == right.description
    }
}

extension StaticReason: ExpressibleByStringLiteral {
    public init(stringLiteral value: StaticString) {
        self.init(value)
    }
}

/// A cursor over borrowed bytes. Every load is checked; a load past the end throws `.truncated`.
public struct ByteReader: ~Escapable {
    /// The bytes of this reader: from its own start to its own end.
    public let bytes: RawSpan
    /// Where the next load reads, from the start of `bytes`.
    public private(set) var position: Int
    /// The offset of `bytes` in the outermost reader.
    private let base: Int

    /// A reader over all of `bytes`, whose offsets count from `base`.
    @_lifetime(copy bytes)
    @inlinable
    public init(_ bytes: RawSpan, base: Int = 0) {
        self.init(bytes: bytes, base: base)
    }

    @_lifetime(copy bytes)
    @usableFromInline
    init(bytes: RawSpan, base: Int) {
        self.bytes = bytes
        self.position = 0
        self.base = base
    }

    /// How many bytes are left.
    public var remaining: Int { bytes.byteCount - position }

    /// Whether every byte was read.
    public var isAtEnd: Bool { position == bytes.byteCount }

    /// The offset of the next byte in the outermost reader; for errors.
    public var offset: Int { base + position }

    /// The error that names `reason` at the current offset.
    public func malformed(_ reason: StaticReason) -> WireError {
        .malformed(reason, offset: offset)
    }

    /// Throws `.truncated` unless `byteCount` more bytes are there. A negative count is malformed.
    public func require(_ byteCount: Int) throws(WireError) {
        guard byteCount >= 0 else { throw malformed("negative length") }
        guard remaining >= byteCount else { throw .truncated(needed: byteCount - remaining) }
    }

    /// The next byte.
    @_lifetime(self: copy self)
    public mutating func readUInt8() throws(WireError) -> UInt8 {
        try require(1)
        let value = bytes.unsafeLoad(fromByteOffset: position, as: UInt8.self)
        position += 1
        return value
    }

    /// The next two bytes as a big-endian number.
    @_lifetime(self: copy self)
    public mutating func readUInt16() throws(WireError) -> UInt16 {
        try require(2)
        let value = UInt16(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt16.self))
        position += 2
        return value
    }

    /// The next three bytes as a big-endian number (TLS handshake lengths).
    @_lifetime(self: copy self)
    public mutating func readUInt24() throws(WireError) -> Int {
        try require(3)
        let high = Int(try readUInt8())
        let low = Int(try readUInt16())
        return high << 16 | low
    }

    /// The next four bytes as a big-endian number.
    @_lifetime(self: copy self)
    public mutating func readUInt32() throws(WireError) -> UInt32 {
        try require(4)
        let value = UInt32(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt32.self))
        position += 4
        return value
    }

    /// The next eight bytes as a big-endian number.
    @_lifetime(self: copy self)
    public mutating func readUInt64() throws(WireError) -> UInt64 {
        try require(8)
        let value = UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self))
        position += 8
        return value
    }

    /// The byte `ahead` of the cursor, without moving it; nil past the end.
    public func peek(_ ahead: Int = 0) -> UInt8? {
        guard ahead >= 0, ahead < remaining else { return nil }
        return bytes.unsafeLoad(fromByteOffset: position + ahead, as: UInt8.self)
    }

    /// Moves the cursor over `byteCount` bytes.
    @_lifetime(self: copy self)
    public mutating func skip(_ byteCount: Int) throws(WireError) {
        try require(byteCount)
        position += byteCount
    }

    /// The next `byteCount` bytes, borrowed.
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readSpan(_ byteCount: Int) throws(WireError) -> RawSpan {
        try require(byteCount)
        let slice = bytes.extracting(position..<position + byteCount)
        position += byteCount
        return slice
    }

    /// A reader over just the next `byteCount` bytes; the cursor moves behind them. Parse inside, then `expectEnd()`.
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readSlice(_ byteCount: Int) throws(WireError) -> ByteReader {
        let start = offset
        return ByteReader(bytes: try readSpan(byteCount), base: start)
    }

    /// Everything that is left, borrowed, without moving the cursor.
    public var rest: RawSpan {
        @_lifetime(copy self)
        get { bytes.extracting(position..<bytes.byteCount) }
    }

    /// Throws `.malformed` if a byte is left: trailing bytes inside a declared length are never ignored.
    public func expectEnd(_ reason: StaticReason = "trailing bytes") throws(WireError) {
        guard isAtEnd else { throw malformed(reason) }
    }

    /// A truncation inside a slice whose length was declared is no truncation of the stream: turns `.truncated` into
    /// `.malformed` at the current offset.
    public func sealed(_ error: WireError, _ reason: StaticReason) -> WireError {
        switch error {
        case .truncated: .malformed(reason, offset: offset)
        case .malformed: error
        }
    }
}
