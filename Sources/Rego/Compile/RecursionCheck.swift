/// Refuses rules that depend on themselves.
struct RecursionCheck {
    private let compiler: Compiler

    init(_ compiler: Compiler) { self.compiler = compiler }

    func run() {
        let dependencies = RuleDependencies(compiler)
        var rules: [Rule] = []
        for module in compiler.modules { rules += module.rules }
        let numbers = Dictionary(uniqueKeysWithValues: rules.enumerated().map { (ObjectIdentifier($1), $0) })
        var edges: [[Int]] = []
        for rule in rules {
            edges.append(dependencies.of(rule).compactMap { numbers[ObjectIdentifier($0)] }.sorted())
        }
        var state = [UInt8](repeating: 0, count: rules.count)
        for start in rules.indices where state[start] == 0 {
            // Depth-first with a stack of our own: chains may be long.
            var stack: [(rule: Int, next: Int)] = [(start, 0)]
            state[start] = 1
            while let top = stack.last {
                if top.next < edges[top.rule].count {
                    stack[stack.count - 1].next += 1
                    let target = edges[top.rule][top.next]
                    if state[target] == 1 {
                        let from = stack.firstIndex { $0.rule == target } ?? 0
                        let cycle = stack[from...].map { rules[$0.rule] } + [rules[target]]
                        report(rules[target], cycle)
                    } else if state[target] == 0 {
                        state[target] = 1
                        stack.append((target, 0))
                    }
                } else {
                    state[top.rule] = 2
                    stack.removeLast()
                }
            }
        }
    }

    private func report(_ rule: Rule, _ cycle: [Rule]) {
        let names = cycle.map { RuleDependencies.name($0) }
        compiler.fail(
            "rego_recursion_error", rule.location,
            "rule \(RuleDependencies.name(rule)) is recursive: \(names.joined(separator: " -> "))")
    }
}

/// Which rules a rule reads.
struct RuleDependencies {
    private let compiler: Compiler

    init(_ compiler: Compiler) { self.compiler = compiler }

    /// A rule's path as OPA writes it.
    static func name(_ rule: Rule) -> String {
        let package = rule.module?.package ?? []
        return TermPrinter.text(
            [Term(.variable("data"))] + package + [Term(.string(Compiler.name(of: rule)))]
                + rule.head.reference.dropFirst())
    }

    /// The rules that `rule` reads, by themselves or in its `else` branches.
    func of(_ rule: Rule) -> [Rule] {
        var found: [Rule] = []
        var next: Rule? = rule
        while let rule = next {
            for expression in rule.body { visit(expression, &found) }
            for term in [rule.head.key, rule.head.value].compactMap({ $0 }) + rule.head.reference.dropFirst() {
                visit(term, &found)
            }
            for term in rule.head.arguments ?? [] { visit(term, &found) }
            next = rule.otherwise
        }
        return found
    }

    private func visit(_ expression: Expression, _ found: inout [Rule]) {
        switch expression.kind {
        case .term(let term): visit(term, &found)
        case .call(let terms), .some(let terms): for term in terms { visit(term, &found) }
        case .every(_, _, let domain, let body):
            visit(domain, &found)
            for inner in body { visit(inner, &found) }
        case .not(let body, _): for inner in body { visit(inner, &found) }
        case .logical(_, let left, let right): for inner in left + right { visit(inner, &found) }
        }
        for with in expression.with { visit(with.value, &found) }
    }

    private func visit(_ term: Term, _ found: inout [Rule]) {
        switch term.value {
        case .reference(let terms):
            if case .variable("data") = terms[0].value { collect(Array(terms.dropFirst()), compiler.tree, &found) }
            for part in terms { if case .variable = part.value {} else { visit(part, &found) } }
        case .arrayComprehension(let head, let body), .setComprehension(let head, let body):
            visit(head, &found)
            for inner in body { visit(inner, &found) }
        case .objectComprehension(let key, let value, let body):
            visit(key, &found)
            visit(value, &found)
            for inner in body { visit(inner, &found) }
        default: for child in TermWalk.children(term) { visit(child, &found) }
        }
    }

    /// Rules that a reference may read: along constant parts one child, at other parts all.
    private func collect(_ parts: [Term], _ node: RuleTree, _ found: inout [Rule]) {
        found += node.rules
        guard let first = parts.first else {
            for child in node.children { collect([], child, &found) }
            return
        }
        if let key = ConstantTerm.value(first) {
            if let child = node.child(key) { collect(Array(parts.dropFirst()), child, &found) }
        } else {
            for child in node.children { collect(Array(parts.dropFirst()), child, &found) }
        }
    }
}
