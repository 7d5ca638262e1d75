/// From parsed modules to checked, rewritten rules: names resolved, locals renamed, calls expanded, bodies in a safe
/// order. What comes out is what the planner turns into instructions.
///
/// The stages follow OPA's, so that the same mistake is found first. Those behind the expansion of calls look at copies
/// of the rules (`NormalRule`), rewritten further than the planner wants them.
final class Compiler {
    /// In order of their names.
    let modules: [Module]
    let tree = RuleTree()
    private(set) var errors: [RegoError] = []
    /// The name as written of each local.
    private(set) var originals: [String: String] = [:]
    /// Terms that locals of the compiler stand for.
    private var subjects: [String: Term] = [:]
    private var locals = 0
    /// Numbers of locals that the policy has names for.
    private let mentioned: Set<Int>
    /// Host functions by name, with their numbers of arguments.
    let hostFunctions: [String: Int]
    private let options: CompileOptions
    /// The types of all rules, for queries.
    private var types: TypeEnvironment?

    init(_ modules: [Module], hostFunctions: [String: Int] = [:], options: CompileOptions = CompileOptions()) {
        self.modules = modules.sorted { $0.source.name.utf8.lexicographicallyPrecedes($1.source.name.utf8) }
        self.hostFunctions = hostFunctions
        self.options = options
        mentioned = modules.reduce(into: []) { $0.formUnion(LocalNames.numbers($1.source.bytes)) }
        locals = (mentioned.max() ?? -1) + 1
    }

    // MARK: Errors

    /// Most errors that one compilation reports.
    private static let maximumErrors = 10

    func fail(_ code: String, _ location: Location, _ message: String, details: [String] = []) {
        fail(RegoError(code, location, message, details: details))
    }

    func fail(_ error: RegoError) {
        if errors.count >= Self.maximumErrors { return }
        errors.append(error)
        if errors.count == Self.maximumErrors {
            errors.append(RegoError(code: "rego_compile_error", message: "error limit reached"))
        }
    }

    /// Throws what is wrong so far.
    private func stop() throws(RegoErrors) { if !errors.isEmpty { throw RegoErrors(errors) } }

    // MARK: Stages

    /// Runs all stages; throws what is wrong after the first stage that finds something.
    func compile() throws(RegoErrors) {
        for module in modules { forEachBranch(module) { $0.module = module } }
        for module in modules { resolve(module) }
        try stop()
        let names = NameChecks(self)
        for module in modules { names.checkOverrides(module) }
        try stop()
        for module in modules { names.checkImports(module) }
        try stop()
        buildTree()
        rewriteLocals()
        try stop()
        forEachBranch { for error in TemplateRewrite.problems($0) { self.fail(error) } }
        try stop()
        for module in modules { PrintCheck(self).checkValues(module) }
        try stop()
        for module in modules { PrintCheck(self).checkOperands(module) }
        try stop()
        expandCalls()
        forEachBranch { self.markFunctionValues($0.body) }
        try check()
        orderBodies()
    }

    private func forEachBranch(_ module: Module, _ body: (Rule) -> Void) {
        for rule in module.rules {
            var next: Rule? = rule
            while let rule = next {
                body(rule)
                next = rule.otherwise
            }
        }
    }

    private func forEachBranch(_ body: (Rule) -> Void) { for module in modules { forEachBranch(module, body) } }

    private func rewriteLocals() {
        for module in modules {
            for rule in module.rules {
                var stage = LocalVariables(counter: locals, isStrict: options.isStrict, arity: { self.arity(of: $0) })
                stage.rewrite(rule)
                finish(stage)
            }
        }
    }

    private func finish(_ stage: LocalVariables) {
        locals = stage.nextNumber
        for error in stage.errors { fail(error) }
        originals.merge(stage.originals) { $1 }
    }

    private func expandCalls() {
        if options.keepsPrints { forEachBranch { PrintRewrite.rewrite($0, counter: &self.locals) } }
        forEachBranch { TemplateRewrite.rewrite($0, counter: &self.locals) }
        for module in modules {
            for rule in module.rules {
                var stage = CallExpansion(counter: locals)
                stage.expand(rule)
                locals = stage.nextNumber
                subjects.merge(stage.subjects) { $1 }
            }
        }
    }

    /// Checks copies of all rules.
    private func check() throws(RegoErrors) {
        var normalizer = Normalizer(counter: locals, subjects: subjects)
        var branches: [ObjectIdentifier: [NormalRule]] = [:]
        var all: [NormalRule] = []
        for module in modules {
            for rule in module.rules {
                var next: Rule? = rule
                while let branch = next {
                    let normal = NormalRule(branch, module)
                    for error in WithCheck(self).check(normal.body) { fail(error) }
                    normalizer.prepare(normal)
                    branches[ObjectIdentifier(rule), default: []].append(normal)
                    all.append(normal)
                    next = branch.otherwise
                }
            }
        }
        try stop()
        RuleConflicts(self).run()
        try stop()
        let root = TypeChecker(context([:])).rootEnvironment(hostFunctions: hostFunctions)
        let calls = CallCheck(self, root)
        for rule in all { calls.check(rule.body) }
        try stop()
        let safety = SafetyReport(self)
        for rule in all { safety.checkHead(rule) }
        try stop()
        for rule in all { safety.checkBody(rule) }
        try stop()
        for rule in all { normalizer.finish(rule) }
        let graph = RuleGraph(self)
        RecursionCheck(self, graph).run()
        try stop()
        try checkTypes(normalizer, graph, branches)
        for rule in all { calls.checkDeprecated(rule.body) }
        try stop()
    }

    private func context(_ subjects: [String: Term]) -> TypeChecker.Context {
        TypeChecker.Context(input: options.inputSchema?.type, originals: originals, subjects: subjects)
    }

    private func checkTypes(
        _ normalizer: Normalizer, _ graph: RuleGraph, _ branches: [ObjectIdentifier: [NormalRule]]
    ) throws(RegoErrors) {
        let checker = TypeChecker(context(normalizer.subjects))
        let environment = checker.rootEnvironment(hostFunctions: hostFunctions)
        let annotations = options.schemas.map { SchemaAnnotations(modules, $0) }
        var found: [RegoError] = []
        for rule in graph.inOrderOfDependency() {
            let (scope, errors) = annotations?.environment(of: rule, in: environment) ?? (environment, [])
            found += errors
            for branch in branches[ObjectIdentifier(rule)] ?? [] {
                found += checker.check(branch, in: scope, addingTo: environment)
            }
        }
        for error in RegoErrors.sorted(found) { fail(error) }
        types = environment
        try stop()
    }

    /// Puts the bodies that the planner sees into a safe order.
    private func orderBodies() {
        forEachBranch { rule in
            var globals = VariableCollector.names(rule.head.arguments ?? [])
            globals.formUnion(["input", "data"])
            var safety = Safety(arity: { self.arity(of: $0) })
            rule.body = safety.reorder(rule.body, globals: globals)
            let heads = [rule.head.key, rule.head.value].compactMap { $0 } + rule.head.reference.dropFirst()
            let known = globals.union(VariableCollector.names(rule.body))
            for term in heads {
                let head = Expression(.term(term), term.location)
                _ = safety.reorder([head], globals: known.union(VariableCollector.names([head])))
            }
        }
    }

    // MARK: Names

    /// What each name in a package stands for. The heads of the references are shared: the last use of any of them is
    /// where errors about references are reported, as OPA does.
    private func globals(_ module: Module) -> [String: [Term]] {
        let data = Term(.variable("data"))
        var names: [String: [Term]] = [:]
        let package = TermPrinter.text(module.package)
        for other in modules where TermPrinter.text(other.package) == package {
            for rule in other.rules {
                let name = rule.name
                names[name] = [data] + module.package + [Term(.string(name))]
            }
        }
        for statement in module.imports {
            guard case .variable(let root) = statement.path[0].value, root != "future", root != "rego" else { continue }
            names[statement.name] = statement.path.map { $0.copy() }
        }
        names["data"] = nil
        names["input"] = nil
        return names
    }

    private func resolve(_ module: Module) {
        var resolver = Resolver(globals: globals(module))
        for rule in module.rules { for error in resolver.resolve(rule) { fail(error) } }
        guard options.isStrict else { return }
        for statement in module.imports {
            guard case .variable(let root) = statement.path[0].value, root != "future", root != "rego" else { continue }
            if !resolver.used.contains(statement.name) {
                fail("rego_compile_error", statement.location, "\(statement.text) unused")
            }
        }
    }

    /// A query in a safe order, and its variables by local and as written.
    typealias Query = (body: Body, names: [(local: String, name: String)])

    /// Prepares a query. Where `captures` is set, the values of its expressions stand in variables of their own
    /// (`QueryExpression.variable`), and `expressions` says which.
    func compileQuery(
        _ body: Body, package: [Term] = [], imports: [Import] = [], capturing captures: Bool = false
    ) throws(RegoErrors) -> (query: Query, expressions: [QueryExpression]) {
        PrintCheck(self).checkValues(body)
        try stop()
        var globals: [String: [Term]] = [:]
        for statement in imports { globals[statement.name] = statement.path }
        let data = Term(.variable("data"))
        if !package.isEmpty, let node = tree.find(package.compactMap { ConstantTerm.value($0) }) {
            for child in node.children {
                if case .string(let name) = child.key { globals[name] = [data] + package + [Term(.string(name))] }
            }
        }
        var resolver = Resolver(globals: globals)
        resolver.resolve(query: body)
        var body = body
        let expressions = captures ? QueryExpression.capture(&body, arity: { self.arity(of: $0) }) : []
        var stage = LocalVariables(counter: locals, isStrict: options.isStrict, arity: { self.arity(of: $0) })
        body = stage.rewriteQuery(body)
        let names = stage.originals
        finish(stage)
        try stop()
        if options.keepsPrints { PrintRewrite.rewrite(body, counter: &locals) }
        TemplateRewrite.rewrite(&body, counter: &locals)
        var expansion = CallExpansion(counter: locals)
        body = expansion.expand(body)
        locals = expansion.nextNumber
        markFunctionValues(body)
        for error in WithCheck(self).check(body) { fail(error) }
        try stop()
        let root = types ?? TypeChecker(context([:])).rootEnvironment(hostFunctions: hostFunctions)
        CallCheck(self, root).check(body)
        try stop()
        var safety = Safety(arity: { self.arity(of: $0) })
        body = safety.reorder(body, globals: ["input", "data"])
        SafetyReport(self).report(safety, scope: "")
        try stop()
        var result: [(local: String, name: String)] = []
        let seen = VariableCollector.names(body, VariableCollector(skipsCallHeads: true, skipsClosures: true))
        for name in seen.sorted() where name != "input" && name != "data" {
            if let original = names[name] {
                result.append((name, original))
            } else if !name.hasPrefix("__local"), !name.hasPrefix("$") || QueryExpression.isVariable(name) {
                result.append((name, name))
            }
        }
        return ((body, result), expressions)
    }

    // MARK: The tree

    /// What stands in errors for parts of heads that are neither constants nor variables.
    private(set) var headNames: [ObjectIdentifier: String] = [:]

    private func nameHeads() {
        var number = 0
        for module in modules {
            for rule in module.rules {
                for term in rule.head.reference.dropFirst() where !Self.isKey(term) {
                    if case .variable = term.value { continue }
                    while mentioned.contains(number) { number += 1 }
                    headNames[ObjectIdentifier(term)] = "__local\(number)__"
                    number += 1
                }
            }
        }
    }

    private func buildTree() {
        nameHeads()
        for module in modules {
            var package = tree
            for term in module.package {
                if let key = ConstantTerm.value(term) { package = package.makeChild(key) }
            }
            package.isPackage = true
            for rule in module.rules {
                var node = package.makeChild(.string(rule.name))
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

    // MARK: Functions

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

    /// The node of a function that a call's operator names.
    func function(_ op: Term) -> RuleTree? {
        guard case .reference(let parts) = op.value, case .variable("data") = parts[0].value else { return nil }
        let path = parts.dropFirst().compactMap { ConstantTerm.value($0) }
        guard path.count == parts.count - 1, let node = tree.find(path) else { return nil }
        return node.rules.first?.head.arguments == nil ? nil : node
    }

    /// How many arguments a call's operator takes, where rules take none; nil where there is neither function nor rule.
    func callArity(of op: Term) -> Int? {
        if let arity = arity(of: op) { return arity }
        guard case .reference(let terms) = op.value, case .variable("data") = terms[0].value else { return nil }
        let path = terms.dropFirst().compactMap { ConstantTerm.value($0) }
        return path.count == terms.count - 1 && tree.find(path)?.rules.isEmpty == false ? 0 : nil
    }

    /// How many input arguments a call's operator takes; nil where there is no such function.
    func arity(of op: Term) -> Int? {
        let name = TermPrinter.text(op)
        if let declaration = BuiltinTable.declarations[name] { return declaration.arguments.count }
        if let count = hostFunctions[name] { return count }
        return function(op)?.rules.first?.head.arguments?.count
    }
}

/// Locals that a module's text mentions.
enum LocalNames {
    /// The numbers of all names `__local<number>` in a text.
    static func numbers(_ source: [UInt8]) -> Set<Int> {
        let prefix = Array("__local".utf8)
        var numbers: Set<Int> = []
        var index = 0
        while index + prefix.count < source.count {
            guard source[index] == prefix[0], source[index..<index + prefix.count].elementsEqual(prefix) else {
                index += 1
                continue
            }
            index += prefix.count
            var number = 0
            while index < source.count, source[index] >= 0x30, source[index] <= 0x39, number < 1 << 32 {
                number = number * 10 + Int(source[index] - 0x30)
                index += 1
            }
            numbers.insert(number)
        }
        return numbers
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
