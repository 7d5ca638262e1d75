/// Turns template strings into calls of `internal.template_string` with one set for each expression: empty where the
/// expression is undefined.
enum TemplateRewrite {
    static func rewrite(_ rule: Rule, counter: inout Int) {
        rewrite(&rule.body, counter: &counter)
        for term in rule.head.arguments ?? [] { rewrite(term, &counter) }
        for term in rule.head.reference.dropFirst() { rewrite(term, &counter) }
        if let key = rule.head.key, key !== rule.head.reference.last { rewrite(key, &counter) }
        if let value = rule.head.value { rewrite(value, &counter) }
    }

    static func rewrite(_ body: inout Body, counter: inout Int) {
        for expression in body { rewrite(expression, &counter) }
    }

    private static func rewrite(_ expression: Expression, _ counter: inout Int) {
        switch expression.kind {
        case .term(let term): rewrite(term, &counter)
        case .call(let terms), .some(let terms): for term in terms { rewrite(term, &counter) }
        case .every(_, _, let domain, let body):
            rewrite(domain, &counter)
            for inner in body { rewrite(inner, &counter) }
        case .not(let body, _): for inner in body { rewrite(inner, &counter) }
        case .logical(_, let left, let right): for inner in left + right { rewrite(inner, &counter) }
        }
        for with in expression.with { rewrite(with.value, &counter) }
    }

    private static func rewrite(_ term: Term, _ counter: inout Int) {
        switch term.value {
        case .template(let parts):
            var elements: [Term] = []
            for part in parts {
                switch part {
                case .text(let text): elements.append(text)
                case .expression(let expression):
                    rewrite(expression, &counter)
                    elements.append(comprehension(expression, &counter))
                }
            }
            let place = term.location
            let op = Term(
                .reference([Term(.variable("internal"), place), Term(.string("template_string"), place)]), place)
            term.value = .call([op, Term(.array(elements), place)])
        case .arrayComprehension(let head, let body), .setComprehension(let head, let body):
            rewrite(head, &counter)
            for inner in body { rewrite(inner, &counter) }
        case .objectComprehension(let key, let value, let body):
            rewrite(key, &counter)
            rewrite(value, &counter)
            for inner in body { rewrite(inner, &counter) }
        default: for child in TermWalk.children(term) { rewrite(child, &counter) }
        }
    }

    private static func comprehension(_ expression: Expression, _ counter: inout Int) -> Term {
        let place = expression.location
        let output = Term(.variable("__local\(counter)__"), place)
        counter += 1
        let inner: Expression
        switch expression.kind {
        case .call(let terms): inner = equality(output, Term(.call(terms)), place)
        case .term(let term): inner = equality(output, term, place)
        default: inner = expression
        }
        inner.with = expression.with
        return Term(.setComprehension(Term(output.value, place), [inner]), place)
    }

    private static func equality(_ output: Term, _ term: Term, _ place: Location) -> Expression {
        let op = Term(.reference([Term(.variable("eq"), place)]), place)
        return Expression(.call([op, output, term]), place)
    }
}
