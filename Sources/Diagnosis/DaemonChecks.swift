import Configuration
import Control
import DecisionLog
import Identity
import KernelRules
import Netlink

/// The daemon, its queues, and whether both come back.
enum DaemonChecks {
    /// Every finding about them.
    static func findings(_ facts: DaemonFacts, _ configuration: Configuration) -> [Finding] {
        queues(facts, configuration) + daemon(facts) + running(facts, configuration) + boot(facts)
    }

    /// Each queue of the rules is owned by a socket of the daemon's.
    private static func queues(_ facts: DaemonFacts, _ configuration: Configuration) -> [Finding] {
        let numbers = configuration.queues.tcp.lowerBound..<configuration.queues.udp.upperBound
        let unattended = numbers.filter { number in !facts.queues.contains { $0.queue == number } }
        var findings: [Finding] = []
        if !unattended.isEmpty {
            let subject = "queues \(unattended.map { String($0) }.joined(separator: ", "))"
            findings.append(.hole(.queues, subject, "nobody attends them", remedy: "systemctl restart sallyportd"))
        }
        var dropped: UInt64 = 0
        for row in facts.queues where numbers.contains(row.queue) {
            let number = row.queue
            dropped += row.droppedAtQueue + row.droppedAtSocket
            guard case .success(let status) = facts.status else {
                findings.append(
                    .unknown(
                        .queues, "queue \(number)",
                        "it is \(row.ownerDescription)'s, and the daemon does not say who it is",
                        remedy: "systemctl status sallyportd"))
                continue
            }
            let isDaemons =
                row.port == UInt32(bitPattern: status.pid)
                || facts.netlinkSockets[row.port].map { facts.sockets.contains($0) } ?? false
            if !isDaemons {
                findings.append(
                    .hole(
                        .queues, "queue \(number)",
                        "it is \(row.ownerDescription)'s, not the daemon's (process \(status.pid))",
                        remedy:
                            "end that program, or set queues.base to numbers of its own; then systemctl restart sallyportd"
                    ))
            }
        }
        guard findings.isEmpty else { return findings }
        let range = "queues \(numbers.lowerBound) to \(numbers.upperBound - 1)"
        return [
            .ok(.queues, range, "the daemon attends them; \(dropped) packets were dropped there since they were bound")
        ]
    }

    private static func daemon(_ facts: DaemonFacts) -> [Finding] {
        switch facts.status {
        case .failure(let error):
            return [
                .hole(.daemon, "sallyportd", error.description.withoutRemedy, remedy: "systemctl restart sallyportd")
            ]
        case .success(let status):
            let subject = "sallyportd, process \(status.pid)"
            guard status.isEnforcing, status.policy.revision != nil, status.problems.isEmpty else {
                let problems = status.problems.isEmpty ? ["it has no policy"] : status.problems
                return problems.map { problem in
                    .hole(
                        .daemon, subject, problem.withoutRemedy,
                        remedy: "sallyport status; sallyport policy check; systemctl restart sallyportd")
                }
            }
            var detail = "answers and decides, policy revision \(status.policy.revision ?? "")"
            if status.rules.tamperings > 0 {
                detail += "; others changed the rules \(status.rules.tamperings) times since \(status.startedAt)"
            }
            return [.ok(.daemon, subject, detail)]
        }
    }

    /// What runs is what is on the disk.
    private static func running(_ facts: DaemonFacts, _ configuration: Configuration) -> [Finding] {
        guard case .success(let status) = facts.status else {
            return [
                .unknown(
                    .configuration, "the running daemon", "it does not say what it runs with",
                    remedy: "systemctl restart sallyportd")
            ]
        }
        var findings: [Finding] = []
        func hole(_ detail: String, _ remedy: String) {
            findings.append(.hole(.configuration, "the running daemon", detail, remedy: remedy))
        }
        if status.version != SallyportVersion.current || facts.isReplaced {
            hole("it is version \(status.version) of before an update", "systemctl restart sallyportd")
        }
        if let running = facts.agents {
            let expected = configuration.agents.map { [$0.id] + $0.selectors.map(\.description).sorted() }
            if running.map({ [$0.id] + $0.selectors.sorted() }) != expected {
                hole("it has other agents than the configuration", "systemctl reload sallyportd")
            }
        } else {
            findings.append(
                .unknown(
                    .configuration, "the running daemon", "it does not say which agents it has",
                    remedy: "sallyport agents"))
        }
        if Set(status.queues.map(\.number)) != Set(configuration.queues.tcp).union(configuration.queues.udp) {
            hole("it has other queues than the configuration", "systemctl restart sallyportd")
        }
        if status.policy.directory != configuration.policy.directory {
            hole("its policy is not that of \(configuration.policy.directory)", "systemctl reload sallyportd")
        }
        if let error = status.policy.error {
            hole("a later policy was not taken: \(error)", "sallyport policy check, then systemctl reload sallyportd")
        }
        let good = "version, agents, queues and policy directory are those on the disk"
        return findings.isEmpty ? [.ok(.configuration, "the running daemon", good)] : findings
    }

    private static func boot(_ facts: DaemonFacts) -> [Finding] {
        guard facts.hasSystemd else {
            return [
                .unknown(
                    .boot, "this host", "systemd does not run it: what loads the rules at the next boot is not known",
                    remedy: "run sallyport rules apply before the network is up, then sallyportd")
            ]
        }
        let missing = facts.units.filter { $0.value != "enabled" }.sorted { $0.key < $1.key }
        guard !missing.isEmpty else { return [.ok(.boot, "units", "rules and daemon are enabled")] }
        return missing.map { unit, state in
            .hole(.boot, unit, "it is \(state.isEmpty ? "not there" : state)", remedy: "systemctl enable \(unit)")
        }
    }
}
