/// How the log is doing. All counts are since the start.
public struct LogCounters: Hashable, Sendable, Codable {
    /// Records and events that journald's socket took.
    public var written: UInt64 = 0
    /// Decisions counted by another record instead of having one of their own.
    public var folded: UInt64 = 0
    /// Decisions without a record because the policy wanted none.
    public var unlogged: UInt64 = 0
    /// Records lost because a queue thread's ring was full.
    public var lostInRings: UInt64 = 0
    /// Records lost because the spool was full, or at the end because journald did not take them in time.
    public var lostInSpool: UInt64 = 0
    /// Records and events that wait for journald now.
    public var waiting: Int = 0
    /// Why journald does not take records now: the error's text; nil where it does.
    public var journalError: String?

    /// All zero.
    public init() {}

    /// All that was lost.
    public var lost: UInt64 { lostInRings &+ lostInSpool }
}
