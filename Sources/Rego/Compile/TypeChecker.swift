/// Infers the types of rules and finds expressions that cannot hold: arguments of the wrong type, values that can never
/// be equal, references to what cannot be there.
final class TypeChecker {
    /// What all checks of a policy share.
    final class Context {
        /// The type of `input`, where a schema gives one.
        let input: RegoType?
        /// The name as written of each local.
        let originals: [String: String]
        /// The terms that locals of the compiler stand for.
        let subjects: [String: Term]

        init(input: RegoType?, originals: [String: String], subjects: [String: Term]) {
            self.input = input
            self.originals = originals
            self.subjects = subjects
        }
    }

    let context: Context

    init(_ context: Context) { self.context = context }

    /// A checker with the same settings.
    func fresh() -> TypeChecker { TypeChecker(context) }

    /// The environment of all rules: the built-in functions, those of the host and the input.
    func rootEnvironment(hostFunctions: [String: Int]) -> TypeEnvironment {
        let environment = TypeEnvironment(self)
        if let input = context.input { environment.tree.put(Term(.variable("input")), input) }
        func put(_ name: String, _ type: RegoType) {
            let parts = name.split(separator: ".").map(String.init)
            let path = parts.enumerated().map { Term($0 == 0 ? .variable($1) : .string($1)) }
            environment.tree.put(path, type)
        }
        for (name, declaration) in BuiltinTable.declarations {
            put(name, .function(declaration.arguments, result: declaration.result))
        }
        for (name, count) in hostFunctions {
            put(name, .function(Array(repeating: RegoType.anything, count: count), result: .anything))
        }
        return environment
    }

    // MARK: Rules

    /// Checks a rule in `scope`, the environment of all rules or one with what annotations say of the rule, and adds its
    /// type to that of all rules.
    func check(
        _ rule: NormalRule, in scope: TypeEnvironment, addingTo environment: TypeEnvironment
    ) -> [RegoError] {
        let (inner, errors) = check(rule.body, in: scope)
        let path = rule.path
        guard errors.isEmpty else {
            environment.tree.put(path, .anything)
            return errors
        }
        guard let type = type(of: rule, path, inner) else { return [] }
        environment.tree.insert(type.path, type.type, environment)
        return []
    }

    private func type(of rule: NormalRule, _ path: [Term], _ environment: TypeEnvironment)
        -> (path: [Term], type: RegoType)?
    {
        if let arguments = rule.head.arguments, !arguments.isEmpty {
            for name in VariableCollector.names(arguments, VariableCollector()) {
                let variable = Term(.variable(name))
                if environment.type(of: variable) == nil { environment.tree.put(variable, .anything) }
            }
            let types = arguments.map { environment.type(of: $0) }
            return (path, .function(types, result: rule.head.value.flatMap { environment.type(of: $0) }))
        }
        var known: RegoType?
        if let value = rule.head.value {
            known = environment.type(of: value)
        } else if let key = rule.head.key, let element = environment.type(of: key) {
            known = .set(element)
        }
        guard var type = known else { return nil }
        guard let dynamic = path.dropFirst().firstIndex(where: { !TermWalk.isGround($0) }) else { return (path, type) }
        for term in path[dynamic...].reversed() {
            guard let key = environment.type(of: term) else { return nil }
            type = .object([], rest: RegoType.Rest(key: key, value: type))
        }
        return (Array(path[..<dynamic]), type)
    }

    // MARK: Bodies

    /// Checks a body. The environment knows the types of the body's variables.
    func check(_ body: Body, in outer: TypeEnvironment) -> (TypeEnvironment, [RegoError]) {
        let environment = TypeEnvironment(self, next: outer, depth: outer.depth + 1)
        var errors: [RegoError] = []
        for expression in body {
            environment.replace(expression.with)
            defer { environment.endReplacements() }
            let closureErrors = checkClosures(expression, environment)
            errors += closureErrors
            var references = ReferenceCheck(environment, context)
            references.visit(expression)
            errors += references.errors
            if let problem = check(expression, environment) {
                // What is unknown because of an error that was just reported says nothing new.
                if problem.causedByUnknown, !closureErrors.isEmpty || !references.errors.isEmpty { continue }
                errors.append(problem.error)
            }
        }
        return (environment, errors)
    }

    private func checkClosures(_ expression: Expression, _ environment: TypeEnvironment) -> [RegoError] {
        if environment.depth >= TypeEnvironment.maximumDepth { return [] }
        var result: [RegoError] = []
        func visit(_ closure: ClosureWalk.Closure) {
            switch closure {
            case .comprehension(let heads, let body):
                let (_, errors) = fresh().check(body, in: environment)
                if !errors.isEmpty {
                    result = errors
                    return
                }
                for head in heads { ClosureWalk.walk(head, visit) }
                for inner in body { ClosureWalk.walk(inner, visit) }
            case .every(let key, let value, let body):
                for term in [key, value].compactMap({ $0 }) { ClosureWalk.walk(term, visit) }
                for inner in body { ClosureWalk.walk(inner, visit) }
            case .body(let body): for inner in body { ClosureWalk.walk(inner, visit) }
            }
        }
        ClosureWalk.walk(expression, visit)
        return result
    }

    /// An expression's error, and whether it may come from a type that is not known.
    private struct Problem {
        let error: RegoError
        let causedByUnknown: Bool
    }

    private func check(_ expression: Expression, _ environment: TypeEnvironment) -> Problem? {
        for with in expression.with {
            if let problem = check(with, environment) { return problem }
        }
        guard case .call(let terms) = expression.kind else { return nil }
        if TermPrinter.text(terms[0]) == "eq" { return checkEquality(expression, terms, environment) }
        return checkCall(expression, terms, environment)
    }

    private func check(_ with: With, _ environment: TypeEnvironment) -> Problem? {
        guard case .function(let wanted, _) = environment.type(of: with.target) else { return nil }
        var value = with.value
        if case .call(let terms) = value.value, terms.count == 1 { value = terms[0] }
        guard let type = environment.type(of: value), case .function(let given, _) = type else { return nil }
        if RegoType.unifies(environment.type(of: with.target), type) { return nil }
        return argumentProblem(
            with.location, TermPrinter.text(with.target), "arity mismatch", have: given,
            want: argumentTexts(with.target, wanted, result: nil))
    }

    private func checkEquality(_ expression: Expression, _ terms: [Term], _ environment: TypeEnvironment) -> Problem? {
        guard terms.count == 3 else {
            let have = terms.dropFirst().map { environment.type(of: $0) }
            return argumentProblem(
                expression.location, "eq", terms.count < 3 ? "too few arguments" : "too many arguments", have: have,
                want: ["any", "any"])
        }
        let left = environment.type(of: terms[1])
        let right = environment.type(of: terms[2])
        if TypeUnification(environment).unify(terms[1], left, terms[2], right) { return nil }
        let details = ["left  : " + RegoType.text(left), "right : " + RegoType.text(right)]
        return Problem(
            error: RegoError("rego_type_error", expression.location, "match error", details: details),
            causedByUnknown: RegoType.isUnknown(left) || RegoType.isUnknown(right))
    }

    private func checkCall(_ expression: Expression, _ terms: [Term], _ environment: TypeEnvironment) -> Problem? {
        guard case .reference(let op) = terms[0].value else { return nil }
        let name = TermPrinter.text(terms[0])
        if BuiltinTable.declarations[name]?.isVariadic == true { return nil }
        let type = environment.type(ofReference: op)
        if case .any = type { return nil }
        guard case .function(var wanted, let result) = type else {
            return Problem(
                error: RegoError("rego_type_error", expression.location, "undefined function \(name)"),
                causedByUnknown: false)
        }
        let texts = argumentTexts(terms[0], wanted, result: result)
        let least = wanted.count
        if let result { wanted.append(result) }
        let arguments = terms.dropFirst()
        // As they were before anything is learned from the comparison.
        let have = arguments.map { environment.type(of: $0) }
        func problem(_ message: String) -> Problem {
            argumentProblem(expression.location, name, message, have: have, want: texts)
        }
        if arguments.count > wanted.count { return problem("too many arguments") }
        if arguments.count < least { return problem("too few arguments") }
        for (argument, type) in zip(arguments, wanted)
        where !TypeUnification(environment).unify(argument, type, union: false) {
            return problem("invalid argument(s)")
        }
        return nil
    }

    /// The arguments of a function as errors list them, with its result behind them.
    private func argumentTexts(_ op: Term, _ arguments: [RegoType?], result: RegoType?) -> [String] {
        var texts = arguments.map { RegoType.text($0) }
        let declaration = BuiltinTable.declarations[TermPrinter.text(op)]
        if let declaration { texts = declaration.argumentTexts }
        if let result {
            let name = declaration?.resultName ?? ""
            texts.append((name.isEmpty ? "" : name + ": ") + result.text)
        }
        return texts
    }

    private func argumentProblem(
        _ location: Location, _ name: String, _ message: String, have: [RegoType?], want: [String]
    ) -> Problem {
        Problem(
            error: RegoError(
                "rego_type_error", location, "\(name): \(message)",
                details: Self.argumentDetails(have: have, want: want)),
            causedByUnknown: have.contains { RegoType.isUnknown($0) })
    }

    /// The lines below an error about arguments.
    static func argumentDetails(have: [RegoType?], want: [String]) -> [String] {
        [
            "have: (" + have.map { RegoType.text($0) }.joined(separator: ", ") + ")",
            "want: (" + want.joined(separator: ", ") + ")",
        ]
    }
}
