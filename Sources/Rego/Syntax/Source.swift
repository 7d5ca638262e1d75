/// One module's text and its name.
final class Source: Sendable {
    /// The name that errors give.
    let name: String
    /// The text, UTF-8.
    let bytes: [UInt8]

    init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }

    /// The text between two offsets; empty where they are none.
    func text(_ start: Int, _ end: Int) -> String {
        guard start >= 0, end >= start, end <= bytes.count else { return "" }
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }

    /// The source line of the last character at or before `offset` that is no white space, and that character's byte
    /// column (from zero) in it.
    func line(before offset: Int) -> (text: String, column: Int) {
        if bytes.isEmpty { return ("", 0) }
        var offset = max(0, min(offset, bytes.count - 1))
        while offset > 0, bytes[offset] == 0x20 || (bytes[offset] >= 0x09 && bytes[offset] <= 0x0D) { offset -= 1 }
        func isLineEnd(_ byte: UInt8) -> Bool { byte == 0x0A || byte == 0x0D }
        var begin = offset
        while begin > 0, !isLineEnd(bytes[begin]) { begin -= 1 }
        if isLineEnd(bytes[begin]) { begin += 1 }
        var end = offset
        while end < bytes.count, !isLineEnd(bytes[end]) { end += 1 }
        if begin > end { begin = end }
        return (String(decoding: bytes[begin..<end], as: UTF8.self), offset - begin)
    }
}

/// Where something stands in a module.
struct Location {
    /// The module's text; nil for what the compiler made.
    var source: Source?
    /// Line, from 1.
    var row = 0
    /// Column in characters, from 1.
    var column = 0
    /// Byte offset of the first character.
    var offset = 0
    /// Byte offset behind the last character.
    var end = 0

    /// The text.
    var text: String { source?.text(offset, end) ?? "" }
}
