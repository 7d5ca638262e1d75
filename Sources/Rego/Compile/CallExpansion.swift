/// Takes calls out of terms: `f(g(x))` becomes `g(x, __local0__); f(__local0__)`.
struct CallExpansion {
    private var counter: Int
    /// The number of the next local.
    var nextNumber: Int { counter }
    /// The calls that locals stand for.
    private(set) var subjects: [String: Term] = [:]

    init(counter: Int) { self.counter = counter }

    private mutating func fresh(_ location: Location) -> Term {
        defer { counter += 1 }
        return Term(.variable("__local\(counter)__"), location)
    }

    mutating func expand(_ rule: Rule) {
        var next: Rule? = rule
        while let rule = next {
            rule.body = expand(rule.body)
            var support: Body = []
            for term in rule.head.arguments ?? [] { expand(term, &support, []) }
            for term in rule.head.reference.dropFirst() { expand(term, &support, []) }
            if let key = rule.head.key, key !== rule.head.reference.last { expand(key, &support, []) }
            if let value = rule.head.value { expand(value, &support, []) }
            rule.body += support
            for (index, expression) in rule.body.enumerated() { expression.index = index }
            next = rule.otherwise
        }
    }

    mutating func expand(_ body: Body) -> Body {
        var result: Body = []
        for expression in body {
            var support: Body = []
            expand(expression, &support)
            result += support
            result.append(expression)
        }
        for (index, expression) in result.enumerated() { expression.index = index }
        return result
    }

    private mutating func expand(_ expression: Expression, _ support: inout Body) {
        for with in expression.with { expand(with.value, &support, []) }
        switch expression.kind {
        case .term(let term): expand(term, &support, expression.with)
        case .call(let terms): for term in terms.dropFirst() { expand(term, &support, expression.with) }
        case .some: break
        case .every(let key, let value, let domain, let body):
            expand(domain, &support, expression.with)
            let inner = expand(body)
            expression.kind = .every(key: key, value: value, domain: domain, body: inner)
        case .not(let body, let explicit): expression.kind = .not(expand(body), explicit: explicit)
        case .logical(let op, let left, let right): expression.kind = .logical(op, expand(left), expand(right))
        }
    }

    private mutating func expand(_ term: Term, _ support: inout Body, _ with: [With]) {
        switch term.value {
        case .null, .boolean, .number, .string, .variable: break
        case .reference(let terms), .array(let terms), .set(let terms):
            for part in terms { expand(part, &support, with) }
        case .object(let pairs):
            for pair in pairs {
                expand(pair.key, &support, with)
                expand(pair.value, &support, with)
            }
        case .call(let terms):
            let output = fresh(term.location)
            if case .variable(let name) = output.value { subjects[name] = term.copy() }
            for part in terms.dropFirst() { expand(part, &support, with) }
            let call = Expression(.call(terms + [output]), term.location)
            call.generated = true
            call.with = with
            support.append(call)
            term.value = output.value
        case .arrayComprehension(let head, let body):
            var (inner, extra) = (expand(body), Body())
            expand(head, &extra, [])
            inner += extra
            term.value = .arrayComprehension(head, inner)
        case .setComprehension(let head, let body):
            var (inner, extra) = (expand(body), Body())
            expand(head, &extra, [])
            inner += extra
            term.value = .setComprehension(head, inner)
        case .objectComprehension(let key, let value, let body):
            var (inner, extra) = (expand(body), Body())
            expand(key, &extra, [])
            expand(value, &extra, [])
            inner += extra
            term.value = .objectComprehension(key, value, inner)
        case .template: break
        }
    }
}
