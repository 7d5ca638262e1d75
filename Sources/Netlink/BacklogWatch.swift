/// Says when a queue thread has fallen behind its queues, from how full its batches are.
///
/// A thread at ordinary priority finds more packets each time that it wakes and serves more flows a second; while senders
/// outrun it, it must go before them, or the queue overflows and what another agent sends is dropped with it.
public struct BacklogWatch: Sendable {
    /// Whether packets wait that the thread has not come to.
    public private(set) var isBehind = false
    private var fullBatches = 0
    private var lastFull: UInt64 = 0

    /// How many full batches in a row are a backlog: more than the packets of a common burst.
    static let fullBatchCount = 4
    /// How long after the last full batch the backlog counts as gone, in nanoseconds: long beside a burst, so that the
    /// priority does not change with each.
    static let calmNanoseconds: UInt64 = 1_000_000_000

    /// A watch that has seen nothing.
    public init() {}

    /// Takes note of a batch.
    /// - Parameters:
    ///   - isFull: whether the batch held as many packets as it can.
    ///   - now: the monotonic clock, nanoseconds.
    /// - Returns: whether `isBehind` has changed.
    public mutating func note(isFull: Bool, now: UInt64) -> Bool {
        fullBatches = isFull ? min(fullBatches + 1, Self.fullBatchCount) : 0
        if isFull { lastFull = now }
        let was = isBehind
        if fullBatches == Self.fullBatchCount {
            isBehind = true
        } else if isBehind, now &- lastFull >= Self.calmNanoseconds {
            isBehind = false
        }
        return isBehind != was
    }
}
