import Octets

/// The byte with `A`...`Z` turned to lower case.
func asciiLowercased(_ byte: UInt8) -> UInt8 {
    byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
}

extension UInt8 {
    var isDigit: Bool { self >= 0x30 && self <= 0x39 }

    var isLetter: Bool { (self | 0x20) >= 0x61 && (self | 0x20) <= 0x7A }

    /// Letters, digits, hyphen (RFC 1123 §2.1) and the underscore that real names have.
    var isHostNameByte: Bool { isLetter || isDigit || self == UInt8(ascii: "-") || self == UInt8(ascii: "_") }

    var hexadecimalValue: UInt8? {
        if isDigit { return self - 0x30 }
        let lower = self | 0x20
        return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : nil
    }

    /// `tchar` of RFC 9110 §5.6.2.
    var isTokenByte: Bool {
        if isLetter || isDigit { return true }
        switch self {
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            return true
        default:
            return false
        }
    }
}

extension RawSpan {
    /// Whether the bytes are `text`, letters compared without case. `text` is in lower case.
    func equalsIgnoringCase(_ text: StaticString) -> Bool {
        guard byteCount == text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { literal in
            for index in 0..<byteCount where asciiLowercased(byte(at: index)) != literal[index] { return false }
            return true
        }
    }

    /// Whether the bytes begin with exactly `text`, or are a beginning of it.
    func matchesPrefix(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { literal in
            for index in 0..<Swift.min(byteCount, literal.count) where byte(at: index) != literal[index] {
                return false
            }
            return true
        }
    }

    /// The bytes as text; what is no UTF-8 becomes U+FFFD.
    var text: String {
        withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}
