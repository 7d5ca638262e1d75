import JOSE
import Tokens

/// Reads `customers:` and `agent_tokens:`.
enum CustomersReader {
    /// `customers.issuers:`
    static func customers(_ reader: YAMLReader) -> [TokenIssuer] {
        guard let list = reader.mapping(["issuers"])["issuers"] else {
            if reader.isMapping { reader.report("the key issuers is missing (list who issues customers' tokens)") }
            return []
        }
        return issuers(list, keys: customerKeys)
    }

    /// `agent_tokens:`
    static func agentTokens(_ reader: YAMLReader) -> AgentTokens {
        let values = reader.mapping(["required", "issuers"])
        var tokens = AgentTokens()
        if let value = values["required"]?.boolean() { tokens.isRequired = value }
        guard let list = values["issuers"] else {
            if reader.isMapping { reader.report("the key issuers is missing (list who issues agents' tokens)") }
            return tokens
        }
        tokens.issuers = issuers(list, keys: commonKeys)
        return tokens
    }

    private static func issuers(_ reader: YAMLReader, keys: [String]) -> [TokenIssuer] {
        var lines: [String: Int] = [:]
        let elements = reader.list(of: "issuers")
        if reader.isEmptyList { reader.report("an empty list lets nobody in (list an issuer, or remove the key)") }
        return elements.compactMap { element in
            let values = element.mapping(keys)
            guard element.isMapping else { return nil }
            for key in ["issuer", "audience"] where values[key] == nil {
                element.report("the key \(key) is missing (a token must say iss and aud, and both are checked)")
            }
            guard let nameReader = values["issuer"], let name = nameReader.text("an issuer's name"),
                let audience = values["audience"], let source = keySource(element, values)
            else { return nil }
            let audiences = audience.oneOrMore(of: "audiences").compactMap { $0.text("an audience") }
            guard !audiences.isEmpty, !name.isEmpty, audiences.allSatisfy({ !$0.isEmpty }) else {
                if audience.isEmptyList || !audiences.isEmpty {
                    element.report("issuer and audience are names (an empty one fits no token)")
                }
                return nil
            }
            if let line = lines.updateValue(nameReader.line ?? 0, forKey: name) {
                nameReader.report("the issuer is listed twice, first in line \(line) (remove one)")
                return nil
            }
            var issuer = TokenIssuer(name: name, audiences: audiences, keys: source)
            read(values, into: &issuer)
            return issuer
        }
    }

    private static func read(_ values: [String: YAMLReader], into issuer: inout TokenIssuer) {
        if let value = values["algorithm"]?.choice(SignatureAlgorithm.self) {
            if value.isSymmetric == issuer.keys.isSecret {
                issuer.algorithm = value
            } else {
                values["algorithm"]?.report(
                    value.isSymmetric
                        ? "\(value.rawValue) works with a shared secret (name its file as secret:, not as keys:)"
                        : "\(value.rawValue) works with public keys (name their file as keys:, not as secret:)")
            }
        }
        if let value = values["leeway_seconds"]?.integer(0...300) { issuer.leewaySeconds = value }
        if let value = values["longest_lifetime_seconds"]?.integer(1...86_400) { issuer.longestLifetimeSeconds = value }
        if let list = values["required_claims"] { issuer.requiredClaims = claims(list) }
        if let name = values["customer_claim"]?.text("a claim's name") { issuer.customerClaim = name }
        if let list = values["input_claims"] { issuer.inputClaims = claims(list) }
    }

    private static func claims(_ reader: YAMLReader) -> [String] {
        reader.oneOrMore(of: "claims' names").compactMap { $0.text("a claim's name") }
    }

    private static func keySource(_ element: YAMLReader, _ values: [String: YAMLReader]) -> KeySource? {
        let onlyForServers = ["refresh_seconds", "keep_seconds", "authorities"].compactMap { values[$0] }
        switch (values["keys"], values["secret"]) {
        case (nil, nil):
            element.report("neither keys nor secret (name the file or https: address of the issuer's JWK set)")
            return nil
        case (.some, let secret?):
            secret.report("both keys and secret (an issuer signs with one or the other)")
            return nil
        case (nil, let secret?):
            for reader in onlyForServers { reader.report("goes with keys behind an https: address only (remove it)") }
            return secret.path().map { .secret($0) }
        case (let keys?, nil):
            guard let text = keys.text("a path or an https: address") else { return nil }
            guard !text.hasPrefix("/") else {
                for reader in onlyForServers {
                    reader.report("goes with keys behind an https: address only (remove it)")
                }
                return keys.path().map { .file($0) }
            }
            let isAddress = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && text.utf8.count <= 2048
            guard isAddress, text.hasPrefix("https://"), text.utf8.count > 8 else {
                keys.report("\(text.quoted) is neither an absolute path nor an https: address")
                return nil
            }
            var address = KeyAddress(url: text)
            if let value = values["refresh_seconds"]?.integer(10...86_400) { address.refreshSeconds = value }
            if let value = values["keep_seconds"]?.integer(0...604_800) { address.keepSeconds = value }
            if let reader = values["authorities"] { address.authorities = reader.path() }
            return .url(address)
        }
    }

    private static let commonKeys = [
        "issuer", "audience", "keys", "secret", "algorithm", "leeway_seconds", "longest_lifetime_seconds",
        "required_claims", "refresh_seconds", "keep_seconds", "authorities",
    ]
    private static let customerKeys = commonKeys + ["customer_claim", "input_claims"]
}
