import ArgumentParser
import Configuration
import Control
import DecisionLog

/// `sallyport explain`.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Shows what was known at a decision, and which rule decided.",
        discussion: """
            The input is rebuilt from the record. It is what the policy was asked, but for labels, header fields and query, \
            which are not kept.
            """)

    @Argument(help: "The decision's id, as records and refusals carry it.")
    var decision: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var journal: JournalOptions

    @Option(help: "The control socket, asked for the policy in force. (default: control.socket of the configuration)")
    var socket: String?

    func run() throws {
        guard let id = DecisionID(decision) else {
            throw CommandFailure.badInput(
                "\(decision): not a decision's id: it must be a UUID of version 7 (copy SALLYPORT_DECISION_ID of a record)"
            )
        }
        let entry = try find(id)
        let path = try socket ?? journal.configuration.load().control.socket
        let status = try? ControlClient(path: path).wait { client throws(ControlError) in try await client.status() }
            .get()
        let explanation = Explanation(id: id, entry: entry, revisionInForce: status?.policy.revision)
        if output.json {
            print(try explanation.json())
        } else {
            explanation.text.forEach { print($0) }
            print(try explanation.inputText())
        }
    }

    /// The decision's own record, or the one that it was folded into.
    private func find(_ id: DecisionID) throws -> JournalEntry {
        let reader = try journal.reader()
        var query = JournalQuery()
        query.matches[RecordField.decisionID.journalName] = id.description
        var found: JournalEntry?
        try reader.readOrFail(query) { entry in
            found = entry
            return false
        }
        if let found { return found }
        query.matches = [:]
        query.since = "@\(id.nanoseconds / 1_000_000_000)"
        try reader.readOrFail(query) { entry in
            guard let first = entry[.firstDecisionID].flatMap({ DecisionID($0) }),
                let last = entry[.lastDecisionID].flatMap({ DecisionID($0) }), first <= id, id <= last
            else { return true }
            found = entry
            return false
        }
        guard let found else {
            throw CommandFailure.no(
                "\(id): not in the journal: it is not a decision of this host, its record is rotated away, or the journal "
                    + "may not be read (run as root; --namespace or --directory for another journal)")
        }
        return found
    }
}
