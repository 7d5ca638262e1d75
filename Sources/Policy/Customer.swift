public import Rego

/// `input.customer`: for whom an agent acts, from a verified token and the session that it opened.
///
/// One object a session, shared by its flows and by the queue threads; a renewed token makes a new one.
public final class Customer: Sendable {
    /// The customer, as the configured claim of the token names it.
    public let id: String
    /// The token's `iss`.
    public let issuer: String?
    /// The session's id.
    public let session: String?
    /// When the token expires, in nanoseconds since the Unix epoch.
    public let expires: UInt64?
    /// The configured claims of the token.
    public let claims: InputObject?

    /// A customer from its parts; whoever makes it has verified the token.
    public init(
        id: String, issuer: String? = nil, session: String? = nil, expires: UInt64? = nil,
        claims: InputObject? = nil
    ) {
        self.id = id
        self.issuer = issuer
        self.session = session
        self.expires = expires
        self.claims = claims
    }
}

/// An object among the facts whose keys are not ours: `input.customer.claims`, `input.context`.
public final class InputObject: Sendable {
    /// The object.
    public let value: RegoValue
    /// The same as JSON, by which two of them are told apart.
    public let text: String

    /// The facts of an object.
    public init(_ value: RegoValue) {
        self.value = value
        text = value.json
    }
}
