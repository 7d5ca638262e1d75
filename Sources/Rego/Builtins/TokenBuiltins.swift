internal import JOSE

// JSON Web Tokens.

extension Builtins {
    static var tokens: [String: BuiltinFunction] {
        var table: [String: BuiltinFunction] = [
            "io.jwt.decode": { machine, arguments throws(BuiltinFailure) in
                var token = try WebToken(machine, arguments.bytes(0))
                token = try token.innermost(machine)
                return machine.arena.array([
                    token.header, try token.payload(machine), machine.arena.string(hex(token.signature)),
                ])
            },
            "io.jwt.decode_verify": { machine, arguments throws(BuiltinFailure) in
                try TokenVerification.decodeVerify(machine, arguments)
            },
            "io.jwt.encode_sign": { machine, arguments throws(BuiltinFailure) in
                let header = try arguments.object(0)
                let payload = try arguments.object(1)
                let key = try arguments.object(2)
                return try TokenVerification.sign(
                    machine, JSONWriter.bytes(header), JSONWriter.bytes(payload), header, key)
            },
            "io.jwt.encode_sign_raw": { machine, arguments throws(BuiltinFailure) in
                let (header, payload, key) = (
                    try arguments.bytes(0), try arguments.bytes(1), try arguments.bytes(2)
                )
                if header.isEmpty {
                    throw .failed("missing or invalid 'alg' header: cannot parse JSON: cannot parse empty string")
                }
                guard let parsed = try? unmarshal(machine, header) else {
                    let isJSON = header.first == UInt8(ascii: "{")
                    throw .failed(
                        "missing or invalid 'alg' header: "
                            + (isJSON ? "cannot parse JSON" : "jwsbb: header \"alg\" not found"))
                }
                return try TokenVerification.sign(machine, header, payload, parsed, try unmarshal(machine, key))
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
            let token = try WebToken(machine, arguments.bytes(0))
            let secret = try arguments.bytes(1)
            try machine.charge(100)
            if algorithm.isSymmetric {
                return Value(
                    VerificationKey(secret: secret).verifies(token.signature, of: token.signedText, algorithm))
            }
            for entry in try TokenVerification.keys(machine, secret) {
                if let kid = token.kid(machine), let other = entry.kid, kid != other { continue }
                if let named = entry.algorithm, named != algorithm.rawValue { continue }
                try machine.charge(500)
                if entry.key.verifies(token.signature, of: token.signedText, algorithm) { return .true }
            }
            return .false
        }
    }
}

/// A token's parts as values.
struct WebToken {
    let header: Value
    let signature: [UInt8]
    let signedText: [UInt8]
    private let payloadBytes: [UInt8]

    init(_ machine: Machine, _ text: [UInt8]) throws(BuiltinFailure) {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        if parts.count == 1 { throw .failed("encoded JWT had no period separators") }
        guard parts.count == 3 else {
            throw .failed("encoded JWT must have 3 sections, found \(parts.count)")
        }
        try machine.charge(1 + text.count / 8)
        func decode(_ part: ArraySlice<UInt8>, _ name: String) throws(BuiltinFailure) -> [UInt8] {
            guard let bytes = Base64.decode(Array(part), url: true, padding: .forbidden) else {
                let good = part.prefix { Base64.decode([$0, 0x41, 0x41, 0x41], url: true, padding: .forbidden) != nil }
                throw .failed("JWT \(name) had invalid encoding: illegal base64 data at input byte \(good.count)")
            }
            return bytes
        }
        let headerBytes = try decode(parts[0], "header")
        header = try Builtins.unmarshal(machine, headerBytes)
        guard header.tag == .object else { throw .failed("JWT header is not an object") }
        payloadBytes = try decode(parts[1], "payload")
        signature = try decode(parts[2], "signature")
        signedText = Array(parts[0]) + [UInt8(ascii: ".")] + Array(parts[1])
        if header.lookup(machine.arena.string("enc")).isDefined {
            throw .failed("JWT is a JWE object, which is not supported")
        }
    }

    func payload(_ machine: Machine) throws(BuiltinFailure) -> Value {
        let value = try Builtins.unmarshal(machine, payloadBytes)
        guard value.tag == .object else { throw .failed("JWT payload is not an object") }
        return value
    }

    /// The token inside, where the content type says that there is one.
    func nested(_ machine: Machine) throws(BuiltinFailure) -> WebToken? {
        let type = header.lookup(machine.arena.string("cty"))
        guard type.tag == .string, type.text.uppercased() == "JWT" else { return nil }
        var text = payloadBytes
        if text.count >= 2, text.first == 0x22, text.last == 0x22 { text = Array(text.dropFirst().dropLast()) }
        return try WebToken(machine, text)
    }

    func innermost(_ machine: Machine) throws(BuiltinFailure) -> WebToken {
        var token = self
        for _ in 0..<32 {
            guard let inner = try token.nested(machine) else { return token }
            token = inner
        }
        throw .failed("JWT is nested too deeply")
    }

    func kid(_ machine: Machine) -> String? {
        let value = header.lookup(machine.arena.string("kid"))
        return value.tag == .string ? value.text : nil
    }

    func algorithm(_ machine: Machine) -> String? {
        let value = header.lookup(machine.arena.string("alg"))
        return value.tag == .string ? value.text : nil
    }
}

/// Keys, signing and the rules of `io.jwt.decode_verify`.
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

    static func sign(
        _ machine: Machine, _ headerBytes: [UInt8], _ payloadBytes: [UInt8], _ header: Value, _ key: Value
    ) throws(BuiltinFailure) -> Value {
        guard header.tag == .object, key.tag == .object else { throw .failed("header and key must be objects") }
        func field(_ object: Value, _ name: String) -> Value { object.lookup(machine.arena.string(name)) }
        let name = field(header, "alg")
        if name.tag != .string { throw .failed("missing or invalid 'alg' header: jwsbb: header \"alg\" not found") }
        guard let algorithm = SignatureAlgorithm(rawValue: name.text) else {
            throw .failed("unknown JWS algorithm: \(name.text)")
        }
        let type = field(header, "typ")
        if type.isUndefined || (type.tag == .string && type.text.uppercased() == "JWT") {
            guard (try? JSONReader.read(payloadBytes, machine.arena)) != nil else {
                throw .failed("type is JWT but payload is not JSON")
            }
        }
        guard algorithm.isSymmetric else {
            throw .failed("\(algorithm.rawValue): signing with a private key is not available here")
        }
        guard field(key, "kty").text == "oct",
            let secret = Base64.decode(field(key, "k").bytes, url: true, padding: .optional)
        else { throw .failed("the key is no symmetric JWK") }
        try machine.charge(1 + (headerBytes.count + payloadBytes.count) / 8)
        let text =
            Base64.encode(headerBytes, url: true, padded: false) + [UInt8(ascii: ".")]
            + Base64.encode(payloadBytes, url: true, padded: false)
        let digest = algorithm == .hs256 ? "SHA256" : algorithm == .hs384 ? "SHA384" : "SHA512"
        let signature = Digest.hmac(digest, key: secret, text)
        return machine.arena.string(
            text + [UInt8(ascii: ".")] + Base64.encode(signature, url: true, padded: false))
    }

    private struct Constraints {
        var keys: [Entry] = []
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
        if result.secret != nil, !result.keys.isEmpty { throw .failed("duplicate key constraints") }
        if result.secret == nil, result.keys.isEmpty { throw .failed("no key constraint") }
        return result
    }

    static func decodeVerify(_ machine: Machine, _ arguments: Arguments) throws(BuiltinFailure) -> Value {
        let text = try arguments.bytes(0)
        let constraints = try constraints(machine, try arguments.object(1))
        let empty = machine.arena.object([])
        let refused = machine.arena.array([.false, empty, empty])
        var token = try WebToken(machine, text)
        for depth in 0..<32 {
            if depth > 0, token.header.isUndefined { return refused }
            try machine.charge(500)
            guard isCurrent(machine, token, constraints) else { return refused }
            guard let inner = try token.nested(machine) else { break }
            token = inner
        }
        let payload = try token.payload(machine)
        func field(_ name: String) -> Value { payload.lookup(machine.arena.string(name)) }
        if let issuer = constraints.issuer {
            guard field("iss").tag == .string, field("iss").text == issuer else { return refused }
        }
        let audience = field("aud")
        if let wanted = constraints.audience {
            switch audience.tag {
            case .string: if audience.text != wanted { return refused }
            case .array:
                if !audience.elements.contains(where: { $0.tag == .string && $0.text == wanted }) { return refused }
            default: return refused
            }
        } else if audience.isDefined {
            return refused
        }
        for name in ["exp", "nbf"] {
            let claim = field(name)
            if claim.isUndefined { continue }
            guard claim.isNumber else { throw .failed("\(name) value must be a number") }
            let limit = try Arithmetic.multiply(claim, Value(1_000_000_000), machine)
            let order = Value.compare(constraints.time, limit)
            if name == "exp" ? order >= 0 : order < 0 { return refused }
        }
        return machine.arena.array([.true, token.header, payload])
    }

    /// Whether one layer's header is understood and its signature right.
    private static func isCurrent(_ machine: Machine, _ token: WebToken, _ constraints: Constraints) -> Bool {
        guard let name = token.algorithm(machine), let algorithm = SignatureAlgorithm(rawValue: name) else {
            return false
        }
        if let wanted = constraints.algorithm, wanted != name { return false }
        if token.header.lookup(machine.arena.string("crit")).isDefined { return false }
        if let secret = constraints.secret {
            guard algorithm.isSymmetric else { return false }
            return VerificationKey(secret: secret).verifies(token.signature, of: token.signedText, algorithm)
        }
        guard !algorithm.isSymmetric else { return false }
        let kid = token.kid(machine)
        let named = constraints.keys.filter { kid != nil && $0.kid == kid }
        for entry in named.isEmpty ? constraints.keys : named {
            if let other = entry.algorithm, other != name { continue }
            if entry.key.verifies(token.signature, of: token.signedText, algorithm) { return true }
        }
        return false
    }
}
