public import PacketHeaders
public import Policy

/// The netfilter hook that a packet was queued at (`linux/netfilter.h`, `enum nf_inet_hooks`).
public enum PacketHook: UInt8, Hashable, Sendable {
    /// `NF_INET_LOCAL_IN`: from a confined interface to the host itself.
    case input = 1
    /// `NF_INET_FORWARD`: through the host.
    case forward = 2
    /// `NF_INET_LOCAL_OUT`: from a socket of the host.
    case output = 3
}

/// Names a packet that the kernel holds.
public struct PacketReference: Hashable, Sendable {
    /// The NFQUEUE number.
    public let queue: UInt16
    /// The packet's id within its queue.
    public let id: UInt32
    /// The packet's mark as it was queued; a verdict changes our bits of it only.
    public let mark: UInt32

    /// A reference from its parts.
    public init(queue: UInt16, id: UInt32, mark: UInt32 = 0) {
        self.queue = queue
        self.id = id
        self.mark = mark
    }
}

/// What the kernel says of a queued packet beside its bytes.
public struct PacketFacts: Sendable {
    /// The packet.
    public let reference: PacketReference
    /// Where it was queued.
    public let hook: PacketHook
    /// The interface it came in by; 0 for locally generated packets.
    public let inputInterface: UInt32
    /// The interface it will leave by; 0 in the input hook.
    public let outputInterface: UInt32
    /// The uid of the sending socket's creator, where the kernel knows one.
    public let uid: UInt32?
    /// Whether the kernel has yet to write the transport checksum (`NFQA_SKB_CSUMNOTREADY`).
    public let checksumNotReady: Bool
    /// Whether the packet is several segments in one (`NFQA_SKB_GSO`).
    public let isSegmentBatch: Bool
    /// Whether the kernel copied less than the whole packet (`NFQA_CAP_LEN`).
    public let isTruncated: Bool
    /// The queue of the same thread whose packets the kernel segments first.
    public let segmentQueue: UInt16

    /// Facts from the kernel.
    public init(
        reference: PacketReference, hook: PacketHook, inputInterface: UInt32, outputInterface: UInt32, uid: UInt32?,
        checksumNotReady: Bool, isSegmentBatch: Bool, isTruncated: Bool, segmentQueue: UInt16
    ) {
        self.reference = reference
        self.hook = hook
        self.inputInterface = inputInterface
        self.outputInterface = outputInterface
        self.uid = uid
        self.checksumNotReady = checksumNotReady
        self.isSegmentBatch = isSegmentBatch
        self.isTruncated = isTruncated
        self.segmentQueue = segmentQueue
    }
}

/// The verdict's mark. The rules save it to the connection and act on it.
public enum VerdictMark: Hashable, Sendable {
    /// No word yet: the flow stays queued.
    case undecided
    /// The kernel passes the rest of the flow.
    case allowed
    /// The kernel refuses this packet and the rest of the flow.
    case refused
    /// The kernel refuses this packet; the flow stays queued.
    case refusedAlone
}

/// What the engine wants done. Implemented by the daemon over netlink, by the replayer and by tests with arrays.
public protocol EnforcementEffects: ~Copyable {
    /// Lets the packet go on as the kernel holds it.
    mutating func accept(_ packet: PacketReference, mark: VerdictMark)
    /// Lets the packet go on with `bytes` (from the IP header, checksums complete) in place of what the kernel holds.
    mutating func accept(_ packet: PacketReference, mark: VerdictMark, bytes: RawSpan)
    /// Drops the packet; the connection keeps its mark.
    mutating func drop(_ packet: PacketReference)
    /// Puts the packet into another queue.
    mutating func requeue(_ packet: PacketReference, to queue: UInt16)
    /// Sends a packet of ours: a reset to the server of a refused flow.
    mutating func inject(_ bytes: RawSpan)
    /// Ends a flow that was allowed: from when this returns the kernel passes no byte of it, in either direction. Verdicts
    /// given before take effect before.
    /// - Parameters:
    ///   - flow: the flow, its opener first.
    ///   - isForwarded: whether it crosses the host; otherwise its socket is one of the host's, and is ended too.
    mutating func cut(_ flow: FiveTuple, isForwarded: Bool)
    /// A new id for a decision at this time, in nanoseconds since the Unix epoch: for one whose record is to be named to the agent.
    mutating func makeDecisionID(nanoseconds: UInt64) -> String
    /// Reports a decision or a refusal, once.
    mutating func report(_ outcome: Outcome)
    /// `CLOCK_MONOTONIC` now, in nanoseconds, for the latency of a decision.
    mutating func monotonicNow() -> UInt64
}

/// One decision with all that is known of it; becomes one journal record.
public struct Outcome: Sendable {
    /// The facts that policy was asked with. For a flow without identity the agent's id is empty.
    public var input: PolicyInput
    /// Policy's word, or the machine's own refusal.
    public var decision: PolicyDecision
    /// The flow, source first.
    public var flow: FiveTuple
    /// Whether an outsider opened the flow towards an agent.
    public var isInbound: Bool
    /// The inode of the agent's socket, 0 where it is not known.
    public var socketInode: UInt32
    /// From the packet's arrival to its verdict, in microseconds.
    public var latencyMicroseconds: UInt32
    /// The record's id, where it was made before; otherwise whoever writes the record makes one.
    public var id: String?

    /// An outcome from its parts.
    public init(
        input: PolicyInput, decision: PolicyDecision, flow: FiveTuple, isInbound: Bool, socketInode: UInt32,
        latencyMicroseconds: UInt32, id: String? = nil
    ) {
        self.input = input
        self.decision = decision
        self.flow = flow
        self.isInbound = isInbound
        self.socketInode = socketInode
        self.latencyMicroseconds = latencyMicroseconds
        self.id = id
    }
}

/// The two clocks, read by the caller and given with each packet.
public struct ClockReading: Sendable {
    /// `CLOCK_MONOTONIC` in nanoseconds: deadlines and latency.
    public var monotonic: UInt64
    /// `CLOCK_REALTIME` in nanoseconds since the Unix epoch: `input.time`.
    public var wall: UInt64

    /// A reading.
    public init(monotonic: UInt64, wall: UInt64) {
        self.monotonic = monotonic
        self.wall = wall
    }
}
