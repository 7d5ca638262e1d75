import Control
import DecisionLog

/// A daemon that answers from constants.
final class FakeDaemon: ControlDelegate {
    let isHealthy: Bool
    let confinedPeers = ConfinedPeers(cgroups: ["/sallyport.slice"], uids: [])
    let decisions = DecisionFeed()
    let sessions: any SessionDelegate = FakeSessions()

    init(isHealthy: Bool = true) {
        self.isHealthy = isHealthy
    }

    func status() async -> StatusReport {
        var report = StatusReport(
            version: "0.1.0", pid: 42, startedAt: "2027-01-15T08:00:00.000000Z", uptimeSeconds: 7,
            isEnforcing: isHealthy)
        if !isHealthy { report.problems = ["rules: not in place: gone (sallyport rules apply)"] }
        report.policy.revision = "0123456789ab"
        report.policy.directory = "/etc/sallyport/policies"
        report.rules.isInPlace = isHealthy
        report.rules.backend = "nft_queue"
        report.flows.live = 12
        report.flows.limit = 131_072
        report.flows.refused = 3
        report.flows.refusedByReason = ["no_name": 1, "policy": 2]
        report.queues = [QueueReport(number: 8800), QueueReport(number: 8801)]
        return report
    }

    func agents() async -> AgentsReport {
        AgentsReport(agents: [AgentReport(id: "bot", labels: ["team": "growth"], selectors: ["uid 1001"])])
    }

    func flows(_ query: FlowQuery) async -> FlowsReport {
        var flow = FlowReport(
            state: "allowed", transport: "tcp", source: "198.18.0.2", sourcePort: 40_000, address: "fd00::1",
            port: 443, ageSeconds: 1)
        flow.agent = query.agent ?? "bot"
        flow.customer = query.customer
        flow.host = "api.example.com"
        return FlowsReport(total: 5, flows: [flow])
    }

    func names(_ query: NameQuery) async -> NamesReport {
        guard query.match != "off" else { return NamesReport(isWatching: false, total: 0, names: []) }
        return NamesReport(
            isWatching: true, total: 3,
            names: [
                NameReport(agent: nil, name: "db.example.com", address: "198.18.0.9", remainingSeconds: nil),
                NameReport(
                    agent: query.agent ?? "bot", name: query.match ?? "api.example.com", address: "fd00::1",
                    remainingSeconds: 61),
            ])
    }
}

/// Runs `body` beside a control socket that `daemon` answers.
func withDaemon(_ daemon: FakeDaemon = FakeDaemon(), _ body: (String) async throws -> Void) async throws {
    let directory = try temporaryDirectory()
    defer { _ = try? shell("rm -rf \(directory)") }
    let path = directory + "/socket"
    var limits = ControlServer.Limits()
    // No test fails for want of processor time.
    limits.timeout = .seconds(600)
    let server = try await ControlServer.start(path: path, delegate: daemon, limits: limits)
    do {
        try await body(path)
    } catch {
        await server.stop()
        throw error
    }
    await server.stop()
}

/// Sessions that are one.
struct FakeSessions: SessionDelegate {
    private func report(_ id: String, token: String = "") -> SessionReport {
        var socket = BindingReport()
        socket.socket = "18446744073709551615"
        return SessionReport(
            id: id, agent: "bot", customer: token.isEmpty ? "acme" : token, issuer: "https://chat.test",
            opened: "2027-01-15T08:00:00.000000Z", expires: "2027-01-15T09:00:00.000000Z",
            bindings: [socket, socket, socket, socket])
    }

    func list(_: ControlCaller) async throws(ProblemDocument) -> SessionsReport {
        SessionsReport(sessions: [report("0123456789abcdef0123456789abcdef")])
    }

    func find(_ id: String, _: ControlCaller) async throws(ProblemDocument) -> SessionReport { report(id) }

    func open(_ request: OpenSessionRequest, _: ControlCaller) async throws(ProblemDocument) -> SessionReport {
        guard request.customerToken != "bad" else {
            throw ProblemDocument(
                status: 403, title: "Token refused", detail: "customer_token: the signature does not fit")
        }
        return report("0123456789abcdef0123456789abcdef", token: request.customerToken)
    }

    func bind(_: UInt64, to id: String, _: ControlCaller) async throws(ProblemDocument) -> SessionReport { report(id) }

    func renew(_ id: String, token: String, _: ControlCaller) async throws(ProblemDocument) -> SessionReport {
        report(id, token: token)
    }

    func close(_ id: String, _: ControlCaller) async throws(ProblemDocument) {
        guard id != "none" else {
            throw ProblemDocument(
                status: 404, title: "No such session", detail: "there is no such session (sallyport session list)")
        }
    }

    func decide(_: DecideRequest, _: ControlCaller) async throws(ProblemDocument) -> DecideReport {
        DecideReport(allow: false, reason: "policy", policyReason: nil, rule: nil, decisionId: "")
    }
}
