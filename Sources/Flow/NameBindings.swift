public import PacketHeaders
import Synchronization

/// Which names lead to which addresses, by agent: from the DNS answers that the agent itself received.
///
/// Shared by the queue threads, since the answer and the flow that follows it may be in different ones; the lock is taken for
/// questions, answers and decisions about a flow, never for a packet of a decided one. Each agent has a bound of its own:
/// what one asks for does not push out what another was answered. Times are nanoseconds on the monotonic clock.
public final class NameBindings: Sendable {
    /// How long bindings last, and how many there may be.
    public struct Limits: Hashable, Sendable {
        /// What a shorter time to live is taken for, in seconds.
        public var floorSeconds: UInt32
        /// How long a binding lasts after its time to live, and after each use, in seconds.
        public var graceSeconds: UInt32
        /// How long use keeps a binding after its answer at most, in seconds.
        public var useSeconds: UInt32 = 86_400
        /// Pairs of a name and an address that are kept for one agent.
        public var pairsPerAgent = 8192

        /// The defaults, but for what is given in seconds.
        public init(floorSeconds: UInt32 = 60, graceSeconds: UInt32 = 900) {
            self.floorSeconds = floorSeconds
            self.graceSeconds = graceSeconds
        }
    }

    /// A name that leads to an address, for one agent.
    public struct Binding: Hashable, Sendable {
        /// The agent's id.
        public var agent: String
        /// The name: lower case, no trailing dot.
        public var name: String
        /// The address.
        public var address: IPAddress
        /// Until when it counts.
        public var expires: UInt64
        /// Until when use may keep it.
        public var latest: UInt64

        /// A binding from its parts.
        public init(agent: String, name: String, address: IPAddress, expires: UInt64, latest: UInt64) {
            self.agent = agent
            self.name = name
            self.address = address
            self.expires = expires
            self.latest = latest
        }
    }

    private struct Known: Sendable {
        var limits: Limits
        var agents: [String: AgentNames] = [:]
    }

    private let known: Mutex<Known>
    private let changes = Atomic<UInt64>(0)

    /// No binding yet.
    public init(limits: Limits = Limits()) {
        known = Mutex(Known(limits: limits))
    }

    /// Changes how long what is bound from now on lasts.
    public func adopt(_ limits: Limits) { known.withLock { $0.limits = limits } }

    /// Counts what was bound: it differs where there is more to keep than before.
    public var changeCount: UInt64 { changes.load(ordering: .relaxed) }

    /// Binds a name to an address of an answer with this time to live, in seconds.
    public func bind(_ name: String, to address: IPAddress, agent: String, timeToLive: UInt32, now: UInt64) {
        let limits = known.withLock(\.limits)
        let life = UInt64(max(min(timeToLive, limits.useSeconds), limits.floorSeconds)) + UInt64(limits.graceSeconds)
        keep(
            Binding(
                agent: agent, name: name, address: address, expires: now &+ life &* Self.second,
                latest: now &+ max(life, UInt64(limits.useSeconds)) &* Self.second), now: now)
    }

    /// Takes in a binding of an earlier run.
    public func keep(_ binding: Binding, now: UInt64) {
        guard binding.expires > now else { return }
        known.withLock { known in
            let limit = known.limits.pairsPerAgent
            known.agents[binding.agent, default: AgentNames()].bind(binding, limit: limit, now: now)
        }
        changes.wrappingAdd(1, ordering: .relaxed)
    }

    /// The names that lead to an address for an agent, sorted. Whoever asks uses them: they last for the grace from now on.
    public func names(of address: IPAddress, agent: String, now: UInt64) -> [String] {
        known.withLock { known in
            let until = now &+ UInt64(known.limits.graceSeconds) &* Self.second
            return known.agents[agent]?.names(of: address, now: now, until: until) ?? []
        }
    }

    /// Counts a question. Returns how many distinct names the agent asked for in the last minute, about.
    public func ask(_ name: String, agent: String, now: UInt64) -> UInt32 {
        known.withLock { $0.agents[agent, default: AgentNames()].questions.count(name, now: now) }
    }

    /// Every binding that counts, of one agent or of all.
    public func all(of agent: String? = nil, now: UInt64) -> [Binding] {
        let agents = known.withLock { known in
            guard let agent else { return known.agents }
            return known.agents.filter { $0.key == agent }
        }
        return agents.flatMap { id, names in names.bindings(of: id).filter { $0.expires > now } }
    }

    private static var second: UInt64 { 1_000_000_000 }
}

/// The bindings of one agent.
private struct AgentNames: Sendable {
    var questions = QuestionRate()
    private var places: [IPAddress: Place] = [:]
    /// The pairs in the order in which they were bound, from `oldest` on.
    private var order: [Pair] = []
    private var oldest = 0
    private var pairCount = 0

    private struct Pair: Hashable, Sendable {
        let name: String
        let address: IPAddress
    }

    private struct Place: Sendable {
        /// Sorted.
        var names: [String] = []
        var lives: [Life] = []
        /// When the first of them ends.
        var firstEnd = UInt64.max
    }

    private struct Life: Sendable {
        var expires: UInt64
        var latest: UInt64
    }

    mutating func bind(_ binding: NameBindings.Binding, limit: Int, now: UInt64) {
        let life = Life(expires: binding.expires, latest: binding.latest)
        var place = places[binding.address] ?? Place()
        var isCrowded = false
        let index = place.names.partitioningIndex { $0 >= binding.name }
        if index < place.names.count, place.names[index] == binding.name {
            // A later answer never shortens what an earlier one promised.
            place.lives[index].expires = max(place.lives[index].expires, life.expires)
            place.lives[index].latest = max(place.lives[index].latest, life.latest)
        } else {
            while place.names.count >= Self.namesPerAddress { dropFirstEnding(&place) }
            while pairCount >= limit, evict(now: now, keeping: &place, at: binding.address) {}
            let index = place.names.partitioningIndex { $0 >= binding.name }
            place.names.insert(binding.name, at: index)
            place.lives.insert(life, at: index)
            order.append(Pair(name: binding.name, address: binding.address))
            pairCount += 1
            isCrowded = order.count - oldest > 2 * limit + 64
        }
        place.firstEnd = place.lives.reduce(.max) { min($0, $1.expires) }
        places[binding.address] = place
        if isCrowded { dropStale() }
    }

    /// Forgets the name that ends first: policy looks at each of an address's names.
    private mutating func dropFirstEnding(_ place: inout Place) {
        guard let index = place.lives.indices.min(by: { place.lives[$0].expires < place.lives[$1].expires }) else {
            return
        }
        place.names.remove(at: index)
        place.lives.remove(at: index)
        pairCount -= 1
    }

    /// Names that lead to one address, for one agent.
    private static let namesPerAddress = 512

    mutating func names(of address: IPAddress, now: UInt64, until: UInt64) -> [String] {
        guard let index = places.index(forKey: address) else { return [] }
        if places.values[index].firstEnd <= now { dropExpired(at: address, now: now) }
        guard let index = places.index(forKey: address) else { return [] }
        for position in places.values[index].lives.indices {
            let life = places.values[index].lives[position]
            if life.expires < until {
                places.values[index].lives[position].expires = max(life.expires, min(until, life.latest))
            }
        }
        return places.values[index].names
    }

    func bindings(of agent: String) -> [NameBindings.Binding] {
        places.flatMap { address, place in
            zip(place.names, place.lives).map {
                NameBindings.Binding(
                    agent: agent, name: $0, address: address, expires: $1.expires, latest: $1.latest)
            }
        }
    }

    /// Leaves the newest of each pair that is still bound: what expires leaves its place in the order behind.
    private mutating func dropStale() {
        var seen: Set<Pair> = []
        var kept: [Pair] = []
        for pair in order[oldest...].reversed()
        where places[pair.address]?.names.contains(pair.name) == true && seen.insert(pair).inserted {
            kept.append(pair)
        }
        order = kept.reversed()
        oldest = 0
    }

    private mutating func dropExpired(at address: IPAddress, now: UInt64) {
        guard var place = places[address] else { return }
        for position in place.names.indices.reversed() where place.lives[position].expires <= now {
            place.names.remove(at: position)
            place.lives.remove(at: position)
            pairCount -= 1
        }
        place.firstEnd = place.lives.reduce(.max) { min($0, $1.expires) }
        places[address] = place.names.isEmpty ? nil : place
    }

    /// Forgets the pair that was bound first. `place` is what is being changed at `address`, and not in `places`.
    private mutating func evict(now: UInt64, keeping place: inout Place, at address: IPAddress) -> Bool {
        while oldest < order.count {
            let pair = order[oldest]
            oldest += 1
            if oldest > 1024, oldest * 2 > order.count {
                order.removeFirst(oldest)
                oldest = 0
            }
            if pair.address == address {
                guard let index = place.names.firstIndex(of: pair.name) else { continue }
                place.names.remove(at: index)
                place.lives.remove(at: index)
            } else {
                // What has expired is gone from `places` already, or goes now.
                guard let index = places[pair.address]?.names.firstIndex(of: pair.name) else { continue }
                places[pair.address]?.names.remove(at: index)
                places[pair.address]?.lives.remove(at: index)
                if places[pair.address]?.names.isEmpty == true { places[pair.address] = nil }
            }
            pairCount -= 1
            return true
        }
        return false
    }
}

/// How many distinct names were asked for in the last minute: counted in this minute and the one before, of which the part
/// counts that lies in the last sixty seconds.
private struct QuestionRate: Sendable {
    private var minute: UInt64 = 0
    private var current: Set<String> = []
    private var previous = 0

    mutating func count(_ name: String, now: UInt64) -> UInt32 {
        let length: UInt64 = 60_000_000_000
        let (minute, within) = now.quotientAndRemainder(dividingBy: length)
        if minute != self.minute {
            previous = minute == self.minute + 1 ? current.count : 0
            current.removeAll(keepingCapacity: previous > 0)
            self.minute = minute
        }
        // More than any policy allows is not counted apart: memory stays bounded.
        if current.count < Self.limit { current.insert(name) }
        return UInt32(current.count) + UInt32(UInt64(previous) * (length - within) / length)
    }

    private static let limit = 16_384
}

extension Array {
    /// The first index at which `isBehind` holds; it holds for all behind it.
    fileprivate func partitioningIndex(where isBehind: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
