import CUnixSocket
import Glibc
import Synchronization

/// Wakes one thread that waits in poll(2). A wake-up while the thread is awake costs one atomic load.
final class Wakeup: Sendable {
    /// Readable once somebody woke the thread; -1 where the kernel gave no descriptor, and the thread then wakes by its
    /// time-out alone.
    let descriptor: Int32
    private let isAsleep = Atomic<Bool>(false)

    init() {
        descriptor = unix_event_descriptor()
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Wakes the thread where it sleeps. Any thread may call it, after it has published what the thread shall find.
    func wake() {
        guard isAsleep.load(ordering: .sequentiallyConsistent) else { return }
        guard isAsleep.exchange(false, ordering: .sequentiallyConsistent) else { return }
        var one: UInt64 = 1
        _ = write(descriptor, &one, MemoryLayout<UInt64>.size)
    }

    /// Says that the thread is about to sleep. It must look for work once more after this and before it sleeps.
    func prepareToSleep() {
        isAsleep.store(true, ordering: .sequentiallyConsistent)
    }

    /// Says that the thread is awake, and forgets the wake-ups so far.
    func awake() {
        isAsleep.store(false, ordering: .sequentiallyConsistent)
        var count: UInt64 = 0
        _ = read(descriptor, &count, MemoryLayout<UInt64>.size)
    }
}
