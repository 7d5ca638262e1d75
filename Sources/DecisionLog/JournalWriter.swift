import Glibc
import Identity
import Policy

/// What the log thread does with records, without the thread: folds, formats, sends, spools and counts. Used by one
/// thread only.
struct JournalWriter: ~Copyable {
    private(set) var counters = LogCounters()
    /// When to try again after journald was not there; nil while it is.
    private(set) var retryTime: UInt64?

    private var socket: JournalSocket
    private var folder: RecordFolder
    private var spool: RecordSpool
    private var isBusy = false
    private var buffer: [UInt8] = []
    private var reportedLost: UInt64 = 0
    private var lastReport: UInt64?
    private let isEnabled: Bool

    init(
        socketPath: String, folding: RecordFolder.Limits, spool limits: RecordSpool.Limits = RecordSpool.Limits(),
        isEnabled: Bool = true
    ) {
        socket = JournalSocket(path: socketPath)
        folder = RecordFolder(limits: folding)
        spool = RecordSpool(limits: limits)
        self.isEnabled = isEnabled
        buffer.reserveCapacity(16_384)
    }

    /// Whether nothing waits.
    var isIdle: Bool { spool.isEmpty }
    /// When the next window of repeats closes.
    var nextClose: UInt64? { folder.nextClose }
    /// The socket, where its queue was full and something waits.
    var descriptorToWaitFor: Int32? { isBusy && !spool.isEmpty && socket.descriptor >= 0 ? socket.descriptor : nil }

    /// Writes a record, or folds it, or keeps it waiting. `publish` gets what is written, in the order of writing.
    mutating func write(_ record: DecisionRecord, now: UInt64, publish: (DecisionRecord) -> Void) {
        guard isEnabled else { return }
        guard record.decision.logging != .none else {
            counters.unlogged += 1
            return
        }
        var due: DecisionRecord?
        folder.admit(record, now: now) { due = $0 }
        if let due { put(due, publish) }
        counters.folded = folder.folded
    }

    /// Writes an event, or keeps it waiting.
    mutating func write(_ event: LogEvent) {
        buffer.removeAll(keepingCapacity: true)
        RecordFormat.appendJournal(event, to: &buffer)
        putBuffer(agent: RecordSpool.eventLine)
    }

    /// Writes the repeats whose window ended.
    mutating func close(at now: UInt64, publish: (DecisionRecord) -> Void) {
        var due: [DecisionRecord] = []
        folder.close(at: now) { due.append($0) }
        for record in due { put(record, publish) }
    }

    /// Writes all repeats, for the end.
    mutating func closeWindows(publish: (DecisionRecord) -> Void) {
        var due: [DecisionRecord] = []
        folder.closeAll { due.append($0) }
        for record in due { put(record, publish) }
    }

    /// Sends what waits, as far as journald takes it, a turn's worth at most.
    /// - Returns: whether more could be sent at once.
    mutating func flush(now: UInt64) -> Bool {
        isBusy = false
        if let time = retryTime, now < time { return false }
        retryTime = nil
        for _ in 0..<turnLimit {
            guard let next = spool.first() else {
                counters.waiting = 0
                return false
            }
            guard send(next) else {
                counters.waiting = spool.count
                if !isBusy { retryTime = now &+ retryInterval }
                return false
            }
            spool.removeFirst()
        }
        counters.waiting = spool.count
        return !spool.isEmpty
    }

    /// Takes over what the rings lost so far.
    mutating func noteLost(inRings lost: UInt64) {
        counters.lostInRings = lost
    }

    /// Writes an event about records lost since the last such event, at most one each `reportInterval`.
    mutating func reportLost(now: UInt64, wall: UInt64) {
        guard counters.lost > reportedLost, spool.isEmpty, !isBusy, retryTime == nil else { return }
        if let lastReport, now &- lastReport < reportInterval { return }
        let lost = counters.lost - reportedLost
        reportedLost = counters.lost
        lastReport = now
        write(
            LogEvent(
                kind: .recordsLost,
                message: "records lost: \(lost) decisions have no record: journald or the log thread was too slow "
                    + "(see `sallyport status`; raise log.ring or give journald more processor time)",
                fields: [
                    "LOST": String(lost), "LOST_IN_RINGS": String(counters.lostInRings),
                    "LOST_IN_SPOOL": String(counters.lostInSpool),
                ], time: wall))
    }

    /// Counts what still waits as lost, at the end.
    mutating func abandon() {
        counters.lostInSpool += UInt64(spool.count)
        counters.waiting = 0
        spool = RecordSpool()
    }

    private mutating func put(_ record: DecisionRecord, _ publish: (DecisionRecord) -> Void) {
        buffer.removeAll(keepingCapacity: true)
        RecordFormat.appendJournal(record, to: &buffer)
        putBuffer(agent: record.input.agent.id)
        publish(record)
    }

    /// Sends the buffer at once where nothing waits before it; otherwise it waits.
    private mutating func putBuffer(agent: String) {
        if spool.isEmpty, !isBusy, retryTime == nil, send(buffer) { return }
        if spool.append(buffer, agent: agent) != nil { counters.lostInSpool += 1 }
        counters.waiting = spool.count
    }

    /// - Returns: whether the datagram is done with.
    private mutating func send(_ bytes: [UInt8]) -> Bool {
        switch socket.send(bytes) {
        case .sent:
            counters.written += 1
            counters.journalError = nil
            return true
        case .busy:
            isBusy = true
            return false
        case .unavailable(let error):
            counters.journalError = String(cString: strerror(error))
            return false
        case .refused(let error):
            counters.journalError = String(cString: strerror(error))
            counters.lostInSpool += 1
            return true
        }
    }
}

private let turnLimit = 1024
/// How long after a failed attempt the next one is made: 200 ms.
private let retryInterval: UInt64 = 200_000_000
private let reportInterval: UInt64 = 10_000_000_000
