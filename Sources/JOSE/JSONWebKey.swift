/// A public key or shared secret as a JWK (RFC 7517), with the one algorithm that it verifies.
public struct JSONWebKey: Sendable {
    /// Its name, where it has one.
    public let id: String?
    /// What it verifies. Never taken from a token.
    public let algorithm: SignatureAlgorithm
    let key: VerificationKey

    /// Why a key cannot be used.
    public enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
        /// A kind, curve, use or algorithm that does not serve here: other keys of its set may.
        case unsupported(String)
        /// A key that is wrong: its set is refused.
        case invalid(String)

        /// What is wrong with the key.
        public var description: String {
            switch self {
            case .unsupported(let what), .invalid(let what): what
            }
        }
    }

    /// Bits that an RSA modulus has at least (RFC 7518 §3.3).
    static let minimumModulusBits = 2048
    /// Bits that it has at most: verification takes time that grows with them.
    static let maximumModulusBits = 8192

    /// Reads a JWK. An RSA or `oct` key without `alg` is used with `defaultAlgorithm`; without one it is refused.
    public init(_ json: StrictJSON, defaultAlgorithm: SignatureAlgorithm? = nil) throws(Failure) {
        guard case .object = json else { throw .invalid("a key is no JSON object") }
        if let id = json["kid"] {
            guard let text = id.string else { throw .invalid("kid is no string") }
            self.id = text
        } else {
            id = nil
        }
        try Self.checkUse(json)
        var named: SignatureAlgorithm?
        if let text = json["alg"]?.string {
            // ES521 is a slip for ES512 that is in use; the curve decides.
            guard let known = SignatureAlgorithm(rawValue: text == "ES521" ? "ES512" : text) else {
                throw .unsupported("algorithm \(text)")
            }
            named = known
        } else if json["alg"] != nil {
            throw .invalid("alg is no string")
        }
        switch json["kty"]?.string {
        case "RSA":
            algorithm = try Self.algorithm(named ?? defaultAlgorithm, kind: "RSA")
            key = try Self.rsa(json)
        case "EC":
            let (curve, byteCount, own) = try Self.curve(json)
            guard (named ?? own) == own else { throw .invalid("alg does not fit the curve \(curve)") }
            algorithm = own
            let (x, y) = (try Self.bytes(json, "x"), try Self.bytes(json, "y"))
            guard x.count == byteCount, y.count == byteCount, let key = VerificationKey.curve(curve, x: x, y: y) else {
                throw .invalid("x and y are no point of \(curve)")
            }
            self.key = key
        case "OKP":
            guard json["crv"]?.string == "Ed25519" else { throw .unsupported("a curve other than Ed25519") }
            guard (named ?? .edDSA) == .edDSA else { throw .invalid("alg does not fit the curve Ed25519") }
            algorithm = .edDSA
            let x = try Self.bytes(json, "x")
            guard x.count == 32, let key = VerificationKey.ed25519(x) else { throw .invalid("x is no key of Ed25519") }
            self.key = key
        case "oct":
            algorithm = try Self.algorithm(named ?? defaultAlgorithm, kind: "")
            let secret = try Self.bytes(json, "k")
            // RFC 7518 §3.2: as many bits as the digest has.
            let byteCount = Digest.hash(algorithm.digest, []).count
            guard secret.count >= byteCount else {
                throw .invalid("a secret shorter than \(byteCount) bytes for \(algorithm.rawValue)")
            }
            key = VerificationKey(secret: secret)
        case let kind: throw .unsupported("key type \(kind ?? "(none)")")
        }
    }

    private static func checkUse(_ json: StrictJSON) throws(Failure) {
        if let use = json["use"], use.string != "sig" { throw .unsupported("a key for another use than signatures") }
        if let operations = json["key_ops"] {
            guard case .array(let names) = operations else { throw .invalid("key_ops is no array") }
            guard names.contains(.string("verify")) || names.contains(.string("sign")) else {
                throw .unsupported("a key for another use than signatures")
            }
        }
    }

    private static func algorithm(_ algorithm: SignatureAlgorithm?, kind: String) throws(Failure) -> SignatureAlgorithm
    {
        guard let algorithm else { throw .invalid("a key without alg: say which algorithm it verifies") }
        guard algorithm.keyKind.name == kind else { throw .invalid("alg does not fit the type of the key") }
        return algorithm
    }

    private static func bytes(_ json: StrictJSON, _ name: String) throws(Failure) -> [UInt8] {
        guard let text = json[name]?.string, let bytes = CompactToken.decode(text.utf8), !bytes.isEmpty else {
            throw .invalid("\(name) is missing, or no base64url")
        }
        return bytes
    }

    private static func curve(_ json: StrictJSON) throws(Failure) -> (String, Int, SignatureAlgorithm) {
        switch json["crv"]?.string {
        case "P-256": ("P-256", 32, .es256)
        case "P-384": ("P-384", 48, .es384)
        case "P-521": ("P-521", 66, .es512)
        default: throw .unsupported("a curve other than P-256, P-384 and P-521")
        }
    }

    /// Whether a modulus comes from the library whose primes are powers of 65537 in disguise ("ROCA"): modulo each of these
    /// primes it is a power of 65537. Of other moduli one in 2^27 looks like that.
    private static func hasFingerprint(_ modulus: [UInt8]) -> Bool {
        let primes = [
            3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
            109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
        ]
        return primes.allSatisfy { prime in
            let rest = modulus.reduce(0) { ($0 << 8 | Int($1)) % prime }
            var power = 1
            for _ in 0..<prime {
                if power == rest { return true }
                power = power * 65_537 % prime
            }
            return false
        }
    }

    private static func rsa(_ json: StrictJSON) throws(Failure) -> VerificationKey {
        let modulus = Array(try bytes(json, "n").drop { $0 == 0 })
        let exponent = Array(try bytes(json, "e").drop { $0 == 0 })
        let bits = modulus.count * 8 - (modulus.first?.leadingZeroBitCount ?? 0)
        guard bits >= minimumModulusBits, bits <= maximumModulusBits else {
            throw .invalid(
                "an RSA modulus of \(bits) bits (\(minimumModulusBits) to \(maximumModulusBits) are allowed)")
        }
        // FIPS 186-5 §5.4: odd, and larger than 2^16.
        guard exponent.count > 2, exponent.count <= 8, let last = exponent.last, last & 1 == 1 else {
            throw .invalid("an RSA exponent that is even, or not above 65,536")
        }
        guard !hasFingerprint(modulus) else {
            throw .invalid("an RSA key whose primes can be computed (CVE-2017-15361): make a new one")
        }
        guard let last = modulus.last, last & 1 == 1,
            let key = VerificationKey.rsa(modulus: modulus, exponent: exponent)
        else { throw .invalid("n and e are no RSA key") }
        return key
    }
}

/// The keys that tokens of one issuer may be signed with (RFC 7517 §5).
public struct JSONWebKeySet: Sendable {
    /// Those that can be used.
    public let keys: [JSONWebKey]
    /// Why the others cannot.
    public let leftOut: [String]

    /// Reads a JWK set, or a single JWK. Keys of other kinds are left out; a wrong key, one name for two keys, or secrets
    /// beside public keys refuse the set.
    public init(_ text: [UInt8], defaultAlgorithm: SignatureAlgorithm? = nil) throws(JSONWebKey.Failure) {
        let json: StrictJSON
        do throws(StrictJSON.Failure) {
            json = try StrictJSON(parsing: text)
        } catch {
            throw .invalid("no JSON: \(error.description) (byte \(error.offset))")
        }
        var items = [json]
        if let list = json["keys"] {
            guard case .array(let elements) = list else { throw .invalid("keys is no array") }
            items = elements
        }
        var keys: [JSONWebKey] = []
        var leftOut: [String] = []
        for item in items {
            do throws(JSONWebKey.Failure) {
                keys.append(try JSONWebKey(item, defaultAlgorithm: defaultAlgorithm))
            } catch {
                guard case .unsupported(let what) = error else { throw error }
                leftOut.append(what)
            }
        }
        guard !keys.isEmpty else { throw .invalid("no key that verifies signatures") }
        guard Set(keys.compactMap(\.id)).count == keys.compactMap(\.id).count else {
            throw .invalid("two keys of one kid")
        }
        guard Set(keys.map(\.algorithm.isSymmetric)).count == 1 else { throw .invalid("secrets beside public keys") }
        self.keys = keys
        self.leftOut = leftOut
    }

    /// Whether the keys are shared secrets; a set has one kind only.
    public var isSecret: Bool { keys.first?.algorithm.isSymmetric ?? false }

    /// The names of the keys, "" for one without.
    public var names: [String] { keys.map { $0.id ?? "" } }

    /// The key that a token's header asks for: by its `kid`; without one the only key of the set.
    func find(_ id: String?) -> JSONWebKey? {
        guard let id else { return keys.count == 1 ? keys.first : nil }
        return keys.first { $0.id.map { $0.utf8.elementsEqual(id.utf8) } ?? false }
            ?? (keys.count == 1 && keys[0].id == nil ? keys[0] : nil)
    }
}
