import Rego

/// Runs a policy directory's own tests, as `opa test` does: rules whose names begin with `test_` in any module, tests
/// included; a rule that is true passes, `todo_` is skipped.
public struct PolicyTestRunner {
    private let policy: CompiledPolicy
    private let names: [String]

    /// Compiles the directory's modules together with its tests. Throws what is wrong with either.
    public init(_ directory: PolicyDirectory) throws(PolicyLoadError) {
        let data = try DataDocument(directory)
        // The same limits as in force, so that what passes here behaves the same there; tests may take longer.
        var limits = RegoLimits(instructions: 50_000_000, memoryBytes: 256 << 20)
        limits.strictBuiltinErrors = true
        policy = try LoadedPolicy.compile(
            directory.modules + directory.tests, of: directory, data: data.value, limits: limits)
        names = policy.entryPoints.filter { path in
            let rule = path.split(separator: ".").last ?? ""
            return rule.hasPrefix("test_") || rule.hasPrefix("todo_test_")
        }
    }

    /// Runs every test; `time` is the clock they see, nanoseconds since the Unix epoch.
    public func run(time: Int) -> [PolicyTestResult] {
        let evaluator = Evaluator(policy)
        return names.map { name in
            PolicyTestResult(name: name, outcome: Self.outcome(of: name, evaluator, time: time))
        }
    }

    private static func outcome(of name: String, _ evaluator: Evaluator, time: Int) -> PolicyTestResult.Outcome {
        if name.split(separator: ".").last?.hasPrefix("todo_") == true { return .skipped }
        guard let entry = try? evaluator.policy.entryPoint(name) else { return .failed("is no rule without arguments") }
        do throws(RegoError) {
            let result = try evaluator.evaluate(entry, input: evaluator.makeEmptyInput(), time: time)
            if result.boolean == true { return .passed }
            return .failed(
                result.json.map { "is \($0), not true" } ?? "is undefined: one of its conditions does not hold")
        } catch {
            return .failed(error.description)
        }
    }
}

/// What one test of a policy did.
public struct PolicyTestResult: Equatable, Sendable {
    /// The rule, such as `data.sallyport.egress_test.test_listed_name`.
    public let name: String
    /// What it did.
    public let outcome: Outcome

    /// How a test ends.
    public enum Outcome: Equatable, Sendable {
        /// The rule was true.
        case passed
        /// It was not, and why.
        case failed(String)
        /// Its name begins with `todo_`.
        case skipped
    }
}
