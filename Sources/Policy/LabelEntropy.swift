/// The Shannon entropy of a DNS label.
enum LabelEntropy {
    /// The entropy of the label's characters in hundredths of a bit a character, rounded down; 0 for an empty label.
    static func centibits(of label: String) -> UInt32 {
        var counts: InlineArray<256, UInt16> = .init(repeating: 0)
        var length: UInt16 = 0
        for byte in label.utf8 where length < .max {
            counts[Int(byte)] += 1
            length += 1
        }
        guard length > 0 else { return 0 }
        // log2(n) - sum(c * log2(c)) / n
        var sum = 0.0
        for index in counts.indices where counts[index] > 1 { sum += Double(counts[index]) * log2(counts[index]) }
        return UInt32(max((log2(length) - sum / Double(length)) * 100 + 1e-6, 0))
    }

    /// The binary logarithm of a number above 0, by squaring: no module of the C library is needed, and every machine gives
    /// the same.
    private static func log2(_ number: UInt16) -> Double {
        let whole = 15 - number.leadingZeroBitCount
        var rest = Double(number) / Double(UInt32(1) << UInt32(whole))
        var result = Double(whole)
        var bit = 0.5
        for _ in 0..<40 {
            rest *= rest
            if rest >= 2 {
                rest /= 2
                result += bit
            }
            bit /= 2
        }
        return result
    }
}
