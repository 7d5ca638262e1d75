/// A request that the control socket knows.
enum ControlRoute: Equatable {
    case health
    case status
    case agents
    case flows(FlowQuery)
    case names(NameQuery)
    case decisions(DecisionQuery)
    case sessions
    case openSession
    case session(String)
    case closeSession(String)
    case bindSocket(String)
    case renewSession(String)
    case decide

    /// The route of a request.
    /// - Throws: the problem document to answer with.
    init(method: String, target: String) throws(ProblemDocument) {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let query = try Self.parameters(parts.count == 2 ? parts[1] : "")
        let known = try Self.routes(at: parts[0], query)
        guard let route = known.first(where: { $0.method == method })?.route else {
            let methods = known.map(\.method).joined(separator: ", ")
            var problem = ProblemDocument(status: 405, title: "Method not allowed", detail: "\(methods) is known here")
            problem.allow = methods
            throw problem
        }
        self = route
        switch self {
        case .flows, .names, .decisions: break
        case .health, .status, .agents, .sessions, .openSession, .session, .closeSession, .bindSocket, .renewSession,
            .decide:
            if let name = query.keys.min() { throw Self.unknown(name) }
        }
    }

    /// Whether the request carries a body.
    var hasBody: Bool {
        switch self {
        case .openSession, .bindSocket, .renewSession, .decide: true
        case .health, .status, .agents, .flows, .names, .decisions, .sessions, .session, .closeSession: false
        }
    }

    /// Whether a confined agent may ask this.
    var isForAgents: Bool {
        switch self {
        case .health, .sessions, .openSession, .session, .closeSession, .bindSocket, .renewSession, .decide: true
        case .status, .agents, .flows, .names, .decisions: false
        }
    }

    /// What is known at a path, by method.
    private static func routes(
        at path: Substring, _ query: [String: String]
    ) throws(ProblemDocument) -> [(method: String, route: ControlRoute)] {
        switch path {
        case "/health": return [("GET", .health)]
        case "/v1/status": return [("GET", .status)]
        case "/v1/agents": return [("GET", .agents)]
        case "/v1/flows": return [("GET", .flows(try FlowQuery(query)))]
        case "/v1/names": return [("GET", .names(try NameQuery(query)))]
        case "/v1/decisions": return [("GET", .decisions(try DecisionQuery(query)))]
        case "/v1/sessions": return [("GET", .sessions), ("POST", .openSession)]
        case "/v1/decide": return [("POST", .decide)]
        default: break
        }
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).map { String($0) }
        if parts.count >= 4, parts[1] == "v1", parts[2] == "sessions", !parts[3].isEmpty {
            switch parts.dropFirst(4).joined(separator: "/") {
            case "" where parts.count == 4: return [("GET", .session(parts[3])), ("DELETE", .closeSession(parts[3]))]
            case "sockets": return [("POST", .bindSocket(parts[3]))]
            case "renew": return [("POST", .renewSession(parts[3]))]
            default: break
            }
        }
        throw ProblemDocument(
            status: 404, title: "No such resource",
            detail: "known are /health, /v1/status, /v1/agents, /v1/flows, /v1/names, /v1/decisions, /v1/sessions and "
                + "/v1/decide")
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
