import Identity
import PacketHeaders
import Policy

/// Folds repeats, so that an agent cannot rotate its own records, or anybody else's, out of the journal.
///
/// - The first of equal refusals (agent, host or address, port, stage, reason, rule, method and path or question type) is written at once.
///   The ones after it within `window` become one record with their number and times, written when the window closes.
/// - Each agent may have so many records written singly (`refused`, `allowed`: a burst and a rate). Past that, refusals
///   that differ are folded too, into one record for each stage and reason that names no destination, and allowed
///   decisions are folded as equal refusals are.
///
/// Nothing is dropped here: every decision is either a record or counted by one. Time is a parameter.
public struct RecordFolder {
    /// The bounds; times in nanoseconds of the monotonic clock.
    public struct Limits: Sendable {
        /// How long repeats are gathered.
        public var window: UInt64 = 10_000_000_000
        /// How many different refusals an agent may have open.
        public var keysPerAgent = 256
        /// How many different refusals may be open in all.
        public var keys = 16_384
        /// Refusals of one agent that are written singly.
        public var refused = Share(burst: 2_000, perSecond: 5)
        /// Allowed decisions of one agent that are written singly.
        public var allowed = Share(burst: 20_000, perSecond: 100)

        /// The defaults.
        public init() {}
    }

    /// A token bucket.
    public struct Share: Sendable {
        /// How many at once.
        public var burst: Int
        /// How many a second in the long run.
        public var perSecond: Int

        /// A bucket from its parts.
        public init(burst: Int, perSecond: Int) {
            self.burst = burst
            self.perSecond = perSecond
        }
    }

    /// How many decisions were counted by another record instead of having one of their own, ever.
    public private(set) var folded: UInt64 = 0

    private let limits: Limits
    private var agents: [String: AgentShare] = [:]
    private var entries: [Key: Entry] = [:]
    // Keys in the order in which their windows close; every window is equally long.
    private var closing = Deque()

    /// An empty folder.
    public init(limits: Limits = Limits()) {
        self.limits = limits
    }

    /// When the next window closes; nil where none is open.
    public var nextClose: UInt64? { closing.first.map { $0.time } }

    /// Takes a decision; gives `emit` what is to be written now.
    public mutating func admit(_ record: DecisionRecord, now: UInt64, emit: (DecisionRecord) -> Void) {
        let agent = record.input.agent.id
        if record.decision.allow {
            if agents[agent, default: AgentShare(limits: limits, now: now)].takeAllowed(limits.allowed, now: now) {
                emit(record)
                return
            }
            fold(record, under: Key(record, isMixed: false), now: now)
            return
        }
        let key = Key(record, isMixed: false)
        if entries[key] != nil {
            fold(record, under: key, now: now)
        } else if agents[agent, default: AgentShare(limits: limits, now: now)].takeRefused(limits.refused, now: now) {
            open(key, now: now, folded: nil)
            emit(record)
        } else {
            fold(record, under: Key(record, isMixed: true), now: now)
        }
    }

    /// Closes the windows that end at `now` or earlier.
    public mutating func close(at now: UInt64, emit: (DecisionRecord) -> Void) {
        while let next = closing.first, next.time <= now {
            closing.removeFirst()
            finish(next.key, now: now, emit: emit)
        }
    }

    /// Closes every window, for the end of the program.
    public mutating func closeAll(emit: (DecisionRecord) -> Void) {
        while let next = closing.first {
            closing.removeFirst()
            if let folded = entries.removeValue(forKey: next.key)?.folded { emit(folded) }
        }
        agents = [:]
    }

    private mutating func finish(_ key: Key, now: UInt64, emit: (DecisionRecord) -> Void) {
        guard let folded = entries[key]?.folded else {
            entries[key] = nil
            agents[key.agent]?.keys -= key.isMixed ? 0 : 1
            return
        }
        emit(folded)
        // Repeats came, more may come: the next window begins without a single record.
        entries[key] = Entry(folded: nil)
        closing.append(Close(time: now &+ limits.window, key: key))
    }

    private mutating func fold(_ record: DecisionRecord, under key: Key, now: UInt64) {
        folded += 1
        if let entry = entries[key] {
            entries[key] = Entry(folded: merged(entry.folded, record, isMixed: key.isMixed))
            return
        }
        if !key.isMixed, !hasRoom(for: key.agent) {
            folded -= 1
            fold(record, under: Key(record, isMixed: true), now: now)
            return
        }
        open(key, now: now, folded: merged(nil, record, isMixed: key.isMixed))
    }

    /// Opens a window where there is room; without room the next equal refusal is written again, as far as the agent's
    /// share goes.
    private mutating func open(_ key: Key, now: UInt64, folded: DecisionRecord?) {
        guard key.isMixed || hasRoom(for: key.agent) else { return }
        if !key.isMixed { agents[key.agent, default: AgentShare(limits: limits, now: now)].keys += 1 }
        entries[key] = Entry(folded: folded)
        closing.append(Close(time: now &+ limits.window, key: key))
    }

    private func hasRoom(for agent: String) -> Bool {
        entries.count < limits.keys && agents[agent]?.keys ?? 0 < limits.keysPerAgent
    }

    private func merged(_ earlier: DecisionRecord?, _ record: DecisionRecord, isMixed: Bool) -> DecisionRecord {
        var result = record
        let previous = earlier?.repeats
        result.repeats = RecordRepeats(
            count: (previous?.count ?? 0) + 1, first: previous?.first ?? record.id,
            last: max(previous?.last ?? record.id, record.id), isMixed: isMixed)
        return result
    }

    /// What makes two decisions equal.
    private struct Key: Hashable {
        let agent: String
        let isMixed: Bool
        let allow: Bool
        let isInbound: Bool
        let stage: String
        let reason: String
        let destination: String
        let port: UInt16
        let rule: String
        let request: String
        let session: String

        init(_ record: DecisionRecord, isMixed: Bool) {
            let input = record.input
            agent = input.agent.id
            self.isMixed = isMixed
            allow = record.decision.allow
            isInbound = record.isInbound
            stage = input.stage.rawValue
            reason = record.decision.reason.rawValue
            destination = isMixed ? "" : input.host ?? input.address.description
            port = isMixed ? 0 : input.port
            rule = isMixed ? "" : record.decision.rule ?? ""
            session = isMixed ? "" : input.customer?.session ?? input.customer?.id ?? ""
            request =
                isMixed
                ? ""
                : input.request.map { "\($0.method.prefix(16)) \($0.path.prefix(256))" } ?? input.question?.type ?? ""
        }
    }

    private struct Entry {
        var folded: DecisionRecord?
    }

    private struct Close {
        let time: UInt64
        let key: Key
    }

    /// First in, first out.
    private struct Deque {
        private var elements: [Close] = []
        private var start = 0

        var first: Close? { start < elements.count ? elements[start] : nil }

        mutating func append(_ element: Close) {
            elements.append(element)
        }

        mutating func removeFirst() {
            start += 1
            if start * 2 >= elements.count {
                elements.removeFirst(start)
                start = 0
            }
        }
    }
}

/// What one agent has left of its share of the log.
private struct AgentShare {
    var keys = 0
    private var refused: Bucket
    private var allowed: Bucket

    init(limits: RecordFolder.Limits, now: UInt64) {
        refused = Bucket(full: limits.refused, now: now)
        allowed = Bucket(full: limits.allowed, now: now)
    }

    mutating func takeRefused(_ share: RecordFolder.Share, now: UInt64) -> Bool { refused.take(share, now: now) }
    mutating func takeAllowed(_ share: RecordFolder.Share, now: UInt64) -> Bool { allowed.take(share, now: now) }

    private struct Bucket {
        private var tokens: Int
        private var filled: UInt64

        init(full share: RecordFolder.Share, now: UInt64) {
            tokens = share.burst
            filled = now
        }

        mutating func take(_ share: RecordFolder.Share, now: UInt64) -> Bool {
            if now > filled, share.perSecond > 0 {
                let interval = 1_000_000_000 / UInt64(share.perSecond)
                let earned = (now - filled) / max(1, interval)
                if earned > 0 {
                    filled += earned * max(1, interval)
                    tokens = min(share.burst, tokens + Int(min(earned, UInt64(share.burst))))
                }
            }
            guard tokens > 0 else { return false }
            tokens -= 1
            return true
        }
    }
}
