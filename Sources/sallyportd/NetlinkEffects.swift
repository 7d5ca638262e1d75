import Configuration
import DecisionLog
import Enforcement
import Glibc
import Netlink
import PacketHeaders
import Policy

/// Carries out what the engine wants: verdicts in batches, resets through raw sockets, records into the thread's ring.
struct NetlinkEffects: EnforcementEffects, ~Copyable {
    private var verdicts: VerdictBatch
    private var conntrack: ConntrackSocket
    private var sockets: SocketDiagnosis
    private var injector: PacketInjector
    private let ring: RecordRing
    private var identifiers: DecisionIDSource
    /// What became of the flows since the last `flush`: their records are made when the verdicts are gone.
    private var outcomes: [Outcome] = []
    private let mark: MarkBits
    /// The revision of the policy that is asked now.
    var policyRevision: String

    init(
        verdicts: consuming VerdictBatch, conntrack: consuming ConntrackSocket, sockets: consuming SocketDiagnosis,
        injector: consuming PacketInjector, ring: RecordRing, seed: UInt64, mark: MarkBits,
        policyRevision: String
    ) {
        self.verdicts = verdicts
        self.conntrack = conntrack
        self.sockets = sockets
        self.injector = injector
        self.ring = ring
        identifiers = DecisionIDSource(seed: seed)
        outcomes.reserveCapacity(Self.outcomeCount)
        self.mark = mark
        self.policyRevision = policyRevision
    }

    /// Sends the verdicts that have gathered, and then gives the log the records: nobody waits for those.
    mutating func flush() {
        verdicts.flush()
        guard !outcomes.isEmpty else { return }
        for outcome in outcomes { push(outcome) }
        outcomes.removeAll(keepingCapacity: true)
        ring.wake()
    }

    /// What became of the verdicts.
    var counters: VerdictCounters { verdicts.counters }

    /// Flows whose mark could not be changed to refused.
    var uncutCount: UInt64 { conntrack.failureCount }

    mutating func accept(_ packet: PacketReference, mark: VerdictMark) {
        verdicts.accept(queue: packet.queue, id: packet.id, mark: word(packet, mark))
    }

    mutating func accept(_ packet: PacketReference, mark: VerdictMark, bytes: RawSpan) {
        verdicts.accept(queue: packet.queue, id: packet.id, mark: word(packet, mark), payload: bytes)
    }

    mutating func drop(_ packet: PacketReference) {
        verdicts.drop(queue: packet.queue, id: packet.id)
    }

    mutating func requeue(_ packet: PacketReference, to queue: UInt16) {
        verdicts.requeue(queue: packet.queue, id: packet.id, to: queue)
    }

    mutating func inject(_ bytes: RawSpan) {
        injector.send(bytes)
    }

    mutating func cut(_ flow: FiveTuple, isForwarded: Bool) {
        // A verdict that still waits would put the old mark back.
        verdicts.flush()
        // Where the kernel knows no such connection there is nothing left to refuse; other failures are counted.
        _ = conntrack.setMark(of: flow, mark.confined | mark.refused, mask: mark.mask)
        // The kernel's own reset to the other end is bare: the rules let it pass.
        if !isForwarded { _ = sockets.destroy(flow) }
    }

    mutating func makeDecisionID(nanoseconds: UInt64) -> String {
        identifiers.next(nanoseconds: nanoseconds).description
    }

    mutating func report(_ outcome: Outcome) {
        outcomes.append(outcome)
        if outcomes.count == Self.outcomeCount { flush() }
    }

    private mutating func push(_ outcome: Outcome) {
        // A full ring counts what it could not take.
        _ = ring.push(
            DecisionRecord(
                id: outcome.id.flatMap { DecisionID($0) } ?? identifiers.next(nanoseconds: outcome.input.time),
                input: outcome.input, decision: outcome.decision,
                flow: outcome.flow, isInbound: outcome.isInbound, policyRevision: policyRevision,
                latencyMicroseconds: outcome.latencyMicroseconds,
                socketInode: outcome.socketInode == 0 ? nil : outcome.socketInode),
            // An agent that has used up its share of the flow table can bring these forth as fast as it can send.
            isDispensable: outcome.decision.reason == .tableFull, wakes: false)
    }

    /// How many outcomes wait at most.
    private static let outcomeCount = 256

    mutating func monotonicNow() -> UInt64 { Clock.nanoseconds(CLOCK_MONOTONIC) }

    /// The packet's whole mark with our bits changed; nil where it stays as it is.
    private func word(_ packet: PacketReference, _ mark: VerdictMark) -> UInt32? {
        switch mark {
        case .undecided: nil
        case .allowed: packet.mark & ~self.mark.mask | self.mark.allowed
        case .refused: packet.mark & ~self.mark.mask | self.mark.refused
        case .refusedAlone: packet.mark & ~self.mark.mask | self.mark.allowed | self.mark.refused
        }
    }
}
