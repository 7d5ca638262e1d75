public import Rego

/// A compiled Rego policy as a `PolicyEngine`: an immutable snapshot of one revision.
///
/// It is asked for `decision` in its package and, where that is undefined, for `allow`. Errors of built-in functions end
/// the decision with `policyError`: with Rego's usual silence a misspelt prefix in `not blocked` would let everything pass.
public struct EmbeddedPolicyEngine: PolicyEngine {
    /// The revision.
    public let revision: String
    /// The package that is asked, without `data.`.
    public let package: String
    /// The policy itself, for commands that ask it more.
    public let policy: CompiledPolicy
    private let decision: Question?
    private let allow: Question?
    private let cacheCapacity: Int

    /// What a decision may cost: some 50 ms and 32 MiB. A queue thread waits for it.
    public static let limits = RegoLimits(instructions: 2_000_000, memoryBytes: 32 << 20, strictBuiltinErrors: true)

    /// One document that is asked for.
    fileprivate struct Question {
        let name: String
        let entry: CompiledPolicy.EntryPoint
    }

    /// The engine of a compiled policy. Each session remembers `cacheCapacity` decisions; 0 for none. Throws where the
    /// package defines neither `decision` nor `allow`.
    public init(
        _ policy: CompiledPolicy, package: String, revision: String, cacheCapacity: Int = 4096
    ) throws(RegoErrors) {
        func question(_ name: String) -> Question? {
            let path = "data.\(package).\(name)"
            return (try? policy.entryPoint(path)).map { Question(name: path, entry: $0) }
        }
        decision = question("decision")
        allow = question("allow")
        guard decision != nil || allow != nil else {
            throw RegoErrors([
                RegoError(
                    code: "rego_compile_error",
                    message:
                        "no rule data.\(package).decision (define it in package \(package), or name the package that "
                        + "has it as policy.package in the configuration)")
            ])
        }
        self.policy = policy
        self.package = package
        self.revision = revision
        self.cacheCapacity = cacheCapacity
    }

    /// A session for one thread.
    public func makeSession() -> any PolicySession {
        EmbeddedPolicySession(policy, questions: [decision, allow].compactMap { $0 }, cacheCapacity: cacheCapacity)
    }
}

/// One thread's evaluator and memory of decisions.
private final class EmbeddedPolicySession: PolicySession {
    private let evaluator: Evaluator
    private let questions: [EmbeddedPolicyEngine.Question]
    private var cache: DecisionCache

    init(_ policy: CompiledPolicy, questions: [EmbeddedPolicyEngine.Question], cacheCapacity: Int) {
        evaluator = Evaluator(policy)
        self.questions = questions
        cache = DecisionCache(capacity: cacheCapacity)
    }

    func decide(_ input: PolicyInput) -> PolicyDecision {
        if let kept = cache.decision(for: input) { return kept }
        do throws(RegoError) {
            let answer = try ask(input)
            if let fields = answer.fields { cache.remember(answer.decision, for: input, reading: fields) }
            return answer.decision
        } catch {
            return DecisionReader.failure(error.oneLine)
        }
    }

    /// The decision, and the fields that it depends on; nil where it depends on the clock or on chance.
    private func ask(_ input: PolicyInput) throws(RegoError) -> (decision: PolicyDecision, fields: InputFieldSet?) {
        let asked = evaluator.makeInput { builder in
            builder.object { InputShape.root.build(input, into: &$0) }
        }
        var fields: InputFieldSet = []
        var isRepeatable = true
        for question in questions {
            let result = try evaluator.evaluate(question.entry, input: asked, time: Int(clamping: input.time))
            isRepeatable = isRepeatable && !result.readClock && !result.readRandom
            for path in result.inputPathsRead {
                // A key that is no text is in no fact; what lies before it was read.
                fields.formUnion(InputFieldSet(readingAt: path.prefix { $0.string != nil }.compactMap(\.string)))
            }
            guard let value = result.value else { continue }
            var decision = DecisionReader.decision(from: value, asked: question.name)
            decision.refineReason(input, looksForCustomer: !fields.isDisjoint(with: .customer))
            if decision.rule == nil, let rule = result.rule { decision.rule = "\(rule.file):\(rule.row)" }
            return (decision, isRepeatable ? fields : nil)
        }
        let names = questions.map(\.name).joined(separator: " and ")
        let decision = DecisionReader.failure(
            "\(names) \(questions.count == 1 ? "is" : "are") undefined (add a default for what no rule decides)")
        return (decision, isRepeatable ? fields : nil)
    }
}

extension RegoError {
    /// The error without its source lines.
    var oneLine: String {
        let place = row > 0 ? "\(file):\(row): " : ""
        return "\(place)\(code): \(message)"
    }
}
