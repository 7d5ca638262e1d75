import ArgumentParser
import FlowInspection
import PacketHeaders
import WireProtocols

/// `sallyport inspect`: what the parsers see in a capture.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Shows what the parsers see in a capture file. Needs no root and no daemon.",
        discussion: """
            Reads pcap and pcapng. One line a flow, in order of its first packet; with --json one object a line. A flow that \
            would be refused for what it says has an error. No policy is asked.
            Exit status 0 where the file was read to its end, 2 where it was not.
            """)

    @Argument(help: "The capture file.")
    var file: String

    @OptionGroup var output: OutputOptions

    func run() throws {
        let capture = try CaptureFile(path: file)
        var inspector = CaptureInspector()
        var progress = ProgressBar(total: capture.byteCount)
        inspector.read(capture.bytes) { progress.show($0) }
        progress.clear()
        var lines = OutputLines()
        if output.json {
            for report in inspector.reports { lines.append(report.json) }
        } else {
            for line in Self.table(inspector.reports) { lines.append(line) }
        }
        lines.flush()
        if let error = inspector.fileError {
            throw CommandFailure.badInput(
                "\(file): \(error) (give a pcap or pcapng file; what was read up to there is shown)")
        }
    }

    static func table(_ reports: [FlowReport]) -> [String] {
        var table = TextTable(["FLOW", "PROTOCOL", "HOSTS", "DETAILS"])
        for report in reports {
            var details: [String] = []
            if let hello = report.hello {
                details.append("TLS \(hello.version)")
                if let names = hello.applicationProtocols { details.append(names.joined(separator: ",")) }
                if hello.hasEncryptedClientHello { details.append("ech") }
            }
            details += report.requests.prefix(3).map { "\($0.method) \($0.path)" }
            if report.requests.count > 3 { details.append("\(report.requests.count) requests") }
            details += report.questions.prefix(3).map { $0.type }
            if let user = report.user { details.append("user \(user)") }
            if let database = report.database { details.append("database \(database)") }
            if let target = report.proxyTarget { details.append("to \(target)") }
            var cells = [
                TextTable.Cell(report.flow.description),
                TextTable.Cell(report.layers.isEmpty ? "-" : report.layers.map { $0.rawValue }.joined(separator: "/")),
                TextTable.Cell(Self.shown(report.hosts)), TextTable.Cell(Self.shown(details)),
            ]
            if let error = report.error { cells[3] = TextTable.Cell(error, .red) }
            table.append(cells)
        }
        return table.lines
    }

    /// Texts of the wire: nothing of them may move a terminal's cursor.
    private static func shown(_ texts: [String]) -> String {
        let text = texts.prefix(4).joined(separator: " ") + (texts.count > 4 ? " and \(texts.count - 4) more" : "")
        let safe = text.unicodeScalars.map { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) ? "?" : Character($0) }
        return safe.isEmpty ? "-" : String(safe)
    }
}
