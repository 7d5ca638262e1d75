import ArgumentParser
import Control
import DecisionLog

/// `sallyport status`.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Shows what is enforced right now.",
        discussion: "Exit status 0 where confined flows are decided, 1 where they are not or no daemon answers.")

    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let status = try daemon.ask { client throws(ControlError) in try await client.status() }
        if output.json { try output.printJSON(status) } else { Self.text(status).forEach { print($0) } }
        guard status.isEnforcing else {
            throw CommandFailure.no(output.json ? "" : status.problems.joined(separator: "\n"))
        }
    }

    static func text(_ status: StatusReport) -> [String] {
        var lines: [String] = []
        func add(_ name: String, _ value: String, _ style: Console.Style = .plain) {
            lines.append(TextTable.line([.init(name, .bold), .init(value, style)], widths: [10]))
        }
        add("sallyportd", "\(status.version), pid \(status.pid), since \(status.startedAt)")
        add("enforcing", status.isEnforcing ? "yes" : "no", status.isEnforcing ? .green : .red)
        add("policy", policy(status.policy), status.policy.revision == nil ? .red : .plain)
        if let error = status.policy.error { add("", error, .red) }
        add("rules", rules(status.rules), status.rules.isInPlace == false ? .red : .plain)
        if let error = status.rules.error { add("", error, .red) }
        add("agents", "\(status.agents)")
        add("sessions", "\(status.sessions) open")
        add("flows", flows(status.flows))
        let log = status.log
        add(
            "log", "\(log.written) written, \(log.folded) folded, \(log.waiting) waiting, \(log.lost) lost",
            log.lost > 0 ? .yellow : .plain)
        if let error = log.journalError { add("", "journald: \(error)", .yellow) }
        guard !status.queues.isEmpty else { return lines }
        var table = TextTable(["QUEUE", "WAITING", "RECEIVED", "DROPPED", "UNDELIVERED", "TRUNCATED"])
        for queue in status.queues {
            table.append(
                [
                    UInt64(queue.number), queue.waiting, queue.received, queue.dropped, queue.undelivered,
                    queue.truncated,
                ]
                .map { TextTable.Cell(String($0)) })
        }
        return lines + [""] + table.lines
    }

    private static func policy(_ policy: PolicyReport) -> String {
        guard let revision = policy.revision else { return "none: every flow is refused" }
        return "revision \(revision)" + (policy.directory.map { " from \($0)" } ?? "")
            + (policy.loadedAt.map { ", loaded \($0)" } ?? "")
    }

    private static func rules(_ rules: RulesReport) -> String {
        let state =
            switch rules.isInPlace {
            case true?: "in place"
            case false?: "not in place"
            case nil: "not looked at"
            }
        return state + (rules.backend.map { " (\($0))" } ?? "")
            + (rules.tamperings > 0 ? ", changed by others \(rules.tamperings) times" : "")
    }

    private static func flows(_ flows: FlowCounters) -> String {
        let reasons = flows.refusedByReason.sorted { $0.value == $1.value ? $0.key < $1.key : $0.value > $1.value }
            .map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        return "\(flows.live) live of \(flows.limit), \(flows.allowed) allowed, \(flows.refused) refused"
            + (reasons.isEmpty ? "" : " (\(reasons))") + (flows.evicted > 0 ? ", \(flows.evicted) evicted" : "")
            + (flows.uncut > 0 ? ", \(flows.uncut) NOT CUT" : "")
    }
}
