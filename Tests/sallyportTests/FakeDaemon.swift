import Control
import DecisionLog

/// A daemon that answers from constants.
final class FakeDaemon: ControlDelegate {
    let isHealthy: Bool
    let confinedPeers = ConfinedPeers(cgroups: ["/sallyport.slice"], uids: [])
    let decisions = DecisionFeed()

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

    func flows(limit: Int, agent: String?) async -> FlowsReport {
        var flow = FlowReport(
            state: "allowed", transport: "tcp", source: "198.18.0.2", sourcePort: 40_000, address: "fd00::1",
            port: 443, ageSeconds: 1)
        flow.agent = agent ?? "bot"
        flow.host = "api.example.com"
        return FlowsReport(total: 5, flows: [flow])
    }
}

/// Runs `body` beside a control socket that `daemon` answers.
func withDaemon(_ daemon: FakeDaemon = FakeDaemon(), _ body: (String) async throws -> Void) async throws {
    let directory = try temporaryDirectory()
    defer { _ = try? shell("rm -rf \(directory)") }
    let path = directory + "/socket"
    let server = try await ControlServer.start(path: path, delegate: daemon)
    do {
        try await body(path)
    } catch {
        await server.stop()
        throw error
    }
    await server.stop()
}
