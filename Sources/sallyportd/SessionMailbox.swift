import Enforcement
import Netlink
import Synchronization

/// What became of sessions, on its way to one queue thread, which looks into it before each batch of packets: what was
/// posted before a packet was sent is known when the packet is decided.
final class SessionMailbox: Sendable {
    private let changes = Mutex<[SessionChange]>([])
    private let postCount = Atomic<UInt64>(0)
    private let waker = Mutex<QueueWaker?>(nil)

    /// Says how the thread is woken.
    func wake(by waker: QueueWaker) {
        self.waker.withLock { $0 = waker }
    }

    /// Posts changes and wakes the thread: sessions that end are cut now, not with the next packet.
    func post(_ new: [SessionChange]) {
        guard !new.isEmpty else { return }
        changes.withLock { $0 += new }
        postCount.add(1, ordering: .releasing)
        wake()
    }

    /// Wakes the thread.
    func wake() {
        waker.withLock { $0 }?.wake()
    }

    /// What was posted since `seen`, which is brought up to date. One atomic load where there is nothing.
    func take(after seen: inout UInt64) -> [SessionChange] {
        let count = postCount.load(ordering: .acquiring)
        guard count != seen else { return [] }
        seen = count
        return changes.withLock { changes in
            defer { changes = [] }
            return changes
        }
    }
}
