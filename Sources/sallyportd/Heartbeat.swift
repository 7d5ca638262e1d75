import DecisionLog
import Glibc
import KernelRules
import Netlink
import Synchronization

/// Proves to the kernel's rules, and to the service manager, that the queues are attended: every half second, and only if
/// every queue thread has come round meanwhile.
final class Heartbeat: Sendable {
    private let workers: [QueueWorker]
    private let notifier: SystemdNotifier
    private let isStopping = Atomic<Bool>(false)
    private let begun = Atomic<Bool>(false)
    private let attended = Atomic<Bool>(false)
    private let failure = Mutex<String?>(nil)

    init(workers: [QueueWorker], notifier: SystemdNotifier) {
        self.workers = workers
        self.notifier = notifier
    }

    /// Why the last beat was not given; nil where it was.
    var problem: String? { failure.withLock { $0 } }

    /// Whether a beat was tried yet: until then the rules refuse, since nobody attends the queues.
    var hasBegun: Bool { begun.load(ordering: .acquiring) }

    /// Whether every queue thread had come round at the last beat.
    var isAttended: Bool { attended.load(ordering: .relaxed) }

    /// Asks the thread to end.
    func stop() {
        isStopping.store(true, ordering: .relaxed)
    }

    /// The thread's body.
    func run() {
        do throws(NetlinkError) {
            var tables = try NFTables.open()
            var turns = workers.map(\.turnCount)
            var standing = 0
            while !isStopping.load(ordering: .relaxed) {
                let now = workers.map(\.turnCount)
                // A thread waits for packets a quarter of a second at most; a beat in between may find it in one batch.
                standing = zip(now, turns).allSatisfy { $0 != $1 } ? 0 : standing + 1
                turns = now
                beat(&tables, isAttended: standing < 2)
                begun.store(true, ordering: .releasing)
                usleep(500_000)
            }
            try tables.delete([UInt8(IPPROTO_TCP), UInt8(IPPROTO_UDP)], set: "alive", table: Self.table)
        } catch {
            failure.withLock { $0 = "\(error)" }
            begun.store(true, ordering: .releasing)
        }
    }

    private func beat(_ tables: inout NFTables, isAttended: Bool) {
        attended.store(isAttended, ordering: .relaxed)
        guard isAttended else {
            let names = workers.compactMap { $0.report.failure }
            failure.withLock {
                $0 = names.first ?? "a queue thread stands still (restart sallyportd; please report this)"
            }
            return
        }
        do throws(NetlinkError) {
            try tables.renew([UInt8(IPPROTO_TCP), UInt8(IPPROTO_UDP)], set: "alive", table: Self.table)
            failure.withLock { $0 = nil }
        } catch {
            failure.withLock { $0 = "the rules are not in place: \(error)" }
        }
        if notifier.wantsWatchdog { notifier.notify("WATCHDOG=1") }
    }

    private static let table = KernelRulesParameters.tableName
}
