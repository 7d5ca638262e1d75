internal import Glibc

/// Runs the tests of a policy: rules whose names begin with `test_`, as `opa test` does.
public struct RegoTestRunner {
    /// What became of one test.
    public enum Outcome: Hashable, Sendable {
        case passed
        /// The rule is false or undefined, or a collection without elements or with a false one.
        case failed
        /// The rule's name begins with `todo_`.
        case skipped
        /// The evaluation ended with an error.
        case failedWithError(RegoError)
    }

    /// One test and what became of it.
    public struct Report: Sendable {
        /// `data.example_test`.
        public let package: String
        /// `test_allows`.
        public let name: String
        /// The module's name.
        public let file: String
        /// Line, from 1.
        public let row: Int
        /// Column in characters, from 1.
        public let column: Int
        /// How the test ended.
        public let outcome: Outcome
        /// How long it took.
        public let nanoseconds: Int
        /// What the test printed, a line each.
        public let output: [String]
        /// The steps of a test that did not pass, where they were asked for.
        public let trace: [TraceEvent]
    }

    private let policy: CompiledPolicy
    private let tests: [(path: String, place: RulePlace)]
    private let observation: Observation?

    /// Compiles `modules` over `data`; `observing` says what is to be kept of the tests' steps. Throws everything that is
    /// wrong with the modules.
    public init(
        modules: [(name: String, source: String)], data: RegoValue = .object([]), limits: RegoLimits = RegoLimits(),
        options: CompileOptions = CompileOptions(), observing parts: Observation.Parts = []
    ) throws(RegoErrors) {
        var options = options
        options.keepsPrints = true
        let plain = try CompiledPolicy(modules: modules, data: data, limits: limits, options: options)
        tests = plain.program.testRules.sorted {
            ($0.place.file, $0.place.row, $0.path) < ($1.place.file, $1.place.row, $1.path)
        }
        if parts.isEmpty {
            observation = nil
            policy = plain
        } else {
            options.isInstrumented = true
            observation = Observation(parts)
            // As questions, so that a trace begins with one.
            policy = try CompiledPolicy(
                modules: modules, data: data, questions: tests.map { RegoQuery($0.path) }, limits: limits,
                options: options)
        }
    }

    /// What the tests that were run covered; nil where that was not asked for.
    public var coverage: CoverageReport? { observation?.coverage }

    /// Runs the tests whose path a regular expression (RE2) is found in, in the order of files and lines; `each` gets them
    /// as they end. `time` is the clock of each test. Throws where the expression is none.
    public func run(matching pattern: String = "", time: Int, each: (Report) -> Void = { _ in }) throws(RegoError)
        -> [Report]
    {
        let expression: RegularExpression
        do throws(RegularExpression.SyntaxError) {
            expression = try RegularExpression(Array(pattern.utf8))
        } catch {
            throw RegoError(code: "rego_regex_error", message: error.message)
        }
        let evaluator = Evaluator(policy)
        evaluator.observation = observation
        var reports: [Report] = []
        for (number, test) in tests.enumerated() where expression.find(Array(test.path.utf8), from: 0) != nil {
            let report = run(number, test.path, test.place, evaluator, time)
            each(report)
            reports.append(report)
        }
        return reports
    }

    private func run(_ number: Int, _ path: String, _ place: RulePlace, _ evaluator: Evaluator, _ time: Int) -> Report {
        let parts = path.split(separator: ".").map(String.init)
        let name = parts.last ?? path
        final class Lines { var texts: [String] = [] }
        let printed = Lines()
        evaluator.printSink = { text, _, _ in printed.texts.append(text) }
        defer { evaluator.printSink = nil }
        observation?.forgetTrace()
        let begun = Self.now
        let outcome = name.hasPrefix("todo_") ? .skipped : outcome(number, path, evaluator, time)
        let nanoseconds = Self.now - begun
        return Report(
            package: parts.dropLast().joined(separator: "."), name: name, file: place.file, row: place.row,
            column: place.column, outcome: outcome, nanoseconds: nanoseconds, output: printed.texts,
            trace: outcome == .passed ? [] : observation?.events ?? [])
    }

    private func outcome(_ number: Int, _ path: String, _ evaluator: Evaluator, _ time: Int) -> Outcome {
        do throws(RegoError) {
            let value: RegoValue?
            if observation != nil {
                value = try evaluator.solve(number, input: evaluator.makeEmptyInput(), time: time).first?
                    .expressions.first?.value
            } else {
                guard let group = policy.program.entryGroups[path] else { return .failed }
                let entry = CompiledPolicy.EntryPoint(group: group, isQuery: false)
                value = try evaluator.evaluate(entry, input: evaluator.makeEmptyInput(), time: time).value
            }
            return value.map { Self.isGood($0) } == true ? .passed : .failed
        } catch {
            return .failedWithError(error)
        }
    }

    /// Whether a test's value means that it passed. Rules with several results fail with any of them, and with none.
    private static func isGood(_ value: RegoValue) -> Bool {
        switch value {
        case .boolean(let boolean): boolean
        case .array(let elements), .set(let elements):
            !elements.isEmpty && !elements.contains { $0.boolean == false }
        case .object(let pairs): !pairs.isEmpty && !pairs.contains { $0.value.boolean == false }
        case .null, .number, .string: true
        }
    }

    private static var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}

extension RegoTestRunner.Report {
    /// As `opa test --format json` has it: what was printed in Base64, times in nanoseconds.
    public var value: RegoValue {
        var fields: [(key: RegoValue, value: RegoValue)] = [
            (
                .string("location"),
                .object([
                    (.string("file"), .string(file)), (.string("row"), RegoValue(row)),
                    (.string("col"), RegoValue(column)),
                ])
            ),
            (.string("package"), .string(package)), (.string("name"), .string(name)),
            (.string("duration"), RegoValue(nanoseconds)),
        ]
        switch outcome {
        case .passed: break
        case .failed: fields.append((.string("fail"), .boolean(true)))
        case .skipped: fields.append((.string("skip"), .boolean(true)))
        case .failedWithError(let error): fields.append((.string("error"), error.value))
        }
        if !output.isEmpty {
            let text = output.map { $0 + "\n" }.joined()
            let encoded = Base64.encode(Array(text.utf8), url: false, padded: true)
            fields.append((.string("output"), .string(String(decoding: encoded, as: UTF8.self))))
        }
        if !trace.isEmpty { fields.append((.string("trace"), .array(trace.map(\.value)))) }
        return .object(fields)
    }
}
