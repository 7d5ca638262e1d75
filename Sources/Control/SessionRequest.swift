public import JOSE
public import PacketHeaders

/// The body of a request: one JSON object, read strictly. A key that is not known, a value of another type and a name that
/// stands twice are problems that name it.
struct RequestBody {
    /// Bytes of a body at most: two tokens, and then some.
    static let largest = 65_536

    private let json: StrictJSON
    private let place: String

    init(_ bytes: [UInt8]) throws(ProblemDocument) {
        do throws(StrictJSON.Failure) {
            json = try StrictJSON(parsing: bytes)
        } catch {
            throw Self.problem("no JSON: \(error.description) (byte \(error.offset))")
        }
        place = ""
        guard case .object = json else { throw Self.problem("no JSON object") }
    }

    private init(_ json: StrictJSON, place: String) throws(ProblemDocument) {
        self.json = json
        self.place = place
        guard case .object = json else { throw Self.problem("\(place) is no object") }
    }

    /// Refuses names that are not among these.
    func only(_ names: String...) throws(ProblemDocument) {
        guard case .object(let members) = json else { return }
        for member in members where !names.contains(member.name) {
            throw Self.problem(
                "\(path(member.name)) is not known (known: \(names.joined(separator: ", ")))")
        }
    }

    func text(_ name: String) throws(ProblemDocument) -> String? {
        guard let value = json[name] else { return nil }
        guard let text = value.string, !text.isEmpty else { throw Self.problem("\(path(name)) is no text") }
        return text
    }

    func required(_ name: String) throws(ProblemDocument) -> String {
        guard let text = try text(name) else { throw Self.problem("\(path(name)) is missing") }
        return text
    }

    /// A whole number, also as text: not every writer of JSON can write 64 bits.
    func number(_ name: String) throws(ProblemDocument) -> UInt64? {
        switch json[name] {
        case nil: return nil
        case .number(let text), .string(let text):
            guard let value = UInt64(text), String(value) == text else {
                throw Self.problem("\(path(name)) is no whole number of 64 bits")
            }
            return value
        default: throw Self.problem("\(path(name)) is no number")
        }
    }

    func object(_ name: String) throws(ProblemDocument) -> RequestBody? {
        guard let value = json[name] else { return nil }
        return try RequestBody(value, place: path(name))
    }

    /// A value of any type.
    func value(_ name: String) -> StrictJSON? { json[name] }

    static func problem(_ detail: String) -> ProblemDocument {
        ProblemDocument(status: 400, title: "Bad request", detail: detail)
    }

    private func path(_ name: String) -> String {
        // A name that the caller made up stays short and of one line.
        let shown = String(
            decoding: name.utf8.prefix(64).map { (0x21...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
        return place.isEmpty ? shown : "\(place).\(shown)"
    }
}

/// The body of `POST /v1/sessions`.
public struct OpenSessionRequest: Hashable, Sendable {
    /// The agent; a confined caller need not name its own.
    public var agent: String?
    /// The customer's token.
    public var customerToken: String
    /// The agent's token.
    public var agentToken: String?
    /// What the session is bound to at once.
    public var binding: BindingRequest?

    /// A request for a customer.
    public init(customerToken: String) {
        self.customerToken = customerToken
    }

    /// The body.
    var json: StrictJSON {
        var members = [StrictJSON.Member(name: "customer_token", value: .string(customerToken))]
        if let agent { members.append(.init(name: "agent", value: .string(agent))) }
        if let agentToken { members.append(.init(name: "agent_token", value: .string(agentToken))) }
        if let binding { members.append(.init(name: "binding", value: .object([binding.member]))) }
        return .object(members)
    }

    init(_ body: RequestBody) throws(ProblemDocument) {
        try body.only("agent", "customer_token", "agent_token", "binding")
        customerToken = try body.required("customer_token")
        agent = try body.text("agent")
        agentToken = try body.text("agent_token")
        binding = try body.object("binding").map { (body) throws(ProblemDocument) in try BindingRequest(body) }
    }
}

/// What a session is to be bound to.
public enum BindingRequest: Hashable, Sendable {
    /// A cgroup's path from the root of the v2 hierarchy.
    case cgroup(String)
    /// A socket's cookie.
    case socket(UInt64)
    /// Local ports.
    case ports(ClosedRange<UInt16>)
    /// A local address.
    case source(IPAddress)
    /// A process, for which a cgroup is made.
    case pid(Int32)

    init(_ body: RequestBody) throws(ProblemDocument) {
        try body.only("cgroup", "socket", "ports", "source", "pid")
        var found: [BindingRequest] = []
        if let path = try body.text("cgroup") { found.append(.cgroup(path)) }
        if let cookie = try body.number("socket") { found.append(.socket(cookie)) }
        if let text = try body.text("ports") {
            guard let ports = Self.ports(text) else {
                throw RequestBody.problem("binding.ports is no range of ports, such as 40000-40099")
            }
            found.append(.ports(ports))
        }
        if let text = try body.text("source") {
            guard let address = IPAddress(text) else { throw RequestBody.problem("binding.source is no address") }
            found.append(.source(address))
        }
        if let number = try body.number("pid") {
            guard let pid = Int32(exactly: number), pid > 0 else { throw RequestBody.problem("binding.pid is no pid") }
            found.append(.pid(pid))
        }
        guard let only = found.first, found.count == 1 else {
            throw RequestBody.problem("binding names one of cgroup, socket, ports, source and pid")
        }
        self = only
    }

    var member: StrictJSON.Member {
        switch self {
        case .cgroup(let path): .init(name: "cgroup", value: .string(path))
        case .socket(let cookie): .init(name: "socket", value: .string(String(cookie)))
        case .ports(let ports): .init(name: "ports", value: .string("\(ports.lowerBound)-\(ports.upperBound)"))
        case .source(let address): .init(name: "source", value: .string(address.description))
        case .pid(let pid): .init(name: "pid", value: .number(String(pid)))
        }
    }

    /// Reads `40000` or `40000-40099`.
    public static func ports(_ text: String) -> ClosedRange<UInt16>? {
        let ends = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map { UInt16($0) }
        guard let first = ends.first ?? nil, let last = ends.last ?? nil, first > 0, first <= last else { return nil }
        return first...last
    }
}

/// The body of `POST /v1/sessions/{id}/sockets`.
enum BindSocketRequest {
    /// By its SO_COOKIE.
    case cookie(UInt64)
    /// By the caller's own descriptor, for those who cannot ask for the cookie.
    case descriptor(Int32)

    init(_ body: RequestBody) throws(ProblemDocument) {
        try body.only("cookie", "fd")
        switch (try body.number("cookie"), try body.number("fd")) {
        case (let cookie?, nil): self = .cookie(cookie)
        case (nil, let number?):
            guard let number = Int32(exactly: number) else { throw RequestBody.problem("fd is no descriptor") }
            self = .descriptor(number)
        default: throw RequestBody.problem("one of cookie and fd says which socket it is")
        }
    }

    func cookie(of process: PeerProcess?) throws(ProblemDocument) -> UInt64 {
        switch self {
        case .cookie(let cookie): return cookie
        case .descriptor(let number):
            guard let process else { throw RequestBody.problem("fd: the caller's process is not known") }
            return try process.cookie(ofSocket: number)
        }
    }
}

/// The body of `POST /v1/sessions/{id}/renew`.
struct RenewSessionRequest {
    let customerToken: String

    init(_ body: RequestBody) throws(ProblemDocument) {
        try body.only("customer_token")
        customerToken = try body.required("customer_token")
    }
}

/// The body of `POST /v1/decide`.
public struct DecideRequest: Hashable, Sendable {
    /// The agent, where an operator asks without an agent's token.
    public var agent: String?
    /// The agent's token.
    public var agentToken: String?
    /// The customer's token.
    public var customerToken: String?
    /// Where the agent would go: `scheme://host[:port]/path?query`.
    public var url: String
    /// The method of the request.
    public var method: String?
    /// Further facts for policy, `input.context`.
    public var data: StrictJSON?

    init(_ body: RequestBody) throws(ProblemDocument) {
        try body.only("agent", "agent_token", "customer_token", "url", "method", "data")
        agent = try body.text("agent")
        agentToken = try body.text("agent_token")
        customerToken = try body.text("customer_token")
        url = try body.required("url")
        method = try body.text("method")
        data = body.value("data")
        if let data {
            guard case .object = data else { throw RequestBody.problem("data is no object") }
        }
    }
}
