import Enforcement
import Synchronization

/// The snapshot in force. Whoever reloads replaces it; a queue thread looks at one counter a batch and takes the new one
/// when it changed, without ever waiting for the lock.
final class SnapshotBox: Sendable {
    private let generation = Atomic<UInt64>(1)
    private let current: Mutex<EnforcementSnapshot>

    init(_ snapshot: EnforcementSnapshot) {
        current = Mutex(snapshot)
    }

    /// The snapshot in force.
    var snapshot: EnforcementSnapshot { current.withLock { $0 } }

    /// Puts a snapshot in force.
    func publish(_ snapshot: EnforcementSnapshot) {
        current.withLock { $0 = snapshot }
        generation.add(1, ordering: .releasing)
    }

    /// A newer snapshot than that of generation `seen`, which is brought up to date; nil where there is none, or where
    /// somebody is just writing (the next batch asks again).
    func newer(than seen: inout UInt64) -> EnforcementSnapshot? {
        let newest = generation.load(ordering: .acquiring)
        guard newest != seen, let snapshot = current.withLockIfAvailable({ $0 }) else { return nil }
        seen = newest
        return snapshot
    }
}
