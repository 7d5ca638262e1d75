/// Refuses rules that depend on themselves.
struct RecursionCheck {
    private let compiler: Compiler
    private let graph: RuleGraph

    init(_ compiler: Compiler, _ graph: RuleGraph) {
        self.compiler = compiler
        self.graph = graph
    }

    func run() {
        if !graph.hasCycle() { return }
        for start in graph.rules.indices {
            guard let path = cycle(through: start) else { continue }
            let names = path.map { RuleGraph.name(graph.rules[$0]) }
            compiler.fail(
                "rego_recursion_error", graph.rules[start].location,
                "rule \(names[0]) is recursive: \(names.joined(separator: " -> "))")
            if compiler.errors.count > 10 { return }
        }
    }

    /// A path from a rule back to itself.
    private func cycle(through start: Int) -> [Int]? {
        var seen = [Bool](repeating: false, count: graph.rules.count)
        var stack: [(rule: Int, next: Int)] = [(start, 0)]
        while let top = stack.last {
            guard top.next < graph.edges[top.rule].count else {
                stack.removeLast()
                continue
            }
            stack[stack.count - 1].next += 1
            let target = graph.edges[top.rule][top.next]
            if target == start { return stack.map(\.rule) + [start] }
            if seen[target] { continue }
            seen[target] = true
            stack.append((target, 0))
        }
        return nil
    }
}

/// Which rules read which.
struct RuleGraph {
    /// All rules, without `else` branches.
    let rules: [Rule]
    /// The rules that each rule reads, by itself or in its `else` branches.
    let edges: [[Int]]

    init(_ compiler: Compiler) {
        var rules: [Rule] = []
        for module in compiler.modules { rules += module.rules }
        let numbers = Dictionary(uniqueKeysWithValues: rules.enumerated().map { (ObjectIdentifier($1), $0) })
        var edges: [[Int]] = []
        for rule in rules {
            var found: [Rule] = []
            Self.collect(rule, compiler.tree, &found)
            edges.append(Set(found.compactMap { numbers[ObjectIdentifier($0)] }).sorted())
        }
        self.rules = rules
        self.edges = edges
    }

    /// A rule's path as OPA writes it.
    static func name(_ rule: Rule) -> String {
        TermPrinter.text(
            [Term(.variable("data"))] + (rule.module?.package ?? []) + [Term(.string(rule.name))]
                + rule.head.reference.dropFirst())
    }

    /// Walks depth first, with a stack of its own, since chains may be long. Calls back for each rule behind those that
    /// it reads; whether a rule reads itself, over others or not.
    @discardableResult
    private func walk(_ leave: (Int) -> Void) -> Bool {
        var state = [UInt8](repeating: 0, count: rules.count)
        var hasCycle = false
        for start in rules.indices where state[start] == 0 {
            var stack: [(rule: Int, next: Int)] = [(start, 0)]
            state[start] = 1
            while let top = stack.last {
                if top.next < edges[top.rule].count {
                    stack[stack.count - 1].next += 1
                    let target = edges[top.rule][top.next]
                    if state[target] == 1 { hasCycle = true }
                    if state[target] == 0 {
                        state[target] = 1
                        stack.append((target, 0))
                    }
                } else {
                    state[top.rule] = 2
                    leave(top.rule)
                    stack.removeLast()
                }
            }
        }
        return hasCycle
    }

    /// Whether a rule reads itself, over others or not.
    func hasCycle() -> Bool { walk { _ in } }

    /// Rules behind those that they read.
    func inOrderOfDependency() -> [Rule] {
        var ordered: [Rule] = []
        walk { ordered.append(rules[$0]) }
        return ordered
    }

    // MARK: What a rule reads

    private static func collect(_ rule: Rule, _ tree: RuleTree, _ found: inout [Rule]) {
        var next: Rule? = rule
        while let rule = next {
            for expression in rule.body { visit(expression, tree, &found) }
            for term in [rule.head.key, rule.head.value].compactMap({ $0 }) + rule.head.reference.dropFirst()
                + (rule.head.arguments ?? [])
            {
                visit(term, tree, &found)
            }
            next = rule.otherwise
        }
    }

    private static func visit(_ expression: Expression, _ tree: RuleTree, _ found: inout [Rule]) {
        switch expression.kind {
        case .term(let term): visit(term, tree, &found)
        case .call(let terms), .some(let terms): for term in terms { visit(term, tree, &found) }
        case .every(_, _, let domain, let body):
            visit(domain, tree, &found)
            for inner in body { visit(inner, tree, &found) }
        case .not(let body, _): for inner in body { visit(inner, tree, &found) }
        case .logical(_, let left, let right): for inner in left + right { visit(inner, tree, &found) }
        }
        for with in expression.with { visit(with.value, tree, &found) }
    }

    private static func visit(_ term: Term, _ tree: RuleTree, _ found: inout [Rule]) {
        switch term.value {
        case .reference(let terms):
            if case .variable("data") = terms[0].value { collect(terms.dropFirst(), tree, &found) }
            for part in terms { if case .variable = part.value {} else { visit(part, tree, &found) } }
        case .arrayComprehension(let head, let body), .setComprehension(let head, let body):
            visit(head, tree, &found)
            for inner in body { visit(inner, tree, &found) }
        case .objectComprehension(let key, let value, let body):
            visit(key, tree, &found)
            visit(value, tree, &found)
            for inner in body { visit(inner, tree, &found) }
        default: for child in TermWalk.children(term) { visit(child, tree, &found) }
        }
    }

    /// Rules that a reference may read: along constant parts one child, at other parts all.
    private static func collect(_ parts: ArraySlice<Term>, _ node: RuleTree, _ found: inout [Rule]) {
        found += node.rules
        guard let first = parts.first else {
            for child in node.children { collect([], child, &found) }
            return
        }
        if let key = ConstantTerm.value(first) {
            if let child = node.child(key) { collect(parts.dropFirst(), child, &found) }
        } else {
            for child in node.children { collect(parts.dropFirst(), child, &found) }
        }
    }
}
