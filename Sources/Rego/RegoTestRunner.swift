/// Runs the tests of a policy: rules whose names begin with `test_`, as `opa test` does.
public struct RegoTestRunner {
    /// What became of one test.
    public enum Outcome: Hashable, Sendable {
        case passed
        /// The rule is false or undefined.
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
        /// How the test ended.
        public let outcome: Outcome
    }

    private let policy: CompiledPolicy
    private let tests: [(path: String, place: RulePlace)]

    /// Compiles `modules` over `data`. Throws everything that is wrong with the modules.
    public init(
        modules: [(name: String, source: String)], data: RegoValue = .object([]), limits: RegoLimits = RegoLimits()
    ) throws(RegoErrors) {
        policy = try CompiledPolicy(modules: modules, data: data, limits: limits)
        tests = policy.program.testRules
    }

    /// Runs all tests whose path contains `filter`, in the order of their paths. `time` is the clock of each test.
    public func run(filter: String = "", time: Int) -> [Report] {
        let evaluator = Evaluator(policy)
        var reports: [Report] = []
        for (path, place) in tests where filter.isEmpty || path.contains(filter) {
            let parts = path.split(separator: ".").map(String.init)
            let name = parts.last ?? path
            reports.append(
                Report(
                    package: parts.dropLast().joined(separator: "."), name: name, file: place.file, row: place.row,
                    outcome: name.hasPrefix("todo_") ? .skipped : outcome(path, evaluator, time)))
        }
        return reports
    }

    private func outcome(_ path: String, _ evaluator: Evaluator, _ time: Int) -> Outcome {
        guard let group = policy.program.entryGroups[path] else { return .failed }
        do throws(RegoError) {
            let entry = CompiledPolicy.EntryPoint(group: group, isQuery: false)
            let result = try evaluator.evaluate(entry, input: evaluator.makeEmptyInput(), time: time)
            if !result.isDefined || result.boolean == false { return .failed }
            return .passed
        } catch {
            return .failedWithError(error)
        }
    }
}
