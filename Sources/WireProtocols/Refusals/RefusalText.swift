/// What a refusal says, whatever the protocol.
///
/// Every part may hold any text, a peer's hostile names among it: the builders of `RefusalMessage` make each one harmless in
/// its protocol (no control characters, nothing that ends a line or a field) and cut it.
public struct RefusalText: Hashable, Sendable {
    /// Why, in the machine's vocabulary: `policy`, `name_not_at_ip`. Cut after 64 bytes.
    public var reason: String
    /// Why, in the policy's own words. Cut after 300 bytes, or fewer where the protocol has no room.
    public var policyReason: String?
    /// The host that was asked for. Cut after 255 bytes.
    public var host: String?
    /// Which decision it was, as the decision log names it. Cut after 64 bytes.
    public var decisionID: String

    /// Says these.
    public init(reason: String, policyReason: String? = nil, host: String? = nil, decisionID: String) {
        self.reason = reason
        self.policyReason = policyReason
        self.host = host
        self.decisionID = decisionID
    }
}

extension RefusalText {
    /// How a text is written.
    enum Encoding {
        /// Visible ASCII and spaces, for protocols that fix no other character set before login.
        case ascii
        /// UTF-8.
        case utf8
        /// UTF-8 within the quotes of a JSON string (RFC 8259 §7).
        case json
    }

    static let reasonByteCount = 64
    static let policyReasonByteCount = 300
    static let hostByteCount = 255
    static let decisionByteCount = 64

    /// `refused by Sallyport: <why> (decision <id>)`: in at most `byteCount` bytes, of which at least 128 must be given. The
    /// policy's words are cut to `reasonByteCount`, and further where the whole would not fit; the decision's id stays.
    func sentence(_ encoding: Encoding, atMost byteCount: Int = .max, reasonByteCount: Int = policyReasonByteCount)
        -> [UInt8]
    {
        let start = Array("refused by Sallyport: ".utf8)
        let end =
            Array(" (decision ".utf8) + Self.written(decisionID, encoding, atMost: Self.decisionByteCount)
            + [UInt8(ascii: ")")]
        let room = Swift.max(byteCount - start.count - end.count, 0)
        var why = Self.written(policyReason ?? "", encoding, atMost: Swift.min(reasonByteCount, room))
        if why.isEmpty { why = Self.written(reason, encoding, atMost: Swift.min(Self.reasonByteCount, room)) }
        return start + why + end
    }

    /// `text` in at most `byteCount` bytes, cut between characters, with `...` in place of the rest. Whatever is no letter, mark,
    /// number, punctuation, symbol or space (controls, line ends, marks that turn the direction of writing) becomes `?`. Reads no
    /// more of `text` than it writes.
    static func written(_ text: String, _ encoding: Encoding, atMost byteCount: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        // Where the dots go if the text turns out too long.
        var cut = 0
        for scalar in text.unicodeScalars {
            append(scalar, encoding, to: &bytes)
            if bytes.count > byteCount {
                return bytes[..<cut] + Array("...".utf8.prefix(Swift.max(byteCount, 0)))
            }
            if bytes.count + 3 <= byteCount { cut = bytes.count }
        }
        return bytes
    }

    private static func append(_ scalar: Unicode.Scalar, _ encoding: Encoding, to bytes: inout [UInt8]) {
        switch scalar.value {
        case 0x22, 0x5C:
            if encoding == .json { bytes.append(UInt8(ascii: "\\")) }
            bytes.append(UInt8(truncatingIfNeeded: scalar.value))
        case 0x20...0x7E: bytes.append(UInt8(truncatingIfNeeded: scalar.value))
        case 0x80... where encoding != .ascii && isHarmless(scalar): bytes += String(scalar).utf8
        default: bytes.append(UInt8(ascii: "?"))
        }
    }

    private static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
            .spacingMark, .enclosingMark, .decimalNumber, .letterNumber, .otherNumber, .connectorPunctuation,
            .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation, .finalPunctuation,
            .otherPunctuation, .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol, .spaceSeparator:
            true
        // A category of a later Unicode than this compiler's.
        @unknown default: false
        }
    }
}
