internal import BigInt

/// An exact decimal number: `0.d1d2d3... * 10^exponent`. What literals are compared and hashed by.
struct Decimal {
    /// Whether it is below zero.
    let negative: Bool
    /// Digits 0...9, the first and the last not zero; empty for zero.
    let digits: [UInt8]
    /// The power of ten that the fraction is multiplied by.
    let exponent: Int

    /// From a literal in JSON's grammar (a leading `+` or `.` is read too). Text that is none reads as far as it goes.
    init(_ text: some Collection<UInt8>) {
        var negative = false
        var digits: [UInt8] = []
        var exponent = 0
        var seenPoint = false
        var index = text.startIndex
        if index < text.endIndex, text[index] == UInt8(ascii: "-") || text[index] == UInt8(ascii: "+") {
            negative = text[index] == UInt8(ascii: "-")
            index = text.index(after: index)
        }
        while index < text.endIndex {
            let byte = text[index]
            if byte == UInt8(ascii: ".") {
                seenPoint = true
            } else if byte >= 0x30, byte <= 0x39 {
                if digits.isEmpty, byte == 0x30 {
                    if seenPoint { exponent -= 1 }
                } else {
                    digits.append(byte - 0x30)
                    if !seenPoint { exponent += 1 }
                }
            } else {
                break
            }
            index = text.index(after: index)
        }
        if index < text.endIndex, text[index] | 0x20 == UInt8(ascii: "e") {
            index = text.index(after: index)
            var negativePower = false
            if index < text.endIndex, text[index] == UInt8(ascii: "-") || text[index] == UInt8(ascii: "+") {
                negativePower = text[index] == UInt8(ascii: "-")
                index = text.index(after: index)
            }
            var power = 0
            while index < text.endIndex, text[index] >= 0x30, text[index] <= 0x39 {
                power = min(power * 10 + Int(text[index] - 0x30), 1_000_000_000)
                index = text.index(after: index)
            }
            exponent += negativePower ? -power : power
        }
        while digits.last == 0 { digits.removeLast() }
        self.negative = negative && !digits.isEmpty
        self.digits = digits
        self.exponent = digits.isEmpty ? 0 : exponent
    }

    /// From a number value.
    init(_ value: Value) {
        if value.tag == .int {
            self.init(String(value.integer).utf8)
        } else {
            self = value.withBytes { Decimal($0) }
        }
    }

    /// -1, 0 or 1.
    static func compare(_ a: Decimal, _ b: Decimal) -> Int {
        if a.negative != b.negative { return a.negative ? -1 : 1 }
        let order = compareMagnitude(a, b)
        return a.negative ? -order : order
    }

    private static func compareMagnitude(_ a: Decimal, _ b: Decimal) -> Int {
        if a.digits.isEmpty || b.digits.isEmpty { return a.digits.isEmpty ? (b.digits.isEmpty ? 0 : -1) : 1 }
        if a.exponent != b.exponent { return a.exponent < b.exponent ? -1 : 1 }
        for (x, y) in zip(a.digits, b.digits) where x != y { return x < y ? -1 : 1 }
        return a.digits.count == b.digits.count ? 0 : a.digits.count < b.digits.count ? -1 : 1
    }

    /// Whether it has no fraction.
    var isInteger: Bool { exponent >= digits.count }

    /// The whole number, where it is one of 64 bits.
    var integer: Int? {
        guard isInteger, exponent <= 19 else { return nil }
        var result = 0
        for index in 0..<exponent {
            let digit = index < digits.count ? Int(digits[index]) : 0
            let (tens, over) = result.multipliedReportingOverflow(by: 10)
            let (sum, over2) = tens.subtractingReportingOverflow(digit)
            if over || over2 { return nil }
            result = sum
        }
        if negative { return result }
        let (positive, over) = 0.subtractingReportingOverflow(result)
        return over ? nil : positive
    }

    /// The whole number, where it is one; nil too past a million digits.
    var bigInteger: BigInt? {
        guard isInteger, exponent <= 1_000_000 else { return nil }
        var text = negative ? "-" : ""
        for digit in digits { text.append(Character(UnicodeScalar(digit + 0x30))) }
        text += String(repeating: "0", count: exponent - digits.count)
        if digits.isEmpty { text = "0" }
        return BigInt(text)
    }

    /// Equal numbers have equal hashes, whatever their text; whole numbers of 64 bits hash as `Value(_: Int)`.
    var valueHash: UInt32 {
        if let integer { return Value(integer).hash }
        var state: UInt64 = negative ? 0x51 : 0x13
        state = (state ^ UInt64(bitPattern: Int64(exponent))) &* 0x9FB2_1C65_1E98_DF25
        for digit in digits { state = (state ^ UInt64(digit)) &* 0x9FB2_1C65_1E98_DF25 ^ (state >> 40) }
        return Value.mix(state)
    }

    /// The whole number, where `text` is its canonical decimal text.
    static func canonicalInteger(_ text: [UInt8]) -> Int? {
        guard let first = text.first, text.count <= 20 else { return nil }
        let start = first == UInt8(ascii: "-") ? 1 : 0
        guard text.count > start else { return nil }
        if start == 1, text.count == 2, text[1] == 0x30 { return 0 }
        if text[start] == 0x30, text.count > 1 { return nil }
        var result = 0
        for byte in text[start...] {
            guard byte >= 0x30, byte <= 0x39 else { return nil }
            let (tens, over) = result.multipliedReportingOverflow(by: 10)
            let (sum, over2) = tens.subtractingReportingOverflow(Int(byte - 0x30))
            if over || over2 { return nil }
            result = sum
        }
        if start == 1 { return result }
        let (positive, over) = 0.subtractingReportingOverflow(result)
        return over ? nil : positive
    }

    /// The nearest double.
    var double: Double {
        guard !digits.isEmpty else { return 0 }
        var text = negative ? "-0." : "0."
        for digit in digits.prefix(800) { text.append(Character(UnicodeScalar(digit + 0x30))) }
        text += "e\(exponent)"
        return Double(text) ?? (negative ? -Double.infinity : Double.infinity)
    }
}

extension Value {
    /// Whether a number is written without an exponent: where OPA wants a whole number, `1e3` is none.
    var isWrittenWhole: Bool { tag == .int || withBytes { !$0.contains { $0 | 0x20 == UInt8(ascii: "e") } } }
}
