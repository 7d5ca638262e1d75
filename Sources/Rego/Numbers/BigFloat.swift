internal import BigInt

/// A binary floating-point number with a 64-bit mantissa that rounds to nearest even, as Go's `big.Float` with
/// precision 64 does: what arithmetic beyond exact integers is done in.
struct BigFloat {
    /// Whether it is below zero.
    var negative: Bool
    /// The mantissa, its top bit set; zero for zero.
    var mantissa: UInt64
    /// The value is `mantissa * 2^(exponent - 64)`.
    var exponent: Int

    static let zero = BigFloat(negative: false, mantissa: 0, exponent: 0)

    /// `numerator / denominator * 2^power`, rounded; `sticky` says that a little more was cut off the numerator.
    private static func rounded(
        negative: Bool, numerator: BigUInt, denominator: BigUInt, power: Int, sticky: Bool = false
    ) -> BigFloat {
        if numerator == 0 { return .zero }
        // Scale so that the quotient has at least 66 bits.
        var numerator = numerator
        var power = power
        let shift = 66 - (numerator.bitWidth - denominator.bitWidth)
        if shift > 0 {
            numerator <<= shift
            power -= shift
        }
        var (quotient, remainder) = numerator.quotientAndRemainder(dividingBy: denominator)
        var inexact = remainder != 0 || sticky
        let extra = quotient.bitWidth - 64
        var roundUp = false
        if extra > 0 {
            let cut = quotient & ((BigUInt(1) << extra) - 1)
            let half = BigUInt(1) << (extra - 1)
            quotient >>= extra
            power += extra
            if cut > half || (cut == half && inexact) {
                roundUp = true
            } else if cut == half {
                roundUp = quotient & 1 == 1
            }
            inexact = inexact || cut != 0
        }
        if roundUp {
            quotient += 1
            if quotient.bitWidth > 64 {
                quotient >>= 1
                power += 1
            }
        }
        var mantissa = UInt64(quotient)
        var exponent = power + 64
        let lead = mantissa.leadingZeroBitCount
        mantissa <<= UInt64(lead)
        exponent -= lead
        return BigFloat(negative: negative, mantissa: mantissa, exponent: exponent)
    }

    /// The nearest to an exact decimal.
    init(_ decimal: Decimal) {
        if decimal.digits.isEmpty {
            self = .zero
            return
        }
        var text = ""
        for digit in decimal.digits { text.append(Character(UnicodeScalar(digit + 0x30))) }
        let mantissa = BigUInt(text) ?? 0
        let power = decimal.exponent - decimal.digits.count
        if power >= 0 {
            self = Self.rounded(
                negative: decimal.negative, numerator: mantissa * BigUInt(10).power(min(power, 400_000)),
                denominator: 1, power: 0)
        } else {
            self = Self.rounded(
                negative: decimal.negative, numerator: mantissa,
                denominator: BigUInt(10).power(min(-power, 400_000)), power: 0)
        }
    }

    /// The nearest to a whole number.
    init(_ integer: BigInt) {
        self = Self.rounded(negative: integer < 0, numerator: integer.magnitude, denominator: 1, power: 0)
    }

    init(negative: Bool, mantissa: UInt64, exponent: Int) {
        self.negative = negative
        self.mantissa = mantissa
        self.exponent = exponent
    }

    /// The nearest to a double.
    init(_ double: Double) {
        if double == 0 || !double.isFinite {
            self = .zero
            return
        }
        let significand = (UInt64(1) << 52 | double.significandBitPattern)
        let mantissa = double.isNormal ? significand : double.significandBitPattern
        let power = double.isNormal ? Int(double.exponent) - 52 : -1074
        self = Self.rounded(negative: double < 0, numerator: BigUInt(mantissa), denominator: 1, power: power)
    }

    /// The sum.
    static func + (a: BigFloat, b: BigFloat) -> BigFloat {
        if a.mantissa == 0 { return b }
        if b.mantissa == 0 { return a }
        let low = min(a.exponent, b.exponent)
        let high = max(a.exponent, b.exponent)
        if high - low > 200 { return a.exponent > b.exponent ? a : b }
        var x = BigInt(BigUInt(a.mantissa) << (a.exponent - low))
        var y = BigInt(BigUInt(b.mantissa) << (b.exponent - low))
        if a.negative { x.negate() }
        if b.negative { y.negate() }
        let sum = x + y
        return rounded(negative: sum < 0, numerator: sum.magnitude, denominator: 1, power: low - 64)
    }

    /// The same with the other sign.
    static prefix func - (a: BigFloat) -> BigFloat {
        BigFloat(negative: a.mantissa != 0 && !a.negative, mantissa: a.mantissa, exponent: a.exponent)
    }

    /// The difference.
    static func - (a: BigFloat, b: BigFloat) -> BigFloat { a + (-b) }

    /// The product.
    static func * (a: BigFloat, b: BigFloat) -> BigFloat {
        if a.mantissa == 0 || b.mantissa == 0 { return .zero }
        return rounded(
            negative: a.negative != b.negative, numerator: BigUInt(a.mantissa) * BigUInt(b.mantissa), denominator: 1,
            power: a.exponent + b.exponent - 128)
    }

    /// The quotient; the caller has refused a divisor of zero.
    static func / (a: BigFloat, b: BigFloat) -> BigFloat {
        if a.mantissa == 0 || b.mantissa == 0 { return .zero }
        return rounded(
            negative: a.negative != b.negative, numerator: BigUInt(a.mantissa) << 66,
            denominator: BigUInt(b.mantissa), power: a.exponent - b.exponent - 66)
    }

    /// Whether it has no fraction.
    var isInteger: Bool {
        if mantissa == 0 { return true }
        if exponent <= 0 { return false }
        return exponent >= 64 - mantissa.trailingZeroBitCount
    }

    /// The whole part, towards zero.
    var truncated: BigInt {
        if mantissa == 0 || exponent <= 0 { return 0 }
        let magnitude =
            exponent >= 64
            ? BigUInt(mantissa) << (exponent - 64) : BigUInt(mantissa >> UInt64(64 - exponent))
        return negative ? -BigInt(magnitude) : BigInt(magnitude)
    }

    /// The nearest double.
    var double: Double {
        Decimal(Array(text.utf8)).double
    }

    /// As Go prints it with the fewest digits that read back: plain where it is whole or its exponent is small, `e`
    /// notation otherwise.
    var text: String {
        if mantissa == 0 { return "0" }
        let (digits, point) = shortest
        let sign = negative ? "-" : ""
        if isInteger {
            if point >= digits.count {
                return sign + digits + String(repeating: "0", count: point - digits.count)
            }
        } else {
            let power = point - 1
            if power < -4 || power >= 6 { return sign + Self.scientific(digits, power) }
        }
        if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + digits }
        let split = digits.index(digits.startIndex, offsetBy: min(point, digits.count))
        if split == digits.endIndex { return sign + digits }
        return sign + digits[..<split] + "." + digits[split...]
    }

    private static func scientific(_ digits: String, _ power: Int) -> String {
        var result = String(digits.prefix(1))
        if digits.count > 1 { result += "." + digits.dropFirst() }
        let magnitude = abs(power)
        return result + "e" + (power < 0 ? "-" : "+") + (magnitude < 10 ? "0" : "") + String(magnitude)
    }

    /// The fewest decimal digits `d1d2...` with `0.d1d2... * 10^point` nearer to this number than to its neighbours.
    private var shortest: (digits: String, point: Int) {
        // value = m * 2^e; the interval is half a unit to either side (a quarter below a power of two).
        let e = exponent - 64
        var numerator = BigUInt(mantissa)
        var denominator = BigUInt(1)
        var plus = BigUInt(1)
        var minus = BigUInt(1)
        let lower = mantissa == UInt64(1) << 63
        if e >= 0 {
            numerator <<= e + 1
            denominator = 2
            plus = BigUInt(1) << e
            minus = plus
        } else {
            numerator <<= 1
            denominator <<= -e + 1
        }
        if lower {
            numerator <<= 1
            denominator <<= 1
            plus <<= 1
        }
        let even = mantissa & 1 == 0
        // Find the power of ten.
        var point = Int((Double(exponent) * 0.30102999566398120).rounded(.up))
        if point >= 0 {
            denominator *= BigUInt(10).power(point)
        } else {
            let scale = BigUInt(10).power(-point)
            numerator *= scale
            plus *= scale
            minus *= scale
        }
        func tooBig() -> Bool {
            let sum = numerator + plus
            return even ? sum >= denominator : sum > denominator
        }
        while tooBig() {
            denominator *= 10
            point += 1
        }
        while true {
            let ten = (numerator + plus) * 10
            if even ? ten >= denominator : ten > denominator { break }
            numerator *= 10
            plus *= 10
            minus *= 10
            point -= 1
        }
        var digits = ""
        while digits.count < 40 {
            let (digit, rest) = (numerator * 10).quotientAndRemainder(dividingBy: denominator)
            plus *= 10
            minus *= 10
            numerator = rest
            let low = even ? numerator <= minus : numerator < minus
            let high = even ? numerator + plus >= denominator : numerator + plus > denominator
            if !low && !high {
                digits += String(digit)
                continue
            }
            let up = low && high ? numerator * 2 >= denominator : high
            digits += String(up ? digit + 1 : digit)
            break
        }
        return (digits, point)
    }
}
