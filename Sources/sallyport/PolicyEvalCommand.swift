import ArgumentParser
import PolicySources
import Rego

/// `sallyport policy eval`: a query over modules, data and an input, as `opa eval`.
struct PolicyEvalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval", abstract: "Evaluates a Rego query, as `opa eval` does.",
        discussion: """
            Prints what `opa eval` prints: JSON with result, expressions and bindings, or with errors. Exit status 0 where \
            the query could be evaluated, whatever its value; 2 where it could not; with --fail 1 where it is undefined, \
            with --fail-defined 1 where it is defined. What the policy prints goes to standard error.
            """)

    /// What `--explain` shows.
    enum Explain: String, ExpressibleByArgument, CaseIterable {
        case off
        case full
        case notes
        case fails
    }

    @Argument(help: "The query, such as data.sallyport.egress.decision.")
    var query: String

    @Option(
        name: .shortAndLong,
        help:
            "Modules and data: a file (.rego, .json, .yaml) or a directory of them; PREFIX:PATH puts data below PREFIX."
    )
    var data: [String] = []

    @Option(name: .shortAndLong, help: "A file with the input, JSON or YAML; - for standard input.")
    var input: String?

    @Flag(name: [.customShort("I"), .long], help: "Read the input from standard input.")
    var stdinInput = false

    @Option(name: .shortAndLong, help: "How to print: json or pretty.")
    var format = PolicyFormat.json

    @Option(help: "Show the steps of the evaluation: full, notes (what trace() said), fails or off.")
    var explain = Explain.off

    @Flag(help: "Show the time, evaluations and redos of each line.")
    var profile = false

    @Flag(help: "Show which lines were evaluated.")
    var coverage = false

    @Flag(help: "Exit with 1 where the query is undefined.")
    var fail = false

    @Flag(help: "Exit with 1 where the query is defined.")
    var failDefined = false

    @Flag(help: "End with the first error of a built-in function.")
    var strictBuiltinErrors = false

    @Flag(
        name: [.customShort("S"), .long],
        help: "Refuse unused variables and imports, and what else OPA's strict mode does.")
    var strict = false

    @Option(help: "The package in whose names the query is written.")
    var package: String?

    @Option(help: "A document that the query names by its last part, such as data.users.")
    var `import`: [String] = []

    @OptionGroup var schema: SchemaOptions

    func run() throws {
        var report = EvalReport()
        let status: Int32
        do {
            report.solutions = try solutions(&report)
            let isDefined = !report.solutions.isEmpty
            status = (fail && !isDefined) || (failDefined && isDefined) ? 1 : 0
        } catch let errors as RegoErrors {
            report.errors = errors.errors
            status = 2
        } catch let error as RegoError {
            report.errors = [error]
            status = 2
        } catch let error as PolicyLoadError {
            report.errors = error.problems.map { RegoError(code: "", message: $0.description) }
            status = 2
        }
        report.print(format)
        if status != 0 { throw CommandFailure(status: status, message: "") }
    }

    private func solutions(_ report: inout EvalReport) throws -> [Solution] {
        var limits = RegoLimits()
        limits.strictBuiltinErrors = strictBuiltinErrors
        var options = CompileOptions()
        options.isStrict = strict
        options.keepsPrints = true
        try schema.apply(to: &options)
        var parts: Observation.Parts = []
        if explain != .off { parts.insert(.trace) }
        if profile { parts.insert(.profile) }
        if coverage { parts.insert(.coverage) }
        options.isInstrumented = !parts.isEmpty
        let files = try PolicyFiles(data, layout: .loose)
        let policy = try CompiledPolicy(
            modules: files.modules, data: files.data,
            questions: [RegoQuery(query, package: package, imports: `import`)], limits: limits, options: options)
        let evaluator = Evaluator(policy)
        evaluator.printSink = { text, _, _ in Console.note(text) }
        let observation = parts.isEmpty ? nil : Observation(parts)
        evaluator.observation = observation
        defer { if let observation { observe(observation, &report) } }
        return try evaluator.solve(input: try readInput(evaluator), time: WallClock.now)
    }

    private func observe(_ observation: Observation, _ report: inout EvalReport) {
        report.isTruncated = observation.isTruncated
        switch explain {
        case .off: break
        case .full: report.explanation = observation.events
        case .notes: report.explanation = observation.events.explaining([.note])
        case .fails: report.explanation = observation.events.explaining([.fail])
        }
        if profile { report.profile = observation.profile }
        if coverage { report.coverage = observation.coverage }
    }

    private func readInput(_ evaluator: Evaluator) throws -> Evaluator.Input {
        guard let path = stdinInput ? "-" : input else { return evaluator.makeEmptyInput() }
        let bytes = try InputFile.contents(of: path)
        let name = InputFile.name(of: path)
        // JSON keeps its numbers as they are written.
        if let value = try? RegoValue(json: bytes) { return evaluator.makeInput(value) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CommandFailure.badInput("\(name): not UTF-8 text (save it as UTF-8)")
        }
        do throws(RegoError) {
            return evaluator.makeInput(try RegoValue(yaml: text))
        } catch {
            throw CommandFailure.badInput("\(name): neither JSON nor YAML: \(error.message)")
        }
    }
}

/// What `sallyport policy eval` prints.
struct EvalReport {
    var solutions: [Solution] = []
    var errors: [RegoError] = []
    var explanation: [TraceEvent] = []
    var isTruncated = false
    var profile: [ProfileEntry]?
    var coverage: CoverageReport?

    func print(_ format: PolicyFormat) {
        switch format {
        case .json: Swift.print(json.prettyJSON)
        case .pretty: printPretty()
        }
        if isTruncated { Console.complain("the trace is cut off after \(Observation.maximumEvents) steps") }
    }

    private var json: RegoValue {
        var fields: [(key: RegoValue, value: RegoValue)] = []
        if let coverage { fields.append((.string("coverage"), coverage.value)) }
        if !errors.isEmpty { fields.append((.string("errors"), .array(errors.map(\.value)))) }
        if !solutions.isEmpty { fields.append((.string("result"), .array(solutions.map(\.value)))) }
        if !explanation.isEmpty { fields.append((.string("explanation"), .array(explanation.map(\.value)))) }
        if let profile, !profile.isEmpty { fields.append((.string("profile"), .array(profile.map(\.value)))) }
        return .object(fields)
    }

    private func printPretty() {
        for line in explanation.lines { Swift.print(TerminalText.safe(line)) }
        if !errors.isEmpty {
            Console.note(RegoErrors(errors).description)
        } else if solutions.isEmpty {
            Swift.print("undefined")
        } else {
            printSolutions()
        }
        if let profile, !profile.isEmpty {
            var table = BoxTable(["Time", "Num Eval", "Num Redo", "Num Gen Expr", "Location"])
            for entry in profile {
                let place = entry.file.isEmpty ? "\(entry.row):\(entry.column)" : "\(entry.file):\(entry.row)"
                table.append([
                    GoDuration.text(entry.nanoseconds), "\(entry.evaluations)", "\(entry.redos)",
                    "\(entry.expressions)", place,
                ])
            }
            for line in table.lines { Swift.print(line) }
        }
        if let coverage {
            var table = BoxTable([])
            table.append(["Overall Coverage", Decimals.text(coverage.percentage)])
            for line in table.lines { Swift.print(line) }
        }
    }

    private func printSolutions() {
        let first = solutions[0]
        if solutions.count == 1, first.bindings.isEmpty {
            if first.expressions.count == 1 || first.expressions.allSatisfy({ $0.value.boolean != nil }) {
                return Swift.print(TerminalText.lines(first.expressions[0].value.prettyJSON))
            }
        }
        let names = first.bindings.map(\.name).sorted()
        let shown = first.expressions.indices.filter {
            first.expressions[$0].value.boolean == nil || names.isEmpty
        }
        var table = BoxTable(names + shown.map { first.expressions[$0].text })
        for solution in solutions {
            let values = names.map { name in solution.bindings.first { $0.name == name }?.value.json ?? "null" }
            table.append(values + shown.map { solution.expressions[$0].value.json })
        }
        for line in table.lines { Swift.print(line) }
    }
}
