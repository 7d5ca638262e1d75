// Tokens: what a token must say before it is believed.
//
// `JOSE` says whether a signature fits a key. Here it is said whose keys count (`TokenIssuer`), and what the claims of a
// verified token must be (RFC 7519 §4.1, RFC 8725): issuer, audience, times, required claims, and which of them names the
// customer. No I/O: the keys come from whoever calls, and the clock is a parameter. Imports JOSE only.
//
// The life of a token: its `iss` names the issuer whose keys are asked for; the signature is verified with the key's own
// algorithm; then the claims are read from the very bytes that were signed.

public import JOSE

/// Who may issue tokens, and what they must say: one element of `customers.issuers` or `agent_tokens.issuers`.
public struct TokenIssuer: Hashable, Sendable {
    /// `issuer:` The `iss` of its tokens.
    public var name: String
    /// `audience:` One of these must be in `aud`. Never empty.
    public var audiences: [String]
    /// `keys:` or `secret:` Where its keys are.
    public var keys: KeySource
    /// `algorithm:` What keys without `alg` of their own verify.
    public var algorithm: SignatureAlgorithm?
    /// `leeway_seconds:` By how much its clock may differ from ours: 0...300.
    public var leewaySeconds = 0
    /// `longest_lifetime_seconds:` From `iat` to `exp` at most: 1...86,400.
    public var longestLifetimeSeconds = 3600
    /// `required_claims:` Claims without which a token is refused.
    public var requiredClaims: [String] = []
    /// `customer_claim:` The claim that names the customer.
    public var customerClaim = "sub"
    /// `input_claims:` The claims that policy sees as `input.customer.claims`.
    public var inputClaims: [String] = []

    /// An issuer from what it cannot do without.
    public init(name: String, audiences: [String], keys: KeySource) {
        self.name = name
        self.audiences = audiences
        self.keys = keys
    }
}

/// Where an issuer's keys are.
public enum KeySource: Hashable, Sendable {
    /// A JWK set of public keys in a file.
    case file(String)
    /// A JWK (`kty` `oct`), the secret that this host shares with the issuer, in a file that its owner alone may read.
    case secret(String)
    /// A JWK set of public keys behind an `https:` address.
    case url(KeyAddress)

    /// The path or address, for people.
    public var text: String {
        switch self {
        case .file(let path), .secret(let path): path
        case .url(let address): address.url
        }
    }

    /// Whether the keys are secrets.
    public var isSecret: Bool { if case .secret = self { true } else { false } }
}

/// A key set that is fetched.
public struct KeyAddress: Hashable, Sendable {
    /// `keys:` The `https:` address.
    public var url: String
    /// `refresh_seconds:` How old the set may become before it is fetched again: 10...86,400.
    public var refreshSeconds = 300
    /// `keep_seconds:` How long the last set counts while it cannot be fetched: 0...604,800.
    public var keepSeconds = 86_400
    /// `authorities:` A file of CA certificates in PEM that takes the place of the host's.
    public var authorities: String?

    /// An address with the usual times.
    public init(url: String) {
        self.url = url
    }
}

/// `agent_tokens:` Tokens by which an agent proves itself, beside what the kernel says of it.
public struct AgentTokens: Hashable, Sendable {
    /// `required:` Whether a session opens only with one.
    public var isRequired = false
    /// `issuers:` Who issues them.
    public var issuers: [TokenIssuer] = []

    /// None.
    public init() {}
}
