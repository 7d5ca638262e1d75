public import Enforcement
public import Identity
public import Policy
public import JOSE
internal import Rego
public import Tokens

/// A session as it is after a request or at its end, and what the queue threads are to be told.
public typealias SessionOutcome = (session: OpenSession, changes: [SessionChange])

/// One session, open or ended.
public struct OpenSession: Sendable {
    /// Its name for people and programs: 32 hexadecimal digits.
    public let id: String
    /// Its name for the queue threads.
    public let number: SessionNumber
    /// Whose flows may belong to it.
    public let agent: String
    /// The session in whose cgroup it was opened.
    public let within: SessionNumber
    /// For whom the agent acts.
    public internal(set) var customer: Customer
    /// When it was opened, in nanoseconds since the Unix epoch.
    public let opened: UInt64
    /// When it ends unless it is renewed, on the clock that nobody sets back.
    public internal(set) var deadline: UInt64
    /// What ties flows to it.
    public internal(set) var bindings: [SessionBinding] = []
    /// The tokens that opened and renewed it, by digest, with the time until which they could be used again.
    var tokens: [[UInt8]: UInt64]

    /// When it ends unless it is renewed, in nanoseconds since the Unix epoch.
    public var expires: UInt64 { customer.expires ?? 0 }

    /// Takes the last binding of this kind back, which could not be remembered.
    public mutating func unbind(_ binding: SessionBinding) {
        if let position = bindings.lastIndex(of: binding) { bindings.remove(at: position) }
    }

    /// What counts for a flow of its bindings.
    var scope: SessionScope { SessionScope(agent: agent, within: within) }
}

extension Customer {
    /// The customer that a verified token names, with the claims that its issuer's tokens show to policy.
    public convenience init(_ token: VerifiedToken, session: String?) {
        let shown = token.issuer.inputClaims.compactMap { name in
            token.claims[name].map { (key: RegoValue.string(name), value: RegoValue($0)) }
        }
        let sorted = shown.sorted { ($0.key.string ?? "").utf8.lexicographicallyPrecedes(($1.key.string ?? "").utf8) }
        self.init(
            id: token.subject, issuer: token.issuer.name, session: session, expires: token.end,
            claims: shown.isEmpty ? nil : InputObject(.object(sorted)))
    }

    /// Whether two tokens name the same customer: the same name, by the same issuer.
    func isSame(as other: Customer) -> Bool {
        id.utf8.elementsEqual(other.id.utf8) && (issuer ?? "").utf8.elementsEqual((other.issuer ?? "").utf8)
    }
}

extension InputObject {
    /// An object of a token or a request.
    public convenience init(_ json: StrictJSON) { self.init(RegoValue(json)) }
}

extension RegoValue {
    /// A value of a token.
    init(_ json: StrictJSON) {
        self =
            switch json {
            case .null: .null
            case .boolean(let value): .boolean(value)
            case .number(let text): .number(text)
            case .string(let text): .string(text)
            case .array(let elements): .array(elements.map { RegoValue($0) })
            case .object(let members):
                .object(
                    members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
                        .map { (.string($0.name), RegoValue($0.value)) })
            }
    }
}
