/// Base64 (RFC 4648) and hexadecimal digits.
enum Base64 {
    /// Whether text may or must end in `=`.
    enum Padding {
        case required
        case optional
        case forbidden
    }

    private static let standard = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let urlSafe = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    static func encode(_ bytes: [UInt8], url: Bool, padded: Bool) -> [UInt8] {
        let alphabet = url ? urlSafe : standard
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count * 4 / 3 + 4)
        var index = 0
        while index < bytes.count {
            let count = min(3, bytes.count - index)
            var word = UInt32(bytes[index]) << 16
            if count > 1 { word |= UInt32(bytes[index + 1]) << 8 }
            if count > 2 { word |= UInt32(bytes[index + 2]) }
            out.append(alphabet[Int(word >> 18 & 63)])
            out.append(alphabet[Int(word >> 12 & 63)])
            if count > 1 { out.append(alphabet[Int(word >> 6 & 63)]) } else if padded { out.append(0x3D) }
            if count > 2 { out.append(alphabet[Int(word & 63)]) } else if padded { out.append(0x3D) }
            index += 3
        }
        return out
    }

    /// Nil for text that is none; line ends are skipped as Go does.
    static func decode(_ text: [UInt8], url: Bool, padding: Padding) -> [UInt8]? {
        var out: [UInt8] = []
        var word: UInt32 = 0
        var count = 0
        var pads = 0
        for byte in text {
            if byte == 0x0A || byte == 0x0D { continue }
            if byte == 0x3D {
                pads += 1
                continue
            }
            if pads > 0 { return nil }
            let digit: UInt32
            switch byte {
            case 0x41...0x5A: digit = UInt32(byte) - 0x41
            case 0x61...0x7A: digit = UInt32(byte) - 0x61 + 26
            case 0x30...0x39: digit = UInt32(byte) - 0x30 + 52
            case UInt8(ascii: "+") where !url, UInt8(ascii: "-") where url: digit = 62
            case UInt8(ascii: "/") where !url, UInt8(ascii: "_") where url: digit = 63
            default: return nil
            }
            word = word << 6 | digit
            count += 1
            if count % 4 == 0 {
                out += [UInt8(word >> 16 & 255), UInt8(word >> 8 & 255), UInt8(word & 255)]
                word = 0
            }
        }
        let rest = count % 4
        if rest == 1 { return nil }
        if rest == 2 { out.append(UInt8(word >> 4 & 255)) }
        if rest == 3 { out += [UInt8(word >> 10 & 255), UInt8(word >> 2 & 255)] }
        let needed = rest == 0 ? 0 : 4 - rest
        switch padding {
        case .required: return pads == needed ? out : nil
        case .optional: return pads == needed || pads == 0 ? out : nil
        case .forbidden: return pads == 0 ? out : nil
        }
    }

    /// Bytes of hexadecimal digits; nil where there is another character or half a byte.
    static func hex(_ text: [UInt8]) -> [UInt8]? {
        guard text.count % 2 == 0 else { return nil }
        var out: [UInt8] = []
        var high: UInt8 = 0
        for (index, byte) in text.enumerated() {
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte - 0x30
            case 0x41...0x46: digit = byte - 0x37
            case 0x61...0x66: digit = byte - 0x57
            default: return nil
            }
            if index % 2 == 0 { high = digit } else { out.append(high << 4 | digit) }
        }
        return out
    }
}
