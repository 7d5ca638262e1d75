/// What a queue thread remembers of cgroups: id to path and agent. A cgroup id is never reused and a cgroup v2 directory is
/// never renamed, so what was once known stays true, also after the directory is gone: an orphaned socket keeps its agent.
/// Bounded: over `capacity` the entry that was unused longest gives way (second chance), and a socket of a forgotten,
/// vanished cgroup is nobody's.
public struct IdentityCache: ~Copyable {
    /// How many cgroups are remembered.
    public let capacity: Int
    private var slots: [CgroupID: Int] = [:]
    private var entries: [Entry] = []
    private var hand = 0
    private var table: AgentTable

    private struct Entry {
        var id: CgroupID
        var path: String
        var agent: Identification
        var wasUsed: Bool
    }

    /// An empty cache over `table`; `capacity` at least 1.
    public init(table: AgentTable, capacity: Int = 4096) {
        self.table = table
        self.capacity = max(1, capacity)
    }

    /// Whose socket this is, and its cgroup's path. Asks `resolver` only for a cgroup that was not seen before.
    public mutating func identify<Resolver: SocketOwnerResolving & ~Copyable>(
        _ owner: SocketOwner, in table: AgentTable, resolver: inout Resolver
    ) -> (identification: Identification, cgroup: String?) {
        adopt(table)
        guard let id = owner.cgroup else { return (.nobody(.cgroupUnknown), nil) }
        if let slot = slots[id] {
            entries[slot].wasUsed = true
            return (table.combine(entries[slot].agent, uid: owner.uid), entries[slot].path)
        }
        guard let path = resolver.path(of: id) else { return (.nobody(.cgroupUnknown), nil) }
        let agent = table.agent(ofCgroup: path)
        remember(Entry(id: id, path: path, agent: agent, wasUsed: false))
        return (table.combine(agent, uid: owner.uid), path)
    }

    /// The path of a cgroup, if it is remembered.
    public func path(of id: CgroupID) -> String? {
        slots[id].map { entries[$0].path }
    }

    /// How many cgroups are remembered now.
    public var count: Int { entries.count }

    /// The table changed: paths stay, agents are looked up anew.
    private mutating func adopt(_ table: AgentTable) {
        guard table !== self.table else { return }
        self.table = table
        for slot in entries.indices {
            entries[slot].agent = table.agent(ofCgroup: entries[slot].path)
        }
    }

    private mutating func remember(_ entry: Entry) {
        guard entries.count == capacity else {
            slots[entry.id] = entries.count
            entries.append(entry)
            return
        }
        while entries[hand].wasUsed {
            entries[hand].wasUsed = false
            hand = (hand + 1) % capacity
        }
        slots[entries[hand].id] = nil
        slots[entry.id] = hand
        entries[hand] = entry
        hand = (hand + 1) % capacity
    }
}
