import Configuration
import Control
import DecisionLog
import Enforcement
import Flow
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
            for (reason, count) in counters.engine.refusedByReason {
                report.flows.refusedByReason[reason.rawValue, default: 0] += count
            }
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
        let views = await views(of: FlowSelection(limit: 0))
        return AgentsReport(
            agents: list.map { agent in
                var report = AgentReport(
                    id: agent.id, labels: agent.labels, selectors: agent.selectors.map(\.description))
                var decided = DecisionCount()
                for view in views {
                    report.liveFlows += UInt64(view.liveFlows[agent.id] ?? 0)
                    decided += view.decisions[agent.id] ?? DecisionCount()
                }
                report.allowed = decided.allowed
                report.refused = decided.refused
                return report
            })
    }

    func flows(_ query: FlowQuery) async -> FlowsReport {
        let views = await views(
            of: FlowSelection(agent: query.agent, customer: query.customer, limit: query.limit))
        let now = Clock.read().monotonic
        return FlowsReport(
            total: views.reduce(0) { $0 + UInt64($1.matching) },
            flows: views.flatMap(\.flows).prefix(query.limit).map { FlowReport($0, now: now) })
    }

    func names(_ query: NameQuery) async -> NamesReport {
        let configuration = daemon.current.configuration
        guard configuration.watchesNames else { return NamesReport(isWatching: false, total: 0, names: []) }
        let now = Clock.read().monotonic
        var found = configuration.bindings.flatMap { binding in
            binding.addresses.map {
                NameReport(agent: nil, name: binding.host, address: $0.description, remainingSeconds: nil)
            }
        }
        found += daemon.bindings.all(of: query.agent, now: now).map {
            NameReport(
                agent: $0.agent, name: $0.name, address: $0.address.description,
                remainingSeconds: ($0.expires - now) / 1_000_000_000)
        }
        if let pattern = query.match?.lowercased() {
            found.removeAll { fnmatch(pattern, $0.name, 0) != 0 && fnmatch(pattern, $0.address, 0) != 0 }
        }
        found.sort { ($0.agent ?? "", $0.name, $0.address) < ($1.agent ?? "", $1.name, $1.address) }
        return NamesReport(isWatching: true, total: UInt64(found.count), names: Array(found.prefix(query.limit)))
    }

    /// What every queue thread has and did. A thread answers within its next turn; one that stands still is left out.
    private func views(of selection: FlowSelection) async -> [EngineView] {
        let asked = daemon.workers.map { (worker: $0, request: ViewRequest(selection)) }
        for (worker, request) in asked { worker.ask(request) }
        var result: [EngineView] = []
        for (worker, request) in asked {
            for _ in 0..<100 where request.answer == nil { try? await Task.sleep(for: .milliseconds(10)) }
            if let view = request.answer { result.append(view) } else { worker.withdraw(request) }
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

extension FlowReport {
    /// What is known of a flow now.
    fileprivate init(_ flow: LiveFlow, now: UInt64) {
        let tuple = flow.flow
        self.init(
            state: flow.verdict.rawValue, isInbound: flow.isInbound, transport: tuple.transport.description,
            source: tuple.source.description, sourcePort: tuple.sourcePort, address: tuple.destination.description,
            port: tuple.destinationPort, ageSeconds: (max(now, flow.since) - flow.since) / 1_000_000_000)
        agent = flow.agent.isEmpty ? nil : flow.agent
        customer = flow.customer?.id
        session = flow.customer?.session
        host = flow.host
        self.protocol = flow.protocol
    }
}
