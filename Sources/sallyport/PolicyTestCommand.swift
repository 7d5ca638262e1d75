import ArgumentParser
import Glibc
import Policy
import PolicySources
import Rego

/// `sallyport policy test`.
struct PolicyTestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", abstract: "Runs a policy's tests, as `opa test` does: rules test_* of its modules.",
        discussion: """
            A test passes where its rule is neither undefined nor false; todo_test_* are skipped. Exit status 0 where all pass, \
            2 where one does not, or fewer lines are covered than --threshold asks for, 1 where there is no test or the policy \
            does not compile; with --coverage also where one fails.
            """)

    @OptionGroup var policy: PolicyPaths

    @Flag(name: .shortAndLong, help: "Show each test, and of those that fail why.")
    var verbose = false

    @Option(
        name: [.customShort("r"), .customLong("run")],
        help: "Run only tests whose path matches this regular expression.")
    var pattern = ""

    @Option(name: .shortAndLong, help: "How to print: pretty or json.")
    var format = PolicyFormat.pretty

    @Flag(name: .shortAndLong, help: "Print which lines the tests covered, as JSON.")
    var coverage = false

    @Option(help: "Fail where fewer per cent of the lines are covered; implies --coverage.")
    var threshold: Double = 0

    @Flag(name: [.customShort("z"), .long], help: "Skipped tests do not fail.")
    var exitZeroOnSkipped = false

    @OptionGroup var schema: SchemaOptions

    func validate() throws {
        guard (0...100).contains(threshold) else {
            throw ValidationError("--threshold \(threshold): must be between 0 and 100 (per cent of the lines)")
        }
    }

    func run() throws {
        let isCovering = coverage || threshold > 0
        let runner = try makeRunner(isCovering)
        var printer = TestPrinter(isVerbose: verbose)
        let isStreaming = !isCovering && format == .pretty
        let reports: [RegoTestRunner.Report]
        do throws(RegoError) {
            reports = try runner.run(matching: pattern, time: WallClock.now) { report in
                if isStreaming { printer.show(report) }
            }
        } catch {
            throw CommandFailure.badInput("--run \(pattern): \(error.message)")
        }
        guard !reports.isEmpty else {
            let what = pattern.isEmpty ? "no rule is named test_* (add them in *_test.rego)" : "none matches \(pattern)"
            throw CommandFailure.no("no tests were run: \(what)")
        }
        if isCovering { return try report(runner.coverage, reports, &printer) }
        switch format {
        case .pretty: printer.finish()
        case .json: print(RegoValue.array(reports.map(\.value)).prettyJSON)
        }
        let isGood = reports.allSatisfy { report in
            report.outcome == .passed || (report.outcome == .skipped && exitZeroOnSkipped)
        }
        if !isGood { throw CommandFailure(status: 2, message: "") }
    }

    private func makeRunner(_ isCovering: Bool) throws -> RegoTestRunner {
        let files = try policy.load()
        // What passes here behaves the same in force; tests may take longer.
        var limits = RegoLimits(instructions: 50_000_000, memoryBytes: 256 << 20)
        limits.strictBuiltinErrors = EmbeddedPolicyEngine.limits.strictBuiltinErrors
        var options = CompileOptions()
        try schema.apply(to: &options)
        var parts: Observation.Parts = []
        if isCovering { parts.insert(.coverage) }
        if verbose { parts.insert(.trace) }
        do throws(RegoErrors) {
            return try RegoTestRunner(
                modules: files.modules, data: files.data, limits: limits, options: options, observing: parts)
        } catch {
            throw CommandFailure.no(error.errors.map { Diagnostic($0, files.modules).text }.joined(separator: "\n"))
        }
    }

    private func report(
        _ coverage: CoverageReport?, _ reports: [RegoTestRunner.Report], _ printer: inout TestPrinter
    ) throws {
        guard let coverage else { return }
        for report in reports {
            switch report.outcome {
            case .failedWithError(let error): throw CommandFailure.no(error.description)
            case .failed: printer.show(report)
            case .passed, .skipped: break
            }
        }
        if let failure = reports.first(where: { $0.outcome == .failed }) {
            printer.finish()
            throw CommandFailure.no(TestPrinter.line(failure))
        }
        guard coverage.percentage >= threshold else {
            var text = "Code coverage threshold not met: got \(Decimals.text(coverage.percentage)) "
            text += "instead of \(Decimals.text(threshold))"
            if verbose {
                text += "\nLines not covered:"
                for file in coverage.files {
                    for range in file.notCoveredRows {
                        text += "\n  \(file.name):\(range.lowerBound)" + (range.count > 1 ? "-\(range.upperBound)" : "")
                    }
                }
            }
            throw CommandFailure(status: 2, message: text)
        }
        print(coverage.value.prettyJSON)
    }
}

/// Prints tests as OPA does.
struct TestPrinter {
    let isVerbose: Bool
    private var passed = 0
    private var failures: [RegoTestRunner.Report] = []
    private var skipped = 0
    private var errors = 0
    private var lastFile = ""
    private var isDirty = false

    init(isVerbose: Bool) { self.isVerbose = isVerbose }

    /// `data.x.test_y: FAIL (12.3µs)`.
    static func line(_ report: RegoTestRunner.Report) -> String {
        let name = "\(report.package).\(report.name): "
        let time = " (\(GoDuration.text(report.nanoseconds)))"
        return switch report.outcome {
        case .passed: name + "PASS" + time
        case .failed: name + "FAIL" + time
        case .skipped: name + "SKIPPED"
        case .failedWithError: name + "ERROR" + time
        }
    }

    /// Shows one test, where it is to be shown.
    mutating func show(_ report: RegoTestRunner.Report) {
        switch report.outcome {
        case .passed: passed += 1
        case .failed: failures.append(report)
        case .skipped: skipped += 1
        case .failedWithError: errors += 1
        }
        guard isVerbose || report.outcome != .passed else { return }
        if !lastFile.isEmpty, lastFile != report.file { print() }
        lastFile = report.file
        isDirty = true
        print("\(report.file):\(report.row):")
        print(Self.line(report))
        if !report.output.isEmpty {
            print()
            for line in report.output { print("  " + TerminalText.safe(line)) }
            print()
        }
        if case .failedWithError(let error) = report.outcome {
            print("  " + TerminalText.lines(error.description))
        }
    }

    /// Shows why tests failed, and the counts.
    func finish() {
        let line = String(repeating: "-", count: 80)
        if isVerbose, !failures.isEmpty {
            print(line)
            print("FAILURES")
            print(line)
            for failure in failures {
                print(Self.line(failure))
                print()
                for step in failure.trace.explaining([.note, .fail]).lines { print("  " + TerminalText.safe(step)) }
                print()
            }
        }
        if isDirty { print(line) }
        let total = passed + failures.count + skipped + errors
        for (name, count) in [("PASS", passed), ("FAIL", failures.count), ("SKIPPED", skipped), ("ERROR", errors)]
        where count > 0 {
            print("\(name): \(count)/\(total)")
        }
    }
}
