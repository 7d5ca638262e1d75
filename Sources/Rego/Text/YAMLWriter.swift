/// Writes values as YAML in block style, as `yaml.marshal` does: strings plain where they read back as strings, in
/// single quotes, as literal blocks or with escapes otherwise.
struct YAMLWriter {
    private var out: [UInt8] = []
    private var column = 0

    static func text(_ value: Value) -> String {
        var writer = YAMLWriter()
        writer.write(value, indent: 0, inline: true)
        return String(decoding: writer.out, as: UTF8.self)
    }

    private mutating func put(_ text: some Collection<UInt8>) {
        out += text
        column += text.count
    }

    private mutating func put(_ text: String) { put(Array(text.utf8)) }

    private mutating func newline(_ indent: Int) {
        out.append(0x0A)
        out += [UInt8](repeating: 0x20, count: indent)
        column = indent
    }

    /// A value and the line end behind it. `inline` says that the first line has its indentation already.
    private mutating func write(_ value: Value, indent: Int, inline: Bool) {
        switch value.tag {
        case .object where value.count > 0:
            for index in 0..<value.count {
                if index > 0 || !inline { startLine(indent) }
                let key = value.key(index)
                let text = key.tag == .string ? key.text : JSONWriter.text(key)
                if text.contains("\n") {
                    put("? ")
                    string(text, indent: indent)
                    startLine(indent)
                } else {
                    string(text, indent: indent)
                }
                put(":")
                let inner = value.element(index)
                if inner.isComposite, inner.count > 0 {
                    out.append(0x0A)
                    write(inner, indent: inner.tag == .object ? indent + 2 : indent, inline: false)
                } else {
                    put(" ")
                    scalar(inner, indent: indent)
                    out.append(0x0A)
                }
            }
        case .array where value.count > 0, .set where value.count > 0:
            for index in 0..<value.count {
                if index > 0 || !inline { startLine(indent) }
                put("- ")
                let inner = value.element(index)
                if inner.isComposite, inner.count > 0 {
                    write(inner, indent: indent + 2, inline: true)
                } else {
                    scalar(inner, indent: indent)
                    out.append(0x0A)
                }
            }
        default:
            scalar(value, indent: indent)
            out.append(0x0A)
        }
    }

    private mutating func startLine(_ indent: Int) {
        out += [UInt8](repeating: 0x20, count: indent)
        column = indent
    }

    private mutating func scalar(_ value: Value, indent: Int) {
        switch value.tag {
        case .object: put("{}")
        case .array, .set: put("[]")
        case .string: string(value.text, indent: indent)
        case .number:
            let isWhole = value.withBytes { $0.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D } }
            if isWhole, UInt64(value.text) != nil {
                put(value.text)
            } else {
                put(GoFloat.general(Decimal(value).double, precision: nil, threshold: 21))
            }
        default: put(RegoWriter.text(value))
        }
    }

    private mutating func string(_ text: String, indent: Int) {
        let style = Style(text)
        if !YAMLReader.isPlainString(text) {
            // It would read back as something else.
            put(Self.escaped(text))
        } else if text.contains("\n"), style.allowsBlock {
            block(text, indent: indent + 2)
        } else if style.allowsPlain {
            folded(text, indent: indent + 2, quoted: false)
        } else if style.allowsSingleQuotes {
            folded(text, indent: indent + 2, quoted: true)
        } else {
            put(Self.escaped(text))
        }
    }

    /// A plain or single-quoted string, broken at single spaces beyond column 80.
    private mutating func folded(_ text: String, indent: Int, quoted: Bool) {
        if quoted { put("'") }
        let bytes = Array(text.utf8)
        for (index, byte) in bytes.enumerated() {
            if byte == 0x20, column > 80, index > 0, index < bytes.count - 1, bytes[index + 1] != 0x20,
                bytes[index - 1] != 0x20
            {
                newline(indent)
            } else {
                out.append(byte)
                if byte & 0xC0 != 0x80 { column += 1 }
                if quoted, byte == UInt8(ascii: "'") { put("'") }
            }
        }
        if quoted { put("'") }
    }

    private mutating func block(_ text: String, indent: Int) {
        put("|")
        if text.hasPrefix(" ") || text.hasPrefix("\n") { put("2") }
        if !text.hasSuffix("\n") {
            put("-")
        } else if text == "\n" || text.hasSuffix("\n\n") {
            put("+")
        }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last == "" { lines.removeLast() }
        for line in lines {
            out.append(0x0A)
            if !line.isEmpty { out += [UInt8](repeating: 0x20, count: indent) + Array(line.utf8) }
        }
    }

    /// Which styles a string can be written in.
    private struct Style {
        var allowsPlain = true
        var allowsSingleQuotes = true
        var allowsBlock = true

        init(_ text: String) {
            let scalars = Array(text.unicodeScalars)
            if text.hasPrefix("---") || text.hasPrefix("...") { allowsPlain = false }
            var special = false
            var spaceBeforeBreak = false
            func isBlank(_ index: Int) -> Bool {
                index >= scalars.count || [" ", "\t", "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}"].contains(scalars[index])
            }
            for (index, scalar) in scalars.enumerated() {
                switch scalar {
                case "#": if index == 0 || isBlank(index - 1) { allowsPlain = false }
                case ",", "[", "]", "{", "}", "&", "*", "!", "|", ">", "'", "\"", "%", "@", "`":
                    if index == 0 { allowsPlain = false }
                case "?", "-": if index == 0, isBlank(1) { allowsPlain = false }
                case ":": if isBlank(index + 1) { allowsPlain = false }
                default: break
                }
                if scalar == "\n" || scalar == "\u{85}" || scalar == "\u{2028}" || scalar == "\u{2029}" {
                    allowsPlain = false
                    if index > 0, scalars[index - 1] == " " { spaceBeforeBreak = true }
                } else if !Self.isPrintable(scalar) {
                    special = true
                }
            }
            if scalars.first == " " || scalars.last == " " { allowsPlain = false }
            if scalars.last == " " { allowsBlock = false }
            if special || spaceBeforeBreak {
                allowsPlain = false
                allowsSingleQuotes = false
                allowsBlock = false
            }
        }

        static func isPrintable(_ scalar: UnicodeScalar) -> Bool {
            switch scalar.value {
            case 0x0A, 0x20...0x7E, 0x85, 0xA0...0xD7FF: true
            case 0xE000...0xFFFD: scalar.value != 0xFEFF
            default: false
            }
        }
    }

    private static func escaped(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\0": result += "\\0"
            case "\u{07}": result += "\\a"
            case "\u{08}": result += "\\b"
            case "\t": result += "\\t"
            case "\n": result += "\\n"
            case "\u{0B}": result += "\\v"
            case "\u{0C}": result += "\\f"
            case "\r": result += "\\r"
            case "\u{1B}": result += "\\e"
            case "\u{85}": result += "\\N"
            case "\u{A0}": result += "\\_"
            case "\u{2028}": result += "\\L"
            case "\u{2029}": result += "\\P"
            default:
                if Style.isPrintable(scalar) {
                    result.unicodeScalars.append(scalar)
                } else {
                    let width = scalar.value <= 0xFF ? 2 : scalar.value <= 0xFFFF ? 4 : 8
                    let digits = String(scalar.value, radix: 16, uppercase: true)
                    result += width == 2 ? "\\x" : width == 4 ? "\\u" : "\\U"
                    result += String(repeating: "0", count: max(0, width - digits.count)) + digits
                }
            }
        }
        return result + "\""
    }
}
