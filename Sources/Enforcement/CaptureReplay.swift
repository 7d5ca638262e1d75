public import Flow
import FlowInspection
import Identity
import Octets
public import PacketHeaders
public import Policy

/// Drives the engine with the packets of a capture file: every flow in it is taken as one that one agent opened.
///
/// A flow belongs to the sender of its first packet, or of its SYN. The engine sees what a host sees that forwards an agent's
/// packets: both directions of a flow until it has a verdict, which the kernel keeps. Fragments are put together as the kernel
/// does; what its rules drop is not known. Names are bound to addresses by the answers in the file; where it shows none at all,
/// they are not compared.
public struct CaptureReplay: ~Copyable {
    /// Why the file could not be read to its end; the decisions up to there were given all the same.
    public private(set) var fileError: String?
    /// Whether names were compared with addresses: answers are to be watched, and the file shows one.
    public private(set) var comparesNames = false

    private let agent: Agent
    private let policy: any PolicyEngine
    private let resolvers: [IPAddress]?
    private let customer: Customer?
    private let names: NameWatch
    private let bindingLimits: NameBindings.Limits

    /// A replay for `agent`.
    /// - Parameters:
    ///   - resolvers: the DNS resolvers of the configuration; nil for every address that is asked at port 53.
    ///   - customer: for whom the agent acts on every flow; nil for nobody.
    ///   - names: whether answers are watched, where the file shows any, and the names of the configuration.
    ///   - bindingLimits: how long names lead to addresses.
    public init(
        agent: String, labels: [String: String], policy: any PolicyEngine, resolvers: [IPAddress]?,
        customer: Customer? = nil, names: NameWatch = NameWatch(isOn: true),
        bindingLimits: NameBindings.Limits = NameBindings.Limits()
    ) {
        self.customer = customer
        self.names = names
        self.bindingLimits = bindingLimits
        self.agent = Agent(id: agent, labels: labels, selectors: [.interface(name: Self.interface)])
        self.policy = policy
        self.resolvers = resolvers
    }

    /// Reads a whole file and gives `body` each decision. `progress` is told now and then at which byte the reading is.
    public mutating func read(
        _ file: RawSpan, progress: (Int) -> Void = { _ in }, _ body: (Outcome) -> Void
    ) {
        guard let agents = try? AgentTable([agent]).withInterfaces([Self.interface: Self.agentInterface]) else {
            return
        }
        let (servers, answering) = Self.servers(of: file)
        let resolvers = Set(resolvers ?? Array(servers))
        var names = names
        names.isOn = names.isOn && !resolvers.isDisjoint(with: answering)
        comparesNames = names.isOn
        let snapshot = EnforcementSnapshot(
            agents: agents, policy: policy, resolvers: Array(resolvers), listen: [], deny: .drop, names: names)
        var engine = EnforcementEngine(
            snapshot: snapshot, limits: EnforcementLimits(), resolver: NoSockets(),
            bindings: NameBindings(limits: bindingLimits), hashKey: (0, 0))
        var kernel = CapturedKernel(agent: agent.id, resolvers: resolvers)
        if let customer { kernel.open(customer, &engine) }
        var last: UInt64 = 0
        do throws(WireError) {
            try CapturedPackets.read(file, progress: progress) { bytes, facts in
                // Captures of several interfaces are not quite in order.
                last = max(last, facts.time)
                guard !facts.isCut else { return }
                kernel.take(bytes, ClockReading(monotonic: last, wall: last), &engine, body)
            }
        } catch {
            fileError = error.text
        }
        let end = last &+ EnforcementLimits().heldNanoseconds &+ 1
        kernel.expire(ClockReading(monotonic: end, wall: last), &engine, body)
    }

    /// The addresses that are asked at port 53 in a capture, and those that answer.
    private static func servers(of file: RawSpan) -> (asked: Set<IPAddress>, answering: Set<IPAddress>) {
        var (asked, answering): (Set<IPAddress>, Set<IPAddress>) = ([], [])
        // A file that ends early is told of by the reading that follows.
        try? CapturedPackets.read(file) { bytes, _ in
            guard let packet = try? Packet(parsing: bytes) else { return }
            if packet.flow.destinationPort == 53 { asked.insert(packet.flow.destination) }
            if packet.flow.sourcePort == 53, !packet.payload.isEmpty { answering.insert(packet.flow.source) }
        }
        return (asked, answering)
    }

    private static let interface = "agent"
    fileprivate static let agentInterface: UInt32 = 2
}

/// What the kernel does around the engine: it puts fragments together, knows whose flow a packet is of, and keeps verdicts.
private struct CapturedKernel {
    private var fragments = FragmentAssembler()
    private var openers: Set<FiveTuple> = []
    private var effects = ReplayEffects()
    private var packetCount: UInt32 = 0
    private let agent: String
    private let resolvers: Set<IPAddress>
    /// The session of every flow; nil where there is no customer.
    private var session: SessionNumber?
    private var bound: Set<IPAddress> = []

    init(agent: String, resolvers: Set<IPAddress>) {
        self.agent = agent
        self.resolvers = resolvers
    }

    /// Opens a session for a customer, to which every flow belongs from now on.
    mutating func open(_ customer: Customer, _ engine: inout EnforcementEngine<NoSockets>) {
        let number = SessionNumber(rawValue: 1)
        session = number
        engine.apply(.opened(number, customer), clock: ClockReading(monotonic: 0, wall: 0), effects: &effects)
    }

    mutating func take(
        _ bytes: RawSpan, _ clock: ClockReading, _ engine: inout EnforcementEngine<NoSockets>,
        _ body: (Outcome) -> Void
    ) {
        guard let packet = try? Packet(parsing: bytes) else { return }
        if packet.isFragment {
            if let whole = fragments.add(packet, bytes) { take(whole.span.bytes, clock, &engine, body) }
            return
        }
        expire(clock, &engine, body)
        let isFromAgent = isFromAgent(packet)
        let flow = isFromAgent ? packet.flow : packet.flow.reversed
        // A datagram towards the agent says nothing but where a resolver answers.
        guard !effects.decided.contains(flow), isFromAgent || packet.tcp != nil || isOfResolver(packet.flow) else {
            return
        }
        if let session, bound.insert(flow.source).inserted {
            engine.apply(
                .bound(session, SessionScope(agent: agent), .source(flow.source)), clock: clock, effects: &effects)
        }
        packetCount &+= 1
        effects.waiting[packetCount] = flow
        let facts = PacketFacts(
            reference: PacketReference(queue: 0, id: packetCount), hook: .forward,
            inputInterface: isFromAgent ? CaptureReplay.agentInterface : Self.otherInterface,
            outputInterface: isFromAgent ? Self.otherInterface : CaptureReplay.agentInterface, uid: nil,
            checksumNotReady: false, isSegmentBatch: false, isTruncated: false, segmentQueue: 0)
        engine.handle(facts, bytes, clock: clock, effects: &effects)
        tell(body)
    }

    /// Lets time run out for what waits.
    mutating func expire(
        _ clock: ClockReading, _ engine: inout EnforcementEngine<NoSockets>, _ body: (Outcome) -> Void
    ) {
        engine.expire(clock: clock, effects: &effects)
        tell(body)
    }

    private mutating func tell(_ body: (Outcome) -> Void) {
        for outcome in effects.outcomes { body(outcome) }
        effects.outcomes.removeAll(keepingCapacity: true)
    }

    private mutating func isFromAgent(_ packet: Packet) -> Bool {
        let flow = packet.flow
        if let tcp = packet.tcp, tcp.flags.contains(.syn), !tcp.flags.contains(.ack) {
            // A verdict belongs to one connection.
            openers.remove(flow.reversed)
            openers.insert(flow)
            effects.decided.remove(flow)
            return true
        }
        if openers.contains(flow.reversed) || packet.tcp == nil && isOfResolver(flow) { return false }
        openers.insert(flow)
        return true
    }

    private func isOfResolver(_ flow: FiveTuple) -> Bool {
        flow.sourcePort == 53 && resolvers.contains(flow.source)
    }

    private static let otherInterface: UInt32 = 3
}

/// Forwarded flows have no socket.
private struct NoSockets: SocketOwnerResolving {
    func owner(of flow: FiveTuple, uid: UInt32?) -> SocketOwner? { nil }
    func listener(at address: IPAddress, port: UInt16, transport: TransportProtocol) -> SocketOwner? { nil }
    func path(of cgroup: CgroupID) -> String? { nil }
    func tracked(_ flow: FiveTuple) -> TrackedFlow? { nil }
    func bytesAcknowledged(on flow: FiveTuple) -> UInt64? { nil }
}

/// Keeps decisions and what the kernel's marks would say.
private struct ReplayEffects: EnforcementEffects {
    var outcomes: [Outcome] = []
    /// The flows of packets that have no verdict yet.
    var waiting: [UInt32: FiveTuple] = [:]
    /// Flows that the kernel passes or refuses by itself.
    var decided: Set<FiveTuple> = []

    mutating func accept(_ packet: PacketReference, mark: VerdictMark) {
        guard let flow = waiting.removeValue(forKey: packet.id) else { return }
        switch mark {
        case .allowed, .refused: decided.insert(flow)
        case .undecided, .refusedAlone: break
        }
    }

    mutating func accept(_ packet: PacketReference, mark: VerdictMark, bytes: RawSpan) {
        accept(packet, mark: mark)
    }

    mutating func drop(_ packet: PacketReference) { waiting[packet.id] = nil }
    mutating func requeue(_ packet: PacketReference, to queue: UInt16) { waiting[packet.id] = nil }
    func inject(_ bytes: RawSpan) {}
    mutating func cut(_ flow: FiveTuple, isForwarded: Bool) { decided.insert(flow) }
    mutating func makeDecisionID(nanoseconds _: UInt64) -> String { "" }
    mutating func report(_ outcome: Outcome) { outcomes.append(outcome) }
    func monotonicNow() -> UInt64 { 0 }
}
