import ArgumentParser
import DecisionLog
import Glibc

/// `sallyport decisions`.
struct DecisionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decisions", abstract: "Reads decisions back from the journal, oldest first.",
        discussion: """
            A record with "N more" stands for N further decisions like it that have no record of their own. Entries that a \
            confined process wrote under Sallyport's name are not shown.
            """)

    @Flag(
        name: .shortAndLong, help: "Go on with the decisions to come; begins with the last ten unless --since is given."
    )
    var follow = false

    @Flag(help: "Only refusals.")
    var denied = false

    @Option(help: "Only decisions about this agent.")
    var agent: String?

    @Option(help: "Only decisions about this customer.")
    var customer: String?

    @Option(
        help:
            "Only decisions about hosts like this: a name, or a pattern with * and ?. Matches the address where no name is known."
    )
    var host: String?

    @Option(help: "Only decisions from this time on: 2026-01-01T00:00:00Z, 10m, 2h, today and the like.")
    var since: SinceTime?

    @Option(name: [.customShort("n"), .long], help: "Only the last N of these decisions.")
    var lines: Int?

    @OptionGroup var output: OutputOptions
    @OptionGroup var journal: JournalOptions

    func validate() throws {
        guard let lines else { return }
        guard (0...largestLines).contains(lines) else {
            throw ValidationError("--lines: \(lines) is not from 0 to \(largestLines)")
        }
        if follow, since != nil { throw ValidationError("--lines: has no meaning with --follow and --since") }
    }

    func run() throws {
        var query = JournalQuery()
        query.follow = follow
        query.since = since?.journalText
        // Without --follow the last ones are counted here: journalctl would count entries that are not shown.
        if follow, since == nil { query.last = lines ?? 10 }
        if denied { query.matches[RecordField.verdict.journalName] = "deny" }
        if let agent { query.matches[RecordField.agent.journalName] = agent }
        if let customer { query.matches[RecordField.prefix + "CUSTOMER"] = customer }
        let reader = try journal.reader()
        if !output.json { print(DecisionLine.header) }
        var last = LastLines(limit: follow ? nil : lines)
        try reader.readOrFail(query) { entry in
            guard entry[.decisionID] != nil, matches(entry) else { return true }
            last.take(output.json ? entry.jsonLine : DecisionLine(entry).text)
            if follow { Console.flush() }
            return true
        }
        last.finish()
    }

    private func matches(_ entry: JournalEntry) -> Bool {
        guard let host else { return true }
        guard let name = entry[.host] ?? entry[.address] else { return false }
        return fnmatch(host.lowercased(), name.lowercased(), 0) == 0
    }
}

/// Prints lines as they come, or, with a limit, the last ones at the end.
private struct LastLines {
    private let limit: Int?
    private var lines: [String] = []
    private var oldest = 0

    init(limit: Int?) {
        self.limit = limit
    }

    mutating func take(_ line: String) {
        guard let limit else { return print(line) }
        if lines.count < limit {
            lines.append(line)
        } else if limit > 0 {
            lines[oldest] = line
            oldest = (oldest + 1) % limit
        }
    }

    func finish() {
        for line in lines[oldest...] + lines[..<oldest] { print(line) }
    }
}

/// A decision as one line of text.
struct DecisionLine {
    private let entry: JournalEntry

    init(_ entry: JournalEntry) {
        self.entry = entry
    }

    static let header = TextTable.line(
        ["TIME", "VERDICT", "AGENT", "DESTINATION", "PROTOCOL", "DECISION", "WHY"].map { .init($0, .bold) },
        widths: widths)

    var text: String {
        let isAllowed = entry[.verdict] == "allow"
        return TextTable.line(
            [
                .init(Self.shortTime(entry[.time]), .dim),
                .init(entry[.verdict] ?? "-", isAllowed ? .green : .red),
                .init(entry[.agent] ?? "-"), .init(Self.destination(of: entry)),
                .init(entry[.protocol] ?? entry[.transport] ?? "-"), .init(entry[.decisionID] ?? "-", .dim),
                .init(Self.why(entry)),
            ], widths: Self.widths)
    }

    /// `host:port`, the method and path of a request, and the address beside a name.
    static func destination(of entry: JournalEntry) -> String {
        guard let address = entry[.address] else { return "several" }
        let place = entry[.host] ?? (address.contains(":") ? "[\(address)]" : address)
        return place + ":" + (entry[.port] ?? "?")
    }

    static func why(_ entry: JournalEntry) -> String {
        var parts = [entry[.verdict] == "allow" ? nil : entry[.reason], entry[.rule].map { "rule \($0)" }]
        if let method = entry[.method] { parts.append(method + " " + (entry[.path] ?? "")) }
        if entry[.verdict] != "allow", let text = entry[.policyReason] { parts.append(text) }
        if let count = entry[.repeats] { parts.append("\(count) more") }
        return parts.compactMap { $0 }.joined(separator: ", ")
    }

    /// To the millisecond.
    private static func shortTime(_ time: String?) -> String {
        guard let time, time.count == 27 else { return time ?? "-" }
        return time.dropLast(4) + "Z"
    }

    /// A time, a verdict, most agents and destinations, and an id fit; longer cells push the rest of their line.
    private static let widths = [24, 7, 14, 32, 8, 36]
}

private let largestLines = 1_000_000
