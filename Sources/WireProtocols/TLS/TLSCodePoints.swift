/// A TLS protocol version (RFC 8446 §4.1.2, §4.2.1). Unknown values are data.
public struct TLSVersion: RawRepresentable, Hashable, Comparable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// The number on the wire.
    public let rawValue: UInt16

    /// Wraps a version number.
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// SSL 3.0 (RFC 6101).
    public static let ssl3 = TLSVersion(rawValue: 0x0300)
    /// RFC 2246.
    public static let tls10 = TLSVersion(rawValue: 0x0301)
    /// RFC 4346.
    public static let tls11 = TLSVersion(rawValue: 0x0302)
    /// RFC 5246.
    public static let tls12 = TLSVersion(rawValue: 0x0303)
    /// RFC 8446.
    public static let tls13 = TLSVersion(rawValue: 0x0304)

    /// Orders by the number.
    public static func < (left: TLSVersion, right: TLSVersion) -> Bool { left.rawValue < right.rawValue }

    /// `1.3`, `1.2`, `1.1`, `1.0`, `ssl3`, else the number in hexadecimal.
    public var description: String {
        switch self {
        case .tls13: "1.3"
        case .tls12: "1.2"
        case .tls11: "1.1"
        case .tls10: "1.0"
        case .ssl3: "ssl3"
        default: "0x" + String(rawValue, radix: 16)
        }
    }
}

/// Extension types that are read (IANA "TLS ExtensionType Values").
enum TLSExtensionType {
    /// RFC 6066 §3.
    static let serverName: UInt16 = 0
    /// RFC 8446 §4.2.7.
    static let supportedGroups: UInt16 = 10
    /// RFC 8446 §4.2.3.
    static let signatureAlgorithms: UInt16 = 13
    /// RFC 7301 §3.1.
    static let applicationLayerProtocolNegotiation: UInt16 = 16
    /// RFC 8446 §4.2.10.
    static let earlyData: UInt16 = 42
    /// RFC 8446 §4.2.1.
    static let supportedVersions: UInt16 = 43
    /// RFC 9849 §5.
    static let encryptedClientHello: UInt16 = 0xFE0D
    /// draft-ietf-tls-esni-00 to -06, which hid the name itself.
    static let encryptedServerName: UInt16 = 0xFFCE
}

/// Record types (RFC 8446 §5.1).
enum TLSContentType {
    static let changeCipherSpec: UInt8 = 20
    static let alert: UInt8 = 21
    static let handshake: UInt8 = 22
    static let applicationData: UInt8 = 23
}

extension UInt16 {
    /// Whether this is one of the sixteen reserved values `0x?A?A` (RFC 8701).
    var isGREASE: Bool { self & 0x0F0F == 0x0A0A && self >> 8 == self & 0xFF }
}
