/// What happened on one `QueueSocket` since it was opened, beside the packets that went well. Nothing that is lost to
/// sight is swallowed: it is a number here, and the packet stays refused.
public struct QueueCounters: Hashable, Sendable {
    /// Packets handed over.
    public var packets: UInt64 = 0
    /// Times that the socket's receive buffer overran (`ENOBUFS`); the kernel dropped at least one packet each time. How
    /// many: `QueueStatistics.droppedAtSocket`.
    public var overruns: UInt64 = 0
    /// Packets of which the kernel copied only a part (`NFQA_CAP_LEN`).
    public var truncatedPackets: UInt64 = 0
    /// Datagrams longer than a slot, which were dropped unread; their packets stay in the kernel until the queue closes.
    public var truncatedDatagrams: UInt64 = 0
    /// Messages that were no well-formed packet.
    public var malformedMessages: UInt64 = 0
    /// Verdicts that the kernel refused with another error than `ENOENT`.
    public var refusedVerdicts: UInt64 = 0
    /// Verdicts for a packet that the kernel no longer held (`ENOENT`): its interface went down or the queue was flushed.
    public var lateVerdicts: UInt64 = 0
    /// Receive calls that failed with another error than `ENOBUFS`, `EINTR` and `EAGAIN`.
    public var receiveFailures: UInt64 = 0

    /// All zero.
    public init() {}
}

/// What happened to the verdicts of one `VerdictBatch`.
public struct VerdictCounters: Hashable, Sendable {
    /// Verdicts sent to the kernel.
    public var verdicts: UInt64 = 0
    /// Datagrams that carried them.
    public var datagrams: UInt64 = 0
    /// Verdicts that could not be sent; their packets stay in the kernel, unanswered, until the queue closes.
    public var unsentVerdicts: UInt64 = 0
    /// Verdicts with a payload longer than the kernel takes (65,531 bytes); they became drops.
    public var oversizedPayloads: UInt64 = 0

    /// All zero.
    public init() {}
}
