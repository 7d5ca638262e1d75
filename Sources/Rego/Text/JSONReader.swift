/// Reads JSON (RFC 8259) into an arena, keeping the text of number literals.
struct JSONReader {
    private let bytes: [UInt8]
    private var offset = 0
    private let arena: Arena

    private init(_ bytes: [UInt8], _ arena: Arena) {
        self.bytes = bytes
        self.arena = arena
    }

    /// The value that `bytes` spells, with nothing but white space behind it.
    static func read(_ bytes: [UInt8], _ arena: Arena) throws(RegoError) -> Value {
        var reader = JSONReader(bytes, arena)
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.offset == bytes.count else { throw reader.failure("unexpected text behind the value") }
        return value
    }

    private func failure(_ what: String) -> RegoError {
        RegoError(code: "rego_json_error", message: "invalid JSON at byte \(offset): \(what)")
    }

    private mutating func skipSpace() {
        while offset < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[offset]) { offset += 1 }
    }

    private mutating func value(depth: Int) throws(RegoError) -> Value {
        guard depth <= RegoLimits.maximumValueDepth else {
            throw failure("nested deeper than \(RegoLimits.maximumValueDepth)")
        }
        skipSpace()
        guard offset < bytes.count else { throw failure("unexpected end") }
        switch bytes[offset] {
        case UInt8(ascii: "{"): return try object(depth)
        case UInt8(ascii: "["): return try array(depth)
        case UInt8(ascii: "\""): return arena.string(try string())
        case UInt8(ascii: "t"): return try word("true", .true)
        case UInt8(ascii: "f"): return try word("false", .false)
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), 0x30...0x39: return try number()
        default: throw failure("unexpected character")
        }
    }

    private mutating func word(_ text: StaticString, _ value: Value) throws(RegoError) -> Value {
        let count = text.utf8CodeUnitCount
        let expected = text.withUTF8Buffer { Array($0) }
        guard offset + count <= bytes.count, Array(bytes[offset..<offset + count]) == expected else {
            throw failure("unexpected character")
        }
        offset += count
        return value
    }

    private mutating func number() throws(RegoError) -> Value {
        let start = offset
        if bytes[offset] == UInt8(ascii: "-") { offset += 1 }
        guard offset < bytes.count else { throw failure("unexpected end") }
        if bytes[offset] == 0x30 {
            offset += 1
        } else if try digits() == 0 {
            throw failure("a number needs digits")
        }
        if offset < bytes.count, bytes[offset] == UInt8(ascii: ".") {
            offset += 1
            if try digits() == 0 { throw failure("a number needs digits behind the point") }
        }
        if offset < bytes.count, bytes[offset] | 0x20 == UInt8(ascii: "e") {
            offset += 1
            if offset < bytes.count, bytes[offset] == UInt8(ascii: "+") || bytes[offset] == UInt8(ascii: "-") {
                offset += 1
            }
            if try digits() == 0 { throw failure("a number needs digits in its exponent") }
        }
        guard let value = arena.checkedNumber(Array(bytes[start..<offset])) else {
            throw failure("the number is too big")
        }
        return value
    }

    private mutating func digits() throws(RegoError) -> Int {
        let start = offset
        while offset < bytes.count, bytes[offset] >= 0x30, bytes[offset] <= 0x39 { offset += 1 }
        return offset - start
    }

    private mutating func string() throws(RegoError) -> [UInt8] {
        offset += 1
        let start = offset
        var plain = true
        while true {
            guard offset < bytes.count else { throw failure("unterminated string") }
            let byte = bytes[offset]
            if byte == UInt8(ascii: "\"") { break }
            if byte < 0x20 { throw failure("control character in a string") }
            if byte == UInt8(ascii: "\\") {
                plain = false
                offset += 1
            } else if byte >= 0x80 {
                plain = false
            }
            offset += 1
        }
        let inner = bytes[start..<min(offset, bytes.count)]
        offset += 1
        if plain { return Array(inner) }
        guard let text = JSONReader.unescape(inner) else { throw failure("illegal escape in a string") }
        return Array(text.utf8)
    }

    private mutating func array(_ depth: Int) throws(RegoError) -> Value {
        offset += 1
        var elements: [Value] = []
        skipSpace()
        if offset < bytes.count, bytes[offset] == UInt8(ascii: "]") {
            offset += 1
            return arena.array(elements)
        }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            guard offset < bytes.count else { throw failure("unterminated array") }
            offset += 1
            if bytes[offset - 1] == UInt8(ascii: "]") { return arena.array(elements) }
            guard bytes[offset - 1] == UInt8(ascii: ",") else { throw failure("expected , or ]") }
        }
    }

    private mutating func object(_ depth: Int) throws(RegoError) -> Value {
        offset += 1
        var pairs: [(key: Value, value: Value)] = []
        skipSpace()
        if offset < bytes.count, bytes[offset] == UInt8(ascii: "}") {
            offset += 1
            return arena.object(pairs)
        }
        while true {
            skipSpace()
            guard offset < bytes.count, bytes[offset] == UInt8(ascii: "\"") else { throw failure("expected a key") }
            let key = arena.string(try string())
            skipSpace()
            guard offset < bytes.count, bytes[offset] == UInt8(ascii: ":") else { throw failure("expected :") }
            offset += 1
            pairs.append((key, try value(depth: depth + 1)))
            skipSpace()
            guard offset < bytes.count else { throw failure("unterminated object") }
            offset += 1
            if bytes[offset - 1] == UInt8(ascii: "}") { return arena.object(pairs) }
            guard bytes[offset - 1] == UInt8(ascii: ",") else { throw failure("expected , or }") }
        }
    }

    /// The text of a string's inside; lone surrogates become U+FFFD; nil for escapes that JSON does not have.
    static func unescape(_ inner: some Collection<UInt8>) -> String? {
        var result: [UInt8] = []
        var index = inner.startIndex
        func hex() -> UInt32? {
            var value: UInt32 = 0
            for _ in 0..<4 {
                guard index < inner.endIndex else { return nil }
                let byte = inner[index]
                let digit: UInt8
                switch byte {
                case 0x30...0x39: digit = byte - 0x30
                case 0x41...0x46: digit = byte - 0x37
                case 0x61...0x66: digit = byte - 0x57
                default: return nil
                }
                value = value << 4 | UInt32(digit)
                index = inner.index(after: index)
            }
            return value
        }
        func append(_ scalar: UInt32) {
            let character = UnicodeScalar(scalar) ?? "\u{FFFD}"
            result.append(contentsOf: String(Character(character)).utf8)
        }
        while index < inner.endIndex {
            let byte = inner[index]
            index = inner.index(after: index)
            if byte < 0x20 { return nil }
            guard byte == UInt8(ascii: "\\") else {
                result.append(byte)
                continue
            }
            guard index < inner.endIndex else { return nil }
            let escape = inner[index]
            index = inner.index(after: index)
            switch UnicodeScalar(escape) {
            case "\"", "\\", "/": result.append(escape)
            case "b": result.append(8)
            case "f": result.append(12)
            case "n": result.append(10)
            case "r": result.append(13)
            case "t": result.append(9)
            case "u":
                guard let first = hex() else { return nil }
                if first >= 0xD800, first < 0xDC00 {
                    let saved = index
                    if index < inner.endIndex, inner[index] == UInt8(ascii: "\\") {
                        index = inner.index(after: index)
                        if index < inner.endIndex, inner[index] == UInt8(ascii: "u") {
                            index = inner.index(after: index)
                            if let second = hex(), second >= 0xDC00, second < 0xE000 {
                                append(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
                                continue
                            }
                        }
                    }
                    index = saved
                }
                append(first)
            default: return nil
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension Arena {
    /// A number from its literal text, or nil where its exponent is out of all reason.
    func checkedNumber(_ text: [UInt8]) -> Value? {
        if let integer = Decimal.canonicalInteger(text) { return Value(integer) }
        let decimal = Decimal(text)
        if !decimal.digits.isEmpty, abs(decimal.exponent) > 100_000 { return nil }
        return number(text)
    }
}
