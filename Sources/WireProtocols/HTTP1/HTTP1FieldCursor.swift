import Octets

/// Walks field lines (RFC 9112 §5) that each end in CR LF.
struct HTTP1FieldCursor: ~Escapable {
    /// Where a field's name and its value without surrounding white space lie.
    struct Field {
        let name: ByteRange
        let value: ByteRange
    }

    private let bytes: RawSpan
    private var position: Int
    private let end: Int

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan, _ range: Range<Int>) {
        self.bytes = bytes
        position = range.lowerBound
        end = range.upperBound
    }

    /// The next field; nil behind the last one. Throws `.malformed` for a folded line, a name that is no token, a space before
    /// the colon, a control character in the value.
    @_lifetime(self: copy self)
    mutating func next() throws(WireError) -> Field? {
        guard position < end else { return nil }
        let start = position
        let first = bytes.byte(at: start)
        guard first != 0x20, first != 0x09 else { throw .malformed("folded field line", offset: start) }
        var colon = start
        while colon < end, bytes.byte(at: colon) != UInt8(ascii: ":") {
            let byte = bytes.byte(at: colon)
            guard byte != 0x20, byte != 0x09 else { throw .malformed("white space in a field name", offset: colon) }
            guard byte.isTokenByte else { throw .malformed("byte in a field name", offset: colon) }
            colon += 1
        }
        guard colon < end, colon > start else { throw .malformed("field line without name", offset: start) }
        var stop = colon + 1
        while stop < end, bytes.byte(at: stop) != 0x0D {
            let byte = bytes.byte(at: stop)
            guard byte >= 0x20 || byte == 0x09, byte != 0x7F else {
                throw .malformed("control character in a field value", offset: stop)
            }
            stop += 1
        }
        guard stop + 1 < end, bytes.byte(at: stop + 1) == 0x0A else { throw .malformed("bare CR", offset: stop) }
        position = stop + 2
        return Field(
            name: ByteRange(start..<colon), value: ByteRange(Self.trimmed(bytes, colon + 1..<stop)))
    }

    /// `range` without spaces and tabs at both ends.
    static func trimmed(_ bytes: RawSpan, _ range: Range<Int>) -> Range<Int> {
        var start = range.lowerBound
        var end = range.upperBound
        while start < end, bytes.byte(at: start) == 0x20 || bytes.byte(at: start) == 0x09 { start += 1 }
        while end > start, bytes.byte(at: end - 1) == 0x20 || bytes.byte(at: end - 1) == 0x09 { end -= 1 }
        return start..<end
    }
}
