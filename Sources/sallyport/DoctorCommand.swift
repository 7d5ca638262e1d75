import ArgumentParser
import Configuration
import Control
import DecisionLog
import Diagnosis
import Glibc

/// `sallyport doctor`.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Checks what is really enforced on this host right now.",
        discussion: """
            Nothing is taken from the configuration that can be seen: rules, queues, processes and their sockets, and a flow \
            of its own that must be refused beside one that must pass. Changes nothing and sends no data. Exit status 0 where \
            no hole is open, 1 where one is, 2 where it cannot look (not root, no configuration). docs/doctor.md has the checks.
            """,
        subcommands: [Probe.self])

    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        guard geteuid() == 0 else {
            throw CommandFailure.badInput("doctor: not root: other users' processes cannot be looked at (use sudo)")
        }
        let path = daemon.configuration.path ?? Configuration.defaultPath
        guard access(path, F_OK) == 0 else {
            throw CommandFailure.badInput(
                "doctor: \(path): \(String(cString: strerror(errno))) (install Sallyport, or name one with --config)")
        }
        let examination = Examination(try daemon.configuration.load())
        guard !examination.isConfinedItself else {
            throw CommandFailure.badInput("doctor: this process is confined itself (run it from outside of the slice)")
        }
        let client = try daemon.client()
        let status = client.wait(
            for: { client throws(ControlError) in try await client.status() }, seconds: Self.patience)
        let agents = client.wait(
            for: { client throws(ControlError) in try await client.agents() }, seconds: Self.patience)
        let isAnswering = (try? status.get()) != nil
        let report = examination.report(status: status, agents: try? agents.get().agents) {
            guard isAnswering else { return nil }
            let refusals = client.wait(
                for: { client throws(ControlError) in try await client.get("/v1/decisions?verdict=deny") },
                seconds: Self.patience)
            return try? refusals.get()
        }
        if output.json { try output.printJSON(report) } else { Self.text(report).forEach { print($0) } }
        if report.holes > 0 { throw CommandFailure.no() }
    }

    /// A line for each finding, why it matters and what to do below those that are not in order, and their count.
    static func text(_ report: DiagnosisReport) -> [String] {
        let width = Check.allCases.map { $0.rawValue.count }.max() ?? 0
        var lines: [String] = []
        for finding in report.findings {
            let style: Console.Style =
                switch finding.state {
                case .ok: .green
                case .hole: .red
                case .unknown: .yellow
                }
            let words = JournalText.escape("\(finding.subject): \(finding.detail)", as: .sentence, limit: 4096)
            lines.append(
                TextTable.line(
                    [.init(finding.state.rawValue, style), .init(finding.check.rawValue, .bold), .init(words)],
                    widths: [7, width]))
            if let why = finding.why { lines.append("         why: \(why)") }
            if let remedy = finding.remedy {
                lines.append("         do:  " + JournalText.escape(remedy, as: .sentence, limit: 4096))
            }
        }
        return lines + ["\(report.ok) ok, \(report.holes) holes, \(report.unknown) unknown"]
    }

    /// A daemon that stands still never answers.
    private static let patience = 5

    /// The confined end of the flow that `doctor` tries, a process of its own.
    struct Probe: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: FlowProbe.command.last, abstract: "Connects from a cgroup.", shouldDisplay: false)

        @Argument var directory: String
        @Argument var family: Int
        @Argument var port: UInt16

        func run() throws {
            let number = FlowProbe.connect(fromCgroup: directory, isIPv6: family == 6, port: port)
            guard number == 0 else { throw ExitCode(number) }
        }
    }
}
