import Configuration
import Control
import DecisionLog
import Enforcement
import Glibc
import Identity
import KernelRules
import Netlink
import PacketHeaders
import Policy

/// What the daemon tells the control socket.
struct DaemonDelegate: ControlDelegate {
    let daemon: Daemon

    var isHealthy: Bool { daemon.heartbeat.problem == nil && daemon.keeper.state.isInPlace }

    var decisions: DecisionFeed { daemon.log.feed }

    var sessions: any SessionDelegate { SessionService(daemon: daemon) }

    var confinedPeers: ConfinedPeers {
        let configuration = daemon.current.configuration
        var peers = ConfinedPeers(
            cgroups: [SystemdName.path(ofSlice: configuration.slice)], uids: [], operators: Self.operators)
        for selector in configuration.agents.flatMap(\.selectors) {
            switch selector {
            case .cgroup(let path): peers.cgroups.append(path)
            case .uid(let uid): peers.uids.insert(uid)
            case .unit, .interface, .source: break
            }
        }
        return peers
    }

    /// The group whose members may ask everything.
    private static let operators = getgrnam("sallyport").map { UInt32($0.pointee.gr_gid) }

    func status() async -> StatusReport {
        let current = daemon.current
        let now = Clock.read()
        let rules = daemon.keeper.state
        var report = StatusReport(
            version: SallyportVersion.current, pid: getpid(),
            startedAt: Timestamp.text(nanoseconds: daemon.startedAt.wall),
            uptimeSeconds: (now.monotonic - daemon.startedAt.monotonic) / 1_000_000_000, isEnforcing: isHealthy)
        report.problems =
            [daemon.heartbeat.problem, rules.error, rules.guardError].compactMap { $0 } + daemon.sessions.problems
        report.policy.revision = current.engine.revision
        report.policy.directory = current.configuration.policy.directory
        report.policy.loadedAt = Timestamp.text(nanoseconds: current.policyLoadedAt)
        report.policy.error = current.policyError
        report.rules.isInPlace = rules.isInPlace
        report.rules.backend = rules.backend?.rawValue
        report.rules.tamperings = rules.tamperings
        report.rules.error = rules.error
        report.agents = current.agents.agents.count
        report.sessions = daemon.sessions.count
        report.log = daemon.log.counters
        report.flows.limit = UInt64(current.configuration.limits.flows)
        for worker in daemon.workers {
            let counters = worker.report
            report.queues += Self.queues(worker, counters)
            report.flows.live += UInt64(counters.liveFlows)
            report.flows.allowed += counters.engine.allowed
            report.flows.refused += counters.engine.refused
            report.flows.evicted += counters.evictedFlows
            report.flows.uncut += counters.uncutFlows
        }
        if report.flows.uncut > 0 {
            report.problems.append(
                "\(report.flows.uncut) flows could not be cut: the kernel would not change their connection mark "
                    + "(conntrack -D takes them away)")
        }
        return report
    }

    func agents() async -> AgentsReport {
        let list = daemon.current.agents.agents
        var reports = list.map { agent in
            AgentReport(id: agent.id, labels: agent.labels, selectors: agent.selectors.map(\.description))
        }
        var counts: [String: UInt64] = [:]
        for flow in await liveFlows() { counts[flow.agent, default: 0] += 1 }
        for index in reports.indices { reports[index].liveFlows = counts[reports[index].id] ?? 0 }
        return AgentsReport(agents: reports)
    }

    func flows(limit: Int, agent: String?) async -> FlowsReport {
        let all = await liveFlows().filter { agent == nil || $0.agent == agent }
        return FlowsReport(
            total: UInt64(all.count),
            flows: all.prefix(limit).map { flow in
                var report = FlowReport(
                    state: flow.phase, transport: flow.flow.transport.description, source: flow.flow.source.description,
                    sourcePort: flow.flow.sourcePort, address: flow.flow.destination.description,
                    port: flow.flow.destinationPort, ageSeconds: 0)
                report.agent = flow.agent.isEmpty ? nil : flow.agent
                return report
            })
    }

    /// The flows of every queue thread. A thread answers within its next turn; one that stands still is left out.
    private func liveFlows() async -> [LiveFlow] {
        for worker in daemon.workers { worker.requestFlows() }
        var result: [LiveFlow] = []
        for worker in daemon.workers {
            for _ in 0..<100 {
                if let flows = worker.takeFlows() {
                    result += flows
                    break
                }
                try? await Task.sleep(for: .milliseconds(10))
            }
        }
        return result
    }

    private static func queues(_ worker: QueueWorker, _ counters: QueueWorker.Report) -> [QueueReport] {
        [worker.tcpQueue, worker.segmentQueue].map { number in
            var report = QueueReport(number: number)
            if let kernel = QueueStatistics.read(queue: number) {
                report.waiting = UInt64(kernel.length)
                report.dropped = kernel.droppedAtQueue
                report.undelivered = kernel.droppedAtSocket
                report.received = kernel.lastID
            }
            report.truncated = number == worker.tcpQueue ? counters.engine.truncated : 0
            return report
        }
    }
}
