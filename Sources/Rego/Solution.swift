/// One answer to the question that a policy was compiled with.
public struct Solution: Sendable {
    /// An expression of the question and its value.
    public struct Expression: Sendable {
        /// The value; true for expressions that only hold, such as `x := 1`.
        public let value: RegoValue
        /// The text as written.
        public let text: String
        /// Line, from 1.
        public let row: Int
        /// Column in characters, from 1.
        public let column: Int
    }

    /// The expressions as written.
    public let expressions: [Expression]
    /// The question's variables and their values, by name.
    public let bindings: [(name: String, value: RegoValue)]

    /// An answer from the machine's: an object of variables.
    init(_ answer: RegoValue, _ expressions: [QueryExpression]) {
        self.expressions = expressions.map { expression in
            let value = expression.variable.flatMap { answer[$0] } ?? .boolean(true)
            return Expression(value: value, text: expression.text, row: expression.row, column: expression.column)
        }
        guard case .object(let pairs) = answer else {
            bindings = []
            return
        }
        bindings = pairs.compactMap { pair in
            guard let name = pair.key.string, !QueryExpression.isVariable(name) else { return nil }
            return (name, pair.value)
        }
    }

    /// As `opa eval` prints it: `expressions`, and `bindings` where there are some.
    public var value: RegoValue {
        let expressions = expressions.map { expression -> RegoValue in
            .object([
                (.string("value"), expression.value), (.string("text"), .string(expression.text)),
                (
                    .string("location"),
                    .object([
                        (.string("row"), RegoValue(expression.row)), (.string("col"), RegoValue(expression.column)),
                    ])
                ),
            ])
        }
        var fields: [(key: RegoValue, value: RegoValue)] = [(.string("expressions"), .array(expressions))]
        if !bindings.isEmpty {
            fields.append((.string("bindings"), .object(bindings.map { (.string($0.name), $0.value) })))
        }
        return .object(fields)
    }
}

extension Evaluator {
    /// Answers the question with number `index` of those that the policy was compiled with: none where it is undefined.
    /// `time` is the clock, nanoseconds since the Unix epoch. Throws what `evaluate` throws.
    public func solve(_ index: Int = 0, input: Input, time: Int) throws(RegoError) -> [Solution] {
        guard policy.questions.indices.contains(index) else {
            throw RegoError(code: "rego_compile_error", message: "the policy was compiled without question \(index)")
        }
        let question = policy.questions[index]
        let entry = CompiledPolicy.EntryPoint(group: question.group, isQuery: true)
        let answers = try evaluate(entry, input: input, time: time).value?.elements ?? []
        return answers.map { Solution($0, question.expressions) }
    }
}
