import ArgumentParser
import Control

/// `sallyport flows`.
struct FlowsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flows", abstract: "Shows the flows of agents right now.",
        discussion: """
            The state is undecided, allowed, refused, or requests: allowed so far, each request, question or connection in it \
            being decided. Host and protocol are what the flow was last allowed for; why one is refused is in its record \
            (sallyport decisions --denied).
            """)

    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var output: OutputOptions

    @OptionGroup var list: ListOptions

    @Option(help: "Only the flows for this customer.")
    var customer: String?

    func run() throws {
        let query = FlowQuery(limit: list.limit, agent: list.agent, customer: customer)
        let report = try daemon.ask { client throws(ControlError) in try await client.flows(query) }
        if output.json { return try output.printJSON(report) }
        var table = TextTable(["STATE", "AGENT", "CUSTOMER", "SOURCE", "DESTINATION", "HOST", "PROTOCOL", "AGE"])
        for flow in report.flows {
            let style: Console.Style =
                switch flow.state {
                case "allowed", "requests": .green
                case "refused": .red
                default: .yellow
                }
            table.append([
                .init(flow.state, style), .init(flow.agent ?? "-"), .init(flow.customer ?? "-"),
                .init(Self.endpoint(flow.source, flow.sourcePort)), .init(Self.endpoint(flow.address, flow.port)),
                .init(flow.host ?? "-"), .init(flow.protocol ?? flow.transport), .init("\(flow.ageSeconds) s"),
            ])
        }
        table.lines.forEach { print($0) }
        if report.total > UInt64(report.flows.count) {
            print("\(report.flows.count) of \(report.total) flows (--limit, --agent, --customer)")
        }
    }

    private static func endpoint(_ address: String, _ port: UInt16) -> String {
        address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }
}
