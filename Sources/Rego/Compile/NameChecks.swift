/// Checks names that must not be given: those of root documents, and those of other imports.
struct NameChecks {
    private let compiler: Compiler

    init(_ compiler: Compiler) { self.compiler = compiler }

    // MARK: Root documents

    /// Rules, arguments and variables must not be named as root documents.
    func checkOverrides(_ module: Module) {
        for rule in module.rules {
            if rule.name == "data" || rule.name == "input" {
                compiler.fail(
                    "rego_compile_error", rule.location,
                    "rules must not shadow \(rule.name) (use a different rule name)")
            }
            for term in rule.head.arguments ?? [] {
                guard let root = Self.root(term) else { continue }
                compiler.fail(
                    "rego_compile_error", term.location,
                    "args must not shadow \(root) (use a different variable name)")
            }
        }
        for rule in module.rules {
            var next: Rule? = rule
            while let rule = next {
                for term in [rule.head.key, rule.head.value].compactMap({ $0 }) { visit(term) }
                for expression in rule.body { visit(expression) }
                next = rule.otherwise
            }
        }
    }

    /// The root document that a term is.
    private static func root(_ term: Term) -> String? {
        guard case .reference(let terms) = term.value, terms.count == 1, case .variable(let name) = terms[0].value,
            name == "data" || name == "input"
        else { return nil }
        return name
    }

    private func visit(_ expression: Expression) {
        if case .call(let terms) = expression.kind, terms.count > 1, TermPrinter.text(terms[0]) == "assign",
            let root = Self.root(terms[1])
        {
            compiler.fail(
                "rego_compile_error", expression.location,
                "variables must not shadow \(root) (use a different variable name)")
        }
        ClosureWalk.walk(expression) { visit($0) }
    }

    private func visit(_ term: Term) { ClosureWalk.walk(term) { visit($0) } }

    private func visit(_ closure: ClosureWalk.Closure) {
        switch closure {
        case .comprehension(let heads, let body):
            for head in heads { visit(head) }
            for inner in body { visit(inner) }
        case .every(_, _, let body), .body(let body): for inner in body { visit(inner) }
        }
    }

    // MARK: Imports

    /// Two imports must not give the same name.
    func checkImports(_ module: Module) {
        var known: [String: Import] = [:]
        for statement in module.imports {
            if let other = known[statement.name] {
                compiler.fail("rego_compile_error", statement.location, "import must not shadow \(other.text)")
            } else {
                known[statement.name] = statement
            }
        }
    }
}

extension Import {
    /// The statement as OPA prints it.
    var text: String {
        "import " + TermPrinter.text(path) + (alias.map { " as \($0)" } ?? "")
    }
}

extension Rule {
    /// The name of the rule's first part.
    var name: String {
        if case .variable(let name) = head.reference[0].value { return name }
        return ""
    }
}
