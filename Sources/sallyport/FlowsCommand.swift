import ArgumentParser
import Control

/// `sallyport flows`.
struct FlowsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flows", abstract: "Shows the flows of agents right now.")

    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Only the flows of this agent.")
    var agent: String?

    @Option(help: "How many flows at most.")
    var limit = FlowQuery.usualLimit

    func validate() throws {
        guard (1...FlowQuery.largestLimit).contains(limit) else {
            throw ValidationError("--limit: \(limit) is not from 1 to \(FlowQuery.largestLimit)")
        }
    }

    func run() throws {
        let query = FlowQuery(limit: limit, agent: agent)
        let report = try daemon.ask { client throws(ControlError) in try await client.flows(query) }
        if output.json { return try output.printJSON(report) }
        var table = TextTable(["STATE", "AGENT", "SOURCE", "DESTINATION", "HOST", "PROTOCOL", "AGE", "DECISION"])
        for flow in report.flows {
            let style: Console.Style =
                switch flow.state {
                case "allowed": .green
                case "refused": .red
                default: .yellow
                }
            table.append([
                .init(flow.state, style), .init(flow.agent ?? "-"), .init(Self.endpoint(flow.source, flow.sourcePort)),
                .init(Self.endpoint(flow.address, flow.port)), .init(flow.host ?? "-"),
                .init(flow.protocol ?? flow.transport), .init("\(flow.ageSeconds) s"), .init(flow.decision ?? "-"),
            ])
        }
        table.lines.forEach { print($0) }
        if report.total > UInt64(report.flows.count) {
            print("\(report.flows.count) of \(report.total) flows (--limit, --agent)")
        }
    }

    private static func endpoint(_ address: String, _ port: UInt16) -> String {
        address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }
}
