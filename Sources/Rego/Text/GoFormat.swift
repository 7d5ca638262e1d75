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
        case .int: return "int"
        case .number:
            if wholeNumber(value) != nil { return "*big.Int" }
            return Decimal(value).double.isFinite ? "float64" : "string"
        default: return "string"
        }
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
            if let whole = wholeNumber(value) {
                return integer(whole, verb == "s" ? "d" : verb, flags, value)
            }
            if !Decimal(value).double.isFinite { return string(value.text, verb, flags) }
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
            if flags.sharp { prefix = "0" }
        case "O":
            radix = 8
            prefix = "0o"
        case "x":
            radix = 16
            if flags.sharp { prefix = "0x" }
        case "X":
            radix = 16
            if flags.sharp { prefix = "0X" }
        case "c", "q", "U":
            let scalar = UnicodeScalar(UInt32(exactly: value) ?? 0xFFFD) ?? "\u{FFFD}"
            if verb == "c" { return pad(String(Character(scalar)), flags) }
            if verb == "q" { return pad("'" + String(Character(scalar)) + "'", flags) }
            let digits = String(value, radix: 16, uppercase: true)
            return pad("U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits, flags)
        case "s", "e", "E", "f", "F", "g", "G", "t", "p":
            return bad(verb, original.tag == .int ? "int" : "*big.Int", String(value))
        default: return bad(verb, original.tag == .int ? "int" : "*big.Int", String(value))
        }
        var digits = String(value.magnitude, radix: radix, uppercase: verb == "X")
        if let precision = flags.precision {
            if precision == 0, value == 0 { digits = "" }
            digits = String(repeating: "0", count: max(0, precision - digits.count)) + digits
        }
        let sign = value < 0 ? "-" : flags.plus ? "+" : flags.space ? " " : ""
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
        case "v":
            text = GoFloat.general(double, precision: flags.precision, threshold: 21)
        case "g", "G":
            let general = GoFloat.general(double, precision: flags.precision, threshold: nil)
            text = verb == "G" ? general.uppercased() : general
        case "f", "F": text = GoFloat.fixed(double, precision: flags.precision ?? 6)
        case "e", "E":
            let scientific = GoFloat.scientific(double, precision: flags.precision ?? 6)
            text = verb == "E" ? scientific.uppercased() : scientific
        default:
            return bad(verb, "float64", GoFloat.general(double, precision: nil, threshold: 21))
        }
        var result = text
        if flags.plus, !result.hasPrefix("-") { result = "+" + result }
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
        case "q": return pad(flags.sharp ? "`" + value + "`" : RegoWriter.quoted(value), flags)
        case "x", "X":
            let digits = Array((verb == "x" ? "0123456789abcdef" : "0123456789ABCDEF").utf8)
            var out: [UInt8] = []
            for (index, byte) in value.utf8.prefix(flags.precision ?? .max).enumerated() {
                if flags.space, index > 0 { out.append(0x20) }
                out += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
            return pad(String(decoding: out, as: UTF8.self), flags)
        default: return bad(verb, "string", value)
        }
    }
}

/// Doubles as Go's `strconv` prints them.
enum GoFloat {
    /// The fewest digits that read back, and the power of ten of the first one.
    private static func shortest(_ double: Double) -> (negative: Bool, digits: [UInt8], power: Int) {
        let decimal = Decimal(Array("\(double)".utf8))
        return (double.sign == .minus, decimal.digits, decimal.exponent - 1)
    }

    /// Exactly rounded digits: `count` of them from the first one on.
    private static func rounded(_ double: Double, count: Int) -> (negative: Bool, digits: [UInt8], power: Int) {
        let exact = exactDigits(double)
        return round(double.sign == .minus, exact.digits, exact.power, count: count)
    }

    private static func round(
        _ negative: Bool, _ digits: [UInt8], _ power: Int, count: Int
    ) -> (negative: Bool, digits: [UInt8], power: Int) {
        if count < 0 { return (negative, [], power) }
        if digits.count <= count { return (negative, digits, power) }
        var kept = Array(digits.prefix(count))
        let next = digits[count]
        let rest = digits.dropFirst(count + 1).contains { $0 != 0 }
        let up = next > 5 || (next == 5 && (rest || (kept.last ?? 0) % 2 == 1))
        var power = power
        if up {
            var index = kept.count - 1
            while index >= 0 {
                if kept[index] < 9 {
                    kept[index] += 1
                    break
                }
                kept[index] = 0
                index -= 1
            }
            if index < 0 {
                kept.insert(1, at: 0)
                if count > 0 { kept.removeLast() }
                power += 1
            }
        }
        return (negative, kept, power)
    }

    private static func exactDigits(_ double: Double) -> (digits: [UInt8], power: Int) {
        if double == 0 { return ([], 0) }
        let float = BigFloat(double)
        let shift = float.exponent - 64
        var numerator = BigUInt(float.mantissa)
        var scale = 0
        if shift >= 0 {
            numerator <<= shift
        } else {
            // m / 2^n = m * 5^n / 10^n
            numerator *= BigUInt(5).power(-shift)
            scale = -shift
        }
        let digits = Array(String(numerator).utf8).map { $0 - 0x30 }
        var trimmed = digits
        while trimmed.last == 0 { trimmed.removeLast() }
        return (trimmed, digits.count - 1 - scale)
    }

    private static func text(_ digits: some Sequence<UInt8>) -> String {
        String(decoding: digits.map { $0 + 0x30 }, as: UTF8.self)
    }

    /// `%e`.
    static func scientific(_ double: Double, precision: Int?) -> String {
        let number = precision.map { rounded(double, count: $0 + 1) } ?? shortest(double)
        var digits = number.digits
        if let precision { digits += [UInt8](repeating: 0, count: max(0, precision + 1 - digits.count)) }
        if digits.isEmpty { digits = [0] }
        let power = double == 0 ? 0 : number.power
        let fraction = digits.count > 1 ? "." + text(digits.dropFirst()) : ""
        let magnitude = abs(power)
        return (number.negative ? "-" : "") + text(digits.prefix(1)) + fraction + "e" + (power < 0 ? "-" : "+")
            + (magnitude < 10 ? "0" : "") + String(magnitude)
    }

    /// `%f`.
    static func fixed(_ double: Double, precision: Int) -> String {
        let exact = exactDigits(double)
        let number = round(double.sign == .minus, exact.digits, exact.power, count: exact.power + 1 + precision)
        return plain(number.negative, number.digits, number.power, precision: precision)
    }

    private static func plain(_ negative: Bool, _ digits: [UInt8], _ power: Int, precision: Int?) -> String {
        var whole = ""
        var fraction = ""
        if digits.isEmpty || power < 0 {
            whole = "0"
            if !digits.isEmpty { fraction = String(repeating: "0", count: -power - 1) + text(digits) }
        } else {
            let head = digits.prefix(power + 1)
            whole = text(head) + String(repeating: "0", count: power + 1 - head.count)
            fraction = text(digits.dropFirst(power + 1))
        }
        if let precision {
            fraction = String(fraction.prefix(precision))
            fraction += String(repeating: "0", count: max(0, precision - fraction.count))
        }
        return (negative ? "-" : "") + whole + (fraction.isEmpty ? "" : "." + fraction)
    }

    /// `%g`, or `%v` with its threshold.
    static func general(_ double: Double, precision: Int?, threshold: Int?) -> String {
        let number = precision.map { rounded(double, count: max(1, $0)) } ?? shortest(double)
        var digits = number.digits
        while digits.last == 0 { digits.removeLast() }
        var limit = precision ?? 6
        if let precision, precision > digits.count, digits.count >= number.power + 1 { limit = digits.count }
        if precision == nil { limit = threshold ?? 21 }
        if precision == 0 { limit = 1 }
        let power = double == 0 ? 0 : number.power
        if power < -4 || power >= limit {
            if digits.isEmpty { digits = [0] }
            let fraction = digits.count > 1 ? "." + text(digits.dropFirst()) : ""
            let magnitude = abs(power)
            return (number.negative ? "-" : "") + text(digits.prefix(1)) + fraction + "e" + (power < 0 ? "-" : "+")
                + (magnitude < 10 ? "0" : "") + String(magnitude)
        }
        return plain(number.negative, digits, power, precision: nil)
    }
}
