/// Writes values as Rego terms, as OPA prints them (`sprintf("%v")`, template strings, messages).
enum RegoWriter {
    /// `[1, "a"]`, `{"k": 1}`, `{1}`, `set()`.
    static func text(_ value: Value) -> String {
        var out: [UInt8] = []
        write(value, &out)
        return String(decoding: out, as: UTF8.self)
    }

    private static func write(_ value: Value, _ out: inout [UInt8]) {
        switch value.tag {
        case .undefined: out += Array("<undefined>".utf8)
        case .null: out += Array("null".utf8)
        case .true: out += Array("true".utf8)
        case .false: out += Array("false".utf8)
        case .int: out += Array(String(value.integer).utf8)
        case .number: value.withBytes { out += $0 }
        case .string: out += Array(quoted(value.text).utf8)
        case .array: list(value, "[", "]", &out)
        case .set:
            if value.count == 0 { out += Array("set()".utf8) } else { list(value, "{", "}", &out) }
        case .object:
            out.append(UInt8(ascii: "{"))
            for index in 0..<value.count {
                if index > 0 { out += Array(", ".utf8) }
                write(value.key(index), &out)
                out += Array(": ".utf8)
                write(value.element(index), &out)
            }
            out.append(UInt8(ascii: "}"))
        }
    }

    private static func list(_ value: Value, _ open: String, _ close: String, _ out: inout [UInt8]) {
        out += Array(open.utf8)
        for index in 0..<value.count {
            if index > 0 { out += Array(", ".utf8) }
            write(value.element(index), &out)
        }
        out += Array(close.utf8)
    }

    /// A string as Go's `strconv.Quote` writes it.
    static func quoted(_ text: String, ascii: Bool = false) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\u{07}": result += "\\a"
            case "\u{08}": result += "\\b"
            case "\u{0C}": result += "\\f"
            case "\u{0B}": result += "\\v"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    result += "\\x" + hex(scalar.value, 2)
                } else if isPrintable(scalar), !ascii || scalar.isASCII {
                    result.unicodeScalars.append(scalar)
                } else if scalar.value < 0x10000 {
                    result += "\\u" + hex(scalar.value, 4)
                } else {
                    result += "\\U" + hex(scalar.value, 8)
                }
            }
        }
        return result + "\""
    }

    private static func hex(_ value: UInt32, _ width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    private static func isPrintable(_ scalar: UnicodeScalar) -> Bool {
        if scalar == " " { return true }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .spaceSeparator, .lineSeparator,
            .paragraphSeparator:
            return false
        default: return true
        }
    }
}
