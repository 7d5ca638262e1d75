internal import JOSE

// JSON Web Tokens.

extension Builtins {
    static var tokens: [String: BuiltinFunction] {
        var table: [String: BuiltinFunction] = [
            "io.jwt.decode": { machine, arguments throws(BuiltinFailure) in
                var token = try WebToken(machine, arguments.bytes(0))
                for _ in 0..<32 {
                    let header = try token.header(machine)
                    let payload = try token.payload()
                    let type = header.field("cty", machine)
                    guard type.tag == .string, type.text == "JWT" else {
                        return machine.arena.array([
                            header, try token.claims(payload, machine),
                            machine.arena.string(hex(try token.signature())),
                        ])
                    }
                    // A token inside may stand in quotes.
                    let isQuote: (UInt8) -> Bool = { $0 == 0x22 || $0 == 0x27 }
                    var inner = payload[...]
                    while let first = inner.first, isQuote(first) { inner.removeFirst() }
                    while let last = inner.last, isQuote(last) { inner.removeLast() }
                    token = try WebToken(machine, Array(inner))
                }
                throw .failed("JWT is nested too deeply")
            },
            "io.jwt.decode_verify": { machine, arguments throws(BuiltinFailure) in
                try TokenVerification.decodeVerify(machine, arguments)
            },
            "io.jwt.encode_sign": { machine, arguments throws(BuiltinFailure) in
                try TokenSigning.sign(
                    machine, JSONWriter.bytes(arguments[0], html: true), JSONWriter.bytes(arguments[1], html: true),
                    JSONWriter.bytes(arguments[2]))
            },
            "io.jwt.encode_sign_raw": { machine, arguments throws(BuiltinFailure) in
                let key = try arguments.bytes(2)
                return try TokenSigning.sign(machine, arguments.bytes(0), arguments.bytes(1), key)
            },
        ]
        for algorithm in SignatureAlgorithm.allCases {
            let name = algorithm == .edDSA ? "eddsa" : algorithm.rawValue.lowercased()
            table["io.jwt.verify_\(name)"] = verification(algorithm)
        }
        return table
    }

    private static func verification(_ algorithm: SignatureAlgorithm) -> BuiltinFunction {
        { (machine: Machine, arguments: Arguments) throws(BuiltinFailure) -> Value in
            if algorithm.isSymmetric { _ = (try arguments.string(0), try arguments.string(1)) }
            let token = try WebToken(machine, arguments.bytes(0))
            let secret = try arguments.bytes(1)
            try machine.charge(100)
            if algorithm.isSymmetric {
                return Value(
                    VerificationKey(secret: secret).verifies(
                        try token.signature(), of: token.signedText, algorithm))
            }
            let keys = try TokenVerification.keys(machine, secret)
            let signature = try token.signature()
            let header = try token.header(machine)
            let (name, kid) = (header.field("alg", machine), header.field("kid", machine))
            // A key of the token's own name is the only one that counts.
            if kid.tag == .string, kid.count > 0, let entry = keys.first(where: { $0.kid == kid.text }) {
                return Value(entry.key.verifies(signature, of: token.signedText, algorithm, anySalt: true))
            }
            for entry in keys {
                if let named = entry.algorithm, name.tag != .string || named != name.text { continue }
                try machine.charge(500)
                if entry.key.verifies(signature, of: token.signedText, algorithm, anySalt: true) { return .true }
            }
            return .false
        }
    }
}

/// A token's parts, decoded when they are asked for.
struct WebToken {
    private let parts: [ArraySlice<UInt8>]

    init(_ machine: Machine, _ text: [UInt8]) throws(BuiltinFailure) {
        parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        if parts.count <= 1 { throw .failed("encoded JWT had no period separators") }
        guard parts.count == 3 else {
            throw .failed("encoded JWT must have 3 sections, found \(parts.count)")
        }
        try machine.charge(1 + text.count / 8)
    }

    /// What is signed.
    var signedText: [UInt8] { Array(parts[0]) + [UInt8(ascii: ".")] + Array(parts[1]) }

    private func decode(_ part: ArraySlice<UInt8>, _ name: String) throws(BuiltinFailure) -> [UInt8] {
        guard let bytes = Base64.decode(Array(part), url: true, padding: .optional) else {
            let good = part.prefix { Base64.decode([$0, 0x41, 0x41, 0x41], url: true, padding: .optional) != nil }
            throw .failed("JWT \(name) had invalid encoding: illegal base64 data at input byte \(good.count)")
        }
        return bytes
    }

    /// The header, an object.
    func header(_ machine: Machine) throws(BuiltinFailure) -> Value {
        let bytes = try decode(parts[0], "header")
        let header: Value
        do throws(BuiltinFailure) {
            header = try Builtins.unmarshal(machine, bytes)
        } catch {
            if case .failed(let message) = error { throw .failed("bad JWT header: invalid JSON: " + message) }
            throw error
        }
        guard header.tag == .object else { throw .failed("bad JWT header: decoded JSON type was not an Object") }
        if header.field("enc", machine).isDefined {
            throw .failed("JWT is a JWE object, which is not supported")
        }
        return header
    }

    /// The payload's bytes.
    func payload() throws(BuiltinFailure) -> [UInt8] { try decode(parts[1], "payload") }

    /// The signature's bytes.
    func signature() throws(BuiltinFailure) -> [UInt8] { try decode(parts[2], "signature") }

    /// The payload as an object.
    func claims(_ payload: [UInt8], _ machine: Machine) throws(BuiltinFailure) -> Value {
        let value = try Builtins.unmarshal(machine, payload)
        guard value.tag == .object else { throw .failed("decoded JSON type was not an Object") }
        return value
    }
}

extension Value {
    /// The value of an object's key; undefined where there is none.
    func field(_ name: String, _ machine: Machine) -> Value { lookup(machine.arena.string(name)) }
}

/// Keys and the rules of `io.jwt.decode_verify`.
enum TokenVerification {
    /// A key and what its JWK says of it.
    struct Entry {
        let key: VerificationKey
        var kid: String?
        var algorithm: String?
    }

    /// Keys from PEM or a JWK or a set of them.
    static func keys(_ machine: Machine, _ text: [UInt8]) throws(BuiltinFailure) -> [Entry] {
        if let key = VerificationKey.pem(text) { return [Entry(key: key)] }
        if text.starts(with: Array("-----BEGIN".utf8)) { throw .failed("failed to parse a PEM certificate") }
        guard let document = try? Builtins.unmarshal(machine, text), document.tag == .object else {
            throw .failed("failed to parse a JWK key (set)")
        }
        let set = document.lookup(machine.arena.string("keys"))
        let jwks = set.tag == .array ? set.elements : [document]
        let entries = jwks.compactMap { entry(machine, $0) }
        if entries.isEmpty, !jwks.isEmpty { throw .failed("failed to parse a JWK key (set)") }
        return entries
    }

    private static func entry(_ machine: Machine, _ jwk: Value) -> Entry? {
        func field(_ name: String) -> Value { jwk.lookup(machine.arena.string(name)) }
        func bytes(_ name: String) -> [UInt8] {
            Base64.decode(field(name).bytes, url: true, padding: .optional) ?? []
        }
        let key: VerificationKey?
        switch field("kty").text {
        case "RSA": key = .rsa(modulus: bytes("n"), exponent: bytes("e"))
        case "EC": key = .curve(field("crv").text, x: bytes("x"), y: bytes("y"))
        case "OKP": key = .ed25519(bytes("x"))
        case "oct": key = VerificationKey(secret: bytes("k"))
        default: key = nil
        }
        guard let key else { return nil }
        let kid = field("kid")
        let algorithm = field("alg")
        return Entry(
            key: key, kid: kid.tag == .string ? kid.text : nil,
            algorithm: algorithm.tag == .string ? algorithm.text : nil)
    }

    private struct Constraints {
        var keys: [Entry]?
        var secret: [UInt8]?
        var algorithm: String?
        var issuer: String?
        var audience: String?
        /// Nanoseconds.
        var time: Value
    }

    private static func constraints(_ machine: Machine, _ object: Value) throws(BuiltinFailure) -> Constraints {
        var result = Constraints(time: Value(machine.clock))
        var hasTime = false
        for (key, value) in object.pairs {
            func text() throws(BuiltinFailure) -> String {
                guard value.tag == .string else { throw .failed("\(key.text) constraint: must be a string") }
                return value.text
            }
            switch key.text {
            case "cert": result.keys = try keys(machine, Array(try text().utf8))
            case "secret": result.secret = Array(try text().utf8)
            case "alg": result.algorithm = try text()
            case "iss": result.issuer = try text()
            case "aud": result.audience = try text()
            case "time":
                guard value.isNumber else { throw .failed("token time constraint: must be a number") }
                result.time = value
                hasTime = true
            default: throw .failed("unknown token validation constraint: \(key.text)")
            }
        }
        if !hasTime { machine.readClock = true }
        let hasSecret = result.secret?.isEmpty == false
        if hasSecret, result.keys != nil { throw .failed("duplicate key constraints") }
        if !hasSecret, result.keys == nil { throw .failed("no key constraint") }
        return result
    }

    static func decodeVerify(_ machine: Machine, _ arguments: Arguments) throws(BuiltinFailure) -> Value {
        let constraints = try constraints(machine, try arguments.object(1))
        let empty = machine.arena.object([])
        let refused = machine.arena.array([.false, empty, empty])
        var token = try WebToken(machine, arguments.bytes(0))
        for _ in 0..<32 {
            try machine.charge(500)
            let header = try token.header(machine)
            let name = try text(header, "alg", machine)
            let kid = try text(header, "kid", machine)
            _ = try text(header, "typ", machine)
            let type = try text(header, "cty", machine)
            guard try isUnderstood(header, machine), !name.isEmpty else { return refused }
            if let wanted = constraints.algorithm, !wanted.isEmpty, wanted != name { return refused }
            let signature = try token.signature()
            guard verifies(token.signedText, signature, name, kid, constraints) else { return refused }
            let payload = try token.payload()
            if type.uppercased() == "JWT" {
                token = try WebToken(machine, payload)
                continue
            }
            return try checked(header, try token.claims(payload, machine), constraints, refused, machine)
        }
        throw .failed("JWT is nested too deeply")
    }

    /// A header's text; empty where it has none.
    private static func text(_ header: Value, _ name: String, _ machine: Machine) throws(BuiltinFailure) -> String {
        let value = header.field(name, machine)
        if value.isUndefined { return "" }
        guard value.tag == .string else { throw .failed("\(name): must be a string") }
        return value.text
    }

    /// Whether everything that the header calls critical is known (RFC 7515 §4.1.11).
    private static func isUnderstood(_ header: Value, _ machine: Machine) throws(BuiltinFailure) -> Bool {
        let critical = header.field("crit", machine)
        if critical.isUndefined { return true }
        guard critical.tag == .array else { throw .failed("crit: must be a list") }
        let names = critical.elements.filter { $0.tag == .string }.map(\.text)
        if names.isEmpty { throw .failed("crit: must be a nonempty list") }
        let known = ["alg", "kid", "typ", "cty", "crit"]
        return names.allSatisfy { known.contains($0) || header.field($0, machine).isUndefined }
    }

    private static func verifies(
        _ text: [UInt8], _ signature: [UInt8], _ name: String, _ kid: String, _ constraints: Constraints
    ) -> Bool {
        guard let algorithm = SignatureAlgorithm(rawValue: name) else { return false }
        guard let keys = constraints.keys else {
            guard algorithm.isSymmetric, let secret = constraints.secret else { return false }
            return VerificationKey(secret: secret).verifies(signature, of: text, algorithm)
        }
        if !kid.isEmpty, let entry = keys.first(where: { $0.kid == kid }) {
            return entry.key.verifies(signature, of: text, algorithm, anySalt: true)
        }
        return keys.contains { entry in
            if let other = entry.algorithm, other != name { return false }
            return entry.key.verifies(signature, of: text, algorithm, anySalt: true)
        }
    }

    private static func checked(
        _ header: Value, _ payload: Value, _ constraints: Constraints, _ refused: Value, _ machine: Machine
    ) throws(BuiltinFailure) -> Value {
        if let issuer = constraints.issuer, !issuer.isEmpty {
            let claim = payload.field("iss", machine)
            guard claim.tag == .string, claim.text == issuer else { return refused }
        }
        let audience = payload.field("aud", machine)
        let wanted = constraints.audience ?? ""
        switch audience.tag {
        case .undefined: if !wanted.isEmpty { return refused }
        case .string: if audience.text != wanted { return refused }
        case .array:
            if !audience.elements.contains(where: { $0.tag == .string && $0.text == wanted }) { return refused }
        default: return refused
        }
        for name in ["exp", "nbf"] {
            let claim = payload.field(name, machine)
            if claim.isUndefined { continue }
            guard claim.isNumber else { throw .failed("\(name) value must be a number") }
            let limit = try Arithmetic.multiply(claim, Value(1_000_000_000), machine)
            let order = Value.compare(constraints.time, limit)
            if name == "exp" ? order >= 0 : order < 0 { return refused }
        }
        return machine.arena.array([.true, header, payload])
    }
}

/// Signing by `io.jwt.encode_sign`.
enum TokenSigning {
    /// A token of a header and a payload, signed by the first key of a JWK or a set of them, all JSON.
    static func sign(
        _ machine: Machine, _ header: [UInt8], _ payload: [UInt8], _ keyText: [UInt8]
    ) throws(BuiltinFailure) -> Value {
        try machine.charge(100 + (header.count + payload.count + keyText.count) / 8)
        let key = try key(machine, keyText)
        guard !header.isEmpty else {
            throw .failed("missing or invalid 'alg' header: cannot parse JSON: cannot parse empty string")
        }
        let parsed: Value
        do throws(BuiltinFailure) {
            parsed = try Builtins.unmarshal(machine, header)
        } catch {
            let isObject = header.first == UInt8(ascii: "{")
            throw .failed(
                "missing or invalid 'alg' header: "
                    + (isObject ? "cannot parse JSON" : "jwsbb: header \"alg\" not found"))
        }
        let name = parsed.field("alg", machine)
        guard name.tag == .string else {
            throw .failed("missing or invalid 'alg' header: jwsbb: header \"alg\" not found")
        }
        guard let algorithm = SignatureAlgorithm(rawValue: name.text) else {
            throw .failed("unknown JWS algorithm: \(name.text)")
        }
        let type = parsed.field("typ", machine)
        if type.tag != .string || type.text == "JWT", (try? JSONReader.read(payload, machine.arena)) == nil {
            throw .failed("type is JWT but payload is not JSON")
        }
        let text =
            Base64.encode(header, url: true, padded: false) + [UInt8(ascii: ".")]
            + Base64.encode(payload, url: true, padded: false)
        try machine.charge(2000)
        guard let signature = key.sign(text, algorithm) else {
            throw .failed("the key does not fit the algorithm \(algorithm.rawValue)")
        }
        if !algorithm.isSymmetric, algorithm.rawValue.hasPrefix("PS") || algorithm.rawValue.hasPrefix("ES") {
            machine.readRandom = true
        }
        return machine.arena.string(
            text + [UInt8(ascii: ".")] + Base64.encode(signature, url: true, padded: false))
    }

    private static func key(_ machine: Machine, _ text: [UInt8]) throws(BuiltinFailure) -> SigningKey {
        guard let document = try? Builtins.unmarshal(machine, text), document.tag == .object else {
            throw .failed("jwk.Parse: failed to parse sole key: jwk.ParseKey: jwk.Parse: failed to probe data")
        }
        let set = document.field("keys", machine)
        if set.tag == .array, set.count == 0 { throw .failed("no keys found in JWK set") }
        let jwk = set.tag == .array ? set.element(0) : document
        func part(_ name: String) -> [UInt8] {
            Base64.decode(jwk.field(name, machine).bytes, url: true, padding: .optional) ?? []
        }
        let kind = jwk.field("kty", machine)
        var key: SigningKey?
        switch kind.text {
        case "oct":
            let secret = jwk.field("k", machine)
            if secret.isUndefined { throw .failed("jwk.Parse: failed to parse sole key: required field k is missing") }
            if part("k").isEmpty {
                throw .failed(
                    "jwk.Parse: failed to parse sole key: jwk.ParseKey: jwk.Parse: key validation failed: "
                        + "jwk.SymmetricKey: missing \"k\" field")
            }
            key = SigningKey(secret: part("k"))
        case "RSA": key = SigningKey.rsa(["n", "e", "d", "p", "q", "dp", "dq", "qi"].map { part($0) })
        case "EC": key = SigningKey.curve(jwk.field("crv", machine).text, x: part("x"), y: part("y"), d: part("d"))
        case "OKP": key = SigningKey.ed25519(part("d"))
        default: break
        }
        guard let key else {
            throw .failed("jwk.Parse: failed to parse sole key: jwk.ParseKey: not a private key that can be used")
        }
        return key
    }
}
