/// A request that the control socket knows.
enum ControlRoute: Equatable {
    case health
    case status
    case agents
    case flows(FlowQuery)
    case decisions(DecisionQuery)

    /// The route of a request.
    /// - Throws: the problem document to answer with.
    init(method: String, target: String) throws(ProblemDocument) {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let query = try Self.parameters(parts.count == 2 ? parts[1] : "")
        switch parts[0] {
        case "/health": self = .health
        case "/v1/status": self = .status
        case "/v1/agents": self = .agents
        case "/v1/flows": self = .flows(try FlowQuery(query))
        case "/v1/decisions": self = .decisions(try DecisionQuery(query))
        default:
            throw ProblemDocument(
                status: 404, title: "No such resource",
                detail: "known are /health, /v1/status, /v1/agents, /v1/flows and /v1/decisions")
        }
        guard method == "GET" else {
            throw ProblemDocument(status: 405, title: "Method not allowed", detail: "only GET is known here")
        }
        switch self {
        case .health, .status, .agents:
            if let name = query.keys.min() { throw Self.unknown(name) }
        case .flows, .decisions: break
        }
    }

    static func unknown(_ name: String) -> ProblemDocument {
        ProblemDocument(status: 400, title: "Bad query", detail: "unknown parameter \(name)")
    }

    /// Parameters by name, percent-decoded; a name that comes twice is a problem.
    private static func parameters(_ text: Substring) throws(ProblemDocument) -> [String: String] {
        var result: [String: String] = [:]
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let name = decoded(parts[0]), let value = decoded(parts[1]) else {
                throw ProblemDocument(status: 400, title: "Bad query", detail: "parameters are name=value")
            }
            guard result.updateValue(value, forKey: name) == nil else {
                throw ProblemDocument(status: 400, title: "Bad query", detail: "parameter \(name) comes twice")
            }
        }
        return result
    }

    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == 0x25 else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            rest = rest.dropFirst(2)
            bytes.append(value)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

/// What `GET /v1/flows` asks for: `?limit=N&agent=ID`.
public struct FlowQuery: Hashable, Sendable {
    /// How many flows at most.
    public var limit: Int
    /// The agent; nil for all.
    public var agent: String?

    /// How many flows an answer has unless told: 1000.
    public static let usualLimit = 1000
    /// How many flows an answer has at most: 10,000.
    public static let largestLimit = 10_000

    /// A query from its parts.
    public init(limit: Int = FlowQuery.usualLimit, agent: String? = nil) {
        self.limit = limit
        self.agent = agent
    }

    init(_ parameters: [String: String]) throws(ProblemDocument) {
        self.init(agent: parameters["agent"])
        for (name, value) in parameters where name != "agent" {
            guard name == "limit" else { throw ControlRoute.unknown(name) }
            guard let number = Int(value), (1...Self.largestLimit).contains(number) else {
                throw ProblemDocument(
                    status: 400, title: "Bad query", detail: "limit is a number from 1 to \(Self.largestLimit)")
            }
            limit = number
        }
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
