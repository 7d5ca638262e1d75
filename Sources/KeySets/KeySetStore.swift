internal import Dispatch
internal import Glibc
public import JOSE
internal import Synchronization
public import Tokens

/// The issuers' key sets as they are now. Shared by threads; nothing here waits for a file or a server but `run` and what
/// asks for a refreshment.
public final class KeySetStore: Sendable {
    /// What became of a key set, for the log.
    public enum Event: Hashable, Sendable {
        /// A set is in force: where it is from, and how many keys it has.
        case loaded(source: String, count: Int, leftOut: [String])
        /// A set could not be had; the last one stays as long as it may.
        case failed(String)
    }

    fileprivate struct Entry {
        let issuer: TokenIssuer
        var set: JSONWebKeySet?
        /// When the set was read or fetched, on the clock that also runs while the machine sleeps.
        var readAt: UInt64 = 0
        /// When it is tried again; for files, looked at.
        var dueAt: UInt64 = 0
        /// When a token's unknown kid may bring about the next fetch.
        var askableAt: UInt64 = 0
        var isFetching = false
        /// The text of a fetched set.
        var text: [UInt8]?
        var file: FileFacts?
        var error: String?
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let entries = Mutex<[TokenIssuer: Entry]>([:])
    private let wakeup = DispatchSemaphore(value: 0)
    private let isStopping = Atomic<Bool>(false)
    private let queue = DispatchQueue(label: "keys", attributes: .concurrent)
    private let report: @Sendable (Event) -> Void
    private let kept: KeptKeySets?
    /// One writer at a time.
    private let writing = Mutex(())

    /// A store without issuers.
    /// - Parameters:
    ///   - path: the file in which fetched sets outlive a run; nil for none.
    ///   - report: is told what becomes of key sets, from any thread.
    public init(path: String? = nil, report: @escaping @Sendable (Event) -> Void) {
        self.report = report
        kept = path.map { KeptKeySets(path: $0) }
    }

    /// Takes these issuers. Files are read before this returns; what is fetched is on its way. Sets that are there stay, and so
    /// do those that an earlier run fetched, as long as they may.
    public func configure(_ issuers: [TokenIssuer]) {
        let known = kept?.read() ?? [:]
        let now = Self.now()
        let (left, events) = entries.withLock { entries in
            let wanted = Set(issuers)
            let left = entries.values.filter { !wanted.contains($0.issuer) }.flatMap(\.waiting)
            entries = entries.filter { wanted.contains($0.key) }
            var events: [Event] = []
            for issuer in issuers where entries[issuer] == nil {
                var entry = Entry(issuer: issuer)
                if let event = entry.take(known, now: now) { events.append(event) }
                entries[issuer] = entry
            }
            return (left, events)
        }
        for continuation in left { continuation.resume() }
        for event in events { report(event) }
        keep()
        for issuer in Set(issuers) where !issuer.keys.isFetched { readFile(issuer) }
        wakeup.signal()
    }

    /// The keys of an issuer.
    public func keys(of issuer: TokenIssuer) throws(TokenFailure) -> JSONWebKeySet {
        let (set, error) = entries.withLock { ($0[issuer]?.set, $0[issuer]?.error) }
        guard let set else { throw .keys(error ?? "they are being fetched (try again in a moment)") }
        return set
    }

    /// What is wrong with key sets now, by source.
    public var problems: [String] {
        entries.withLock { entries in entries.values.compactMap(\.error) }.sorted()
    }

    /// Has a set read or fetched anew because a token names a key that it lacks, or because it is not there yet, and waits for
    /// that. A server is asked for this once in ten seconds at most.
    /// - Returns: whether anything was done, so that it is worth to look again.
    public func refresh(_ issuer: TokenIssuer) async -> Bool {
        guard issuer.keys.isFetched else { return readFile(issuer) }
        let now = Self.now()
        let isWorthwhile = entries.withLock { entries in
            guard let entry = entries[issuer] else { return false }
            return entry.isFetching || entry.askableAt <= now
        }
        guard isWorthwhile else { return false }
        await withCheckedContinuation { continuation in
            let isKnown = entries.withLock { entries in
                guard entries[issuer] != nil else { return false }
                entries[issuer]?.waiting.append(continuation)
                entries[issuer]?.dueAt = 0
                return true
            }
            if isKnown { wakeup.signal() } else { continuation.resume() }
        }
        return true
    }

    /// Keeps the sets fresh until `stop`. The body of a thread.
    public func run() {
        while !isStopping.load(ordering: .relaxed) {
            let now = Self.now()
            var due: [TokenIssuer] = []
            var next = now &+ longestWait
            entries.withLock { entries in
                for (issuer, entry) in entries where !entry.isFetching {
                    if entry.dueAt > now {
                        next = min(next, entry.dueAt)
                    } else {
                        due.append(issuer)
                        entries[issuer]?.isFetching = issuer.keys.isFetched
                        entries[issuer]?.dueAt = now &+ fileInterval
                    }
                }
            }
            for issuer in due {
                if issuer.keys.isFetched { queue.async { [self] in fetch(issuer) } } else { readChangedFile(issuer) }
            }
            if !due.isEmpty { next = min(next, now &+ fileInterval) }
            _ = wakeup.wait(timeout: .now() + .nanoseconds(Int(next - now)))
        }
        let left = entries.withLock { entries in
            defer { for issuer in entries.keys { entries[issuer]?.waiting = [] } }
            return entries.values.flatMap(\.waiting)
        }
        for continuation in left { continuation.resume() }
    }

    /// Asks `run` to end.
    public func stop() {
        isStopping.store(true, ordering: .relaxed)
        wakeup.signal()
    }

    // MARK: - Files

    private func readChangedFile(_ issuer: TokenIssuer) {
        let known = entries.withLock { $0[issuer]?.file }
        if known != FileFacts(path: issuer.keys.text) { readFile(issuer) }
    }

    /// Reads a file. Returns whether the set is there.
    @discardableResult
    private func readFile(_ issuer: TokenIssuer) -> Bool {
        let facts = FileFacts(path: issuer.keys.text)
        return settle(issuer, file: facts) { () throws(SourceError) in
            try KeySetText.file(issuer.keys.text, isSecret: issuer.keys.isSecret)
        }
    }

    // MARK: - Servers

    private func fetch(_ issuer: TokenIssuer) {
        guard case .url(let address) = issuer.keys else { return }
        settle(issuer, file: nil) { () throws(SourceError) in try KeySetText.fetch(address) }
        wakeup.signal()
    }

    /// Writes down the fetched sets that are in force.
    private func keep() {
        guard let kept else { return }
        writing.withLock { _ in
            var sets: [KeyAddress: KeptKeySets.KeptSet] = [:]
            entries.withLock { entries in
                for entry in entries.values {
                    guard case .url(let address) = entry.issuer.keys, entry.set != nil, let text = entry.text else {
                        continue
                    }
                    sets[address.place] = KeptKeySets.KeptSet(text: text, readAt: entry.readAt)
                }
            }
            kept.write(sets)
        }
    }

    /// Puts what was read or fetched in force, or notes why it cannot be.
    @discardableResult
    private func settle(_ issuer: TokenIssuer, file: FileFacts?, _ read: () throws(SourceError) -> [UInt8]) -> Bool {
        let outcome: Result<(JSONWebKeySet, [UInt8]), SourceError>
        do throws(SourceError) {
            let text = try read()
            outcome = .success((try issuer.keySet(text), text))
        } catch {
            outcome = .failure(error)
        }
        let now = Self.now()
        let (event, waiting) = entries.withLock { entries -> (Event?, [CheckedContinuation<Void, Never>]) in
            guard var entry = entries[issuer] else { return (nil, []) }
            let event = entry.take(outcome, file: file, now: now)
            let waiting = entry.waiting
            entry.waiting = []
            entries[issuer] = entry
            return (event, waiting)
        }
        for continuation in waiting { continuation.resume() }
        if let event { report(event) }
        guard case .success = outcome else { return false }
        if issuer.keys.isFetched { keep() }
        return true
    }

    private static func now() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_BOOTTIME, &now)
        return UInt64(now.tv_sec) &* second &+ UInt64(now.tv_nsec)
    }
}

extension KeySetStore.Entry {
    /// Takes what an earlier run fetched, as long as it may count. It is fetched anew all the same. Returns what is worth a word
    /// in the log.
    fileprivate mutating func take(_ known: [KeyAddress: KeptKeySets.KeptSet], now: UInt64) -> KeySetStore.Event? {
        guard case .url(let address) = issuer.keys, let old = known[address.place], old.readAt <= now,
            now - old.readAt <= UInt64(address.keepSeconds) &* second, let set = try? issuer.keySet(old.text)
        else { return nil }
        self.set = set
        text = old.text
        readAt = old.readAt
        return .loaded(source: issuer.keys.text, count: set.keys.count, leftOut: set.leftOut)
    }

    /// Takes a new set, or an error. Returns what is worth a word in the log.
    fileprivate mutating func take(
        _ outcome: Result<(JSONWebKeySet, [UInt8]), SourceError>, file: FileFacts?, now: UInt64
    ) -> KeySetStore.Event? {
        isFetching = false
        askableAt = now &+ askInterval
        self.file = file
        switch outcome {
        case .success(let (set, text)):
            let isNews = error != nil || self.set?.names != set.names
            self.set = set
            error = nil
            readAt = now
            if case .url(let address) = issuer.keys {
                self.text = text
                dueAt = now &+ UInt64(address.refreshSeconds) &* second
            }
            return isNews ? .loaded(source: issuer.keys.text, count: set.keys.count, leftOut: set.leftOut) : nil
        case .failure(let failure):
            let isNews = error == nil
            error = failure.text
            if case .url(let address) = issuer.keys {
                dueAt = now &+ retryInterval
                if set != nil, now &- readAt > UInt64(address.keepSeconds) &* second {
                    set = nil
                    error = failure.text + "; the last set is older than keep_seconds and counts no more"
                    return .failed(error ?? "")
                }
            }
            return isNews ? .failed(failure.text) : nil
        }
    }
}

/// By what a file is seen to have changed.
private struct FileFacts: Equatable {
    let device: dev_t
    let inode: ino_t
    let size: off_t
    let seconds: Int
    let nanoseconds: Int

    init?(path: String) {
        var facts = stat()
        guard stat(path, &facts) == 0 else { return nil }
        device = facts.st_dev
        inode = facts.st_ino
        size = facts.st_size
        seconds = facts.st_mtim.tv_sec
        nanoseconds = facts.st_mtim.tv_nsec
    }
}

extension KeySource {
    /// Whether the keys come from a server.
    fileprivate var isFetched: Bool { if case .url = self { true } else { false } }
}

private let second: UInt64 = 1_000_000_000
private let fileInterval: UInt64 = 2 * second
private let retryInterval: UInt64 = 15 * second
private let askInterval: UInt64 = 10 * second
private let longestWait: UInt64 = 3600 * second
