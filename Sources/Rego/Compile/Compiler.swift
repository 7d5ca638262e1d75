/// From parsed modules to checked, rewritten rules: names resolved, locals renamed, calls expanded, bodies in a safe
/// order. What comes out is what the planner turns into instructions.
final class Compiler {
    let modules: [Module]
    let tree = RuleTree()
    private(set) var errors: [RegoError] = []
    /// The name as written of each local.
    private(set) var originals: [String: String] = [:]
    private var locals = 0
    /// Host functions by name, with their numbers of arguments.
    let hostFunctions: [String: Int]

    init(_ modules: [Module], hostFunctions: [String: Int] = [:]) {
        self.modules = modules
        self.hostFunctions = hostFunctions
    }

    func fail(_ code: String, _ location: Location, _ message: String, details: [String] = []) {
        errors.append(RegoError(code, location, message, details: details))
    }

    /// Runs all stages; throws what is wrong after the first stage that finds something.
    func compile() throws(RegoErrors) {
        for module in modules { for rule in module.rules { adopt(rule, module) } }
        checkImports()
        try stop()
        for module in modules { resolve(module) }
        try stop()
        buildTree()
        for module in modules {
            for rule in module.rules {
                var stage = LocalVariables(counter: locals)
                stage.rewrite(rule)
                finish(stage)
            }
        }
        try stop()
        for module in modules {
            for rule in module.rules {
                var rule: Rule? = rule
                while let current = rule {
                    TemplateRewrite.rewrite(current, counter: &locals)
                    rule = current.otherwise
                }
            }
        }
        for module in modules {
            for rule in module.rules {
                var stage = CallExpansion(counter: locals)
                stage.expand(rule)
                locals = stage.nextNumber
            }
        }
        for module in modules {
            for rule in module.rules {
                var next: Rule? = rule
                while let rule = next {
                    markFunctionValues(rule.body)
                    next = rule.otherwise
                }
            }
        }
        checkConflicts()
        try stop()
        checkFunctions()
        try stop()
        checkHeadSafety()
        checkBodySafety()
        try stop()
        RecursionCheck(self).run()
        try stop()
    }

    private func finish(_ stage: LocalVariables) {
        locals = stage.nextNumber
        errors += stage.errors
        originals.merge(stage.originals) { $1 }
    }

    func stop() throws(RegoErrors) {
        if errors.isEmpty { return }
        let sorted = errors.enumerated().sorted { a, b in
            if a.element.file != b.element.file { return a.element.file < b.element.file }
            if a.element.row != b.element.row { return a.element.row < b.element.row }
            if a.element.column != b.element.column { return a.element.column < b.element.column }
            return a.offset < b.offset
        }
        throw RegoErrors(sorted.map(\.element))
    }

    private func adopt(_ rule: Rule, _ module: Module) {
        var next: Rule? = rule
        while let rule = next {
            rule.module = module
            next = rule.otherwise
        }
    }

    /// The name of a rule's first part.
    static func name(of rule: Rule) -> String {
        if case .variable(let name) = rule.head.reference[0].value { return name }
        return ""
    }

    // MARK: Names

    private func checkImports() {
        for module in modules {
            for statement in module.imports {
                if case .variable(let root) = statement.path[0].value, root == "future" || root == "rego" { continue }
                if let alias = statement.alias, alias == "input" || alias == "data" {
                    fail(
                        "rego_compile_error", statement.location,
                        "imports must not shadow \(alias)" + " (use a different variable name)")
                }
            }
        }
    }

    /// What each name in a package stands for.
    private func globals(_ module: Module) -> [String: [Term]] {
        let data = Term(.variable("data"))
        var names: [String: [Term]] = [:]
        let package = TermPrinter.text(module.package)
        for other in modules where TermPrinter.text(other.package) == package {
            for rule in other.rules {
                let name = Compiler.name(of: rule)
                names[name] = [data] + module.package + [Term(.string(name))]
            }
        }
        for statement in module.imports {
            guard case .variable(let root) = statement.path[0].value, root != "future", root != "rego" else { continue }
            names[statement.name] = statement.path
        }
        names["data"] = nil
        names["input"] = nil
        return names
    }

    private func resolve(_ module: Module) {
        var resolver = Resolver(globals: globals(module))
        for rule in module.rules { resolver.resolve(rule) }
    }

    /// Prepares a query: returns the body in a safe order and the names of its variables as written.
    func compileQuery(_ body: Body, package: [Term] = [], imports: [Import] = []) throws(RegoErrors) -> (
        body: Body, names: [(local: String, name: String)]
    ) {
        var globals: [String: [Term]] = [:]
        for statement in imports { globals[statement.name] = statement.path }
        let data = Term(.variable("data"))
        if !package.isEmpty, let node = tree.find(package.compactMap { ConstantTerm.value($0) }) {
            for child in node.children {
                if case .string(let name) = child.key { globals[name] = [data] + package + [Term(.string(name))] }
            }
        }
        var resolver = Resolver(globals: globals)
        resolver.resolve(body)
        var stage = LocalVariables(counter: locals)
        var body = stage.rewriteQuery(body)
        let names = stage.originals
        finish(stage)
        try stop()
        TemplateRewrite.rewrite(&body, counter: &locals)
        var expansion = CallExpansion(counter: locals)
        body = expansion.expand(body)
        locals = expansion.nextNumber
        markFunctionValues(body)
        for expression in body { checkCalls(expression) }
        try stop()
        var safety = Safety(arity: { self.arity(of: $0) })
        body = safety.reorder(body, globals: ["input", "data"])
        report(safety)
        try stop()
        var result: [(local: String, name: String)] = []
        let seen = VariableCollector.names(body, VariableCollector(skipsCallHeads: true, skipsClosures: true))
        for name in seen.sorted() where name != "input" && name != "data" {
            if let original = names[name] {
                result.append((name, original))
            } else if !name.hasPrefix("__local"), !name.hasPrefix("$") {
                result.append((name, name))
            }
        }
        return (body, result)
    }

    // MARK: The tree

    private func buildTree() {
        for module in modules {
            var package = tree
            for term in module.package {
                if let key = ConstantTerm.value(term) { package = package.makeChild(key) }
            }
            package.isPackage = true
            for rule in module.rules {
                var node = tree
                for term in module.package {
                    if let key = ConstantTerm.value(term) { node = node.makeChild(key) }
                }
                node = node.makeChild(.string(Compiler.name(of: rule)))
                for term in Compiler.staticParts(rule) {
                    if let key = ConstantTerm.value(term) { node = node.makeChild(key) }
                }
                node.rules.append(rule)
            }
        }
    }

    /// The constant parts of a head's reference behind the name, up to the first one that is not.
    static func staticParts(_ rule: Rule) -> [Term] {
        var parts: [Term] = []
        for term in rule.head.reference.dropFirst() {
            guard isKey(term) else { break }
            parts.append(term)
        }
        return parts
    }

    private static func isKey(_ term: Term) -> Bool {
        switch term.value {
        case .string, .number, .boolean, .null: true
        default: false
        }
    }

    /// The parts of a head's reference from the first variable one on.
    static func dynamicParts(_ rule: Rule) -> [Term] {
        Array(rule.head.reference.dropFirst(1 + staticParts(rule).count))
    }

    // MARK: Checks

    private func checkConflicts() { RuleConflicts(self).run() }

    /// Marks the values of `with`s that are functions as calls without arguments: their names are no variables.
    private func markFunctionValues(_ body: Body) {
        for expression in body {
            for with in expression.with {
                let name = TermPrinter.text(with.value)
                let isBuiltin = BuiltinTable.declarations[name] != nil
                guard arity(of: with.target) != nil, isBuiltin || function(with.value) != nil else { continue }
                switch with.value.value {
                case .variable:
                    with.value.value = .call([Term(.reference([Term(.variable(name))]), with.value.location)])
                case .reference: with.value.value = .call([Term(with.value.value, with.value.location)])
                default: break
                }
            }
            ClosureWalk.walk(expression) { closure in
                switch closure {
                case .comprehension(_, let body), .every(_, _, let body), .body(let body): self.markFunctionValues(body)
                }
            }
        }
    }

    private func checkFunctions() {
        for module in modules {
            for rule in module.rules {
                var next: Rule? = rule
                while let rule = next {
                    for expression in rule.body { checkCalls(expression) }
                    for term in [rule.head.key, rule.head.value].compactMap({ $0 }) { checkCalls(term) }
                    next = rule.otherwise
                }
            }
        }
    }

    private func checkCalls(_ expression: Expression) {
        switch expression.kind {
        case .call(let terms):
            checkCall(terms, expression.location)
            for term in terms.dropFirst() { checkCalls(term) }
        case .term(let term): checkCalls(term)
        case .some: break
        case .every(_, _, let domain, let body):
            checkCalls(domain)
            for inner in body { checkCalls(inner) }
        case .not(let body, _): for inner in body { checkCalls(inner) }
        case .logical(_, let left, let right): for inner in left + right { checkCalls(inner) }
        }
        for with in expression.with { checkCalls(with.value) }
    }

    private func checkCalls(_ term: Term) {
        switch term.value {
        case .arrayComprehension(let head, let body), .setComprehension(let head, let body):
            checkCalls(head)
            for inner in body { checkCalls(inner) }
        case .objectComprehension(let key, let value, let body):
            checkCalls(key)
            checkCalls(value)
            for inner in body { checkCalls(inner) }
        default: for child in TermWalk.children(term) { checkCalls(child) }
        }
    }

    private func checkCall(_ terms: [Term], _ location: Location) {
        if arity(of: terms[0]) == nil {
            fail("rego_type_error", location, "undefined function \(TermPrinter.text(terms[0]))")
            return
        }
        if let declaration = BuiltinTable.declarations[TermPrinter.text(terms[0])] {
            let count = terms.count - 1
            let expected = declaration.arguments.count
            if declaration.isVariadic { return }
            if count < expected || count > expected + (declaration.result == nil ? 0 : 1) {
                fail("rego_type_error", location, "\(declaration.name): arity mismatch")
            }
            return
        }
        if let node = function(terms[0]), let rule = node.rules.first {
            let expected = rule.head.arguments?.count ?? 0
            let count = terms.count - 1
            if count < expected || count > expected + 1 {
                fail(
                    "rego_type_error", location,
                    "function \(TermPrinter.text(terms[0])) has arity \(expected), got \(count) argument"
                        + (count == 1 ? "" : "s"))
            }
        }
    }

    /// The node of a function that a call's operator names.
    func function(_ op: Term) -> RuleTree? {
        guard case .reference(let parts) = op.value, case .variable("data") = parts[0].value else { return nil }
        let path = parts.dropFirst().compactMap { ConstantTerm.value($0) }
        guard path.count == parts.count - 1, let node = tree.find(path) else { return nil }
        return node.rules.first?.head.arguments == nil ? nil : node
    }

    /// How many input arguments a call's operator takes; nil where there is no such function.
    func arity(of op: Term) -> Int? {
        let name = TermPrinter.text(op)
        if let declaration = BuiltinTable.declarations[name] { return declaration.arguments.count }
        if let count = hostFunctions[name] { return count }
        return function(op)?.rules.first?.head.arguments?.count
    }

    private func checkHeadSafety() {
        for module in modules {
            for rule in module.rules {
                var next: Rule? = rule
                while let rule = next {
                    var known = VariableCollector.names(rule.body)
                    known.formUnion(VariableCollector.names(rule.head.arguments ?? []))
                    known.formUnion(["input", "data"])
                    let head =
                        Array(rule.head.reference.dropFirst()) + [rule.head.key, rule.head.value].compactMap { $0 }
                    var reported: Set<String> = []
                    for term in head {
                        for (name, location) in VariablePlaces.find(term) where !known.contains(name) {
                            let original = originals[name] ?? name
                            if original.hasPrefix("$") || original.hasPrefix("__local") { continue }
                            if reported.insert(original).inserted {
                                fail("rego_unsafe_var_error", location, "var \(original) is unsafe")
                            }
                        }
                    }
                    next = rule.otherwise
                }
            }
        }
    }

    private func checkBodySafety() {
        for module in modules {
            for rule in module.rules {
                var next: Rule? = rule
                while let rule = next {
                    var safety = Safety(arity: { self.arity(of: $0) })
                    var globals = VariableCollector.names(rule.head.arguments ?? [])
                    globals.formUnion(["input", "data"])
                    rule.body = safety.reorder(rule.body, globals: globals)
                    var heads: Body = []
                    for term in [rule.head.key, rule.head.value].compactMap({ $0 })
                        + rule.head.reference.dropFirst()
                    {
                        heads.append(Expression(.term(term), term.location))
                    }
                    var inner = Safety(arity: { self.arity(of: $0) })
                    let known = globals.union(VariableCollector.names(rule.body))
                    for head in heads {
                        _ = inner.reorder([head], globals: known.union(VariableCollector.names([head])))
                    }
                    report(safety)
                    next = rule.otherwise
                }
            }
        }
    }

    private func report(_ safety: Safety) {
        var places: [String: Location] = [:]
        for entry in safety.unsafe {
            for name in entry.names {
                let place = entry.expression.location
                if let known = places[name], (known.row, known.column) <= (place.row, place.column) { continue }
                places[name] = place
            }
        }
        var reported = false
        for (name, place) in places.sorted(by: { a, b in
            (a.value.row, a.value.column, a.key) < (b.value.row, b.value.column, b.key)
        }) {
            let original = originals[name] ?? name
            if original.hasPrefix("$") || original.hasPrefix("__local") { continue }
            reported = true
            let hint =
                Token.futureKeywords[original] != nil
                ? " (hint: `import future.keywords.\(original)` to import a future keyword)" : ""
            fail("rego_unsafe_var_error", place, "var \(original) is unsafe\(hint)")
        }
        if reported { return }
        for entry in safety.unsafe {
            fail("rego_unsafe_var_error", entry.expression.location, "expression is unsafe")
        }
    }
}

extension RuleTree {
    /// The node at a path below this one.
    func find(_ path: [RegoValue]) -> RuleTree? {
        var node = self
        for key in path {
            guard let child = node.child(key) else { return nil }
            node = child
        }
        return node
    }
}

/// Variables of a term with their places; closures left out.
enum VariablePlaces {
    static func find(_ term: Term) -> [(name: String, location: Location)] {
        switch term.value {
        case .variable(let name): [(name, term.location)]
        case .call(let terms): terms.dropFirst().flatMap { find($0) }
        case .arrayComprehension, .setComprehension, .objectComprehension, .template: []
        default: TermWalk.children(term).flatMap { find($0) }
        }
    }
}
