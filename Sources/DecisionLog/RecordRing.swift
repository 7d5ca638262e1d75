import Synchronization

/// Hands records from one queue thread to the log thread: bounded, lock-free, and never waiting. When it is full the
/// record is counted as lost and the queue thread goes on.
///
/// One thread calls `push`, one other thread calls `pop`; both may read the counters. The slots are allocated once; a
/// record lives in a box of its own while it waits, so that an idle ring costs eight bytes a slot.
public final class RecordRing: @unchecked Sendable {
    /// How many records it holds: a power of two.
    public let capacity: Int

    // Slots in [head, tail) hold a retained box; the producer alone stores `tail`, the consumer alone stores `head`.
    private let slots: UnsafeMutablePointer<Unmanaged<Box>?>
    private let head = PaddedCounter()
    private let tail = PaddedCounter()
    private let lostCount = PaddedCounter()
    private let wakeup: Wakeup?

    /// A ring for at least `capacity` records.
    public convenience init(capacity: Int) {
        self.init(capacity: capacity, wakeup: nil)
    }

    /// A ring whose producer wakes the thread that waits on `wakeup`.
    init(capacity: Int, wakeup: Wakeup?) {
        var rounded = 2
        while rounded < capacity { rounded *= 2 }
        self.capacity = rounded
        self.wakeup = wakeup
        slots = .allocate(capacity: rounded)
        slots.initialize(repeating: nil, count: rounded)
    }

    deinit {
        while pop() != nil {}
        slots.deinitialize(count: capacity)
        slots.deallocate()
    }

    /// Puts a record in. Called by the producer only.
    /// - Parameters:
    ///   - isDispensable: whether the record is one of a flood: it may take no more than half of the ring, so that those of
    ///     others still find room.
    ///   - wakes: whether the consumer is woken for it; without that, call `wake` once what hurries is done.
    /// - Returns: false where the ring was full: the record is gone and counted.
    @discardableResult
    public func push(_ record: DecisionRecord, isDispensable: Bool = false, wakes: Bool = true) -> Bool {
        let end = tail.value.load(ordering: .relaxed)
        let room = isDispensable ? capacity / 2 : capacity
        guard end &- head.value.load(ordering: .acquiring) < room else {
            lostCount.value.add(1, ordering: .relaxed)
            return false
        }
        // Positions only grow (64 bits never wrap here) and the capacity is a power of two.
        slots[end & (capacity - 1)] = Unmanaged.passRetained(Box(record))
        // Sequentially consistent, as is the consumer's announcement that it sleeps: one of the two sees the other.
        tail.value.store(end &+ 1, ordering: .sequentiallyConsistent)
        if wakes { wakeup?.wake() }
        return true
    }

    /// Wakes the consumer, if it sleeps, for what was pushed without.
    public func wake() {
        wakeup?.wake()
    }

    /// Takes the oldest record out; nil where the ring is empty. Called by the consumer only.
    public func pop() -> DecisionRecord? {
        let start = head.value.load(ordering: .relaxed)
        guard start != tail.value.load(ordering: .acquiring) else { return nil }
        let slot = start & (capacity - 1)
        let box = slots[slot]
        slots[slot] = nil
        head.value.store(start &+ 1, ordering: .releasing)
        return box?.takeRetainedValue().record
    }

    /// Whether nothing waits. For the consumer.
    public var isEmpty: Bool {
        head.value.load(ordering: .relaxed) == tail.value.load(ordering: .sequentiallyConsistent)
    }

    /// How many records wait now.
    public var count: Int {
        max(0, tail.value.load(ordering: .relaxed) &- head.value.load(ordering: .relaxed))
    }

    /// How many records were pushed into a full ring, ever.
    public var lost: UInt64 { UInt64(truncatingIfNeeded: lostCount.value.load(ordering: .relaxed)) }

    private final class Box {
        let record: DecisionRecord
        init(_ record: DecisionRecord) { self.record = record }
    }
}

/// A counter on cache lines of its own, so that producer and consumer do not slow each other down: an object of more than
/// a line, each allocated apart.
private final class PaddedCounter: Sendable {
    let value = Atomic<Int>(0)
    private let padding: InlineArray<16, UInt64> = .init(repeating: 0)
}
