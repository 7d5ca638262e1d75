/// Turns `print(x, y)` into `internal.print([{v | v = x}, {v | v = y}])`, so that what is undefined is printed as such and
/// ends nothing.
enum PrintRewrite {
    static func rewrite(_ rule: Rule, counter: inout Int) {
        rewrite(rule.body, counter: &counter)
        let heads = (rule.head.arguments ?? []) + rule.head.reference.dropFirst()
        for term in heads + [rule.head.key, rule.head.value].compactMap({ $0 }) { rewrite(term, &counter) }
    }

    static func rewrite(_ body: Body, counter: inout Int) {
        for expression in body {
            rewrite(expression, &counter)
            guard case .call(let terms) = expression.kind, TermPrinter.text(terms[0]) == "print" else { continue }
            let place = terms[0].location
            let op = Term(.reference([Term(.variable("internal"), place), Term(.string("print"), place)]), place)
            let operands = terms.dropFirst().map { operand($0, &counter) }
            expression.kind = .call([op, Term(.array(operands), expression.location)])
        }
    }

    private static func operand(_ term: Term, _ counter: inout Int) -> Term {
        let name = "__local\(counter)__"
        counter += 1
        let eq = Term(.reference([Term(.variable("eq"), term.location)]), term.location)
        let equality = Expression(.call([eq, Term(.variable(name), term.location), term]), term.location)
        return Term(.setComprehension(Term(.variable(name), term.location), [equality]), term.location)
    }

    private static func rewrite(_ expression: Expression, _ counter: inout Int) {
        switch expression.kind {
        case .term(let term): rewrite(term, &counter)
        case .call(let terms), .some(let terms): for term in terms { rewrite(term, &counter) }
        case .every(_, _, let domain, let body):
            rewrite(domain, &counter)
            rewrite(body, counter: &counter)
        case .not(let body, _): rewrite(body, counter: &counter)
        case .logical(_, let left, let right):
            rewrite(left, counter: &counter)
            rewrite(right, counter: &counter)
        }
        for with in expression.with { rewrite(with.value, &counter) }
    }

    private static func rewrite(_ term: Term, _ counter: inout Int) {
        switch term.value {
        case .arrayComprehension(_, let body), .setComprehension(_, let body), .objectComprehension(_, _, let body):
            rewrite(body, counter: &counter)
        default: break
        }
        for child in TermWalk.children(term) { rewrite(child, &counter) }
    }
}
