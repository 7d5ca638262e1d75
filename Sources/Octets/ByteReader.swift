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

    /// Compares the texts.
    public static func == (left: StaticReason, right: StaticReason) -> Bool {
        left.description == right.description
    }
}

extension StaticReason: ExpressibleByStringLiteral {
    /// Wraps a literal.
    public init(stringLiteral value: StaticString) {
        self.init(value)
    }
}

/// A cursor over borrowed bytes. Every load is checked; a load past the end throws `.truncated`.
public struct ByteReader: ~Escapable {
    /// The bytes of this reader: from its own start to its own end.
    public let bytes: RawSpan
    /// Where the next load reads, from the start of `bytes`.
    @inlinable public var position: Int { cursor }
    /// Backs `position`; written by the methods below only.
    @usableFromInline var cursor: Int
    /// The offset of `bytes` in the outermost reader.
    @usableFromInline let base: Int

    /// A reader over all of `bytes`, whose offsets count from `base`.
    @_lifetime(copy bytes)
    @inlinable
    public init(_ bytes: RawSpan, base: Int = 0) {
        self.bytes = bytes
        self.cursor = 0
        self.base = base
    }

    /// How many bytes are left.
    @inlinable public var remaining: Int { bytes.byteCount - cursor }

    /// Whether every byte was read.
    @inlinable public var isAtEnd: Bool { cursor == bytes.byteCount }

    /// The offset of the next byte in the outermost reader; for errors.
    @inlinable public var offset: Int { base + cursor }

    /// The error that names `reason` at the current offset.
    @inlinable public func malformed(_ reason: StaticReason) -> WireError {
        .malformed(reason, offset: offset)
    }

    /// Throws `.truncated` unless `byteCount` more bytes are there. A negative count is malformed.
    @inlinable public func require(_ byteCount: Int) throws(WireError) {
        guard byteCount >= 0 else { throw malformed("negative length") }
        guard remaining >= byteCount else { throw .truncated(needed: byteCount - remaining) }
    }

    /// Skips the zero bytes that come next, eight at a time: padding is long.
    @_lifetime(self: copy self)
    @inlinable public mutating func skipZeros() {
        while remaining >= 8, bytes.unsafeLoadUnaligned(fromByteOffset: cursor, as: UInt64.self) == 0 { cursor += 8 }
        while remaining > 0, bytes.unsafeLoad(fromByteOffset: cursor, as: UInt8.self) == 0 { cursor += 1 }
    }

    /// The next byte.
    @_lifetime(self: copy self)
    @inlinable public mutating func readUInt8() throws(WireError) -> UInt8 {
        try require(1)
        let value = bytes.unsafeLoad(fromByteOffset: cursor, as: UInt8.self)
        cursor += 1
        return value
    }

    /// The next two bytes as a big-endian number.
    @_lifetime(self: copy self)
    @inlinable public mutating func readUInt16() throws(WireError) -> UInt16 {
        try require(2)
        let value = UInt16(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: cursor, as: UInt16.self))
        cursor += 2
        return value
    }

    /// The next three bytes as a big-endian number (TLS handshake lengths).
    @_lifetime(self: copy self)
    @inlinable public mutating func readUInt24() throws(WireError) -> Int {
        try require(3)
        let high = Int(try readUInt8())
        let low = Int(try readUInt16())
        return high << 16 | low
    }

    /// The next four bytes as a big-endian number.
    @_lifetime(self: copy self)
    @inlinable public mutating func readUInt32() throws(WireError) -> UInt32 {
        try require(4)
        let value = UInt32(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: cursor, as: UInt32.self))
        cursor += 4
        return value
    }

    /// The next eight bytes as a big-endian number.
    @_lifetime(self: copy self)
    @inlinable public mutating func readUInt64() throws(WireError) -> UInt64 {
        try require(8)
        let value = UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: cursor, as: UInt64.self))
        cursor += 8
        return value
    }

    /// The byte `ahead` of the cursor, without moving it; nil past the end.
    @inlinable public func peek(_ ahead: Int = 0) -> UInt8? {
        guard ahead >= 0, ahead < remaining else { return nil }
        return bytes.unsafeLoad(fromByteOffset: cursor + ahead, as: UInt8.self)
    }

    /// Moves the cursor over `byteCount` bytes.
    @_lifetime(self: copy self)
    @inlinable public mutating func skip(_ byteCount: Int) throws(WireError) {
        try require(byteCount)
        cursor += byteCount
    }

    /// The next `byteCount` bytes, borrowed.
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    @inlinable public mutating func readSpan(_ byteCount: Int) throws(WireError) -> RawSpan {
        try require(byteCount)
        let slice = bytes.extracting(cursor..<cursor + byteCount)
        cursor += byteCount
        return slice
    }

    /// A reader over just the next `byteCount` bytes; the cursor moves behind them. Parse inside, then `expectEnd()`.
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    @inlinable public mutating func readSlice(_ byteCount: Int) throws(WireError) -> ByteReader {
        let start = offset
        return ByteReader(try readSpan(byteCount), base: start)
    }

    /// Everything that is left, borrowed, without moving the cursor.
    @inlinable public var rest: RawSpan {
        @_lifetime(copy self)
        get { bytes.extracting(cursor..<bytes.byteCount) }
    }

    /// Throws `.malformed` if a byte is left: trailing bytes inside a declared length are never ignored.
    @inlinable public func expectEnd(_ reason: StaticReason = "trailing bytes") throws(WireError) {
        guard isAtEnd else { throw malformed(reason) }
    }

    /// A truncation inside a slice whose length was declared is no truncation of the stream: turns `.truncated` into
    /// `.malformed` at the current offset.
    @inlinable public func sealed(_ error: WireError, _ reason: StaticReason) -> WireError {
        switch error {
        case .truncated: .malformed(reason, offset: offset)
        case .malformed: error
        }
    }
}
