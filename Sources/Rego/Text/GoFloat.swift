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

    /// As `encoding/json` writes a double: plain between 1e-6 and 1e21, with an exponent beyond.
    static func json(_ double: Double) -> String {
        if double == 0 { return "0" }
        let magnitude = abs(double)
        if magnitude < 1e-6 || magnitude >= 1e21 {
            var text = scientific(double, precision: nil)
            // e-09 is written e-9.
            let bytes = Array(text.utf8)
            if bytes.count >= 4, bytes[bytes.count - 4] == UInt8(ascii: "e"), bytes[bytes.count - 3] == UInt8(ascii: "-"),
                bytes[bytes.count - 2] == UInt8(ascii: "0")
            {
                text = String(decoding: bytes.dropLast(2) + [bytes[bytes.count - 1]], as: UTF8.self)
            }
            return text
        }
        return general(double, precision: nil, threshold: 400)
    }
}
