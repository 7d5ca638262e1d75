import DecisionLog
import Glibc
import Identity
import JOSE
import PacketHeaders
import Policy
import Testing

@testable import Control

/// A daemon that answers from constants.
final class FakeDaemon: ControlDelegate {
    let isHealthy: Bool
    let confinedPeers: ConfinedPeers
    let decisions = DecisionFeed()
    let sessions: any SessionDelegate = FakeSessions()

    init(isHealthy: Bool = true, confinedPeers: ConfinedPeers = ConfinedPeers(cgroups: ["/sallyport.slice"], uids: []))
    {
        self.isHealthy = isHealthy
        self.confinedPeers = confinedPeers
    }

    func status() async -> StatusReport {
        var report = StatusReport(
            version: "1.0", pid: 42, startedAt: "2026-01-01T00:00:00.000000Z", uptimeSeconds: 7, isEnforcing: true)
        report.flows.refusedByReason = ["name_not_at_ip": 3]
        report.queues = [QueueReport(number: 8800)]
        report.policy.revision = "0123456789ab"
        return report
    }

    func agents() async -> AgentsReport {
        AgentsReport(agents: [AgentReport(id: "bot", labels: ["cost_center": "4"], selectors: ["uid 1001"])])
    }

    func flows(_ query: FlowQuery) async -> FlowsReport {
        var flow = FlowReport(
            state: "allowed", transport: "tcp", source: "198.18.0.2", sourcePort: 40_000, address: "198.18.0.1",
            port: 443, ageSeconds: 1)
        flow.agent = query.agent
        flow.customer = query.customer
        return FlowsReport(total: UInt64(query.limit), flows: [flow])
    }

    func names(_ query: NameQuery) async -> NamesReport {
        NamesReport(
            isWatching: true, total: UInt64(query.limit),
            names: [NameReport(agent: query.agent, name: query.match ?? "", address: "", remainingSeconds: nil)])
    }
}

/// Sessions that say what they were asked.
struct FakeSessions: SessionDelegate {
    private func report(_ words: String..., caller: ControlCaller, binding: BindingRequest? = nil) -> SessionReport {
        var bound = BindingReport()
        bound.cgroup = binding.map { "\($0)" }
        return SessionReport(
            id: words.joined(separator: " "), agent: caller == .operator ? "operator" : "confined", customer: "acme",
            issuer: "i", opened: "", expires: "", bindings: binding == nil ? [] : [bound])
    }

    func list(_ caller: ControlCaller) async throws(ProblemDocument) -> SessionsReport {
        SessionsReport(sessions: [report("list", caller: caller)])
    }

    func find(_ id: String, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport {
        guard id != "none" else { throw ProblemDocument(status: 404, title: "No such session", detail: "none") }
        return report("find", id, caller: caller)
    }

    func open(_ request: OpenSessionRequest, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport {
        report(
            "open", request.agent ?? "-", request.customerToken, request.agentToken ?? "-", caller: caller,
            binding: request.binding)
    }

    func bind(_ cookie: UInt64, to id: String, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport {
        report("bind", String(cookie), id, caller: caller)
    }

    func renew(_ id: String, token: String, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport {
        report("renew", id, token, caller: caller)
    }

    func close(_ id: String, _ caller: ControlCaller) async throws(ProblemDocument) {
        guard id != "none" else { throw ProblemDocument(status: 404, title: "No such session", detail: "none") }
    }

    func decide(_ request: DecideRequest, _ caller: ControlCaller) async throws(ProblemDocument) -> DecideReport {
        DecideReport(
            allow: true, reason: "allowed", policyReason: request.url, rule: request.data?.description, decisionId: "id"
        )
    }
}

/// A directory that is removed at the end, with the sockets in it.
final class TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/sallyport-control-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(String(cString: strerror(errno)))") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in ["socket", "other"] { unlink(path + "/" + name) }
        rmdir(path)
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Runs `body`, which may block, on a thread of its own: the server under test needs the threads of Swift concurrency.
func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        let start = Unmanaged.passRetained(ThreadStart { continuation.resume(with: Result(catching: body)) })
        var identifier = pthread_t()
        pthread_create(
            &identifier, nil,
            { pointer in
                if let pointer { Unmanaged<ThreadStart>.fromOpaque(pointer).takeRetainedValue().body() }
                return nil
            }, start.toOpaque())
        pthread_detach(identifier)
    }
}

private final class ThreadStart {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}

/// Offers a daemon's socket as long as `body` runs.
func withServer(
    _ daemon: FakeDaemon = FakeDaemon(), limits: ControlServer.Limits = .patient,
    _ body: (ControlClient, FakeDaemon, String) async throws -> Void
) async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/socket"
    let server = try await ControlServer.start(path: path, delegate: daemon, limits: limits)
    do {
        try await body(ControlClient(path: path), daemon, path)
    } catch {
        await server.stop()
        throw error
    }
    await server.stop()
    #expect(access(path, F_OK) != 0)
}

extension ControlServer.Limits {
    /// No test fails for want of processor time.
    static var patient: Self {
        var limits = Self()
        limits.timeout = .seconds(600)
        return limits
    }
}

/// Sends `request` and reads until the other side closes.
func exchange(_ path: String, _ request: String) async throws -> String {
    try await blocking { try exchangeNow(path, request) }
}

private func exchangeNow(_ path: String, _ request: String) throws -> String {
    let descriptor = try connect(path)
    defer { close(descriptor) }
    let bytes = Array(request.utf8)
    guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { throw TestFailure("send") }
    var answer: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count > 0 { answer += chunk[..<count] }
        if count < 0, errno == EAGAIN { throw TestFailure("the connection stays open") }
        if count <= 0 { return String(decoding: answer, as: UTF8.self) }
    }
}

func connect(_ path: String) throws -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard var address = SocketAddress(path), address.with({ connect(descriptor, $0, $1) }) == 0 else {
        throw TestFailure("connect: \(String(cString: strerror(errno)))")
    }
    // What never comes is a failure, not a test that never ends.
    var patience = timeval(tv_sec: 300, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    return descriptor
}

/// Runs a shell command.
func shell(_ command: String) throws -> (status: Int32, output: String) {
    guard let stream = popen(command + " 2>&1", "re") else { throw TestFailure("popen") }
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = fread(&chunk, 1, chunk.count, stream)
        guard count > 0 else { break }
        output += chunk[..<count]
    }
    return (pclose(stream) >> 8, String(decoding: output, as: UTF8.self))
}

func decision(_ number: UInt64, allow: Bool, agent: String) -> DecisionRecord {
    let address = IPAddress(v4: 0xC612_0001)
    let input = PolicyInput(
        time: 1_800_000_000_000_000_000, stage: .hello, agent: Agent(id: agent, labels: [:], selectors: []),
        address: address, port: 443, transport: .tcp)
    return DecisionRecord(
        id: DecisionID(nanoseconds: input.time, random: number), input: input,
        decision: PolicyDecision(allow: allow, reason: allow ? .allowed : .policy),
        flow: FiveTuple(
            source: IPAddress(v4: 0xC612_0002), sourcePort: 40_000, destination: address, destinationPort: 443,
            transport: .tcp), policyRevision: "0123456789ab", latencyMicroseconds: 1)
}
