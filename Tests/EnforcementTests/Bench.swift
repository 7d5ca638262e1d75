import Flow
import Identity
import Octets
import PacketHeaders
import Policy

@testable import Enforcement

/// A verdict that the engine gave, as a value to compare.
enum Verdict: Equatable {
    case accept(VerdictMark)
    case acceptCopy(VerdictMark, [UInt8])
    case drop
    case requeue(UInt16)
}

/// Collects what the engine wants done.
struct RecordingEffects: EnforcementEffects {
    var verdicts: [(PacketReference, Verdict)] = []
    var injected: [[UInt8]] = []
    var outcomes: [Outcome] = []
    var cuts: [FiveTuple] = []
    var now: UInt64 = 0

    mutating func accept(_ packet: PacketReference, mark: VerdictMark) {
        verdicts.append((packet, .accept(mark)))
    }

    mutating func accept(_ packet: PacketReference, mark: VerdictMark, bytes: RawSpan) {
        verdicts.append((packet, .acceptCopy(mark, array(bytes))))
    }

    mutating func drop(_ packet: PacketReference) {
        verdicts.append((packet, .drop))
    }

    mutating func requeue(_ packet: PacketReference, to queue: UInt16) {
        verdicts.append((packet, .requeue(queue)))
    }

    mutating func inject(_ bytes: RawSpan) {
        injected.append(array(bytes))
    }

    mutating func cut(_ flow: FiveTuple, isForwarded: Bool) {
        cuts.append(flow)
    }

    mutating func makeDecisionID(nanoseconds: UInt64) -> String { "id-\(outcomes.count)" }

    mutating func report(_ outcome: Outcome) {
        outcomes.append(outcome)
    }

    mutating func monotonicNow() -> UInt64 { now }
}

func array(_ bytes: RawSpan) -> [UInt8] {
    (0..<bytes.byteCount).map { bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
}

/// The kernel's view of sockets, as the test says it is.
struct TableResolver: SocketOwnerResolving {
    var owners: [FiveTuple: SocketOwner] = [:]
    var paths: [CgroupID: String] = [:]
    var listening: [UInt16: SocketOwner] = [:]
    var tracked: [FiveTuple: TrackedFlow] = [:]
    var acknowledged: AcknowledgedBytes

    mutating func owner(of flow: FiveTuple, uid _: UInt32?) -> SocketOwner? {
        owners[flow] ?? owners[flow.withoutPorts]
    }

    mutating func listener(at _: IPAddress, port: UInt16, transport _: TransportProtocol) -> SocketOwner? {
        listening[port]
    }

    mutating func path(of cgroup: CgroupID) -> String? { paths[cgroup] }

    mutating func bytesAcknowledged(on flow: FiveTuple) -> UInt64? { acknowledged.count }

    mutating func tracked(_ flow: FiveTuple) -> TrackedFlow? { tracked[flow] }
}

/// How many payload bytes the server has acknowledged; shared with the test, which moves it on.
final class AcknowledgedBytes {
    var count: UInt64?

    init(_ count: UInt64?) {
        self.count = count
    }
}

extension FiveTuple {
    /// The key under which a test gives every flow between two addresses the same owner.
    var withoutPorts: FiveTuple {
        FiveTuple(source: source, sourcePort: 0, destination: destination, destinationPort: 0, transport: transport)
    }
}

/// A policy written in Swift, so that these tests are of the engine alone.
final class ClosurePolicy: PolicyEngine {
    let revision: String
    private let body: @Sendable (PolicyInput) -> PolicyDecision

    init(revision: String = "000000000000", _ body: @escaping @Sendable (PolicyInput) -> PolicyDecision) {
        self.revision = revision
        self.body = body
    }

    func makeSession() -> any PolicySession { Session(body) }

    private final class Session: PolicySession {
        private let body: @Sendable (PolicyInput) -> PolicyDecision

        init(_ body: @escaping @Sendable (PolicyInput) -> PolicyDecision) {
            self.body = body
        }

        func decide(_ input: PolicyInput) -> PolicyDecision { body(input) }
    }
}

/// One engine with one agent `bot` (cgroup 7) at 198.18.0.2, a guest `box` behind 198.18.5.0/24, a guest `tap` behind
/// interface 9, and a policy that allows `good.example` to begin and to be named.
struct Bench: ~Copyable {
    static let client = IPAddress(v4: 0xC612_0002)
    static let server = IPAddress(v4: 0xC612_0001)
    static let guest = IPAddress(v4: 0xC612_0505)
    static let bot = Agent(id: "bot", labels: [:], selectors: [])
    static let tap = Agent(id: "tap", labels: [:], selectors: [.interface(name: "tap0")])
    static let box = Agent(
        id: "box", labels: [:], selectors: IPPrefix("198.18.5.0/24").map { [.source($0)] } ?? [])

    var engine: EnforcementEngine<TableResolver>
    var effects = RecordingEffects()
    var clock = ClockReading(monotonic: 1_000_000_000, wall: 1_800_000_000_000_000_000)
    let acknowledged: AcknowledgedBytes
    private var nextID: UInt32 = 1

    init(
        limits: EnforcementLimits = EnforcementLimits(), listen: [ListenRule] = [], deny: DenyMode = .reset,
        names: NameWatch = NameWatch(), agents: [Agent] = [bot, box, tap],
        policy: @escaping @Sendable (PolicyInput) -> PolicyDecision = Bench.allowsGoodExample
    ) throws {
        acknowledged = AcknowledgedBytes(0)
        var resolver = TableResolver(acknowledged: acknowledged)
        let cgroup = CgroupID(rawValue: 7)
        resolver.paths[cgroup] = "/sallyport.slice/sallyport-bot.slice"
        for transport in [TransportProtocol.tcp, .udp] {
            let key = FiveTuple(
                source: Self.client, sourcePort: 0, destination: Self.server, destinationPort: 0, transport: transport)
            resolver.owners[key] = SocketOwner(
                cgroup: cgroup, cookie: SocketCookie(rawValue: 1), uid: 1001, inode: 1)
        }
        let snapshot = EnforcementSnapshot(
            agents: try AgentTable(agents).withInterfaces(["tap0": 9]),
            policy: ClosurePolicy(policy), resolvers: [Self.server],
            listen: listen, deny: deny, names: names)
        var limits = limits
        limits.flowCount = min(limits.flowCount, 1024)
        limits.inspectionCount = min(limits.inspectionCount, 64)
        engine = EnforcementEngine(snapshot: snapshot, limits: limits, resolver: resolver, hashKey: (1, 2))
    }

    static let allowsGoodExample: @Sendable (PolicyInput) -> PolicyDecision = { input in
        let allow = input.stage == .connect || input.host == "good.example"
        return PolicyDecision(allow: allow, reason: allow ? .allowed : .policy, rule: "test")
    }

    /// Puts another policy in force, or other agents.
    mutating func adopt(
        _ agents: [Agent] = [bot, box, tap], revision: String = "111111111111",
        policy: @escaping @Sendable (PolicyInput) -> PolicyDecision = Bench.allowsGoodExample
    ) throws {
        engine.adopt(
            EnforcementSnapshot(
                agents: try AgentTable(agents).withInterfaces(["tap0": 9]),
                policy: ClosurePolicy(revision: revision, policy), resolvers: [Self.server], listen: [], deny: .reset))
    }

    /// Gives the engine one packet and returns its verdict, nil while it is held.
    mutating func send(
        _ bytes: [UInt8], hook: PacketHook = .output, queue: UInt16 = 100, inputInterface: UInt32 = 3,
        outputInterface: UInt32 = 4, isBatch: Bool = false, isTruncated: Bool = false
    ) -> Verdict? {
        let reference = PacketReference(queue: queue, id: nextID)
        nextID += 1
        let facts = PacketFacts(
            reference: reference, hook: hook, inputInterface: hook == .output ? 0 : inputInterface,
            outputInterface: outputInterface, uid: nil, checksumNotReady: false, isSegmentBatch: isBatch,
            isTruncated: isTruncated, segmentQueue: 200)
        engine.handle(facts, bytes.span.bytes, clock: clock, effects: &effects)
        return effects.verdicts.last { $0.0 == reference }?.1
    }

    /// The verdicts of every packet in the order in which they were given.
    var verdicts: [Verdict] { effects.verdicts.map(\.1) }
}

/// The client's side of a TCP connection, as packets.
struct Client {
    var flow = FiveTuple(
        source: Bench.client, sourcePort: 40_000, destination: Bench.server, destinationPort: 443, transport: .tcp)
    var sequence = SequenceNumber(rawValue: 0xFFFF_FF00)
    var acknowledgment = SequenceNumber(rawValue: 5000)
    /// The last segment that `say` made.
    private(set) var last: [UInt8] = []

    /// The SYN; the next segment follows it.
    mutating func synchronize(payload: [UInt8] = []) -> [UInt8] {
        let bytes = segment(payload, flags: .syn)
        sequence = sequence.advanced(by: 1)
        return bytes
    }

    /// A segment with `payload`; the next one follows it.
    mutating func say(_ payload: [UInt8], flags: TCPFlags = [.ack, .psh]) -> [UInt8] {
        let bytes = segment(payload, flags: flags)
        sequence = sequence.advanced(by: payload.count)
        last = bytes
        return bytes
    }

    /// A segment at `offset` bytes from where the next one would stand.
    func segment(_ payload: [UInt8], flags: TCPFlags = [.ack, .psh], at offset: Int = 0) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 70_000)
        var span = buffer.mutableSpan
        var raw = span.mutableBytes
        let count =
            try? PacketBuilder.writeSegment(
                flow: flow, sequence: sequence.advanced(by: offset), acknowledgment: acknowledgment, flags: flags,
                window: 512, payload: payload.span.bytes, into: &raw)
        return Array(buffer[..<(count ?? 0)])
    }
}
