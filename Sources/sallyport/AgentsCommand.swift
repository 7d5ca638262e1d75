import ArgumentParser
import Control

/// `sallyport agents`.
struct AgentsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agents", abstract: "Shows the agents, what ties traffic to them, and what they did.")

    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let report = try daemon.ask { client throws(ControlError) in try await client.agents() }
        if output.json { return try output.printJSON(report) }
        var table = TextTable(["AGENT", "LIVE", "ALLOWED", "REFUSED", "SELECTORS", "LABELS"])
        for agent in report.agents {
            let labels = agent.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
            table.append([
                .init(agent.id), .init(String(agent.liveFlows)), .init(String(agent.allowed)),
                .init(String(agent.refused), agent.refused > 0 ? .red : .plain),
                .init(agent.selectors.joined(separator: ", ")), .init(labels),
            ])
        }
        table.lines.forEach { print($0) }
    }
}
