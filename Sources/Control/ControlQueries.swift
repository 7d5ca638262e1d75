/// What `GET /v1/flows` asks for: `?limit=N&agent=ID&customer=ID`.
public struct FlowQuery: Hashable, Sendable {
    /// How many flows at most.
    public var limit: Int
    /// The agent; nil for all.
    public var agent: String?
    /// The customer; nil for all, and for none.
    public var customer: String?

    /// A query from its parts.
    public init(limit: Int = ListLimit.usual, agent: String? = nil, customer: String? = nil) {
        self.limit = limit
        self.agent = agent
        self.customer = customer
    }

    init(_ parameters: [String: String]) throws(ProblemDocument) {
        self.init()
        for (name, value) in parameters {
            switch name {
            case "agent": agent = value
            case "customer": customer = value
            case "limit": limit = try ListLimit.read(value)
            default: throw ControlRoute.unknown(name)
            }
        }
    }

    /// The target that asks for it.
    var target: String {
        "/v1/flows?limit=\(limit)" + ControlClient.parameter("agent", agent)
            + ControlClient.parameter("customer", customer)
    }
}

/// What `GET /v1/names` asks for: `?limit=N&agent=ID&match=PATTERN`.
public struct NameQuery: Hashable, Sendable {
    /// How many pairs of a name and an address at most.
    public var limit: Int
    /// The agent; nil for all.
    public var agent: String?
    /// A name or an address, or a pattern of one with `*` and `?`; nil for all.
    public var match: String?

    /// A query from its parts.
    public init(limit: Int = ListLimit.usual, agent: String? = nil, match: String? = nil) {
        self.limit = limit
        self.agent = agent
        self.match = match
    }

    init(_ parameters: [String: String]) throws(ProblemDocument) {
        self.init()
        for (name, value) in parameters {
            switch name {
            case "agent": agent = value
            case "match": match = value
            case "limit": limit = try ListLimit.read(value)
            default: throw ControlRoute.unknown(name)
            }
        }
    }

    /// The target that asks for it.
    var target: String {
        "/v1/names?limit=\(limit)" + ControlClient.parameter("agent", agent) + ControlClient.parameter("match", match)
    }
}

/// How long a list is.
public enum ListLimit {
    /// How many entries an answer has unless told: 1000.
    public static let usual = 1000
    /// How many entries an answer has at most: 10,000.
    public static let largest = 10_000

    static func read(_ text: String) throws(ProblemDocument) -> Int {
        guard let number = Int(text), (1...largest).contains(number) else {
            throw ProblemDocument(
                status: 400, title: "Bad query", detail: "limit is a number from 1 to \(largest)")
        }
        return number
    }
}

/// What `GET /v1/decisions` asks for: `?follow=true&agent=ID&verdict=deny`.
public struct DecisionQuery: Hashable, Sendable {
    /// Whether to go on with the records to come after the last ones.
    public var follow: Bool
    /// The agent; nil for all.
    public var agent: String?
    /// `allow` or `deny`; nil for both.
    public var verdict: String?

    /// A query from its parts.
    public init(follow: Bool = false, agent: String? = nil, verdict: String? = nil) {
        self.follow = follow
        self.agent = agent
        self.verdict = verdict
    }

    init(_ parameters: [String: String]) throws(ProblemDocument) {
        self.init(agent: parameters["agent"])
        for (name, value) in parameters where name != "agent" {
            switch (name, value) {
            case ("follow", "true"), ("follow", "1"): follow = true
            case ("follow", "false"), ("follow", "0"): follow = false
            case ("follow", _):
                throw ProblemDocument(status: 400, title: "Bad query", detail: "follow is true or false")
            case ("verdict", "allow"), ("verdict", "deny"): verdict = value
            case ("verdict", _):
                throw ProblemDocument(status: 400, title: "Bad query", detail: "verdict is allow or deny")
            default: throw ControlRoute.unknown(name)
            }
        }
    }
}
