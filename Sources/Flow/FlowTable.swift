// Flow: what is remembered of a flow, and its bytes in order.
//
// `FlowTable` finds a flow by its five-tuple within fixed memory; `StreamReassembler` puts the client's TCP segments in order
// and compares whatever comes twice. Both are values of one queue thread, without locks. Imports `PacketHeaders` only.

public import PacketHeaders

/// Names an entry of a `FlowTable` until it is removed.
public struct FlowSlot: Hashable, Sendable, BitwiseCopyable {
    let index: Int32

    /// 0 ..< the table's capacity: for what the caller keeps beside the table.
    public var position: Int { Int(index) }
}

/// What may happen to an entry when room is needed, and in which order.
public enum FlowClass: UInt8, Sendable, BitwiseCopyable {
    /// The kernel carries the flow's verdict. Evicted first, least recently used first, where the caller lets it go.
    case decided
    /// Nothing was said on the flow yet; it can be found anew. Evicted after all decided ones.
    case waiting
    /// In the middle of its first message, until its deadline. Never evicted.
    case reading
    /// Judged message by message for as long as it lives. Never evicted; the caller may reclaim the oldest.
    case live
}

/// Flows by five-tuple: a fixed number of entries, open addressing under a keyed hash, no allocation after `init`.
///
/// One table belongs to one queue thread. Entries are plain bits. Each is in one of four lists (`FlowClass`), least recently
/// used first, so that eviction and expiry look at one end only. An entry counts towards its group (the agent) while it is
/// not decided; a group may have at most a quarter of the table so, and one agent's flood cannot take the others' room.
/// An entry may have an owner (the session); the entries of one owner are found without looking at others.
public struct FlowTable<Entry: BitwiseCopyable>: ~Copyable {
    /// How many entries there may be.
    public let capacity: Int
    /// How many entries there are.
    public private(set) var count = 0
    /// How many entries were evicted to make room.
    public private(set) var evictionCount: UInt64 = 0

    private var nodes: [Node]
    private var buckets: [Int32]
    private var freeHead: Int32
    private var lists: [List]
    private var groupCounts: [UInt32]
    private var ownedHeads: [UInt32: Int32] = [:]
    private let groupLimit: UInt32
    private let mask: Int
    private let hashKey: (UInt64, UInt64)

    private struct Node: BitwiseCopyable {
        var key: FiveTuple
        var entry: Entry
        var deadline: UInt64
        var hash: UInt32
        var previous: Int32
        var next: Int32
        var owner: UInt32 = 0
        var previousOwned: Int32 = -1
        var nextOwned: Int32 = -1
        var group: UInt16
        var list: FlowClass
        var isUsed: Bool
    }

    private struct List: BitwiseCopyable {
        var oldest: Int32 = -1
        var newest: Int32 = -1
        var count = 0
    }

    /// A table of `capacity` entries, 1 ... 2^30, each beginning as `placeholder`.
    /// - Parameter hashKey: two random numbers; nobody who does not know them can choose colliding flows.
    public init(capacity: Int, placeholder: Entry, hashKey: (UInt64, UInt64)) {
        let capacity = min(max(capacity, 1), 1 << 30)
        self.capacity = capacity
        self.hashKey = hashKey
        let none = FiveTuple(
            source: IPAddress(v4: 0), sourcePort: 0, destination: IPAddress(v4: 0), destinationPort: 0,
            transport: TransportProtocol(rawValue: 0))
        let empty = Node(
            key: none, entry: placeholder, deadline: 0, hash: 0, previous: -1, next: -1, group: 0, list: .decided,
            isUsed: false)
        nodes = Array(repeating: empty, count: capacity)
        for index in 0..<capacity - 1 { nodes[index].next = Int32(index + 1) }
        freeHead = 0
        var bucketCount = 4
        while bucketCount < capacity * 2 { bucketCount *= 2 }
        buckets = Array(repeating: -1, count: bucketCount)
        mask = bucketCount - 1
        lists = Array(repeating: List(), count: 4)
        groupCounts = Array(repeating: 0, count: 1 << 16)
        groupLimit = UInt32(max(capacity / 4, 1))
    }

    /// Whether another entry needs room.
    public var isFull: Bool { freeHead < 0 }

    /// How many entries of a class there are.
    public func count(of list: FlowClass) -> Int { lists[Int(list.rawValue)].count }

    /// The entry of a flow, from the side that opened it.
    public func find(_ key: FiveTuple) -> FlowSlot? {
        let hash = hash(key)
        var bucket = Int(hash) & mask
        while buckets[bucket] >= 0 {
            let index = buckets[bucket]
            if nodes[Int(index)].hash == hash, nodes[Int(index)].key == key { return FlowSlot(index: index) }
            bucket = (bucket + 1) & mask
        }
        return nil
    }

    /// Adds a flow that is not in the table, as `waiting`. Nil where the group has its share, or nothing can be evicted.
    /// - Parameters:
    ///   - mayEvictDecided: whether the oldest decided entry may make room; where it may not, only a waiting one does.
    ///   - evicting: is given the entry that made room.
    public mutating func insert(
        _ key: FiveTuple, _ entry: Entry, group: UInt16, mayEvictDecided: Bool = true, evicting: (Entry) -> Void
    ) -> FlowSlot? {
        guard groupCounts[Int(group)] < groupLimit else { return nil }
        if freeHead < 0 {
            let decided = mayEvictDecided ? lists[Int(FlowClass.decided.rawValue)].oldest : -1
            let victim = decided >= 0 ? decided : lists[Int(FlowClass.waiting.rawValue)].oldest
            guard victim >= 0 else { return nil }
            evicting(nodes[Int(victim)].entry)
            evictionCount &+= 1
            remove(FlowSlot(index: victim))
        }
        let index = freeHead
        freeHead = nodes[Int(index)].next
        let hash = hash(key)
        nodes[Int(index)] = Node(
            key: key, entry: entry, deadline: .max, hash: hash, previous: -1, next: -1, group: group, list: .waiting,
            isUsed: true)
        var bucket = Int(hash) & mask
        while buckets[bucket] >= 0 { bucket = (bucket + 1) & mask }
        buckets[bucket] = index
        groupCounts[Int(group)] += 1
        append(index, to: .waiting)
        count += 1
        return FlowSlot(index: index)
    }

    /// Gives an entry to an owner; 0 is nobody.
    public mutating func setOwner(_ slot: FlowSlot, _ owner: UInt32) {
        disown(slot.index)
        guard owner != 0 else { return }
        let head = ownedHeads[owner] ?? -1
        nodes[Int(slot.index)].owner = owner
        nodes[Int(slot.index)].nextOwned = head
        if head >= 0 { nodes[Int(head)].previousOwned = slot.index }
        ownedHeads[owner] = slot.index
    }

    /// An owner's newest entry.
    public func firstOwned(by owner: UInt32) -> FlowSlot? {
        ownedHeads[owner].map { FlowSlot(index: $0) }
    }

    /// The entry of the same owner that is next older.
    public func nextOwned(after slot: FlowSlot) -> FlowSlot? {
        let next = nodes[Int(slot.index)].nextOwned
        return next < 0 ? nil : FlowSlot(index: next)
    }

    /// The first used entry at a position or behind it.
    public func slot(from position: Int) -> FlowSlot? {
        var position = position
        while position < nodes.count {
            if nodes[position].isUsed { return FlowSlot(index: Int32(position)) }
            position += 1
        }
        return nil
    }

    /// The entry.
    public subscript(slot: FlowSlot) -> Entry {
        get { nodes[Int(slot.index)].entry }
        set { nodes[Int(slot.index)].entry = newValue }
    }

    /// The flow of an entry.
    public func key(of slot: FlowSlot) -> FiveTuple { nodes[Int(slot.index)].key }

    /// Puts an entry into another class, as its most recently used. `deadline` (nanoseconds on the caller's clock) counts
    /// for `reading` and `live`; within a class deadlines must not decrease from call to call.
    public mutating func move(_ slot: FlowSlot, to list: FlowClass, deadline: UInt64 = .max) {
        let node = nodes[Int(slot.index)]
        unlink(slot.index)
        if node.list != .decided, list == .decided { groupCounts[Int(node.group)] -= 1 }
        if node.list == .decided, list != .decided { groupCounts[Int(node.group)] += 1 }
        nodes[Int(slot.index)].deadline = deadline
        append(slot.index, to: list)
    }

    /// The class of an entry.
    public func list(of slot: FlowSlot) -> FlowClass { nodes[Int(slot.index)].list }

    /// The least recently used entry of a class.
    public func oldest(of list: FlowClass) -> FlowSlot? {
        let index = lists[Int(list.rawValue)].oldest
        return index < 0 ? nil : FlowSlot(index: index)
    }

    /// The oldest entry of a class if its deadline is not after `now`.
    public func expired(_ list: FlowClass, now: UInt64) -> FlowSlot? {
        guard let slot = oldest(of: list), nodes[Int(slot.index)].deadline <= now else { return nil }
        return slot
    }

    /// Removes an entry; its slot may be given to another flow.
    public mutating func remove(_ slot: FlowSlot) {
        let index = slot.index
        let node = nodes[Int(index)]
        guard node.isUsed else { return }
        if node.list != .decided { groupCounts[Int(node.group)] -= 1 }
        disown(index)
        unlink(index)
        removeBucket(of: index, hash: node.hash)
        nodes[Int(index)].isUsed = false
        nodes[Int(index)].next = freeHead
        freeHead = index
        count -= 1
    }

    /// Lets `body` change each entry.
    public mutating func updateEach(_ body: (inout Entry) -> Void) {
        for index in nodes.indices where nodes[index].isUsed { body(&nodes[index].entry) }
    }

    /// Takes an index out of its bucket and moves later ones of the same run up, so that no tombstone is needed.
    private mutating func removeBucket(of index: Int32, hash: UInt32) {
        var hole = Int(hash) & mask
        while buckets[hole] != index { hole = (hole + 1) & mask }
        var bucket = hole
        while true {
            bucket = (bucket + 1) & mask
            let other = buckets[bucket]
            guard other >= 0 else { break }
            let home = Int(nodes[Int(other)].hash) & mask
            // The entry may move into the hole unless its home lies between the hole (exclusive) and its place (inclusive).
            let staysReachable = hole <= bucket ? (home <= hole || home > bucket) : (home <= hole && home > bucket)
            if staysReachable {
                buckets[hole] = other
                hole = bucket
            }
        }
        buckets[hole] = -1
    }

    private mutating func append(_ index: Int32, to list: FlowClass) {
        let position = Int(list.rawValue)
        let last = lists[position].newest
        nodes[Int(index)].list = list
        nodes[Int(index)].previous = last
        nodes[Int(index)].next = -1
        if last >= 0 { nodes[Int(last)].next = index } else { lists[position].oldest = index }
        lists[position].newest = index
        lists[position].count += 1
    }

    /// Takes an entry out of its owner's list.
    private mutating func disown(_ index: Int32) {
        let node = nodes[Int(index)]
        guard node.owner != 0 else { return }
        if node.previousOwned >= 0 {
            nodes[Int(node.previousOwned)].nextOwned = node.nextOwned
        } else if node.nextOwned >= 0 {
            ownedHeads[node.owner] = node.nextOwned
        } else {
            ownedHeads[node.owner] = nil
        }
        if node.nextOwned >= 0 { nodes[Int(node.nextOwned)].previousOwned = node.previousOwned }
        nodes[Int(index)].owner = 0
        nodes[Int(index)].previousOwned = -1
        nodes[Int(index)].nextOwned = -1
    }

    private mutating func unlink(_ index: Int32) {
        let node = nodes[Int(index)]
        let position = Int(node.list.rawValue)
        if node.previous >= 0 { nodes[Int(node.previous)].next = node.next } else { lists[position].oldest = node.next }
        if node.next >= 0 {
            nodes[Int(node.next)].previous = node.previous
        } else {
            lists[position].newest = node.previous
        }
        lists[position].count -= 1
    }

    /// A keyed mix of the tuple's words: multiply and fold, twice 64 bits of key.
    private func hash(_ key: FiveTuple) -> UInt32 {
        var state = hashKey.0
        let ports = UInt64(key.sourcePort) << 32 | UInt64(key.destinationPort) << 16 | UInt64(key.transport.rawValue)
        state = Self.fold(state ^ key.source.high, hashKey.1 ^ key.source.low)
        state = Self.fold(state ^ key.destination.high, hashKey.1 ^ key.destination.low)
        state = Self.fold(state ^ ports, hashKey.1 ^ UInt64(key.source.family.rawValue))
        return UInt32(truncatingIfNeeded: state ^ state >> 32)
    }

    @inline(__always)
    private static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        // A zero operand would erase the other; under a random key that happens once in 2^64.
        let product = left.multipliedFullWidth(by: right ^ 0x9E37_79B9_7F4A_7C15)
        return product.high ^ product.low
    }
}
