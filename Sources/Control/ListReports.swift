/// One flow of the table.
public struct FlowReport: Hashable, Sendable, Codable {
    /// Its agent; nil where that is not configured any more.
    public var agent: String?
    /// The customer for whom the agent acts.
    public var customer: String?
    /// The session's id.
    public var session: String?
    /// `undecided`; `allowed`; `requests`, where each request, question or connection in it is a decision; `refused`.
    public var state: String
    /// Whether an outsider opened it.
    public var isInbound: Bool
    /// `tcp` or `udp`.
    public var transport: String
    /// The opener's address.
    public var source: String
    /// The opener's port.
    public var sourcePort: UInt16
    /// The destination address.
    public var address: String
    /// The destination port.
    public var port: UInt16
    /// The host that it was last allowed for.
    public var host: String?
    /// The protocol that it was last allowed for, as in `protocol.name` of the policy's input.
    public var `protocol`: String?
    /// Whole seconds since this run of the daemon first saw it.
    public var ageSeconds: UInt64

    /// A flow from what is always known.
    public init(
        state: String, isInbound: Bool = false, transport: String, source: String, sourcePort: UInt16, address: String,
        port: UInt16, ageSeconds: UInt64
    ) {
        self.state = state
        self.isInbound = isInbound
        self.transport = transport
        self.source = source
        self.sourcePort = sourcePort
        self.address = address
        self.port = port
        self.ageSeconds = ageSeconds
    }
}

/// The flows: `GET /v1/flows`.
public struct FlowsReport: Hashable, Sendable, Codable {
    /// How many there are.
    public var total: UInt64
    /// The ones that are shown.
    public var flows: [FlowReport]

    /// A report of these flows.
    public init(total: UInt64, flows: [FlowReport]) {
        self.total = total
        self.flows = flows
    }
}

/// A name that leads to an address.
public struct NameReport: Hashable, Sendable, Codable {
    /// The agent that was told so; nil where the configuration says it for every agent.
    public var agent: String?
    /// The name: lower case, no trailing dot.
    public var name: String
    /// The address.
    public var address: String
    /// For how many more seconds it counts, whole ones; nil without an end.
    public var remainingSeconds: UInt64?

    /// A name from its parts.
    public init(agent: String?, name: String, address: String, remainingSeconds: UInt64?) {
        self.agent = agent
        self.name = name
        self.address = address
        self.remainingSeconds = remainingSeconds
    }
}

/// The names that lead to addresses: `GET /v1/names`.
public struct NamesReport: Hashable, Sendable, Codable {
    /// Whether answers are watched; where they are not (`dns: off`) no name is bound.
    public var isWatching: Bool
    /// How many there are.
    public var total: UInt64
    /// The ones that are shown, by agent, name and address.
    public var names: [NameReport]

    /// A report of these names.
    public init(isWatching: Bool, total: UInt64, names: [NameReport]) {
        self.isWatching = isWatching
        self.total = total
        self.names = names
    }
}
