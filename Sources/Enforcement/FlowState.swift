import Identity
import PacketHeaders

/// Where a flow stands.
enum FlowPhase: UInt8, BitwiseCopyable {
    /// Connecting was allowed, no payload byte was seen.
    case open
    /// Some payload was seen, not enough to decide.
    case reading
    /// What was said was allowed; more of it may come (a second ClientHello, TLS after STARTTLS, a login), or the server's
    /// acknowledgement is awaited.
    case judged
    /// HTTP in the clear, DNS, QUIC: each request, question and connection is a decision.
    case requests
    /// Passed without reading: an inbound UDP flow that `listen:` allows.
    case relayed
    /// Allowed for good; the kernel passes it.
    case allowed
    /// Refused for good; the kernel refuses it.
    case refused
}

/// What the server of a forwarded flow said first.
enum ServerWord: UInt8, BitwiseCopyable {
    /// Nothing yet.
    case none
    /// A ServerHello that goes on with the handshake.
    case hello
    /// Anything else, a HelloRetryRequest too.
    case other
}

/// What the flow table keeps for one flow: plain bits, so that an entry costs no allocation.
struct FlowState: BitwiseCopyable {
    /// Where the flow stands.
    var phase: FlowPhase = .open
    /// Whether the agent's packets cross the host rather than begin on it.
    var isForwarded = false
    /// Whether an outsider opened the flow.
    var isInbound = false
    /// Whether it goes to a DNS resolver of the configuration.
    var isToResolver = false
    /// Whether it is UDP, so that its inspection is one of datagrams.
    var isDatagram = false
    /// What the server said first, of a forwarded TCP flow.
    var serverWord = ServerWord.none
    /// Whether an earlier run of the daemon allowed it, and it is not known any more for what.
    var isUnexplained = false
    /// The position of the agent in the snapshot's table.
    var agent: UInt16 = 0
    /// The uid of the socket's creator, `UInt32.max` where unknown.
    var uid: UInt32 = .max
    /// The position of the agent whose socket takes the flow, where that is on this host; `UInt16.max` for none.
    var listener: UInt16 = .max
    /// The socket's cgroup, 0 where unknown.
    var cgroup: UInt64 = 0
    /// The inode of the agent's socket, 0 where unknown.
    var inode: UInt32 = 0
    /// When it was put into the table, in nanoseconds on the monotonic clock.
    var since: UInt64 = 0
    /// When its sender was last looked up, of UDP, in nanoseconds on the monotonic clock.
    var confirmed: UInt64 = 0
    /// The session that the flow belongs to.
    var session = SessionNumber.none
    /// The generation of the snapshot by which the flow was last decided.
    var generation: UInt32 = 0
    /// The position of the flow's inspection in its pool, -1 for none.
    var inspection: Int32 = -1
    /// The sequence number of the client's SYN.
    var initialSequence = SequenceNumber(rawValue: 0)
    /// The sequence number behind the last byte that was let through: what the server expects next.
    var passedEnd = SequenceNumber(rawValue: 0)
    /// The highest acknowledgment number seen from the server of a forwarded flow.
    var acknowledged = SequenceNumber(rawValue: 0)
    /// The server's next sequence number, as the client last acknowledged it; for resets.
    var serverNext = SequenceNumber(rawValue: 0)
}
