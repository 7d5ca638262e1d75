/// Gives variables that are declared (`:=`, `some`, arguments, `every`) names of their own, `__local0__` and on, and
/// turns `:=` and `some x in xs` into unification.
struct LocalVariables {
    /// How a name came to be known in a scope.
    private enum Occurrence {
        case seen
        case assigned
        case declared
        case argument
    }

    private struct Scope {
        var names: [String: (local: String, occurrence: Occurrence, location: Location)] = [:]
    }

    /// The name as written of each local.
    private(set) var originals: [String: String] = [:]
    private(set) var errors: [RegoError] = []
    private var counter: Int
    private var scopes: [Scope] = []

    /// `counter` is the number of the next local.
    init(counter: Int) { self.counter = counter }

    /// The number of the next local.
    var nextNumber: Int { counter }

    mutating func fresh() -> String {
        defer { counter += 1 }
        return "__local\(counter)__"
    }

    private func occurrence(_ name: String) -> Occurrence? { scopes.last?.names[name]?.occurrence }

    private func declared(_ name: String) -> String? {
        for scope in scopes.reversed() {
            if let entry = scope.names[name], entry.occurrence != .seen { return entry.local }
        }
        return nil
    }

    private mutating func fail(_ location: Location, _ message: String) {
        errors.append(RegoError("rego_compile_error", location, message))
    }

    private mutating func declare(_ term: Term, _ name: String, _ kind: Occurrence) -> String {
        switch occurrence(name) {
        case .seen: fail(term.location, "var \(name) referenced above")
        case .assigned: fail(term.location, "var \(name) assigned above")
        case .declared: fail(term.location, "var \(name) declared above")
        case .argument: fail(term.location, "arg \(name) redeclared")
        case nil: break
        }
        let local = fresh()
        originals[local] = name
        scopes[scopes.count - 1].names[name] = (local, kind, term.location)
        return local
    }

    // MARK: Rules and bodies

    mutating func rewrite(_ rule: Rule) {
        var next: Rule? = rule
        while let rule = next {
            scopes = [Scope()]
            for term in rule.head.arguments ?? [] { declareArguments(term) }
            scopes.append(Scope())
            rule.body = rewrite(rule.body)
            for term in rule.head.reference.dropFirst() { rewrite(term) }
            if let key = rule.head.key, key !== rule.head.reference.last { rewrite(key) }
            if let value = rule.head.value { rewrite(value) }
            scopes = []
            next = rule.otherwise
        }
    }

    /// A query: its variables keep their names in the result.
    mutating func rewriteQuery(_ body: Body) -> Body {
        scopes = [Scope()]
        defer { scopes = [] }
        return rewrite(body)
    }

    private mutating func declareArguments(_ term: Term) {
        switch term.value {
        case .variable(let name):
            if let entry = scopes[0].names[name] {
                term.value = .variable(entry.local)
            } else {
                let local = fresh()
                originals[local] = name
                scopes[0].names[name] = (local, .argument, term.location)
                term.value = .variable(local)
            }
        case .array(let terms): for part in terms { declareArguments(part) }
        case .object(let pairs):
            for pair in pairs {
                rewrite(pair.key)
                declareArguments(pair.value)
            }
        default: rewrite(term)
        }
    }

    private mutating func rewrite(_ body: Body) -> Body {
        var result: Body = []
        for expression in body {
            var expression = expression
            switch expression.kind {
            case .some(let terms):
                if terms.count == 1, case .call(let call) = terms[0].value {
                    expression = rewriteSomeIn(expression, call)
                } else {
                    for term in terms {
                        if case .variable(let name) = term.value { _ = declare(term, name, .declared) }
                    }
                    continue
                }
            case .every(let key, let value, let domain, let body):
                rewriteEvery(expression, key, value, domain, body)
            case .call(let terms) where terms.count == 3 && TermPrinter.text(terms[0]) == "assign":
                rewriteAssignment(expression, terms)
            default: rewrite(expression)
            }
            expression.index = result.count
            result.append(expression)
        }
        if result.isEmpty {
            let location = body.first?.location ?? Location()
            result.append(Expression(.term(Term(.boolean(true), location)), location))
        }
        return result
    }

    private mutating func rewriteWith(_ expression: Expression) {
        for with in expression.with {
            if case .reference(let terms) = with.target.value {
                for part in terms.dropFirst() { rewrite(part) }
            }
            rewrite(with.value)
        }
    }

    private mutating func rewrite(_ expression: Expression) {
        switch expression.kind {
        case .term(let term): rewrite(term)
        case .call(let terms):
            rewriteCall(terms, expression.location)
        case .not(let body, let explicit):
            scopes.append(Scope())
            let rewritten = rewrite(body)
            scopes.removeLast()
            expression.kind = .not(rewritten, explicit: explicit)
        case .logical(let op, let left, let right):
            scopes.append(Scope())
            let newLeft = rewrite(left)
            scopes.removeLast()
            scopes.append(Scope())
            let newRight = rewrite(right)
            scopes.removeLast()
            expression.kind = .logical(op, newLeft, newRight)
        case .some, .every: break
        }
        rewriteWith(expression)
    }

    private mutating func rewriteAssignment(_ expression: Expression, _ terms: [Term]) {
        let before = errors.count
        rewrite(terms[2])
        rewriteWith(expression)
        assign(terms[1])
        if errors.count == before {
            let op = Term(.variable("eq"), terms[0].location)
            expression.kind = .call([Term(.reference([op]), terms[0].location), terms[1], terms[2]])
        }
    }

    private mutating func assign(_ term: Term) {
        switch term.value {
        case .variable(let name): term.value = .variable(declare(term, name, .assigned))
        case .array(let terms): for part in terms { assign(part) }
        case .object(let pairs): for pair in pairs { assign(pair.value) }
        case .reference(let parts):
            if parts.count == 1, case .variable(let name) = parts[0].value {
                term.value = .variable(declare(term, name, .assigned))
            } else {
                fail(term.location, "cannot assign to ref")
            }
        default: fail(term.location, "cannot assign to \(term.value.kindName)")
        }
    }

    private mutating func rewriteSomeIn(_ expression: Expression, _ call: [Term]) -> Expression {
        let container = call[call.count - 1]
        let value = call[call.count - 2]
        let key: Term
        if call.count == 4 {
            key = call[1]
        } else {
            key = Term(.variable(fresh()), value.location)
        }
        rewrite(container)
        rewriteWith(expression)
        for pattern in call.count == 4 ? [key, value] : [value] { declareOutputs(pattern) }
        if call.count == 4 { rewrite(key) }
        rewrite(value)
        let reference: Term
        if case .reference(let parts) = container.value {
            reference = Term(.reference(parts + [key]), container.location)
        } else {
            reference = Term(.reference([container, key]), container.location)
        }
        let op = Term(.reference([Term(.variable("eq"), expression.location)]), expression.location)
        let result = Expression(.call([op, value, reference]), expression.location)
        result.with = expression.with
        result.negated = expression.negated
        return result
    }

    /// Declares the variables of a `some ... in` pattern.
    private mutating func declareOutputs(_ term: Term) {
        switch term.value {
        case .variable(let name) where !name.hasPrefix("$"): _ = declare(term, name, .declared)
        case .array(let terms): for part in terms { declareOutputs(part) }
        case .object(let pairs): for pair in pairs { declareOutputs(pair.value) }
        default: break
        }
    }

    private mutating func rewriteEvery(
        _ expression: Expression, _ key: Term?, _ value: Term, _ domain: Term, _ body: Body
    ) {
        rewrite(domain)
        rewriteWith(expression)
        scopes.append(Scope())
        for term in [key, value].compactMap({ $0 }) {
            if case .variable(let name) = term.value { term.value = .variable(declare(term, name, .declared)) }
        }
        let rewritten = rewrite(body)
        scopes.removeLast()
        expression.kind = .every(key: key, value: value, domain: domain, body: rewritten)
    }

    // MARK: Terms

    private mutating func rewriteCall(_ terms: [Term], _ location: Location) {
        if case .reference(let parts) = terms[0].value {
            if case .variable(let name) = parts[0].value, declared(name) != nil {
                fail(location, "called function \(TermPrinter.text(terms[0])) shadowed")
            }
            for part in parts.dropFirst() { rewrite(part) }
        }
        for term in terms.dropFirst() { rewrite(term) }
    }

    private mutating func rewrite(_ term: Term) {
        switch term.value {
        case .null, .boolean, .number, .string: break
        case .variable(let name):
            if let local = declared(name) {
                term.value = .variable(local)
            } else if occurrence(name) == nil, !scopes.isEmpty {
                scopes[scopes.count - 1].names[name] = (name, .seen, term.location)
            }
        case .reference(let terms):
            if terms.count == 1, case .variable(let name) = terms[0].value {
                if let local = declared(name) { term.value = .variable(local) }
                return
            }
            for part in terms { rewrite(part) }
        case .array(let terms), .set(let terms): for part in terms { rewrite(part) }
        case .object(let pairs):
            for pair in pairs {
                rewrite(pair.key)
                rewrite(pair.value)
            }
        case .call(let terms): rewriteCall(terms, term.location)
        case .arrayComprehension(let head, let body):
            scopes.append(Scope())
            let rewritten = rewrite(body)
            rewrite(head)
            scopes.removeLast()
            term.value = .arrayComprehension(head, rewritten)
        case .setComprehension(let head, let body):
            scopes.append(Scope())
            let rewritten = rewrite(body)
            rewrite(head)
            scopes.removeLast()
            term.value = .setComprehension(head, rewritten)
        case .objectComprehension(let key, let value, let body):
            scopes.append(Scope())
            let rewritten = rewrite(body)
            rewrite(key)
            rewrite(value)
            scopes.removeLast()
            term.value = .objectComprehension(key, value, rewritten)
        case .template(let parts):
            for part in parts {
                switch part {
                case .text(let term): rewrite(term)
                case .expression(let expression):
                    scopes.append(Scope())
                    rewrite(expression)
                    scopes.removeLast()
                }
            }
        }
    }
}
