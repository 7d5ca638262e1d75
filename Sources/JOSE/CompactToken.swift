/// A JWS in compact serialisation (RFC 7515 §7.1), taken apart but not verified.
public struct CompactToken: Sendable {
    /// The decoded header, JSON.
    public let header: [UInt8]
    /// The decoded payload.
    public let payload: [UInt8]
    /// The decoded signature.
    public let signature: [UInt8]
    /// What is signed: the first two parts with their dot.
    public let signedText: [UInt8]

    /// What a token is not.
    public enum Failure: Error, Hashable, Sendable {
        /// Not three parts.
        case parts
        /// A part is not base64url without padding.
        case encoding
    }

    /// Takes a token of at most 64 KiB apart. Padding, line ends and other characters are refused.
    public init(_ text: [UInt8]) throws(Failure) {
        guard text.count <= 65536 else { throw .parts }
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3 else { throw .parts }
        guard let header = Self.decode(parts[0]), let payload = Self.decode(parts[1]),
            let signature = Self.decode(parts[2])
        else { throw .encoding }
        self.header = header
        self.payload = payload
        self.signature = signature
        signedText = Array(parts[0]) + [UInt8(ascii: ".")] + Array(parts[1])
    }

    /// Base64url without padding (RFC 4648 §5).
    public static func encode(_ bytes: some Collection<UInt8>) -> String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var out: [UInt8] = []
        out.reserveCapacity((bytes.count * 4 + 2) / 3)
        var word: UInt32 = 0
        var bits = 0
        for byte in bytes {
            word = word << 8 | UInt32(byte)
            bits += 8
            while bits >= 6 {
                bits -= 6
                out.append(digits[Int(word >> UInt32(bits) & 63)])
            }
        }
        if bits > 0 { out.append(digits[Int(word << UInt32(6 - bits) & 63)]) }
        return String(decoding: out, as: UTF8.self)
    }

    /// Base64url without padding (RFC 4648 §5); nil for anything else, and where unused bits are not zero.
    public static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var out: [UInt8] = []
        var word: UInt32 = 0
        var count = 0
        for byte in text {
            let digit: UInt32
            switch byte {
            case 0x41...0x5A: digit = UInt32(byte) - 0x41
            case 0x61...0x7A: digit = UInt32(byte) - 0x61 + 26
            case 0x30...0x39: digit = UInt32(byte) - 0x30 + 52
            case UInt8(ascii: "-"): digit = 62
            case UInt8(ascii: "_"): digit = 63
            default: return nil
            }
            word = word << 6 | digit
            count += 1
            if count % 4 == 0 {
                out += [UInt8(word >> 16 & 255), UInt8(word >> 8 & 255), UInt8(word & 255)]
                word = 0
            }
        }
        switch count % 4 {
        case 1: return nil
        case 2:
            guard word & 15 == 0 else { return nil }
            out.append(UInt8(word >> 4 & 255))
        case 3:
            guard word & 3 == 0 else { return nil }
            out += [UInt8(word >> 10 & 255), UInt8(word >> 2 & 255)]
        default: break
        }
        return out
    }
}
