// Enforcement: one packet in; one verdict, effects and a record out. The only place where the stages meet.
//
// The life of a packet here: its headers are parsed (`PacketHeaders`), its flow is found (`Flow`), its payload is put in
// order and read (`FlowInspection`), the agent behind it is named (`Identity`), policy is asked (`Policy`), and the verdict
// goes out through `EnforcementEffects`. Everything is sans-I/O: clocks, the kernel's answers about sockets and the sending
// of verdicts are parameters, so the daemon, the replayer, fuzzers, benchmarks and tests drive the same engine. One engine
// belongs to one queue thread; nothing in it is shared but the immutable snapshot of configuration and policy.
//
// Which path judges what, when packets are held and what reaches the fast path: docs/inspection.md, "What the daemon does".
//
// Invariants. Every path through `handle` gives exactly one verdict for each packet: accept, drop, requeue, or hold (then
// the verdict comes with a later packet or with `expire`). No payload byte of an undecided flow is accepted before policy
// has allowed what it says. A packet whose bytes were judged leaves with our copy of them. The fast path begins when the
// server has acknowledged every judged byte.

public import Identity
public import PacketHeaders
public import Policy

/// How a refusal shows itself to the agent.
public enum DenyMode: String, Hashable, Sendable {
    /// In the words of the protocol where it has some, to the agent, else as `reset`.
    case explain
    /// A TCP reset or an ICMP message, at once, to both ends.
    case reset
    /// Silence.
    case drop
}

/// Everything that the engine reads and never changes; replaced as a whole on reload.
public final class EnforcementSnapshot: Sendable {
    /// Who is an agent, with the interfaces of now.
    public let agents: AgentTable
    /// The policy.
    public let policy: any PolicyEngine
    /// The DNS resolvers that agents may use.
    public let resolvers: [IPAddress]
    /// What agents may listen on.
    public let listen: [ListenRule]
    /// How refusals are shown.
    public let deny: DenyMode
    /// What is known of names.
    public let names: NameWatch

    /// A snapshot from its parts.
    public init(
        agents: AgentTable, policy: any PolicyEngine, resolvers: [IPAddress], listen: [ListenRule], deny: DenyMode,
        names: NameWatch = NameWatch()
    ) {
        self.agents = agents
        self.policy = policy
        self.resolvers = resolvers
        self.listen = listen
        self.deny = deny
        self.names = names
    }
}

extension EnforcementSnapshot {
    /// Whether a flow that another snapshot has decided would be decided alike by this one. The interfaces of now apart: a
    /// flow keeps its agent.
    func decides(as other: EnforcementSnapshot) -> Bool {
        policy.revision == other.policy.revision && agents.agents == other.agents.agents
            && resolvers == other.resolvers && listen == other.listen && names == other.names
    }
}

/// The engine's bounds, for one queue thread.
public struct EnforcementLimits: Sendable {
    /// Flows remembered at once.
    public var flowCount: Int
    /// Flows whose payload is being read at once.
    public var inspectionCount: Int
    /// Bytes of an incomplete ClientHello or request head that are kept for one flow.
    public var helloByteCount: Int
    /// Nanoseconds until an incomplete first message is refused.
    public var heldNanoseconds: UInt64
    /// Packets of one flow that the kernel holds for us; further ones are copied and dropped (TCP sends them again).
    public var heldPacketCount: Int
    /// Datagrams of one flow that the kernel holds for us until a ClientHello is whole; further ones are dropped.
    public var heldDatagramCount: Int
    /// Packets of one agent that the kernel holds for us at once: a queue has room for so many, whoever's they are.
    public var heldCountPerAgent: Int

    /// The defaults: one shard of a small host.
    public init() {
        flowCount = 65_536
        inspectionCount = 4096
        helloByteCount = 65_536
        heldNanoseconds = 5_000_000_000
        heldPacketCount = 2
        heldDatagramCount = 8
        heldCountPerAgent = 1024
    }
}

/// What the engine has counted since it began.
public struct EnforcementCounters: Sendable, Equatable {
    /// Packets handled.
    public var packets: UInt64 = 0
    /// Packets that the kernel copied only in part; refused.
    public var truncated: UInt64 = 0
    /// Packets whose headers made no sense; dropped.
    public var unparsable: UInt64 = 0
    /// Decisions that allowed.
    public var allowed: UInt64 = 0
    /// Decisions that refused.
    public var refused: UInt64 = 0
    /// The same, by reason.
    public var refusedByReason: [Reason: UInt64] = [:]
    /// Packets held for a later verdict.
    public var held: UInt64 = 0
    /// Packets copied and dropped, for TCP to send again.
    public var deferred: UInt64 = 0
    /// Datagrams dropped because they belong to no connection that is known, or answer no question.
    public var noise: UInt64 = 0
    /// DNS answers that went on without their records, which would have let a client hide its server name.
    public var withheld: UInt64 = 0
    /// Flows refused because the table or the inspection pool was full.
    public var full: UInt64 = 0

    /// All zero.
    public init() {}
}
