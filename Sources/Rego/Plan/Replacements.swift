/// What the `with`s of a policy and its queries replace, so that only those calls look for replacements.
struct Replacements {
    private(set) var paths: [[String]] = []
    private(set) var functions: Set<String> = []

    init(_ compiler: Compiler, _ queries: [Body]) {
        for module in compiler.modules {
            for rule in module.rules {
                var next: Rule? = rule
                while let rule = next {
                    for expression in rule.body { visit(expression, compiler) }
                    for term in [rule.head.key, rule.head.value].compactMap({ $0 }) { visit(term, compiler) }
                    next = rule.otherwise
                }
            }
        }
        for query in queries { for expression in query { visit(expression, compiler) } }
    }

    /// Whether a replaced path is this one or above it.
    func covers(_ path: [RegoValue]) -> Bool {
        paths.contains { replaced in
            replaced.count <= path.count && zip(replaced, path).allSatisfy { $0 == "*" || $0 == $1.json }
        }
    }

    private mutating func visit(_ expression: Expression, _ compiler: Compiler) {
        for with in expression.with {
            visit(with.value, compiler)
            guard case .reference(let terms) = with.target.value else {
                if case .variable(let name) = with.target.value { functions.insert(name) }
                continue
            }
            if case .variable("data") = terms[0].value {
                if compiler.function(with.target) != nil {
                    functions.insert(TermPrinter.text(terms))
                } else {
                    paths.append(terms.dropFirst().map { ConstantTerm.value($0)?.json ?? "*" })
                }
            } else if case .variable("input") = terms[0].value {
                continue
            } else {
                functions.insert(TermPrinter.text(terms))
            }
        }
        switch expression.kind {
        case .term(let term): visit(term, compiler)
        case .call(let terms), .some(let terms): for term in terms { visit(term, compiler) }
        case .every(_, _, let domain, let body):
            visit(domain, compiler)
            for inner in body { visit(inner, compiler) }
        case .not(let body, _): for inner in body { visit(inner, compiler) }
        case .logical(_, let left, let right): for inner in left + right { visit(inner, compiler) }
        }
    }

    private mutating func visit(_ term: Term, _ compiler: Compiler) {
        switch term.value {
        case .arrayComprehension(_, let body), .setComprehension(_, let body), .objectComprehension(_, _, let body):
            for inner in body { visit(inner, compiler) }
        default: break
        }
        for child in TermWalk.children(term) { visit(child, compiler) }
    }
}
