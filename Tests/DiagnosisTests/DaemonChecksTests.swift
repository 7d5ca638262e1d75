import Configuration
import Control
import Identity
import Testing

@testable import Diagnosis
@testable import Netlink

@Suite("DaemonChecks")
struct DaemonChecksTests {
    /// A daemon that is as it should be, on a host that systemd runs.
    private static func facts(_ change: (inout StatusReport) -> Void = { _ in }) -> DaemonFacts {
        var status = StatusReport(
            version: SallyportVersion.current, pid: 700, startedAt: "2027-01-15T08:00:00Z", uptimeSeconds: 7,
            isEnforcing: true)
        status.policy.revision = "0123456789ab"
        status.policy.directory = "/etc/sallyport/policies"
        status.queues = (8800...8803).map { QueueReport(number: $0) }
        change(&status)
        var facts = DaemonFacts(
            status: .success(status),
            agents: example.agents.map { agent in
                AgentReport(id: agent.id, labels: [:], selectors: agent.selectors.map(\.description))
            })
        facts.queues = ["8800 700", "8801 4000001", "8802 4000002", "8803 4000003"].compactMap {
            QueueStatistics(line: $0 + " 0 2 65531 0 3 9 1")
        }
        facts.netlinkSockets = [4_000_001: 61, 4_000_002: 62, 4_000_003: 63]
        facts.sockets = [60, 61, 62, 63]
        facts.hasSystemd = true
        facts.units = ["sallyport-firewall.service": "enabled", "sallyportd.service": "enabled"]
        return facts
    }

    private static func wrong(_ facts: DaemonFacts) -> [Finding] {
        DaemonChecks.findings(facts, example).filter { $0.state != .ok }
    }

    @Test("finds nothing where the daemon attends its queues and runs what is on the disk")
    func well() {
        let findings = DaemonChecks.findings(Self.facts(), example)
        #expect(findings.map(\.state) == [.ok, .ok, .ok, .ok])
        #expect(findings.map(\.check) == [.queues, .daemon, .configuration, .boot])
        #expect(findings[0].detail.contains("12 packets were dropped"))
    }

    @Test("finds queues that nobody attends, and one that is another program's")
    func queues() {
        var facts = Self.facts()
        facts.queues.removeFirst(2)
        #expect(Self.wrong(facts).map(\.subject) == ["queues 8800, 8801"])
        facts = Self.facts()
        facts.sockets.remove(62)
        #expect(Self.wrong(facts).map(\.subject) == ["queue 8802"])
        #expect(Self.wrong(facts).map(\.state) == [.hole])
    }

    @Test("does not know whose the queues are where the daemon does not answer, and says that it does not")
    func silent() {
        var facts = Self.facts()
        facts.status = .failure(.notRunning(path: "/run/sallyport/control.sock", reason: "Connection refused"))
        facts.agents = nil
        let findings = DaemonChecks.findings(facts, example)
        #expect(findings.states(.queues) == [.unknown, .unknown, .unknown, .unknown])
        #expect(findings.states(.daemon) == [.hole])
        #expect(findings.states(.configuration) == [.unknown])
    }

    @Test(
        "finds a daemon that does not decide",
        arguments: [
            Fault(.daemon) { $0.isEnforcing = false }, Fault(.daemon) { $0.policy.revision = nil },
            Fault(.daemon) { $0.problems = ["3 flows could not be cut (conntrack -D takes them away)"] },
        ] as [Fault<StatusReport>])
    func notEnforcing(_ fault: Fault<StatusReport>) {
        #expect(Self.wrong(Self.facts(fault.change)).map(\.check) == [fault.check])
    }

    @Test(
        "finds a daemon that runs something else than what is on the disk",
        arguments: [
            Fault(.configuration) { $0.version = "0.0.9" }, Fault(.configuration) { $0.queues.removeLast() },
            Fault(.configuration) { $0.policy.directory = "/elsewhere" },
            Fault(.configuration) { $0.policy.error = "x.rego:3: unsafe variable" },
        ] as [Fault<StatusReport>])
    func other(_ fault: Fault<StatusReport>) {
        #expect(Self.wrong(Self.facts(fault.change)).map(\.check) == [fault.check])
    }

    @Test("finds other agents, other selectors, and a program that was replaced")
    func agents() {
        var facts = Self.facts()
        facts.agents?.removeLast()
        #expect(Self.wrong(facts).map(\.remedy) == ["systemctl reload sallyportd"])
        facts = Self.facts()
        facts.agents?[2].selectors = ["uid 1501"]
        #expect(Self.wrong(facts).map(\.check) == [.configuration])
        facts = Self.facts()
        facts.isReplaced = true
        #expect(Self.wrong(facts).map(\.remedy) == ["systemctl restart sallyportd"])
    }

    @Test("finds units that do not come back, and does not know without systemd")
    func boot() {
        var facts = Self.facts()
        facts.units["sallyport-firewall.service"] = "disabled"
        #expect(Self.wrong(facts).map(\.remedy) == ["systemctl enable sallyport-firewall.service"])
        facts.hasSystemd = false
        #expect(Self.wrong(facts).map(\.state) == [.unknown])
    }
}

@Suite("ProbeChecks")
struct ProbeChecksTests {
    private static func findings(
        _ unconfined: FlowProbe.Outcome, _ confined: FlowProbe.Outcome, arrived: Bool = false,
        recorded: Set<UInt16>? = [40001]
    ) -> [Finding] {
        let result = FlowProbe.Result(
            family: "IPv6", address: "::1", port: 40001, unconfined: unconfined, confined: confined, hasArrived: arrived
        )
        return ProbeChecks.findings(.success([result]), recorded: recorded)
    }

    @Test("is content where one flow is refused, the other passes and there is a record")
    func well() {
        for confined in [FlowProbe.Outcome.refused, .unanswered] {
            let findings = Self.findings(.connected, confined)
            #expect(findings.map(\.check) == [.flowRefused, .flowPassed, .flowDecided, .ipv6])
            #expect(findings.allSatisfy { $0.state == .ok })
        }
    }

    @Test("finds a confined flow that arrives, whatever its sender was told")
    func arrived() {
        for findings in [
            Self.findings(.connected, .connected, arrived: true), Self.findings(.connected, .refused, arrived: true),
        ] {
            #expect(findings.states(.flowRefused) == [.hole])
            #expect(findings.states(.ipv6) == [.hole])
        }
    }

    @Test("takes a refusal for nothing where nobody's flow passes")
    func nothingPasses() {
        let findings = Self.findings(.refused, .refused)
        #expect(findings.states(.flowRefused) == [.unknown])
        #expect(findings.states(.flowPassed) == [.hole])
    }

    @Test("finds a refusal that the daemon knows nothing of, and does not know where it says nothing")
    func recorded() {
        #expect(Self.findings(.connected, .refused, recorded: [40002]).states(.flowDecided) == [.hole])
        #expect(Self.findings(.connected, .refused, recorded: nil).states(.flowDecided) == [.unknown])
    }

    @Test("does not know where the probe could not be run")
    func failed() {
        #expect(Self.findings(.connected, .failed("No such file")).states(.flowRefused) == [.unknown])
        let error = NetlinkError(what: "cgroup v2", why: "is not mounted", remedy: "mount it")
        let findings = ProbeChecks.findings(.failure(error), recorded: nil)
        #expect(findings.allSatisfy { $0.state == .unknown } && findings.count == 3)
    }
}
