/// Splits a module's text into tokens. A value: the parser copies it to look ahead.
struct Scanner {
    /// What the text is.
    let source: Source
    /// The keywords that hold here.
    var keywords: [String: Token]
    private var offset = 0
    private var row = 1
    private var column = 0
    private var width = 0
    /// The current character, -1 at the end.
    private var current: Int32 = -1
    private var errors: [String] = []

    init(_ source: Source, keywords: [String: Token]) {
        self.source = source
        self.keywords = keywords
        advance()
        if current == 0xFEFF { advance() }
    }

    /// One token, with its place and its text where it has one, and what is wrong with it.
    struct Item {
        var token: Token
        var offset: Int
        var end: Int
        var row: Int
        var column: Int
        /// The text, as written (of templates: with `\{` unescaped).
        var text: [UInt8]
        var errors: [String]
    }

    /// How a template string goes on behind an expression.
    enum Continuation {
        case none
        case template
        case rawTemplate
    }

    /// The next token.
    mutating func scan(_ continuation: Continuation = .none) -> Item {
        let start = offset - width
        let row = row
        let column = column
        var token = Token.illegal
        var text: [UInt8] = []
        if continuation == .template {
            (text, token) = scanTemplate()
        } else if continuation == .rawTemplate {
            (text, token) = scanRawTemplate()
        } else if current == 0x20 || current == 0x09 || current == 0x0A || current == 0x0D {
            text = [UInt8(current)]
            advance()
            token = .whitespace
        } else if Self.isLetter(current) {
            text = scanIdentifier()
            token = keywords[String(decoding: text, as: UTF8.self)] ?? .identifier
        } else if Self.isDecimal(current) {
            text = scanNumber()
            token = .number
        } else {
            (text, token) = scanSymbol()
        }
        let errors = self.errors
        self.errors = []
        return Item(
            token: token, offset: start, end: offset - width, row: row, column: column, text: text, errors: errors)
    }

    private mutating func scanSymbol() -> ([UInt8], Token) {
        let character = current
        advance()
        guard character >= 0 else { return ([], .eof) }
        guard character < 128 else { return ([], .illegal) }
        switch UnicodeScalar(UInt8(character)) {
        case "#": return (scanComment(), .comment)
        case "\"": return (scanString(), .string)
        case "`": return (scanRawString(), .string)
        case "[": return ([], .leftBracket)
        case "]": return ([], .rightBracket)
        case "{": return ([], .leftBrace)
        case "}": return ([], .rightBrace)
        case "(": return ([], .leftParenthesis)
        case ")": return ([], .rightParenthesis)
        case ",": return ([], .comma)
        case ":": return ([], follow("=", .assign, .colon))
        case "+": return ([], .plus)
        case "-": return ([], .minus)
        case "*": return ([], .times)
        case "/": return ([], .divide)
        case "%": return ([], .remainder)
        case "&": return ([], .and)
        case "|": return ([], .or)
        case "=": return ([], follow("=", .equal, .unify))
        case ">": return ([], follow("=", .greaterOrEqual, .greater))
        case "<": return ([], follow("=", .lessOrEqual, .less))
        case "!":
            let token = follow("=", .notEqual, .illegal)
            if token == .illegal { errors.append("illegal ! character") }
            return ([], token)
        case ";": return ([], .semicolon)
        case ".": return ([], .dot)
        case "$":
            if current == 0x60 {
                advance()
                return scanRawTemplate()
            }
            if current == 0x22 {
                advance()
                return scanTemplate()
            }
            errors.append("illegal $ character")
            return ([], .illegal)
        default: return ([], .illegal)
        }
    }

    private mutating func follow(_ character: UnicodeScalar, _ long: Token, _ short: Token) -> Token {
        if current == Int32(character.value) {
            advance()
            return long
        }
        return short
    }

    private mutating func scanIdentifier() -> [UInt8] {
        let start = offset - 1
        while Self.isLetter(current) || Self.isDigit(current) { advance() }
        return slice(start, offset - width)
    }

    private mutating func scanNumber() -> [UInt8] {
        let start = offset - 1
        while Self.isDecimal(current) { advance() }
        if current == 0x2E {
            advance()
            var found = false
            while Self.isDecimal(current) {
                advance()
                found = true
            }
            if !found { errors.append("expected fraction") }
        }
        if current == 0x65 || current == 0x45 {
            advance()
            if current == 0x2B || current == 0x2D { advance() }
            var found = false
            while Self.isDecimal(current) {
                advance()
                found = true
            }
            if !found { errors.append("expected exponent") }
        }
        if Self.isLetter(current) {
            errors.append("illegal number format")
            while Self.isLetter(current) || Self.isDigit(current) { advance() }
        }
        return slice(start, offset - width)
    }

    private mutating func scanString() -> [UInt8] {
        let start = literalStart
        while true {
            let character = current
            if character == 0x0A || character < 0 {
                errors.append("non-terminated string")
                break
            }
            advance()
            if character == 0x22 { break }
            if character == 0x5C { skipEscape(template: false) }
        }
        return slice(start, offset - width)
    }

    /// Steps over what follows a backslash; true where it was `{`.
    @discardableResult
    private mutating func skipEscape(template: Bool) -> Bool {
        switch current {
        case 0x5C, 0x22, 0x2F, 0x62, 0x66, 0x6E, 0x72, 0x74: advance()
        case 0x7B where template:
            advance()
            return true
        case 0x75:
            for _ in 0..<4 { advance() }
        default: errors.append("illegal escape sequence")
        }
        return false
    }

    private mutating func scanRawString() -> [UInt8] {
        let start = literalStart
        while true {
            let character = current
            advance()
            if character == 0x60 { break }
            if character < 0 {
                errors.append("non-terminated string")
                break
            }
        }
        return slice(start, offset - width)
    }

    private mutating func scanTemplate() -> ([UInt8], Token) {
        let start = literalStart
        var escapes: [Int] = []
        var token = Token.templatePart
        while true {
            let character = current
            if character == 0x0A || character < 0 {
                errors.append("non-terminated string")
                break
            }
            advance()
            if character == 0x22 {
                token = .templateEnd
                break
            }
            if character == 0x7B { break }
            if character == 0x5C {
                let place = offset - 2
                if skipEscape(template: true) { escapes.append(place) }
            }
        }
        return (slice(start, offset - width, without: escapes), token)
    }

    private mutating func scanRawTemplate() -> ([UInt8], Token) {
        let start = literalStart
        var escapes: [Int] = []
        var token = Token.rawTemplatePart
        while true {
            let character = current
            if character < 0 {
                errors.append("non-terminated string")
                break
            }
            advance()
            if character == 0x60 {
                token = .rawTemplateEnd
                break
            }
            if character == 0x7B { break }
            if character == 0x5C, current == 0x7B {
                escapes.append(offset - 2)
                advance()
            }
        }
        return (slice(start, offset - width, without: escapes), token)
    }

    private mutating func scanComment() -> [UInt8] {
        let start = literalStart
        while current != 0x0A, current >= 0 { advance() }
        var end = offset - width
        if end > start, source.bytes[end - 1] == 0x0D { end -= 1 }
        return slice(start, end)
    }

    private func slice(_ start: Int, _ end: Int, without escapes: [Int] = []) -> [UInt8] {
        guard start >= 0, start <= end, end <= source.bytes.count else { return [] }
        if escapes.isEmpty { return Array(source.bytes[start..<end]) }
        var result: [UInt8] = []
        for index in start..<end where !escapes.contains(index) { result.append(source.bytes[index]) }
        return result
    }

    private var literalStart: Int { offset - (width + 1) }

    private mutating func advance() {
        let bytes = source.bytes
        if offset >= bytes.count {
            current = -1
            offset = bytes.count
            width = 0
            return
        }
        let first = bytes[offset]
        width = 1
        if first < 0x80 {
            current = Int32(first)
            if first == 0 { errors.append("illegal null character") }
        } else {
            (current, width) = Self.decode(bytes, offset)
            if current == 0xFFFD, width == 1 {
                errors.append("illegal utf-8 character")
            } else if current == 0xFEFF, offset > 0 {
                errors.append("illegal byte-order mark")
            }
        }
        offset += width
        if current == 0x0A {
            row += 1
            column = 0
        } else {
            column += 1
        }
    }

    private static func decode(_ bytes: [UInt8], _ offset: Int) -> (Int32, Int) {
        let first = bytes[offset]
        let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 1
        guard length > 1, first < 0xF5, offset + length <= bytes.count else { return (0xFFFD, 1) }
        guard let text = String(validating: bytes[offset..<offset + length], as: UTF8.self),
            let scalar = text.unicodeScalars.first
        else { return (0xFFFD, 1) }
        return (Int32(scalar.value), length)
    }

    private static func isLetter(_ character: Int32) -> Bool {
        let lower = character | 0x20
        return (lower >= 0x61 && lower <= 0x7A && character < 128) || character == 0x5F
    }

    private static func isDecimal(_ character: Int32) -> Bool { character >= 0x30 && character <= 0x39 }

    private static func isDigit(_ character: Int32) -> Bool {
        if isDecimal(character) { return true }
        guard character >= 0x80, let scalar = UnicodeScalar(UInt32(character)) else { return false }
        return scalar.properties.generalCategory == .decimalNumber
    }
}
