/// Checks what `with` replaces.
struct WithCheck {
    private let compiler: Compiler

    init(_ compiler: Compiler) { self.compiler = compiler }

    /// The first thing wrong with the `with`s of a body; where there is none, what is wrong with those of inner bodies.
    func check(_ body: Body) -> [RegoError] {
        for expression in body {
            for with in expression.with {
                if let error = check(with) { return [error] }
            }
        }
        var errors: [RegoError] = []
        for expression in body {
            ClosureWalk.walk(expression) { closure in
                switch closure {
                case .comprehension(_, let body), .every(_, _, let body), .body(let body): errors += check(body)
                }
            }
        }
        return errors
    }

    private func check(_ with: With) -> RegoError? {
        let target = with.target
        let name = TermPrinter.text(target)
        var root: String?
        if case .reference(let terms) = target.value, case .variable(let text) = terms[0].value { root = text }
        switch root {
        case "data": return checkData(target)
        case "input": return nil
        default: break
        }
        guard let declaration = BuiltinTable.declarations[name] else {
            if compiler.hostFunctions[name] != nil { return nil }
            return RegoError(
                "rego_type_error", target.location,
                "with keyword target must reference existing input, data, or a function")
        }
        let prefix = "with keyword replacing built-in function: "
        func error(_ message: String) -> RegoError {
            RegoError("rego_compile_error", target.location, prefix + message)
        }
        switch name {
        case "eq", "rego.metadata.chain", "rego.metadata.rule":
            return error("replacement of \(RegoWriter.quoted(name)) invalid")
        default: break
        }
        if name == "internal" || name.hasPrefix("internal.") {
            return error("replacement of internal function \(RegoWriter.quoted(name)) invalid")
        }
        if BuiltinTable.isRelation(name) { return error("target must not be a relation") }
        if declaration.result == nil { return error("target must not be a void function") }
        return nil
    }

    private func checkData(_ target: Term) -> RegoError? {
        guard case .reference(let terms) = target.value else { return nil }
        var node = compiler.tree
        for term in terms.dropFirst().dropLast() {
            guard let key = ConstantTerm.value(term), let child = node.child(key) else { return nil }
            if !child.rules.isEmpty {
                return RegoError(
                    "rego_compile_error", target.location,
                    "with keyword cannot partially replace virtual document(s)")
            }
            node = child
        }
        return nil
    }
}
