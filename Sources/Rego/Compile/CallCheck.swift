/// Checks that called functions exist and are given as many arguments as they take.
struct CallCheck {
    private let compiler: Compiler
    private let environment: TypeEnvironment

    init(_ compiler: Compiler, _ environment: TypeEnvironment) {
        self.compiler = compiler
        self.environment = environment
    }

    func check(_ body: Body) { for expression in body { check(expression) } }

    private func check(_ expression: Expression) {
        if case .call(let terms) = expression.kind, !checkCall(expression, terms) { return }
        walk(expression) { check($0) }
    }

    /// Expressions right below one, those of heads of comprehensions among them.
    private func walk(_ expression: Expression, _ visit: (Expression) -> Void) {
        func enter(_ closure: ClosureWalk.Closure) {
            switch closure {
            case .comprehension(let heads, let body):
                for head in heads { ClosureWalk.walk(head, enter) }
                for inner in body { visit(inner) }
            case .every(_, _, let body), .body(let body): for inner in body { visit(inner) }
            }
        }
        ClosureWalk.walk(expression, enter)
    }

    private func checkCall(_ expression: Expression, _ terms: [Term]) -> Bool {
        let given = terms.count - 1
        guard let arity = compiler.arity(of: terms[0]) else {
            compiler.fail("rego_type_error", expression.location, "undefined function \(name(terms[0]))")
            return false
        }
        let declaration = BuiltinTable.declarations[TermPrinter.text(terms[0])]
        if declaration?.isVariadic == true { return true }
        if expression.generated {
            if given == arity + 1 || declaration?.name == "eq" { return true }
        } else if given == arity || given == arity + 1 {
            return true
        }
        if let declaration {
            compiler.fail(
                "rego_type_error", expression.location, "\(declaration.name): arity mismatch",
                details: TypeChecker.argumentDetails(
                    have: terms.dropFirst().map { environment.type(of: $0) }, want: declaration.argumentTexts))
        } else {
            let count = expression.generated ? given - 1 : given
            compiler.fail(
                "rego_type_error", expression.location,
                "function \(name(terms[0])) has arity \(arity), got \(count) argument" + (count == 1 ? "" : "s"))
        }
        return false
    }

    /// An operator as it was written.
    private func name(_ op: Term) -> String {
        guard case .reference(var terms) = op.value, case .variable(let local) = terms[0].value,
            let original = compiler.originals[local]
        else { return TermPrinter.text(op) }
        terms[0] = Term(.variable(original))
        return TermPrinter.text(terms)
    }

    // MARK: Deprecated functions

    /// Refuses calls of functions that are deprecated.
    func checkDeprecated(_ body: Body) { for expression in body { checkDeprecated(expression) } }

    private func checkDeprecated(_ expression: Expression) {
        if case .call(let terms) = expression.kind {
            let name = TermPrinter.text(terms[0])
            if BuiltinTable.declarations[name]?.isDeprecated == true {
                compiler.fail(
                    "rego_type_error", expression.location,
                    "deprecated built-in function calls in expression: \(name)")
            }
        }
        walk(expression) { checkDeprecated($0) }
    }
}
