import CUnixSocket
import Glibc
import Policy
import Synchronization

/// Takes records from the queue threads' rings and events from anywhere, and writes them to journald.
///
/// `run` is the body of a plain thread of the daemon's. Everything else may be called from any thread and never waits for
/// journald.
///
///     let log = LogThread(options: options, ringCount: queues)
///     let thread = try PlainThread.start(name: "log", processor: nil) { log.run() }
///     log.rings[k].push(record)          // queue thread k
///     log.event(.policyLoaded, message: "policy 1f0c… loaded", fields: ["POLICY_REVISION": "1f0c…"])
///     log.stop(); thread.join()
public final class LogThread: Sendable {
    /// What the log needs to know.
    public struct Options: Sendable {
        /// The path of journald's native socket.
        public var socketPath = "/run/systemd/journal/socket"
        /// How many records the rings hold together.
        public var ringCapacity = 65_536
        /// What is folded when.
        public var folding = RecordFolder.Limits()
        /// How long `run` goes on after `stop` while journald does not take records.
        public var stopTimeout: Duration = .seconds(3)
        /// Whether records are formatted and written at all; false measures the packet path alone.
        public var isEnabled = true

        /// The defaults.
        public init() {}
    }

    /// One ring a queue thread, in the threads' order.
    public let rings: [RecordRing]
    /// Gives records to those who follow them.
    public let feed: DecisionFeed

    private let options: Options
    private let processes: (any ProcessFinding)?
    private let wakeup = Wakeup()
    private let isStopping = Atomic<Bool>(false)
    private let shared = Mutex(Shared())

    private struct Shared {
        var events: [LogEvent] = []
        var lostEvents: UInt64 = 0
        var counters = LogCounters()
    }

    /// A log that does nothing until somebody calls `run`.
    /// - Parameters:
    ///   - ringCount: how many queue threads there are.
    ///   - processes: where records get their process from; nil leaves it out.
    public init(
        options: Options = Options(), ringCount: Int, processes: (any ProcessFinding)? = nil,
        feed: DecisionFeed = DecisionFeed()
    ) {
        self.options = options
        self.processes = options.isEnabled ? processes : nil
        self.feed = feed
        let capacity = options.ringCapacity / max(1, ringCount)
        rings = (0..<ringCount).map { [wakeup] _ in RecordRing(capacity: capacity, wakeup: wakeup) }
    }

    /// Tells the auditor something that is not a decision. At most `eventLimit` events wait; more are counted as lost.
    /// - Parameters:
    ///   - message: one readable line: what, why, what to do.
    ///   - fields: further journal fields, names in capitals and without the `SALLYPORT_` prefix.
    public func event(_ kind: EventKind, message: String, fields: [String: String] = [:]) {
        let event = LogEvent(kind: kind, message: message, fields: fields, time: Clock.wall())
        shared.withLock { shared in
            if shared.events.count < eventLimit { shared.events.append(event) } else { shared.lostEvents += 1 }
        }
        wakeup.wake()
    }

    /// How the log is doing.
    public var counters: LogCounters { shared.withLock { $0.counters } }

    /// Ends `run` once everything is written, or `stopTimeout` later.
    public func stop() {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        wakeup.wake()
    }

    /// Writes until `stop`. Call it once, on a thread of its own.
    public func run() {
        var writer = JournalWriter(
            socketPath: options.socketPath, folding: options.folding, isEnabled: options.isEnabled)
        var searches = SearchShare(now: Clock.monotonic())
        var deadline: UInt64?
        while true {
            let isBusy = turn(&writer, &searches)
            let stops = isStopping.load(ordering: .sequentiallyConsistent)
            if stops, !isBusy {
                let now = Clock.monotonic()
                let end = deadline ?? now &+ nanoseconds(options.stopTimeout)
                if deadline == nil {
                    deadline = end
                    writer.closeWindows { feed.publish($0) }
                    continue
                }
                if writer.isIdle || now >= end { break }
            }
            if !isBusy { wait(writer, until: deadline) }
        }
        writer.abandon()
        publish(writer)
        feed.finish()
    }

    /// Takes what waits and writes what can be written.
    /// - Returns: whether there is more to do at once.
    private func turn(_ writer: inout JournalWriter, _ searches: inout SearchShare) -> Bool {
        let now = Clock.monotonic()
        var taken = 0
        for ring in rings {
            var inRing = 0
            while inRing < turnLimit, let record = ring.pop() {
                inRing += 1
                take(record, now: now, hurry: ring.count > hurryThreshold, &searches, into: &writer)
            }
            taken += inRing
        }
        let (events, lostEvents) = shared.withLock { shared in
            defer { shared.events.removeAll() }
            return (shared.events, shared.lostEvents)
        }
        for event in events { writer.write(event) }
        writer.close(at: now) { feed.publish($0) }
        writer.noteLost(inRings: rings.reduce(lostEvents) { $0 + $1.lost })
        let isMoving = writer.flush(now: now)
        writer.reportLost(now: now, wall: Clock.wall())
        publish(writer)
        return taken > 0 || isMoving
    }

    private func take(
        _ record: DecisionRecord, now: UInt64, hurry: Bool, _ searches: inout SearchShare,
        into writer: inout JournalWriter
    ) {
        guard !hurry, let processes, let inode = record.socketInode, let cgroup = record.input.cgroup,
            record.decision.logging == .full, searches.take(now: now)
        else {
            writer.write(record, now: now) { feed.publish($0) }
            return
        }
        var complete = record
        complete.process = processes.process(inCgroup: cgroup, holdingSocket: inode)
        writer.write(complete, now: now) { feed.publish($0) }
    }

    /// Waits for records, events, room in journald's queue, a window's end or the next attempt to connect.
    private func wait(_ writer: borrowing JournalWriter, until deadline: UInt64?) {
        wakeup.prepareToSleep()
        defer { wakeup.awake() }
        let hasEvents = shared.withLock { !$0.events.isEmpty }
        let stopsNow = deadline == nil && isStopping.load(ordering: .sequentiallyConsistent)
        guard rings.allSatisfy({ $0.isEmpty }), !hasEvents, !stopsNow else { return }
        let now = Clock.monotonic()
        var until = now &+ longestWait
        for time in [writer.nextClose, writer.retryTime, deadline] { until = min(until, time ?? until) }
        let milliseconds = until > now ? Int32((until - now) / 1_000_000 + 1) : 0
        var descriptors = [pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0)]
        if let waiting = writer.descriptorToWaitFor {
            descriptors.append(pollfd(fd: waiting, events: Int16(POLLOUT), revents: 0))
        }
        let ready = poll(&descriptors, nfds_t(descriptors.count), milliseconds)
        // A nap after a producer's wake-up gathers the records of the next moment into one turn: the queue threads, which
        // may share this processor, are disturbed 500 times a second at most and not once a record.
        if ready > 0, descriptors[0].revents != 0, !isStopping.load(ordering: .relaxed) { _ = poll(nil, 0, nap) }
    }

    private func publish(_ writer: borrowing JournalWriter) {
        let counters = writer.counters
        shared.withLock { $0.counters = counters }
    }

    private func nanoseconds(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        return UInt64(clamping: seconds) &* 1_000_000_000 &+ UInt64(clamping: attoseconds / 1_000_000_000)
    }
}

/// How many searches for a process there may be: each reads a directory of `/proc` with a system call a file, so that a
/// flood of records would cost more than the decisions themselves.
private struct SearchShare {
    private var count = searchBurst
    private var last: UInt64

    init(now: UInt64) {
        last = now
    }

    mutating func take(now: UInt64) -> Bool {
        let earned = (now &- last) / searchInterval
        count = Int(min(UInt64(searchBurst), UInt64(count) &+ earned))
        last &+= earned &* searchInterval
        guard count > 0 else { return false }
        count -= 1
        return true
    }
}

/// The two clocks, in nanoseconds.
enum Clock {
    static func monotonic() -> UInt64 { read(CLOCK_MONOTONIC) }
    static func wall() -> UInt64 { read(CLOCK_REALTIME) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var now = timespec()
        clock_gettime(clock, &now)
        return UInt64(now.tv_sec) &* 1_000_000_000 &+ UInt64(now.tv_nsec)
    }
}

/// How many records of a ring one turn takes before it looks at the others.
private let turnLimit = 1024
/// How many waiting records of a ring make the log leave out the search for processes.
private let hurryThreshold = 128
/// Searches for processes at once, and nanoseconds between two in the long run: 100 a second.
private let searchBurst = 500
private let searchInterval: UInt64 = 10_000_000
private let eventLimit = 1024
private let longestWait: UInt64 = 1_000_000_000
/// Milliseconds.
private let nap: Int32 = 2
