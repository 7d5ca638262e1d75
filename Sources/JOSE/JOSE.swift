// JOSE: JSON Web Signatures and Keys (RFC 7515, 7517, 7518, 8037), strictly and synchronously, over libcrypto.
//
// Serves session tokens and Rego's `io.jwt.*`. Imports CLibcrypto and Octets only. A token is parsed into its three
// parts, a key verifies the part before the last dot; nothing here reads a clock or decides what claims mean.

internal import CLibcrypto

/// A signature algorithm of RFC 7518 and RFC 8037.
public enum SignatureAlgorithm: String, Hashable, Sendable, CaseIterable {
    case hs256 = "HS256"
    case hs384 = "HS384"
    case hs512 = "HS512"
    case rs256 = "RS256"
    case rs384 = "RS384"
    case rs512 = "RS512"
    case ps256 = "PS256"
    case ps384 = "PS384"
    case ps512 = "PS512"
    case es256 = "ES256"
    case es384 = "ES384"
    case es512 = "ES512"
    case edDSA = "EdDSA"

    /// The digest, as libcrypto names it.
    var digest: String {
        switch self {
        case .hs256, .rs256, .ps256, .es256: "SHA256"
        case .hs384, .rs384, .ps384, .es384: "SHA384"
        case .hs512, .rs512, .ps512, .es512, .edDSA: "SHA512"
        }
    }

    /// Whether the key is a shared secret.
    public var isSymmetric: Bool { self == .hs256 || self == .hs384 || self == .hs512 }

    /// The kind of key and, for curves, its bits.
    var keyKind: (name: String, bits: Int32?) {
        switch self {
        case .hs256, .hs384, .hs512: ("", nil)
        case .rs256, .rs384, .rs512, .ps256, .ps384, .ps512: ("RSA", nil)
        case .es256: ("EC", 256)
        case .es384: ("EC", 384)
        case .es512: ("EC", 521)
        case .edDSA: ("ED25519", nil)
        }
    }

    var isProbabilistic: Bool { self == .ps256 || self == .ps384 || self == .ps512 }
}

/// Digests and authentication codes.
public enum Digest {
    /// A digest (`MD5`, `SHA1`, `SHA256`, `SHA384`, `SHA512`); empty where there is no such one.
    public static func hash(_ name: String, _ data: [UInt8]) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: 64)
        let count = clc_digest(name, data, data.count, &out)
        return Array(out.prefix(count))
    }

    /// An HMAC (RFC 2104) over a digest; empty where there is no such one.
    public static func hmac(_ name: String, key: [UInt8], _ data: [UInt8]) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: 64)
        let count = clc_hmac(name, key, key.count, data, data.count, &out)
        return Array(out.prefix(count))
    }

    /// Whether two byte strings are the same, in time that depends on their lengths only.
    public static func equal(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        a.count == b.count && clc_equal(a, b, a.count)
    }
}

/// A key that verifies signatures. Immutable; shared by threads.
public final class VerificationKey: @unchecked Sendable {
    private let key: OpaquePointer?
    private let secret: [UInt8]

    /// A shared secret.
    public init(secret: [UInt8]) {
        key = nil
        self.secret = secret
    }

    private init(_ key: OpaquePointer) {
        self.key = key
        secret = []
    }

    deinit { if let key { clc_key_free(key) } }

    /// A public key from PEM: a `PUBLIC KEY` or the key of a `CERTIFICATE`; nil where the text is none.
    public static func pem(_ text: [UInt8]) -> VerificationKey? {
        clc_key_from_pem(text, text.count).map { VerificationKey($0) }
    }

    /// An RSA key by modulus and exponent, big-endian.
    public static func rsa(modulus: [UInt8], exponent: [UInt8]) -> VerificationKey? {
        guard modulus.count <= 2048, exponent.count <= 8 else { return nil }
        return clc_key_rsa(modulus, modulus.count, exponent, exponent.count).map { VerificationKey($0) }
    }

    /// A point of the curve `P-256`, `P-384` or `P-521`; nil where it does not lie on it.
    public static func curve(_ name: String, x: [UInt8], y: [UInt8]) -> VerificationKey? {
        clc_key_ec(name, x, x.count, y, y.count).map { VerificationKey($0) }
    }

    /// An Ed25519 key of 32 bytes.
    public static func ed25519(_ x: [UInt8]) -> VerificationKey? {
        clc_key_ed25519(x, x.count).map { VerificationKey($0) }
    }

    /// Whether `signature` signs `data` by this key and algorithm. False where the key is of another kind, too:
    /// a public key never serves as a secret. RFC 7518 §3.5 wants salts of PSS as long as the digest; `anySalt` takes
    /// others, as OPA does.
    public func verifies(
        _ signature: [UInt8], of data: [UInt8], _ algorithm: SignatureAlgorithm, anySalt: Bool = false
    ) -> Bool {
        if algorithm.isSymmetric {
            guard key == nil else { return false }
            let expected = Digest.hmac(algorithm.digest, key: secret, data)
            return !expected.isEmpty && Digest.equal(expected, signature)
        }
        guard let key else { return false }
        let kind = algorithm.keyKind
        guard String(cString: clc_key_kind(key)) == kind.name else { return false }
        if let bits = kind.bits, clc_key_bits(key) != bits { return false }
        let salt = anySalt ? CLC_PSS_ANY_SALT : CLC_PSS_DIGEST_SALT
        return clc_verify(
            key, algorithm.digest, algorithm.isProbabilistic ? salt : CLC_PSS_NONE, data, data.count, signature,
            signature.count) == 1
    }
}
