public import Policy
import Synchronization

/// The policy in force. Loading replaces it as a whole; queue threads each hold a `PolicyReader`, which looks at one
/// atomic counter a batch and takes the new snapshot when it changed.
///
/// Why a counter and not a bare atomic pointer: a reader that loads a pointer and then retains it races with the writer's
/// release. Here the pointer is only copied under a lock, which a reader takes after a reload alone, and only if it is
/// free; otherwise it goes on with the snapshot it has and looks again in the next batch. So a queue thread never waits,
/// and an old snapshot is freed when its last reader has moved on.
public final class PolicyStore: Sendable {
    private let generation = Atomic<UInt64>(0)
    private let current: Mutex<any PolicyEngine>

    /// A store in which nothing was loaded yet: everything is refused.
    public init() {
        current = Mutex(AbsentPolicy())
    }

    /// The policy in force.
    public var engine: any PolicyEngine {
        current.withLock { $0 }
    }

    /// Puts `engine` in force for every decision that begins after a reader's next `refresh()`.
    public func publish(_ engine: any PolicyEngine) {
        current.withLock { $0 = engine }
        generation.add(1, ordering: .releasing)
    }

    /// A reader for one thread.
    public func makeReader() -> PolicyReader {
        PolicyReader(self)
    }

    /// The counter of `publish` calls.
    fileprivate var currentGeneration: UInt64 { generation.load(ordering: .acquiring) }

    /// The policy in force, unless a writer holds the lock just now.
    fileprivate var engineIfFree: (any PolicyEngine)? {
        current.withLockIfAvailable { $0 }
    }
}

/// One queue thread's view of the policy in force. Not shared between threads.
public final class PolicyReader {
    private let store: PolicyStore
    private var generation: UInt64
    /// The session to ask until the next `refresh()`.
    public private(set) var session: any PolicySession
    /// The revision that `session` answers from.
    public private(set) var revision: String

    fileprivate init(_ store: PolicyStore) {
        self.store = store
        generation = store.currentGeneration
        let engine = store.engine
        revision = engine.revision
        session = engine.makeSession()
    }

    /// Takes a new policy if one was published; call once a batch. True where `session` changed. One atomic load when
    /// nothing changed.
    @discardableResult
    public func refresh() -> Bool {
        // The counter is read first: an engine published in between is taken now and, harmlessly, once more next time.
        let newest = store.currentGeneration
        guard newest != generation, let engine = store.engineIfFree else { return false }
        generation = newest
        revision = engine.revision
        session = engine.makeSession()
        return true
    }
}

/// In force until a policy was loaded: refuses everything and says so.
struct AbsentPolicy: PolicyEngine {
    let revision = "none"

    func makeSession() -> any PolicySession { Session() }

    private final class Session: PolicySession {
        func decide(_: PolicyInput) -> PolicyDecision {
            PolicyDecision(
                policyReason: "no policy was ever loaded (correct the policy, then systemctl reload sallyportd)")
        }
    }
}
