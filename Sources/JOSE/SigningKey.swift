internal import CLibcrypto

/// A key that signs: a shared secret, or a private key by the numbers of its JWK. Immutable; shared by threads.
public final class SigningKey: @unchecked Sendable {
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

    /// An RSA key: `n`, `e`, `d` and, empty where they are not known, `p`, `q`, `dp`, `dq`, `qi`, big-endian.
    public static func rsa(_ parts: [[UInt8]]) -> SigningKey? {
        guard parts.count == 8, parts.allSatisfy({ $0.count <= 2048 }) else { return nil }
        return clc_private_rsa(parts.flatMap { $0 }, parts.map(\.count)).map { SigningKey($0) }
    }

    /// A key of the curve `P-256`, `P-384` or `P-521`.
    public static func curve(_ name: String, x: [UInt8], y: [UInt8], d: [UInt8]) -> SigningKey? {
        clc_private_ec(name, x, x.count, y, y.count, d, d.count).map { SigningKey($0) }
    }

    /// An Ed25519 key of 32 bytes.
    public static func ed25519(_ d: [UInt8]) -> SigningKey? { clc_private_ed25519(d, d.count).map { SigningKey($0) } }

    /// The signature of `data`; nil where the key is of another kind.
    public func sign(_ data: [UInt8], _ algorithm: SignatureAlgorithm) -> [UInt8]? {
        if algorithm.isSymmetric {
            guard key == nil else { return nil }
            let code = Digest.hmac(algorithm.digest, key: secret, data)
            return code.isEmpty ? nil : code
        }
        guard let key else { return nil }
        let kind = algorithm.keyKind
        guard String(cString: clc_key_kind(key)) == kind.name else { return nil }
        if let bits = kind.bits, clc_key_bits(key) != bits { return nil }
        var out = [UInt8](repeating: 0, count: 1024)
        let count = clc_sign(key, algorithm.digest, algorithm.isProbabilistic, data, data.count, &out, out.count)
        return count == 0 ? nil : Array(out.prefix(count))
    }
}

/// Chains of certificates.
public enum CertificateChain {
    /// The places of the certificates (DER) that lead from the last one to the first, which is trusted; nil where they
    /// do not, at `time` (seconds since the epoch) and for `host`, where one is given.
    public static func verify(_ certificates: [[UInt8]], time: Int64, host: String?) -> [Int]? {
        guard certificates.count >= 2 else { return nil }
        var order = [Int32](repeating: 0, count: certificates.count)
        let data = certificates.flatMap { $0 }
        let lengths = certificates.map(\.count)
        let count: Int
        if let host {
            count = clc_verify_chain(data, lengths, lengths.count, time, host, &order)
        } else {
            count = clc_verify_chain(data, lengths, lengths.count, time, nil, &order)
        }
        return count == 0 ? nil : order.prefix(count).map { Int($0) }
    }
}
