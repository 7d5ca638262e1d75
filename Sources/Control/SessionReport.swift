/// One session: `GET /v1/sessions/{id}`, and the answer to what opens, binds and renews it.
public struct SessionReport: Hashable, Sendable, Codable {
    /// Its id, 32 hexadecimal digits.
    public var id: String
    /// Its agent.
    public var agent: String
    /// Its customer.
    public var customer: String
    /// The issuer of its token.
    public var issuer: String
    /// When it was opened.
    public var opened: String
    /// When it ends unless it is renewed.
    public var expires: String
    /// What it is bound to.
    public var bindings: [BindingReport]

    /// A report from its parts.
    public init(
        id: String, agent: String, customer: String, issuer: String, opened: String, expires: String,
        bindings: [BindingReport]
    ) {
        self.id = id
        self.agent = agent
        self.customer = customer
        self.issuer = issuer
        self.opened = opened
        self.expires = expires
        self.bindings = bindings
    }
}

/// What a session is bound to; one of the parts is there.
public struct BindingReport: Hashable, Sendable, Codable, CustomStringConvertible {
    /// A cgroup's path from the root of the v2 hierarchy.
    public var cgroup: String?
    /// A socket's cookie, in decimal: a number that not every JSON reader could hold.
    public var socket: String?
    /// Local ports, `first-last`.
    public var ports: String?
    /// A local address.
    public var source: String?

    /// Nothing.
    public init() {}

    /// `cgroup /a/b`.
    public var description: String {
        cgroup.map { "cgroup \($0)" } ?? socket.map { "socket \($0)" } ?? ports.map { "ports \($0)" } ?? source.map {
            "source \($0)"
        } ?? ""
    }
}

/// The sessions: `GET /v1/sessions`.
public struct SessionsReport: Hashable, Sendable, Codable {
    /// By the time at which they were opened.
    public var sessions: [SessionReport]

    /// A report of these sessions.
    public init(sessions: [SessionReport]) {
        self.sessions = sessions
    }
}

/// The answer to `POST /v1/decide`.
public struct DecideReport: Hashable, Sendable, Codable {
    /// Whether policy allows it.
    public var allow: Bool
    /// Which part of the machine spoke: `allowed`, `policy`, `no_session`, ...
    public var reason: String
    /// Policy's own text.
    public var policyReason: String?
    /// The rule that decided.
    public var rule: String?
    /// The decision's name in the journal.
    public var decisionId: String

    /// A report from its parts.
    public init(allow: Bool, reason: String, policyReason: String?, rule: String?, decisionId: String) {
        self.allow = allow
        self.reason = reason
        self.policyReason = policyReason
        self.rule = rule
        self.decisionId = decisionId
    }
}
