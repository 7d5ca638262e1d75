import ArgumentParser
import Control

/// `sallyport names`.
struct NamesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "names", abstract: "Shows which names lead to which addresses, agent by agent.",
        discussion: """
            A name leads where a DNS answer to the agent itself said so, or the configuration says so for all (bindings, a hosts \
            file). It is what destination.names in policy comes from: where an agent's flow is refused with name_not_at_ip, the \
            address is missing here.
            """)

    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "Only names or addresses like this: one of them, or a pattern with * and ?.")
    var pattern: String?

    @OptionGroup var list: ListOptions

    func run() throws {
        let query = NameQuery(limit: list.limit, agent: list.agent, match: pattern)
        let report = try daemon.ask { client throws(ControlError) in try await client.names(query) }
        if output.json { return try output.printJSON(report) }
        var table = TextTable(["AGENT", "NAME", "ADDRESS", "FOR ANOTHER"])
        for entry in report.names {
            table.append([
                .init(entry.agent ?? "(all)"), .init(entry.name), .init(entry.address),
                .init(entry.remainingSeconds.map { "\($0) s" } ?? "-"),
            ])
        }
        table.lines.forEach { print($0) }
        if report.total > UInt64(report.names.count) {
            print("\(report.names.count) of \(report.total) names (--limit, --agent, a pattern)")
        }
        if !report.isWatching {
            print("DNS answers are not watched: no name is bound to an address (dns: in the configuration)")
        }
    }
}
