/// Makes text that anybody may have chosen safe to print and to search: one line, no control bytes, bounded.
///
/// - In a name (host, path, method, ALPN) every byte outside printable ASCII, the space and the backslash become `\xNN`.
/// - In a sentence (a policy's reason) Unicode stays, but for control, format, surrogate and line separating characters
///   and the backslash, whose UTF-8 bytes become `\xNN` each.
/// - What exceeds the field's limit is cut off and replaced by `\+N`, N being the number of bytes of the value not shown.
///
/// Since a backslash never stands for itself, both forms can be undone.
public enum JournalText {
    /// Which characters may stay.
    public enum Form: Sendable {
        /// Printable ASCII without the space.
        case name
        /// Printable Unicode.
        case sentence
    }

    /// The safe form of `value`, at most `limit` bytes and the mark.
    public static func escape(_ value: some StringProtocol, as form: Form, limit: Int) -> String {
        var bytes: [UInt8] = []
        append(value, as: form, limit: limit, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    static func append(_ value: some StringProtocol, as form: Form, limit: Int, to bytes: inout [UInt8]) {
        switch form {
        case .name: appendName(value, limit: limit, to: &bytes)
        case .sentence: appendSentence(value, limit: limit, to: &bytes)
        }
    }

    private static func appendName(_ value: some StringProtocol, limit: Int, to bytes: inout [UInt8]) {
        let end = bytes.count + limit
        var consumed = 0
        for byte in value.utf8 {
            let isPlain = byte > 0x20 && byte < 0x7F && byte != 0x5C
            guard bytes.count + (isPlain ? 1 : 4) <= end else {
                appendMark(value.utf8.count - consumed, to: &bytes)
                return
            }
            if isPlain { bytes.append(byte) } else { appendHex(byte, to: &bytes) }
            consumed += 1
        }
    }

    private static func appendSentence(_ value: some StringProtocol, limit: Int, to bytes: inout [UInt8]) {
        let end = bytes.count + limit
        var consumed = 0
        for scalar in value.unicodeScalars {
            let encoded = UTF8.encode(scalar)
            let width = encoded?.count ?? 0
            let isPlain = isPrintable(scalar)
            guard bytes.count + (isPlain ? width : 4 * width) <= end else {
                appendMark(value.utf8.count - consumed, to: &bytes)
                return
            }
            for byte in encoded ?? .init() {
                if isPlain { bytes.append(byte) } else { appendHex(byte, to: &bytes) }
            }
            consumed += width
        }
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.value < 0x7F { return scalar.value >= 0x20 && scalar.value != 0x5C }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: return false
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
            .spacingMark, .enclosingMark, .decimalNumber, .letterNumber, .otherNumber, .connectorPunctuation,
            .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation, .finalPunctuation,
            .otherPunctuation, .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol, .spaceSeparator:
            return true
        @unknown default: return false
        }
    }

    private static func appendHex(_ byte: UInt8, to bytes: inout [UInt8]) {
        bytes.append(0x5C)
        bytes.append(0x78)
        for nibble in [byte >> 4, byte & 15] { bytes.append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble) }
    }

    private static func appendMark(_ hidden: Int, to bytes: inout [UInt8]) {
        bytes.append(0x5C)
        bytes.append(0x2B)
        bytes.append(contentsOf: String(hidden).utf8)
    }
}
