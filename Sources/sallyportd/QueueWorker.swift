import Configuration
import DecisionLog
import Enforcement
import Flow
import Glibc
import Netlink
import Policy
import Synchronization

/// A question to a queue thread: what it has and did.
final class ViewRequest: Sendable {
    /// The flows that are wanted.
    let selection: FlowSelection
    private let view = Mutex<EngineView?>(nil)

    init(_ selection: FlowSelection) {
        self.selection = selection
    }

    /// The answer, once it is there.
    var answer: EngineView? { view.withLock { $0 } }

    func answer(_ view: EngineView) { self.view.withLock { $0 = view } }
}

/// One queue thread: it owns its netlink socket, its engine and its ring, and shares nothing but the snapshot.
final class QueueWorker: Sendable {
    /// What others may know of a worker.
    struct Report: Sendable {
        var queue = QueueCounters()
        var verdicts = VerdictCounters()
        var engine = EnforcementCounters()
        var liveFlows = 0
        var evictedFlows: UInt64 = 0
        var uncutFlows: UInt64 = 0
        /// Why the thread ended although nobody asked it to.
        var failure: String?
    }

    /// The worker's position, 0 ..< count.
    let index: Int
    /// The queue for TCP, which takes segment batches.
    let tcpQueue: UInt16
    /// The queue for UDP and for TCP segments that were queued again.
    let segmentQueue: UInt16

    private let configuration: Configuration
    private let snapshots: SnapshotBox
    private let ring: RecordRing
    private let bindings: NameBindings
    /// What becomes of sessions.
    let mailbox = SessionMailbox()
    private let turns = Atomic<UInt64>(0)
    private let isStopping = Atomic<Bool>(false)
    private let isAsked = Atomic<Bool>(false)
    private let shared = Mutex(Report())
    private let requests = Mutex<[ViewRequest]>([])
    /// What an earlier run allowed, for this thread to take over; and what this one leaves.
    private let standing = Mutex<Takeover>(Takeover())
    /// Flows without a verdict that no thread knows, for this one to judge.
    private let strays = Mutex<[StandingConnection]>([])
    private let hasStrays = Atomic<Bool>(false)
    private let started = Mutex<NetlinkError??>(nil)

    init(
        index: Int, configuration: Configuration, snapshots: SnapshotBox, ring: RecordRing, bindings: NameBindings
    ) {
        self.index = index
        self.configuration = configuration
        self.snapshots = snapshots
        self.ring = ring
        self.bindings = bindings
        tcpQueue = configuration.queues.base + UInt16(index)
        segmentQueue = configuration.queues.base + UInt16(configuration.queues.count + index)
    }

    /// How often the thread has come round; a thread that stands still is not attending its queues.
    var turnCount: UInt64 { turns.load(ordering: .relaxed) }

    /// The thread's counters, at most a quarter of a second old.
    var report: Report { shared.withLock { $0 } }

    /// Asks the thread to end after its batch.
    func stop() {
        isStopping.store(true, ordering: .relaxed)
    }

    /// Whether the thread's sockets are open: nil until it has tried, an error where it could not.
    var startOutcome: NetlinkError?? { started.withLock { $0 } }

    /// Asks the thread what it has and did; the answer is there within its next turn.
    func ask(_ request: ViewRequest) {
        requests.withLock { $0.append(request) }
        isAsked.store(true, ordering: .releasing)
        mailbox.wake()
    }

    /// Takes a request back that the thread has not come to.
    func withdraw(_ request: ViewRequest) { requests.withLock { $0.removeAll { $0 === request } } }

    /// Gives the thread what an earlier run allowed. Before `run`.
    func takeOver(_ takeover: Takeover) { standing.withLock { $0 = takeover } }

    /// Gives the thread flows that no thread knows.
    func judge(_ strays: [StandingConnection]) {
        self.strays.withLock { $0 += strays }
        hasStrays.store(true, ordering: .releasing)
        mailbox.wake()
    }

    /// What the thread's run has allowed and the kernel goes on to pass, once it has ended.
    var left: [StandingFlow] { standing.withLock { $0.left } }

    /// The thread's body.
    func run() {
        do throws(NetlinkError) {
            var sockets = try openSockets()
            started.withLock { $0 = .some(nil) }
            try attend(&sockets.queues, &sockets.effects, &sockets.engine)
        } catch {
            started.withLock { if $0 == nil { $0 = .some(error) } }
            shared.withLock { $0.failure = "\(error)" }
        }
    }

    private struct Sockets: ~Copyable {
        var queues: QueueSocket
        var effects: NetlinkEffects
        var engine: EnforcementEngine<SocketDiagnosis>
    }

    private func openSockets() throws(NetlinkError) -> Sockets {
        let length = configuration.queues.length
        let queues = try QueueSocket.open([
            QueueParameters(number: tcpQueue, takesSegmentBatches: true, maximumLength: length),
            QueueParameters(number: segmentQueue, takesSegmentBatches: false, maximumLength: length),
        ])
        var random = SystemRandomNumberGenerator()
        let mark = configuration.mark
        let snapshot = snapshots.snapshot
        let cgroups = try CgroupHierarchy.find()
        mailbox.wake(by: try queues.makeWaker())
        let effects = NetlinkEffects(
            verdicts: queues.makeVerdictBatch(), conntrack: try ConntrackSocket.open(),
            sockets: try SocketDiagnosis.open(cgroups: cgroups), injector: try PacketInjector.open(mark: mark.inject),
            ring: ring,
            seed: random.next(), mark: mark,
            policyRevision: snapshot.policy.revision)
        var limits = EnforcementLimits()
        limits.flowCount = max(configuration.limits.flows / configuration.queues.count, 1024)
        // An agent may have a quarter of the flows read at once: half of these are left to others.
        limits.inspectionCount = min(limits.flowCount / 2, 65_536)
        limits.heldCountPerAgent = Int(configuration.queues.length) / 8
        limits.helloByteCount = configuration.limits.helloBytes
        limits.heldNanoseconds = UInt64(configuration.limits.heldMilliseconds) * 1_000_000
        let engine = EnforcementEngine(
            snapshot: snapshot, limits: limits, resolver: try SocketDiagnosis.open(cgroups: cgroups),
            bindings: bindings, hashKey: (random.next(), random.next()))
        return Sockets(queues: queues, effects: effects, engine: engine)
    }

    private func attend(
        _ queues: inout QueueSocket, _ effects: inout NetlinkEffects, _ engine: inout EnforcementEngine<SocketDiagnosis>
    ) throws(NetlinkError) {
        var generation: UInt64 = 0
        var postCount: UInt64 = 0
        var nextReport: UInt64 = 0
        var backlog = BacklogWatch()
        takeOver(&effects, &engine, &postCount)
        while !isStopping.load(ordering: .relaxed) {
            turns.add(1, ordering: .relaxed)
            let patience: Int32 = engine.isReconsidering ? 0 : engine.hasDeadlines ? 50 : 250
            let count = try queues.receive(timeoutMilliseconds: patience)
            let clock = Clock.read()
            if let snapshot = snapshots.newer(than: &generation) {
                engine.adopt(snapshot)
                effects.policyRevision = snapshot.policy.revision
            }
            for change in mailbox.take(after: &postCount) { engine.apply(change, clock: clock, effects: &effects) }
            if backlog.note(isFull: queues.wasFull, now: clock.monotonic) {
                PlainThread.setNiceness(backlog.isBehind ? PlainThread.urgent : PlainThread.ordinary)
            }
            for position in 0..<count {
                let packet = queues.packet(at: position)
                engine.handle(
                    PacketFacts(packet.facts, segmentQueue: segmentQueue), packet.payload, clock: clock,
                    effects: &effects)
            }
            engine.expire(clock: clock, effects: &effects)
            _ = engine.reconsider(atMost: Self.reconsideredCount, clock: clock, effects: &effects)
            if hasStrays.exchange(false, ordering: .acquiring) {
                let found = strays.withLock { strays in
                    defer { strays = [] }
                    return strays
                }
                for connection in found { engine.judgeStray(connection, clock: clock, effects: &effects) }
            }
            effects.flush()
            if clock.monotonic >= nextReport {
                nextReport = clock.monotonic + 250_000_000
                publish(queues, effects, engine)
            }
            if isAsked.exchange(false, ordering: .acquiring) {
                let asked = requests.withLock { requests in
                    defer { requests = [] }
                    return requests
                }
                for request in asked { request.answer(engine.view(of: request.selection)) }
            }
        }
        publish(queues, effects, engine)
        var left: [StandingFlow] = []
        engine.forEachAllowed(clock: Clock.read()) { flow, input in
            if left.count < StandingFlows.limit { left.append(StandingFlow(flow: flow, allowed: input)) }
        }
        standing.withLock { $0.left = left }
    }

    private func takeOver(
        _ effects: inout NetlinkEffects, _ engine: inout EnforcementEngine<SocketDiagnosis>, _ postCount: inout UInt64
    ) {
        let clock = Clock.read()
        // The sessions come first: flows belong to them.
        for change in mailbox.take(after: &postCount) { engine.apply(change, clock: clock, effects: &effects) }
        let takeover = standing.withLock { $0 }
        for connection in takeover.connections {
            engine.takeOver(connection, isSamePolicy: takeover.isSamePolicy, clock: clock, effects: &effects)
        }
        effects.flush()
    }

    /// How many flows are decided anew between two batches of packets, after a reload.
    private static let reconsideredCount = 256

    private func publish(
        _ queues: borrowing QueueSocket, _ effects: borrowing NetlinkEffects,
        _ engine: borrowing EnforcementEngine<SocketDiagnosis>
    ) {
        let (queue, verdicts, decided) = (queues.counters, effects.counters, engine.counters)
        let (live, evicted, uncut) = (engine.flowCount, engine.evictionCount, effects.uncutCount)
        _ = shared.withLockIfAvailable { report in
            report.queue = queue
            report.verdicts = verdicts
            report.engine = decided
            report.liveFlows = live
            report.evictedFlows = evicted
            report.uncutFlows = uncut
        }
    }
}

extension PacketFacts {
    /// What the kernel says of a packet, in the engine's terms. A hook that no rule of ours queues from cannot be judged as
    /// an agent's own: it counts as forwarded, where nobody is known for it.
    init(_ facts: QueuedPacketFacts, segmentQueue: UInt16) {
        self.init(
            reference: PacketReference(queue: facts.queue, id: facts.id, mark: facts.mark),
            hook: PacketHook(rawValue: facts.hook) ?? .forward, inputInterface: facts.inputInterface,
            outputInterface: facts.outputInterface, uid: facts.uid,
            checksumNotReady: facts.checksumNotReady, isSegmentBatch: facts.isGSO, isTruncated: facts.isTruncated,
            segmentQueue: segmentQueue)
    }
}
