public import PacketHeaders
public import Policy

/// One decision as it goes to the journal: what was asked, what was answered, and what was measured.
///
/// A queue thread fills it with values that it has anyway (nothing is formatted there); the log thread adds the process
/// and, on a record that stands for several, `repeats`.
public struct DecisionRecord: Sendable {
    /// The decision's name.
    public var id: DecisionID
    /// The facts that policy was asked with, without what may carry credentials. For a flow without identity the agent's
    /// id is empty.
    public var input: PolicyInput
    /// Policy's word, or the machine's own refusal.
    public var decision: PolicyDecision
    /// The flow, source first; nil where somebody only asked what policy would say.
    public var flow: FiveTuple?
    /// Whether an outsider opened the flow towards an agent.
    public var isInbound: Bool
    /// The revision of the policy that was asked; empty where none was loaded.
    public var policyRevision: String
    /// From the packet's arrival to its verdict, in microseconds.
    public var latencyMicroseconds: UInt32
    /// The inode of the socket in sockfs, by which the log thread looks for its process; nil for forwarded traffic.
    public var socketInode: UInt32?
    /// The process behind the socket, where the log thread found exactly one.
    public var process: ProcessFacts?
    /// What this record stands for beside its own decision.
    public var repeats: RecordRepeats?

    /// A record of one decision. The request's header fields and query are left behind: they may carry credentials.
    public init(
        id: DecisionID, input: PolicyInput, decision: PolicyDecision, flow: FiveTuple?, isInbound: Bool = false,
        policyRevision: String, latencyMicroseconds: UInt32, socketInode: UInt32? = nil
    ) {
        self.id = id
        self.input = input
        // Never logged, since they carry credentials; left out here so that waiting records stay small.
        self.input.request?.headers = [:]
        self.input.request?.query = nil
        self.input.request?.url = nil
        self.input.context = nil
        self.decision = decision
        self.flow = flow
        self.isInbound = isInbound
        self.policyRevision = policyRevision
        self.latencyMicroseconds = latencyMicroseconds
        self.socketInode = socketInode
    }
}

/// The process behind a socket, best effort.
public struct ProcessFacts: Hashable, Sendable {
    /// The process id in the host's namespace.
    public let pid: Int32
    /// The path of its executable as the kernel gives it; nil where it may not be read.
    public let executable: String?

    /// Facts from `/proc`.
    public init(pid: Int32, executable: String?) {
        self.pid = pid
        self.executable = executable
    }
}

/// Decisions that one record stands for.
public struct RecordRepeats: Hashable, Sendable {
    /// How many decisions were folded into the record; none of them has a record of its own.
    public var count: UInt64
    /// The earliest of them.
    public var first: DecisionID
    /// The latest of them.
    public var last: DecisionID
    /// Whether they went to different destinations, so that the record names none.
    public var isMixed: Bool

    /// Repeats from their parts.
    public init(count: UInt64, first: DecisionID, last: DecisionID, isMixed: Bool) {
        self.count = count
        self.first = first
        self.last = last
        self.isMixed = isMixed
    }
}
