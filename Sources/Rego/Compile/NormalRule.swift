/// A rule, or one `else` branch, as the checks see it: a copy in which whatever has to be evaluated stands in an
/// expression of its own.
final class NormalRule {
    let rule: Rule
    let module: Module
    var head: Head
    var body: Body

    init(_ rule: Rule, _ module: Module) {
        self.rule = rule
        self.module = module
        var head = rule.head.copy()
        // A key that is the last part of the reference stays so.
        if let key = rule.head.key, let last = rule.head.reference.last, key === last {
            head.key = head.reference.last
        }
        self.head = head
        body = rule.body.map { $0.copy() }
    }

    /// The rule's path from `data` on.
    var path: [Term] {
        var name = head.reference[0]
        if case .variable(let text) = name.value { name = Term(.string(text), name.location) }
        return [Term(.variable("data"))] + module.package + [name] + head.reference.dropFirst()
    }
}

/// Rewrites rules as OPA's compiler does before it checks them. Locals that are made here stand for terms, which errors
/// show in their place.
struct Normalizer {
    /// The terms that locals stand for.
    private(set) var subjects: [String: Term] = [:]
    private var counter: Int

    /// `counter` is the number of the next local; `subjects` are terms that locals stand for already.
    init(counter: Int, subjects: [String: Term]) {
        self.counter = counter
        self.subjects = subjects
    }

    /// `local = term`.
    private mutating func equality(_ term: Term) -> (local: Term, expression: Expression) {
        let name = "__local\(counter)__"
        counter += 1
        subjects[name] = term.copy()
        let op = Term(.reference([Term(.variable("eq"), term.location)]), term.location)
        let expression = Expression(
            .call([op, Term(.variable(name), term.location), term]), term.location)
        expression.generated = true
        return (Term(.variable(name), term.location), expression)
    }

    // MARK: Before the safety checks

    mutating func prepare(_ rule: NormalRule) {
        for index in rule.head.reference.indices.dropFirst() {
            let term = rule.head.reference[index]
            switch term.value {
            case .variable, .string, .number, .boolean, .null: continue
            default: break
            }
            let (local, expression) = equality(term)
            if rule.head.key === term { rule.head.key = local }
            rule.head.reference[index] = local
            rule.body.append(expression)
        }
        rule.body = indirect(rule.body)
        var support: Body = []
        for term in (rule.head.arguments ?? []) + [rule.head.key, rule.head.value].compactMap({ $0 }) {
            indirect(term, &support)
        }
        rule.body += support
        for expression in rule.body { comprehensions(expression) }
        for term in rule.head.arguments ?? [] { comprehensions(term) }
        if let key = rule.head.key { comprehensions(key) }
        if let value = rule.head.value { comprehensions(value) }
        if let key = rule.head.key, Self.needsEvaluation(key) { rule.head.key = moved(key, rule) }
        if let value = rule.head.value, Self.needsEvaluation(value) { rule.head.value = moved(value, rule) }
        if let arguments = rule.head.arguments {
            rule.head.arguments = arguments.map { Self.needsEvaluation($0) ? moved($0, rule) : $0 }
        }
        rule.body = withValues(rule.body)
    }

    private mutating func moved(_ term: Term, _ rule: NormalRule) -> Term {
        let (local, expression) = equality(term)
        rule.body.append(expression)
        return local
    }

    /// Whether a term has references or comprehensions.
    static func needsEvaluation(_ term: Term) -> Bool {
        switch term.value {
        case .reference, .arrayComprehension, .setComprehension, .objectComprehension, .template, .call: true
        default: TermWalk.children(term).contains { needsEvaluation($0) }
        }
    }

    // References into collections (`[1, 2][i]`) and domains of `every` go through locals.

    private mutating func indirect(_ body: Body) -> Body {
        var result: Body = []
        for expression in body {
            var withSupport: Body = []
            for with in expression.with { indirect(with.value, &withSupport) }
            var support: Body = []
            switch expression.kind {
            case .term(let term): indirect(term, &support)
            case .call(let terms): for term in terms.dropFirst() { indirect(term, &support) }
            case .some: break
            case .every(let key, let value, let domain, let body):
                let (local, bound) = equality(domain)
                indirect(domain, &support)
                support.append(bound)
                expression.kind = .every(key: key, value: value, domain: local, body: indirect(body))
            case .not(let body, let explicit): expression.kind = .not(indirect(body), explicit: explicit)
            case .logical(let op, let left, let right):
                expression.kind = .logical(op, indirect(left), indirect(right))
            }
            for extra in support { extra.with = expression.with }
            result += withSupport + support
            result.append(expression)
        }
        return result
    }

    private mutating func indirect(_ term: Term, _ support: inout Body) {
        switch term.value {
        case .reference(var terms):
            for part in terms { indirect(part, &support) }
            switch terms[0].value {
            case .array, .object, .set, .arrayComprehension, .setComprehension, .objectComprehension:
                let (local, expression) = equality(terms[0])
                support.append(expression)
                terms[0] = local
                term.value = .reference(terms)
            default: break
            }
        case .array(let terms), .set(let terms): for part in terms { indirect(part, &support) }
        case .object(let pairs):
            for pair in pairs {
                indirect(pair.key, &support)
                indirect(pair.value, &support)
            }
        case .arrayComprehension(let head, let body):
            term.value = .arrayComprehension(head, indirect([head], body))
        case .setComprehension(let head, let body): term.value = .setComprehension(head, indirect([head], body))
        case .objectComprehension(let key, let value, let body):
            term.value = .objectComprehension(key, value, indirect([key, value], body))
        default: break
        }
    }

    private mutating func indirect(_ heads: [Term], _ body: Body) -> Body {
        var support: Body = []
        for head in heads { indirect(head, &support) }
        return indirect(body) + support
    }

    // Heads of comprehensions go into their bodies.

    private mutating func comprehensions(_ expression: Expression) {
        switch expression.kind {
        case .term(let term): comprehensions(term)
        case .call(let terms), .some(let terms): for term in terms { comprehensions(term) }
        case .every(_, _, let domain, let body):
            comprehensions(domain)
            for inner in body { comprehensions(inner) }
        case .not(let body, _): for inner in body { comprehensions(inner) }
        case .logical(_, let left, let right): for inner in left + right { comprehensions(inner) }
        }
        for with in expression.with { comprehensions(with.value) }
    }

    private mutating func comprehensions(_ term: Term) {
        switch term.value {
        case .arrayComprehension(let head, let body):
            let (heads, body) = comprehension([head], body)
            term.value = .arrayComprehension(heads[0], body)
        case .setComprehension(let head, let body):
            let (heads, body) = comprehension([head], body)
            term.value = .setComprehension(heads[0], body)
        case .objectComprehension(let key, let value, let body):
            let (heads, body) = comprehension([key, value], body)
            term.value = .objectComprehension(heads[0], heads[1], body)
        default: for child in TermWalk.children(term) { comprehensions(child) }
        }
    }

    private mutating func comprehension(_ heads: [Term], _ body: Body) -> ([Term], Body) {
        for head in heads { comprehensions(head) }
        for inner in body { comprehensions(inner) }
        var body = body
        var result: [Term] = []
        for head in heads {
            if Self.needsEvaluation(head) {
                let (local, expression) = equality(head)
                body.append(expression)
                result.append(local)
            } else {
                result.append(head)
            }
        }
        return (result, body)
    }

    // Values of `with` go in front.

    private mutating func withValues(_ body: Body) -> Body {
        var result: Body = []
        for expression in body {
            rewriteClosures(expression) { $0.withValues($1) }
            for index in expression.with.indices {
                let value = expression.with[index].value
                // A function stands for itself.
                if case .call(let terms) = value.value, terms.count == 1 { continue }
                guard Self.needsEvaluation(value) else { continue }
                let (local, support) = equality(value)
                result.append(support)
                expression.with[index].value = local
            }
            result.append(expression)
        }
        return result
    }

    /// Rewrites the bodies that an expression closes over.
    private mutating func rewriteClosures(_ expression: Expression, _ rewrite: (inout Normalizer, Body) -> Body) {
        switch expression.kind {
        case .term(let term): rewriteClosures(term, rewrite)
        case .call(let terms), .some(let terms): for term in terms { rewriteClosures(term, rewrite) }
        case .every(let key, let value, let domain, let body):
            rewriteClosures(domain, rewrite)
            expression.kind = .every(key: key, value: value, domain: domain, body: rewrite(&self, body))
        case .not(let body, let explicit): expression.kind = .not(rewrite(&self, body), explicit: explicit)
        case .logical(let op, let left, let right):
            expression.kind = .logical(op, rewrite(&self, left), rewrite(&self, right))
        }
        for with in expression.with { rewriteClosures(with.value, rewrite) }
    }

    private mutating func rewriteClosures(_ term: Term, _ rewrite: (inout Normalizer, Body) -> Body) {
        switch term.value {
        case .arrayComprehension(let head, let body): term.value = .arrayComprehension(head, rewrite(&self, body))
        case .setComprehension(let head, let body): term.value = .setComprehension(head, rewrite(&self, body))
        case .objectComprehension(let key, let value, let body):
            term.value = .objectComprehension(key, value, rewrite(&self, body))
        default: for child in TermWalk.children(term) { rewriteClosures(child, rewrite) }
        }
    }

    // MARK: Behind the safety checks

    /// `==` becomes `=`, and references and comprehensions inside terms are bound to locals first.
    mutating func finish(_ rule: NormalRule) {
        for expression in rule.body { equals(expression) }
        rule.body = dynamics(rule.body)
    }

    private func equals(_ expression: Expression) {
        if case .call(let terms) = expression.kind, terms.count == 3, TermPrinter.text(terms[0]) == "equal" {
            let op = Term(.reference([Term(.variable("eq"), terms[0].location)]), terms[0].location)
            expression.kind = .call([op, terms[1], terms[2]])
        }
        ClosureWalk.walk(expression) { closure in
            switch closure {
            case .comprehension(let heads, let body):
                for head in heads { equals(head) }
                for inner in body { equals(inner) }
            case .every(_, _, let body), .body(let body): for inner in body { equals(inner) }
            }
        }
    }

    private func equals(_ term: Term) { equals(Expression(.term(term), term.location)) }

    private mutating func dynamics(_ body: Body) -> Body {
        var result: Body = []
        for expression in body {
            switch expression.kind {
            case .call(var terms):
                let isEquality = terms.count == 3 && TermPrinter.text(terms[0]) == "eq"
                for index in terms.indices.dropFirst() {
                    terms[index] =
                        isEquality
                        ? dynamic(inTerm: terms[index], expression, &result)
                        : dynamic(terms[index], expression, &result)
                }
                expression.kind = .call(terms)
            case .every(let key, let value, let domain, let body):
                expression.kind = .every(
                    key: key, value: value, domain: dynamic(domain, expression, &result), body: dynamics(body))
            case .not(let body, let explicit): expression.kind = .not(dynamics(body), explicit: explicit)
            case .logical(let op, let left, let right):
                expression.kind = .logical(op, dynamics(left), dynamics(right))
            case .term(let term): expression.kind = .term(dynamic(inTerm: term, expression, &result))
            case .some: break
            }
            result.append(expression)
        }
        return result
    }

    private mutating func dynamic(inTerm term: Term, _ expression: Expression, _ result: inout Body) -> Term {
        switch term.value {
        case .reference(let terms): term.value = .reference(operands(terms, expression, &result))
        case .arrayComprehension(let head, let body): term.value = .arrayComprehension(head, dynamics(body))
        case .setComprehension(let head, let body): term.value = .setComprehension(head, dynamics(body))
        case .objectComprehension(let key, let value, let body):
            term.value = .objectComprehension(key, value, dynamics(body))
        default: return dynamic(term, expression, &result)
        }
        return term
    }

    private mutating func operands(_ terms: [Term], _ expression: Expression, _ result: inout Body) -> [Term] {
        var terms = terms
        for index in terms.indices.dropFirst() { terms[index] = dynamic(terms[index], expression, &result) }
        return terms
    }

    private mutating func dynamic(_ term: Term, _ expression: Expression, _ result: inout Body) -> Term {
        switch term.value {
        case .reference(let terms):
            term.value = .reference(operands(terms, expression, &result))
            return bound(term, expression, &result)
        case .arrayComprehension, .setComprehension, .objectComprehension:
            return bound(dynamic(inTerm: term, expression, &result), expression, &result)
        case .array(let terms):
            return Term(.array(terms.map { dynamic($0, expression, &result) }), term.location)
        case .set(let terms): return Term(.set(terms.map { dynamic($0, expression, &result) }), term.location)
        case .object(let pairs):
            return Term(
                .object(pairs.map { (dynamic($0.key, expression, &result), dynamic($0.value, expression, &result)) }),
                term.location)
        default: return term
        }
    }

    private mutating func bound(_ term: Term, _ expression: Expression, _ result: inout Body) -> Term {
        let (local, support) = equality(term)
        support.with = expression.with
        result.append(support)
        return local
    }
}
