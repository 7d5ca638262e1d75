public import Flow
import FlowInspection
public import Identity
import Octets
import PacketHeaders
import Policy

/// The engine of one queue thread.
///
/// `handle` takes each queued packet, `expire` what time has run out for. Not shared between threads; the caller gives it
/// the kernel's view of sockets (`Resolver`) and takes its verdicts (`EnforcementEffects`).
public struct EnforcementEngine<Resolver: SocketOwnerResolving & ~Copyable>: ~Copyable {
    /// What was counted since the engine was made.
    public internal(set) var counters = EnforcementCounters()
    /// What was decided about each agent, by its id.
    var decisions: [String: DecisionCount] = [:]
    /// The snapshot in force.
    public private(set) var snapshot: EnforcementSnapshot

    let limits: EnforcementLimits
    var session: any PolicySession
    var resolver: Resolver
    var identities: IdentityCache
    var flows: FlowTable<FlowState>
    /// What each flow was last allowed for, by its slot.
    var facts: FlowFactsStore
    /// The sessions that are open, and what ties flows to them.
    var sessions = OpenSessions()
    /// Counts the snapshots that may decide otherwise than the one before.
    var generation: UInt32 = 1
    /// Where the look at every flow has got to that a new snapshot asks for; nil where none is under way.
    var reconsidered: Int?
    /// Which names lead where; shared with the other queue threads.
    let bindings: NameBindings
    /// The DNS questions that wait for their answers.
    var questions = PendingQuestions()
    var inspections: InspectionPool<Inspection>
    var datagramInspections: InspectionPool<DatagramInspection>
    /// How many packets the kernel holds for us, by the agent's position.
    var heldCounts: [Int32] = Array(repeating: 0, count: 1 << 16)
    /// Where inspectors work.
    var inspectionScratch: InspectionScratch
    /// Where a packet is copied to when it leaves with our bytes.
    var scratch: [UInt8]

    /// An engine over `snapshot`.
    /// - Parameters:
    ///   - resolver: asks the kernel about sockets.
    ///   - bindings: which names lead where, for every engine of the daemon.
    ///   - hashKey: two random numbers, so that nobody outside can choose colliding flows.
    public init(
        snapshot: EnforcementSnapshot, limits: EnforcementLimits, resolver: consuming Resolver,
        bindings: NameBindings = NameBindings(), hashKey: (UInt64, UInt64)
    ) {
        self.snapshot = snapshot
        self.limits = limits
        self.resolver = resolver
        self.bindings = bindings
        session = snapshot.policy.makeSession()
        identities = IdentityCache(table: snapshot.agents)
        flows = FlowTable(capacity: limits.flowCount, placeholder: FlowState(), hashKey: hashKey)
        facts = FlowFactsStore(capacity: flows.capacity)
        inspections = InspectionPool(capacity: limits.inspectionCount)
        datagramInspections = InspectionPool(capacity: limits.inspectionCount)
        inspectionScratch = InspectionScratch(helloByteCount: limits.helloByteCount)
        scratch = [UInt8](repeating: 0, count: 65_536 + 64)
    }

    /// Puts a new snapshot in force for every decision from now on. Agents keep their flows by id. Where the snapshot may
    /// decide otherwise than the last one, every flow is decided anew, by `reconsider` or at its next packet.
    public mutating func adopt(_ next: EnforcementSnapshot) {
        guard next !== snapshot else { return }
        let old = snapshot.agents.agents
        if old.map(\.id) != next.agents.agents.map(\.id) {
            let moved = old.map { next.agents.index(of: $0.id)?.rawValue ?? .max }
            flows.updateEach { state in
                state.agent = Int(state.agent) < old.count ? moved[Int(state.agent)] : .max
                state.listener = Int(state.listener) < old.count ? moved[Int(state.listener)] : .max
            }
            questions.removeAll()
            countHeld()
            decisions = decisions.filter { $0.key.isEmpty || next.agents.index(of: $0.key) != nil }
        }
        if !next.decides(as: snapshot) {
            generation &+= 1
            reconsidered = 0
            session = next.policy.makeSession()
        }
        snapshot = next
    }

    /// Gives the verdict on one packet, or holds it.
    /// - Parameters:
    ///   - bytes: the packet from its IP header.
    ///   - clock: read when the packet arrived.
    public mutating func handle<Effects: EnforcementEffects & ~Copyable>(
        _ facts: PacketFacts, _ bytes: RawSpan, clock: ClockReading, effects: inout Effects
    ) {
        counters.packets &+= 1
        let packet: Packet
        do throws(WireError) {
            packet = try Packet(parsing: bytes)
        } catch {
            // The kernel copied less than the packet, or the headers contradict each other. Neither can be judged.
            if facts.isTruncated { counters.truncated &+= 1 } else { counters.unparsable &+= 1 }
            effects.drop(facts.reference)
            return
        }
        guard !facts.isTruncated, !packet.isFragment else {
            counters.truncated &+= 1
            effects.drop(facts.reference)
            return
        }
        if let header = packet.tcp {
            handleTCP(Arrival(facts: facts, packet: packet, clock: clock), header, bytes, effects: &effects)
        } else if packet.transport == .udp {
            handleUDP(Arrival(facts: facts, packet: packet, clock: clock), bytes, effects: &effects)
        } else {
            counters.refused &+= 1
            effects.accept(facts.reference, mark: .refused)
        }
    }

    /// Refuses the flows whose first message did not become complete in time, and forgets those that live no more.
    public mutating func expire<Effects: EnforcementEffects & ~Copyable>(
        clock: ClockReading, effects: inout Effects
    ) {
        while let slot = flows.expired(.reading, now: clock.monotonic) {
            refuseExpired(slot, clock: clock, effects: &effects)
        }
        while let slot = flows.expired(.live, now: clock.monotonic) {
            if isGone(slot) {
                forget(slot, effects: &effects)
            } else {
                flows.move(slot, to: .live, deadline: clock.monotonic &+ Self.idleNanoseconds)
            }
        }
    }

    /// How many flows are remembered.
    public var flowCount: Int { flows.count }

    /// How many flows were forgotten to make room.
    public var evictionCount: UInt64 { flows.evictionCount }

    /// Whether any flow waits for its deadline, so that `expire` must be called in time.
    public var hasDeadlines: Bool { flows.count(of: .reading) > 0 }

    /// The agent at a position; one without a name where it is no longer configured.
    func agent(at position: UInt16) -> Agent {
        let agents = snapshot.agents.agents
        return Int(position) < agents.count ? agents[Int(position)] : Agent(id: "", labels: [:], selectors: [])
    }

    /// How long a judged or cleartext flow may be silent until the kernel is asked whether it still exists.
    static var idleNanoseconds: UInt64 { 300_000_000_000 }
}

/// One packet with what was read of it.
struct Arrival {
    let facts: PacketFacts
    let packet: Packet
    let clock: ClockReading
}
