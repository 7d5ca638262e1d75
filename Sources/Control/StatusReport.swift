// Control: what operators and agents may ask the running daemon.
//
// HTTP/1.1 and JSON on a Unix socket: `ControlServer` in the daemon, `ControlClient` in the command line, and the reports
// that go between them. `PeerCheck` decides from the kernel's facts who is at the other end: one inside a confined cgroup or
// under a confined uid asks as that agent, for its own sessions, even as uid 0; one in another pid or user namespace for
// nothing; operators for everything. Bodies of requests are read strictly (`RequestBody`). What the answers say comes from the
// daemon through `ControlDelegate` and `SessionDelegate`; nothing here touches a packet, and a queue thread never waits for it.
//
// Imports DecisionLog, Identity, JOSE for strict JSON, CUnixSocket for pidfds, NIO for the socket and HTTP, FoundationEssentials for JSON.

public import DecisionLog

/// What is enforced right now: `GET /v1/status`. Keys in JSON are in snake case; a key is absent when its fact is unknown.
public struct StatusReport: Hashable, Sendable, Codable {
    /// The daemon's version.
    public var version: String
    /// The daemon's process id.
    public var pid: Int32
    /// When it began to decide: RFC 3339, UTC.
    public var startedAt: String
    /// Whole seconds since then.
    public var uptimeSeconds: UInt64
    /// Whether confined flows are decided now: the rules are in place, the queues are bound and a policy is loaded.
    public var isEnforcing: Bool
    /// What is wrong, each with its remedy; empty where all is well.
    public var problems: [String]
    /// The policy.
    public var policy: PolicyReport
    /// The kernel rules.
    public var rules: RulesReport
    /// Each queue, in the order of their numbers.
    public var queues: [QueueReport]
    /// The flows.
    public var flows: FlowCounters
    /// How many agents the configuration names.
    public var agents: Int
    /// How many sessions are open.
    public var sessions = 0
    /// The log.
    public var log: LogCounters

    /// A report of a daemon that has just begun; everything that is not given is zero or unknown.
    public init(version: String, pid: Int32, startedAt: String, uptimeSeconds: UInt64, isEnforcing: Bool) {
        self.version = version
        self.pid = pid
        self.startedAt = startedAt
        self.uptimeSeconds = uptimeSeconds
        self.isEnforcing = isEnforcing
        problems = []
        policy = PolicyReport()
        rules = RulesReport()
        queues = []
        flows = FlowCounters()
        agents = 0
        log = LogCounters()
    }
}

/// The policy in force.
public struct PolicyReport: Hashable, Sendable, Codable {
    /// Its revision; nil where none was ever loaded, and everything is refused.
    public var revision: String?
    /// Its directory.
    public var directory: String?
    /// When it was loaded: RFC 3339, UTC.
    public var loadedAt: String?
    /// Why a later one was not taken.
    public var error: String?

    /// No policy.
    public init() {}
}

/// The kernel rules.
public struct RulesReport: Hashable, Sendable, Codable {
    /// Whether the table is in place as it should be; nil where it was not looked at.
    public var isInPlace: Bool?
    /// How packets are queued: `nft_queue` or `xt_NFQUEUE`.
    public var backend: String?
    /// How often somebody else changed them since the start.
    public var tamperings: UInt64 = 0
    /// What is wrong with them.
    public var error: String?

    /// Nothing known.
    public init() {}
}

/// One packet queue.
public struct QueueReport: Hashable, Sendable, Codable {
    /// Its number.
    public var number: UInt16
    /// Packets that wait now.
    public var waiting: UInt64 = 0
    /// Packets that were taken from it.
    public var received: UInt64 = 0
    /// Packets that the kernel dropped because it was full.
    public var dropped: UInt64 = 0
    /// Packets that the kernel could not hand over (`ENOBUFS` on the socket).
    public var undelivered: UInt64 = 0
    /// Packets that came cut off and were refused.
    public var truncated: UInt64 = 0

    /// A queue that nothing has passed.
    public init(number: UInt16) {
        self.number = number
    }
}

/// Counts of flows and decisions.
public struct FlowCounters: Hashable, Sendable, Codable {
    /// Flows in the table now.
    public var live: UInt64 = 0
    /// How many it can hold.
    public var limit: UInt64 = 0
    /// Decisions that allowed, since the start.
    public var allowed: UInt64 = 0
    /// Decisions that refused, since the start.
    public var refused: UInt64 = 0
    /// Refusals by reason.
    public var refusedByReason: [String: UInt64] = [:]
    /// Flows that made room for others before they were decided.
    public var evicted: UInt64 = 0
    /// Flows that were to end but whose connection mark the kernel would not change: their packets are refused only where
    /// they still come to the queues.
    public var uncut: UInt64 = 0

    /// All zero.
    public init() {}
}

/// One agent: an element of `GET /v1/agents`.
public struct AgentReport: Hashable, Sendable, Codable {
    /// Its id.
    public var id: String
    /// Its labels.
    public var labels: [String: String]
    /// What ties traffic to it, readable: `cgroup /sallyport.slice/…`, `uid 1001`.
    public var selectors: [String]
    /// Its flows in the table now.
    public var liveFlows: UInt64 = 0
    /// Decisions that allowed, since the start.
    public var allowed: UInt64 = 0
    /// Decisions that refused, since the start.
    public var refused: UInt64 = 0

    /// An agent that has done nothing yet.
    public init(id: String, labels: [String: String], selectors: [String]) {
        self.id = id
        self.labels = labels
        self.selectors = selectors
    }
}

/// The agents: `GET /v1/agents`.
public struct AgentsReport: Hashable, Sendable, Codable {
    /// In the order of the configuration.
    public var agents: [AgentReport]

    /// A report of these agents.
    public init(agents: [AgentReport]) {
        self.agents = agents
    }
}
