/// The words of one action of a template.
struct TextTemplateLexer {
    let bytes: [UInt8]
    var position: Int

    typealias Token = TextTemplateParser.Token

    /// Skips a comment at the action's beginning; false where there is none.
    mutating func skipComment() -> Bool {
        let start = bytes[position...].drop { Self.isSpace($0) }.startIndex
        guard bytes[start...].starts(with: "/*".utf8) else { return false }
        var index = start + 2
        while index < bytes.count, !bytes[index...].starts(with: "*/".utf8) { index += 1 }
        position = min(index + 2, bytes.count)
        return true
    }

    /// Takes the action's end, where it is here: whether white space behind it goes too.
    mutating func close() -> Bool? {
        let rest = bytes[position...]
        if rest.starts(with: "}}".utf8) {
            position += 2
            return false
        }
        let end = rest.drop { Self.isSpace($0) }
        if end.startIndex > position, end.starts(with: "-}}".utf8) {
            position = end.startIndex + 3
            return true
        }
        return nil
    }

    /// The next word; nil at the end of the text.
    mutating func next() throws(BuiltinFailure) -> Token? {
        guard position < bytes.count else { return nil }
        let start = position
        let byte = bytes[position]
        switch byte {
        case _ where Self.isSpace(byte):
            position += 1
            return .space
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return try quoted(byte)
        case UInt8(ascii: "`"):
            guard let end = bytes[(start + 1)...].firstIndex(of: byte) else {
                throw failure("unterminated raw quoted string")
            }
            position = end + 1
            return .text(String(decoding: bytes[start + 1..<end], as: UTF8.self))
        case UInt8(ascii: ":"):
            guard bytes[start...].starts(with: ":=".utf8) else { throw failure("expected :=") }
            position += 2
            return .declare
        case UInt8(ascii: "|"), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: ","), UInt8(ascii: "="):
            position += 1
            return .mark(Character(UnicodeScalar(byte)))
        case UInt8(ascii: "$"):
            position += 1
            return .variable("$" + name())
        case UInt8(ascii: "."):
            if start + 1 < bytes.count, (0x30...0x39).contains(bytes[start + 1]) { return try number() }
            position += 1
            let field = name()
            return field.isEmpty ? .dot : .field(field)
        case 0x30...0x39, UInt8(ascii: "+"), UInt8(ascii: "-"): return try number()
        default:
            let word = name()
            guard !word.isEmpty else {
                throw failure("unexpected \"\(Character(UnicodeScalar(byte)))\" in command")
            }
            return .word(word)
        }
    }

    private mutating func name() -> String {
        let start = position
        while position < bytes.count, Self.isNamePart(bytes[position]) { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private mutating func number() throws(BuiltinFailure) -> Token {
        let start = position
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            let isSign = byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
            let isHex = bytes[start...].starts(with: "0x".utf8)
            let followsExponent = !isHex && (bytes[position - 1] | 0x20) == UInt8(ascii: "e")
            guard Self.isNamePart(byte) || byte == UInt8(ascii: ".") || isSign && followsExponent else { break }
            position += 1
        }
        var text = String(decoding: bytes[start..<position], as: UTF8.self)
        let written = text
        text.removeAll { $0 == "_" }
        let isNegative = text.hasPrefix("-")
        let digits = isNegative || text.hasPrefix("+") ? text.dropFirst() : text[...]
        let radix =
            ["0x": 16, "0X": 16, "0b": 2, "0B": 2, "0o": 8, "0O": 8][String(digits.prefix(2))]
            ?? (digits.hasPrefix("0") && digits.count > 1 ? 8 : 10)
        let plain = radix == 10 ? digits : digits.dropFirst(radix == 8 && !digits.lowercased().hasPrefix("0o") ? 1 : 2)
        if let integer = Int((isNegative ? "-" : "") + plain, radix: radix) { return .integer(integer) }
        if radix != 16, let float = Double(text), float.isFinite { return .float(float) }
        throw failure("bad number syntax: \"\(written)\"")
    }

    /// A string, or a character, which is its number.
    private mutating func quoted(_ quote: UInt8) throws(BuiltinFailure) -> Token {
        var index = position + 1
        while index < bytes.count, bytes[index] != quote {
            if bytes[index] == UInt8(ascii: "\n") { break }
            index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard index < bytes.count, bytes[index] == quote else { throw failure("unterminated quoted string") }
        guard let content = Self.unquoted(bytes[(position + 1)..<index]) else { throw failure("invalid syntax") }
        position = index + 1
        let text = String(decoding: content, as: UTF8.self)
        guard quote == UInt8(ascii: "'") else { return .text(text) }
        guard let scalar = text.unicodeScalars.first, text.unicodeScalars.count == 1 else {
            throw failure("malformed character constant: '\(text)'")
        }
        return .integer(Int(scalar.value))
    }

    /// Go's escapes (The Go Programming Language Specification, "Rune literals").
    private static func unquoted(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        var result: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                result.append(byte)
                continue
            }
            guard let kind = rest.popFirst() else { return nil }
            switch kind {
            case UInt8(ascii: "n"): result.append(0x0A)
            case UInt8(ascii: "t"): result.append(0x09)
            case UInt8(ascii: "r"): result.append(0x0D)
            case UInt8(ascii: "a"): result.append(0x07)
            case UInt8(ascii: "b"): result.append(0x08)
            case UInt8(ascii: "f"): result.append(0x0C)
            case UInt8(ascii: "v"): result.append(0x0B)
            case UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "'"): result.append(kind)
            case UInt8(ascii: "x"), UInt8(ascii: "u"), UInt8(ascii: "U"):
                let count = kind == UInt8(ascii: "x") ? 2 : kind == UInt8(ascii: "u") ? 4 : 8
                let digits = String(decoding: rest.prefix(count), as: UTF8.self)
                guard rest.count >= count, let value = UInt32(digits, radix: 16) else { return nil }
                rest = rest.dropFirst(count)
                if count == 2 {
                    result.append(UInt8(value))
                } else {
                    guard let scalar = UnicodeScalar(value) else { return nil }
                    result += Array(String(scalar).utf8)
                }
            default: return nil
            }
        }
        return result
    }

    private func failure(_ text: String) -> BuiltinFailure { .failed("template: \(text)") }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    private static func isNamePart(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F, 0x80...: true
        default: false
        }
    }
}
