/// A QUIC version (RFC 9000 §15). Unknown values are data.
public struct QUICVersion: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// The number on the wire.
    public let rawValue: UInt32

    /// Wraps a number.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// No version: the packet negotiates one (RFC 9000 §17.2.1).
    public static let negotiation = QUICVersion(rawValue: 0)
    /// RFC 9000.
    public static let v1 = QUICVersion(rawValue: 1)
    /// RFC 9369.
    public static let v2 = QUICVersion(rawValue: 0x6B33_43CF)
    /// draft-ietf-quic-transport-29.
    public static let draft29 = QUICVersion(rawValue: 0xFF00_001D)

    /// Whether Initial packets of this version can be opened.
    public var isKnown: Bool { salt != nil }

    /// Whether the number is one that a QUIC of some kind uses: reserved ones that force negotiation (RFC 9000 §15), drafts,
    /// Google's `Q` and `T` versions, Facebook's. Their packets cannot be opened, but they are no other protocol either.
    public var isPlausible: Bool {
        if isKnown { return true }
        if rawValue & 0x0F0F_0F0F == 0x0A0A_0A0A { return true }
        switch rawValue >> 24 {
        case 0xFF: return rawValue >> 8 == 0xFF_0000
        case 0x51, 0x54: return Self.isDigits(rawValue & 0xFF_FFFF)
        case 0xFA: return rawValue >> 8 == 0xFA_CEB0
        default: return false
        }
    }

    /// `1`, `2`, `draft-29`, else the number in hexadecimal.
    public var description: String {
        switch self {
        case .v1: "1"
        case .v2: "2"
        case _ where rawValue >> 8 == 0xFF_0000: "draft-\(rawValue & 0xFF)"
        default: "0x" + String(rawValue, radix: 16)
        }
    }

    /// The salt from which Initial secrets are derived; nil for a version that is not known.
    package var salt: QUICSalt? {
        switch rawValue {
        case 1, 0xFF00_0021...0xFF00_0022: .v1
        case 0x6B33_43CF: .v2
        case 0xFF00_001D...0xFF00_0020: .draft29
        default: nil
        }
    }

    private static func isDigits(_ three: UInt32) -> Bool {
        [16, 8, 0].allSatisfy { UInt8(truncatingIfNeeded: three >> UInt32($0)).isDigit }
    }
}

/// The salts of RFC 9001 §5.2, RFC 9369 §3.3.1 and draft-ietf-quic-tls-29 §5.2.
package struct QUICSalt: BitwiseCopyable {
    package let bytes: InlineArray<20, UInt8>

    static let v1 = QUICSalt(bytes: [
        0x38, 0x76, 0x2C, 0xF7, 0xF5, 0x59, 0x34, 0xB3, 0x4D, 0x17, 0x9A, 0xE6, 0xA4, 0xC8, 0x0C, 0xAD, 0xCC, 0xBB,
        0x7F, 0x0A,
    ])
    static let v2 = QUICSalt(bytes: [
        0x0D, 0xED, 0xE3, 0xDE, 0xF7, 0x00, 0xA6, 0xDB, 0x81, 0x93, 0x81, 0xBE, 0x6E, 0x26, 0x9D, 0xCB, 0xF9, 0xBD,
        0x2E, 0xD9,
    ])
    static let draft29 = QUICSalt(bytes: [
        0xAF, 0xBF, 0xEC, 0x28, 0x99, 0x93, 0xD2, 0x4C, 0x9E, 0x97, 0x86, 0xF1, 0x9C, 0x61, 0x11, 0xE0, 0x43, 0x90,
        0xA8, 0x99,
    ])
}
