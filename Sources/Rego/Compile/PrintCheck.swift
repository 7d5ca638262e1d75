/// Checks calls of `print`: they have no value, and what they print must be bound or declared.
struct PrintCheck {
    private let compiler: Compiler

    init(_ compiler: Compiler) { self.compiler = compiler }

    // MARK: Values

    /// Functions without a result cannot be used as values.
    func checkValues(_ module: Module) {
        for rule in module.rules {
            var next: Rule? = rule
            while let rule = next {
                for term in (rule.head.arguments ?? []) + rule.head.reference.dropFirst()
                    + [rule.head.key, rule.head.value].compactMap({ $0 })
                {
                    checkValue(term)
                }
                checkValues(rule.body)
                next = rule.otherwise
            }
        }
    }

    /// As of a module, of a query.
    func checkValues(_ body: Body) {
        for expression in body {
            switch expression.kind {
            case .term(let term): checkValue(term)
            case .call(let terms), .some(let terms): for term in terms { checkValue(term) }
            case .every(_, _, let domain, let body):
                checkValue(domain)
                checkValues(body)
            case .not(let body, _): checkValues(body)
            case .logical(_, let left, let right): checkValues(left + right)
            }
            for with in expression.with { checkValue(with.value) }
        }
    }

    private func checkValue(_ term: Term) {
        if case .call(let terms) = term.value,
            let declaration = BuiltinTable.declarations[TermPrinter.text(terms[0])], declaration.result == nil
        {
            compiler.fail("rego_type_error", term.location, "\(TermPrinter.text(term)) used as value")
        }
        for child in TermWalk.children(term) { checkValue(child) }
        switch term.value {
        case .arrayComprehension(_, let body), .setComprehension(_, let body), .objectComprehension(_, _, let body):
            checkValues(body)
        case .template(let parts):
            for part in parts { if case .expression(let expression) = part { checkValues([expression]) } }
        default: break
        }
    }

    // MARK: Operands

    /// Names that are never variables of a body: the root documents, and what built-in functions begin with.
    private static let reserved: Set<String> = {
        let functions = BuiltinTable.declarations.keys.compactMap { $0.split(separator: ".").first.map(String.init) }
        return Set(functions).union(["input", "data"])
    }()

    /// Variables that are printed must be bound above.
    func checkOperands(_ module: Module) {
        for rule in module.rules {
            var next: Rule? = rule
            while let rule = next {
                var globals = Self.reserved.union(compiler.hostFunctions.keys)
                globals.formUnion(VariableCollector.names(rule.head.arguments ?? [], VariableCollector()))
                for term in rule.head.reference.dropFirst() + [rule.head.key, rule.head.value].compactMap({ $0 }) {
                    ClosureWalk.walk(term) { _ = checkOperands($0, globals) }
                }
                _ = checkOperands(rule.body, globals)
                next = rule.otherwise
            }
        }
    }

    private func checkOperands(_ closure: ClosureWalk.Closure, _ safe: Set<String>) -> Bool {
        switch closure {
        case .comprehension(_, let body), .body(let body): return checkOperands(body, safe)
        case .every(let key, let value, let body):
            let names = VariableCollector.names([key, value].compactMap { $0 }, VariableCollector())
            return checkOperands(body, safe.union(names))
        }
    }

    /// Whether the body is good.
    private func checkOperands(_ body: Body, _ globals: Set<String>) -> Bool {
        guard body.contains(where: { Self.mentionsPrint($0) }) else { return true }
        let safety = Safety(arity: { compiler.arity(of: $0) })
        var safe = globals
        var outputs: [Set<String>] = []
        for expression in body {
            outputs.append(safe)
            safe.formUnion(safety.outputs(expression, safe))
        }
        var isGood = true
        for (index, expression) in body.enumerated() {
            ClosureWalk.walk(expression) { if !checkOperands($0, outputs[index]) { isGood = false } }
        }
        if !isGood { return false }
        for (index, expression) in body.enumerated() {
            guard case .call(let terms) = expression.kind, TermPrinter.text(terms[0]) == "print" else { continue }
            for term in terms.dropFirst() {
                let unsafe = VariableCollector.names([term]).subtracting(outputs[index])
                for name in unsafe.sorted() {
                    let original = compiler.originals[name] ?? name
                    compiler.fail(
                        "rego_compile_error", term.location,
                        "var \(original.hasPrefix("$") ? "_" : original) is undeclared")
                    isGood = false
                }
            }
            if !isGood { return false }
        }
        return true
    }

    private static func mentionsPrint(_ expression: Expression) -> Bool {
        if case .call(let terms) = expression.kind, TermPrinter.text(terms[0]) == "print" { return true }
        var found = false
        ClosureWalk.walk(expression) { closure in
            if found { return }
            switch closure {
            case .comprehension(_, let body), .every(_, _, let body), .body(let body):
                found = body.contains { mentionsPrint($0) }
            }
        }
        return found
    }
}
