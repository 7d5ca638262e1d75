internal import BigInt

/// `sprintf` with the verbs of Go's `fmt`, on Rego values: whole numbers are integers, other numbers floats, strings
/// strings, everything else its Rego text.
enum GoFormat {
    private struct Flags {
        var plus = false
        var minus = false
        var sharp = false
        var space = false
        var zero = false
        var width: Int?
        var precision: Int?
    }

    static func format(_ format: [UInt8], _ values: [Value], _ machine: Machine) throws(BuiltinFailure) -> [UInt8] {
        var out: [UInt8] = []
        var index = 0
        var argument = 0
        var reordered = false
        while index < format.count {
            let byte = format[index]
            index += 1
            guard byte == UInt8(ascii: "%") else {
                out.append(byte)
                continue
            }
            var flags = Flags()
            flagLoop: while index < format.count {
                switch UnicodeScalar(format[index]) {
                case "#": flags.sharp = true
                case "0": flags.zero = true
                case "+": flags.plus = true
                case "-": flags.minus = true
                case " ": flags.space = true
                default: break flagLoop
                }
                index += 1
            }
            var afterIndex = false
            var badIndex = false
            func argumentNumber() {
                guard index < format.count, format[index] == UInt8(ascii: "[") else { return }
                reordered = true
                guard let close = format[index...].firstIndex(of: UInt8(ascii: "]")) else {
                    badIndex = true
                    index += 1
                    return
                }
                let text = String(decoding: format[index + 1..<close], as: UTF8.self)
                index = close + 1
                if let number = Int(text), number >= 1, number <= values.count {
                    argument = number - 1
                    afterIndex = true
                } else {
                    badIndex = true
                }
            }
            func digits() -> Int? {
                let start = index
                while index < format.count, format[index] >= 0x30, format[index] <= 0x39 { index += 1 }
                return start == index ? nil : Int(String(decoding: format[start..<index], as: UTF8.self)) ?? 10_000_000
            }
            func star() -> Int? {
                guard argument < values.count, values[argument].tag == .int, abs(values[argument].integer) <= 1_000_000
                else {
                    argument += 1
                    return nil
                }
                argument += 1
                return values[argument - 1].integer
            }
            argumentNumber()
            if index < format.count, format[index] == UInt8(ascii: "*") {
                index += 1
                if let width = star() {
                    flags.width = abs(width)
                    if width < 0 {
                        flags.minus = true
                        flags.zero = false
                    }
                } else {
                    out += Array("%!(BADWIDTH)".utf8)
                }
                afterIndex = false
            } else if let width = digits() {
                flags.width = width
                if afterIndex { badIndex = true }
            }
            if index < format.count, format[index] == UInt8(ascii: ".") {
                index += 1
                if afterIndex { badIndex = true }
                argumentNumber()
                if index < format.count, format[index] == UInt8(ascii: "*") {
                    index += 1
                    if let precision = star(), precision >= 0 {
                        flags.precision = precision
                    } else {
                        out += Array("%!(BADPREC)".utf8)
                    }
                    afterIndex = false
                } else {
                    flags.precision = digits() ?? 0
                }
            }
            if !afterIndex { argumentNumber() }
            guard index < format.count else {
                out += Array("%!(NOVERB)".utf8)
                break
            }
            try machine.charge(1 + (flags.width ?? 0) / 16 + (flags.precision ?? 0) / 4)
            if (flags.width ?? 0) > 1_000_000 || (flags.precision ?? 0) > 1_000_000 {
                throw .limit("a width or precision is more than 1000000")
            }
            var end = index + 1
            while end < format.count, format[end] & 0xC0 == 0x80 { end += 1 }
            let verb = String(decoding: format[index..<end], as: UTF8.self)
            index = end
            if verb == "%" {
                out.append(UInt8(ascii: "%"))
            } else if badIndex {
                out += Array("%!\(verb)(BADINDEX)".utf8)
            } else if argument >= values.count {
                out += Array("%!\(verb)(MISSING)".utf8)
            } else {
                let text = formatted(values[argument], verb, flags)
                argument += 1
                try machine.charge(text.utf8.count / 16)
                out += Array(text.utf8)
            }
        }
        if !reordered, argument < values.count {
            out += Array("%!(EXTRA ".utf8)
            for (offset, value) in values[argument...].enumerated() {
                if offset > 0 { out += Array(", ".utf8) }
                out += Array("\(typeName(value))=\(formatted(value, "v", Flags()))".utf8)
            }
            out += Array(")".utf8)
        }
        return out
    }

    private static func typeName(_ value: Value) -> String {
        switch value.tag {
        case .int: return "int64"
        case .number:
            if smallInteger(value) != nil { return "int64" }
            if wholeNumber(value) != nil { return "*big.Int" }
            return isFloat(value) ? "float64" : "string"
        default: return "string"
        }
    }

    /// A whole number of 64 bits that is written with nothing but zeros behind the point.
    private static func smallInteger(_ value: Value) -> Int? {
        let text = value.text
        guard let point = text.utf8.firstIndex(of: 0x2E) else { return Int(text) }
        guard text.utf8[text.utf8.index(after: point)...].allSatisfy({ $0 == 0x30 }) else { return nil }
        return Int(text[..<point])
    }

    /// Whether a number that is no whole one counts as a float: others are strings, as in OPA.
    private static func isFloat(_ value: Value) -> Bool {
        value.text.utf8.contains(0x2E) && Decimal(value).double.isFinite
    }

    /// A whole number that is written without point and exponent.
    private static func wholeNumber(_ value: Value) -> BigInt? {
        let text = value.text
        return text.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D } ? BigInt(text) : nil
    }

    private static func pad(_ text: String, _ flags: Flags, zero: Bool = false) -> String {
        guard let width = flags.width else { return text }
        let count = text.unicodeScalars.count
        if count >= width { return text }
        let fill = String(repeating: zero && !flags.minus ? "0" : " ", count: width - count)
        return flags.minus ? text + fill : fill + text
    }

    private static func formatted(_ value: Value, _ verb: String, _ flags: Flags) -> String {
        switch value.tag {
        case .int: return integer(BigInt(value.integer), verb, flags, value)
        case .number:
            if let small = smallInteger(value) { return integer(BigInt(small), verb, flags, Value(small)) }
            if let whole = wholeNumber(value) {
                return integer(whole, verb == "s" ? "d" : verb, flags, value)
            }
            if !isFloat(value) { return string(value.text, verb, flags) }
            return float(value, verb, flags)
        case .string: return string(value.text, verb, flags)
        default: return string(RegoWriter.text(value), verb, flags)
        }
    }

    private static func bad(_ verb: String, _ type: String, _ text: String) -> String { "%!\(verb)(\(type)=\(text))" }

    private static func integer(_ value: BigInt, _ verb: String, _ flags: Flags, _ original: Value) -> String {
        var radix = 10
        var prefix = ""
        switch verb {
        case "d", "v": break
        case "b":
            radix = 2
            if flags.sharp { prefix = "0b" }
        case "o":
            radix = 8
            if flags.sharp, value != 0 { prefix = "0" }
        case "O":
            radix = 8
            prefix = "0o"
        case "x":
            radix = 16
            if flags.sharp { prefix = "0x" }
        case "X":
            radix = 16
            if flags.sharp { prefix = "0X" }
        case "c" where original.tag == .int, "q" where original.tag == .int, "U" where original.tag == .int:
            let scalar = UnicodeScalar(UInt32(exactly: value) ?? 0xFFFD) ?? "\u{FFFD}"
            if verb == "c" { return pad(String(Character(scalar)), flags) }
            if verb == "q" {
                let quoted = RegoWriter.quoted(String(Character(scalar)), ascii: flags.plus).dropFirst().dropLast()
                let inner = scalar == "'" ? "\\'" : scalar == "\"" ? "\"" : String(quoted)
                return pad("'" + inner + "'", flags)
            }
            let digits = String(value, radix: 16, uppercase: true)
            var text = "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
            if flags.sharp { text += " '" + String(Character(scalar)) + "'" }
            return pad(text, flags)
        case "T": return pad(typeName(original), flags)
        default:
            return bad(verb, original.tag == .int ? "int64" : "big.Int", integer(value, "d", flags, original))
        }
        var digits = String(value.magnitude, radix: radix, uppercase: verb == "X")
        if let precision = flags.precision {
            if precision == 0, value == 0 { digits = "" }
            digits = String(repeating: "0", count: max(0, precision - digits.count)) + digits
        }
        let sign = value < 0 ? "-" : flags.plus && (verb != "v" || original.tag != .int) ? "+" : flags.space ? " " : ""
        if flags.zero, !flags.minus, flags.precision == nil, let width = flags.width {
            let fill = width - sign.count - prefix.count - digits.count
            digits = String(repeating: "0", count: max(0, fill)) + digits
        }
        return pad(sign + prefix + digits, flags)
    }

    private static func float(_ value: Value, _ verb: String, _ flags: Flags) -> String {
        let double = Decimal(value).double
        let text: String
        switch verb {
        case "v": text = GoFloat.general(double, precision: flags.precision, threshold: nil)
        case "g", "G":
            let general = GoFloat.general(double, precision: flags.precision, threshold: nil)
            text = flags.sharp ? GoFloat.pointed(general, digits: flags.precision ?? 6) : general
        case "f", "F": text = GoFloat.fixed(double, precision: flags.precision ?? 6)
        case "e", "E": text = GoFloat.scientific(double, precision: flags.precision ?? 6)
        case "x", "X": text = GoFloat.hexadecimal(double, precision: flags.precision)
        case "b": text = GoFloat.binary(double)
        case "T": return pad("float64", flags)
        default:
            // As %v, but with the flags.
            return bad(verb, "float64", float(value, "g", flags))
        }
        var result = ["G", "E", "X"].contains(verb) ? text.uppercased() : text
        if flags.sharp, ["f", "F", "e", "E", "x", "X"].contains(verb) {
            result = GoFloat.pointed(result, digits: verb == "x" || verb == "X" ? flags.precision ?? 6 : 0)
        }
        if flags.plus, verb != "v", !result.hasPrefix("-") { result = "+" + result }
        if flags.space, !flags.plus, !result.hasPrefix("-") { result = " " + result }
        if flags.zero, !flags.minus, let width = flags.width, result.count < width {
            let signed = result.hasPrefix("-") || result.hasPrefix("+") || result.hasPrefix(" ")
            let sign = signed ? String(result.prefix(1)) : ""
            let body = signed ? String(result.dropFirst()) : result
            return sign + String(repeating: "0", count: width - result.count) + body
        }
        return pad(result, flags)
    }

    private static func string(_ value: String, _ verb: String, _ flags: Flags) -> String {
        switch verb {
        case "s", "v":
            if verb == "v", flags.sharp { return pad(RegoWriter.quoted(value), flags) }
            var text = value
            if let precision = flags.precision {
                var view = String.UnicodeScalarView()
                view.append(contentsOf: value.unicodeScalars.prefix(precision))
                text = String(view)
            }
            return pad(text, flags, zero: flags.zero)
        case "q":
            if flags.sharp, !value.contains("`"),
                !value.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\t" })
            {
                return pad("`" + value + "`", flags)
            }
            return pad(RegoWriter.quoted(value, ascii: flags.plus), flags)
        case "T": return pad("string", flags)
        case "x", "X":
            let digits = Array((verb == "x" ? "0123456789abcdef" : "0123456789ABCDEF").utf8)
            var out: [UInt8] = []
            let mark: [UInt8] = flags.sharp ? Array((verb == "x" ? "0x" : "0X").utf8) : []
            if flags.sharp, !flags.space, !value.isEmpty, flags.precision != 0 { out += mark }
            for (index, byte) in value.utf8.prefix(flags.precision ?? .max).enumerated() {
                if flags.space, index > 0 { out.append(0x20) }
                if flags.space { out += mark }
                out += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
            return pad(String(decoding: out, as: UTF8.self), flags, zero: flags.zero)
        default: return bad(verb, "string", string(value, "s", flags))
        }
    }
}
