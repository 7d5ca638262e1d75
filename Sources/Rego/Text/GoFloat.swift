internal import BigInt

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

    /// A sign and at least two digits.
    private static func exponent(_ power: Int) -> String {
        (power < 0 ? "-" : "+") + (abs(power) < 10 ? "0" : "") + String(abs(power))
    }

    /// `%e`.
    static func scientific(_ double: Double, precision: Int?) -> String {
        let number = precision.map { rounded(double, count: $0 + 1) } ?? shortest(double)
        var digits = number.digits
        if let precision { digits += [UInt8](repeating: 0, count: max(0, precision + 1 - digits.count)) }
        if digits.isEmpty { digits = [0] }
        let power = double == 0 ? 0 : number.power
        let fraction = digits.count > 1 ? "." + text(digits.dropFirst()) : ""
        return (number.negative ? "-" : "") + text(digits.prefix(1)) + fraction + "e" + exponent(power)
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
        if precision == nil { limit = threshold ?? 6 }
        if precision == 0 { limit = 1 }
        let power = double == 0 ? 0 : number.power
        if power < -4 || power >= limit {
            if digits.isEmpty { digits = [0] }
            let fraction = digits.count > 1 ? "." + text(digits.dropFirst()) : ""
            return (number.negative ? "-" : "") + text(digits.prefix(1)) + fraction + "e" + exponent(power)
        }
        return plain(number.negative, digits, power, precision: nil)
    }

    /// `%x`: a hexadecimal fraction and a power of two.
    static func hexadecimal(_ double: Double, precision: Int?) -> String {
        let sign = double.sign == .minus ? "-" : ""
        // 1.52 bits, as a whole number of 1.60 bits' digits.
        var power = double == 0 ? 0 : Int(double.exponent)
        var mantissa: UInt64 = double == 0 ? 0 : UInt64(double.significand * 0x1p60)
        if let precision, precision < 15 {
            let dropped = UInt64(60 - 4 * precision)
            let rest = mantissa & (1 << dropped - 1)
            mantissa >>= dropped
            let half: UInt64 = 1 << (dropped - 1)
            if rest > half || rest == half && mantissa & 1 == 1 { mantissa += 1 }
            mantissa <<= dropped
            if mantissa >> 61 != 0 {
                mantissa >>= 1
                power += 1
            }
        }
        let all = String(mantissa & (1 << 60 - 1), radix: 16)
        var fraction = String(repeating: "0", count: 15 - all.count) + all
        if let precision {
            fraction = String(fraction.prefix(precision)) + String(repeating: "0", count: max(0, precision - 15))
        } else {
            while fraction.hasSuffix("0") { fraction.removeLast() }
        }
        return sign + "0x" + String(mantissa >> 60) + (fraction.isEmpty ? "" : "." + fraction) + "p" + exponent(power)
    }

    /// `%b`: the mantissa as a whole number and a power of two.
    static func binary(_ double: Double) -> String {
        let field = Int(double.exponentBitPattern)
        let mantissa = double.significandBitPattern | (field == 0 ? 0 : 1 << 52)
        let power = max(field, 1) - 1075
        return (double.sign == .minus ? "-" : "") + String(mantissa) + "p" + (power < 0 ? "-" : "+")
            + String(abs(power))
    }

    /// A number as the flag `#` shows it: with a point, and zeros up to `digits` significant digits.
    static func pointed(_ text: String, digits: Int) -> String {
        let bytes = Array(text.utf8)
        let isHexadecimal = bytes.contains { $0 | 0x20 == UInt8(ascii: "x") }
        let end = bytes.firstIndex { $0 | 0x20 == UInt8(ascii: isHexadecimal ? "p" : "e") } ?? bytes.count
        var missing = digits
        var isSignificant = false
        for byte in bytes[..<end] where byte != UInt8(ascii: ".") && byte != UInt8(ascii: "-") {
            if byte != UInt8(ascii: "0") { isSignificant = true }
            if isSignificant { missing -= 1 }
        }
        var number = String(decoding: bytes[..<end], as: UTF8.self)
        if !number.contains(".") {
            if number == "0" || number == "-0" { missing -= 1 }
            number += "."
        }
        return number + String(repeating: "0", count: max(0, missing)) + String(decoding: bytes[end...], as: UTF8.self)
    }

    /// As `encoding/json` writes a double: plain between 1e-6 and 1e21, with an exponent beyond.
    static func json(_ double: Double) -> String {
        if double == 0 { return "0" }
        let magnitude = abs(double)
        if magnitude < 1e-6 || magnitude >= 1e21 {
            var text = scientific(double, precision: nil)
            // e-09 is written e-9.
            let bytes = Array(text.utf8)
            if bytes.count >= 4, bytes[bytes.count - 4] == UInt8(ascii: "e"),
                bytes[bytes.count - 3] == UInt8(ascii: "-"),
                bytes[bytes.count - 2] == UInt8(ascii: "0")
            {
                text = String(decoding: bytes.dropLast(2) + [bytes[bytes.count - 1]], as: UTF8.self)
            }
            return text
        }
        return general(double, precision: nil, threshold: 400)
    }
}
