/// Collects the variables of terms, expressions and bodies.
struct VariableCollector {
    /// Leaves out heads of references.
    var skipsReferenceHeads = false
    /// Leaves out names of called functions only.
    var skipsCallHeads = false
    /// Leaves out comprehensions and bodies of `every`, `not`, `and`, `or`.
    var skipsClosures = false
    /// Looks into operands of `not`, `and` and `or` that are one expression without braces all the same.
    var entersOperands = false
    var skipsObjectKeys = false
    var skipsSets = false
    var skipsWithTargets = false
    /// What was found.
    var names: Set<String> = []

    /// What the safety check looks at.
    static var safety: VariableCollector {
        VariableCollector(skipsCallHeads: true, skipsClosures: true, skipsWithTargets: true)
    }

    mutating func walk(_ term: Term) {
        switch term.value {
        case .null, .boolean, .number, .string: break
        case .variable(let name): names.insert(name)
        case .reference(let terms):
            if skipsReferenceHeads {
                // Heads that are themselves collections or calls are looked into.
                if case .variable = terms[0].value {} else { walk(terms[0]) }
            } else {
                walk(terms[0])
            }
            for part in terms.dropFirst() { walk(part) }
        case .array(let terms): for part in terms { walk(part) }
        case .set(let terms): if !skipsSets { for part in terms { walk(part) } }
        case .object(let pairs):
            for pair in pairs {
                if !skipsObjectKeys { walk(pair.key) }
                walk(pair.value)
            }
        case .call(let terms): walkCall(terms)
        case .arrayComprehension(let head, let body), .setComprehension(let head, let body):
            if skipsClosures { return }
            walk(head)
            walk(body)
        case .objectComprehension(let key, let value, let body):
            if skipsClosures { return }
            walk(key)
            walk(value)
            walk(body)
        case .template(let parts):
            if skipsClosures { return }
            for part in parts {
                switch part {
                case .text(let term): walk(term)
                case .expression(let expression): walk(expression)
                }
            }
        }
    }

    private mutating func walkCall(_ terms: [Term]) {
        guard let op = terms.first else { return }
        if case .reference(let parts) = op.value, skipsCallHeads || skipsReferenceHeads {
            for part in parts.dropFirst() { walk(part) }
        } else {
            walk(op)
        }
        for term in terms.dropFirst() { walk(term) }
    }

    mutating func walk(_ body: Body) { for expression in body { walk(expression) } }

    mutating func walk(_ expression: Expression) {
        switch expression.kind {
        case .term(let term): walk(term)
        case .call(let terms): walkCall(terms)
        case .some(let terms): for term in terms { walk(term) }
        case .every(let key, let value, let domain, let body):
            walk(domain)
            if !skipsClosures {
                if let key { walk(key) }
                walk(value)
                walk(body)
            }
        case .not(let body, let explicit): walk(operand: body, isBraced: explicit)
        case .logical(_, let left, let right):
            walk(operand: left, isBraced: expression.bracedOperands.left)
            walk(operand: right, isBraced: expression.bracedOperands.right)
        }
        for with in expression.with {
            if !skipsWithTargets { walk(with.target) }
            walk(with.value)
        }
    }

    private mutating func walk(operand body: Body, isBraced: Bool) {
        if !skipsClosures || (entersOperands && !isBraced && body.count == 1) { walk(body) }
    }

    /// The variables of an expression.
    static func names(_ expression: Expression, _ collector: VariableCollector = .safety) -> Set<String> {
        var collector = collector
        collector.walk(expression)
        return collector.names
    }

    /// The variables of a body.
    static func names(_ body: Body, _ collector: VariableCollector = .safety) -> Set<String> {
        var collector = collector
        collector.walk(body)
        return collector.names
    }

    /// The variables of terms.
    static func names(_ terms: [Term], _ collector: VariableCollector = .safety) -> Set<String> {
        var collector = collector
        for term in terms { collector.walk(term) }
        return collector.names
    }
}

/// Calls back for what an expression closes over: bodies of comprehensions, `every`, `not`, `and`, `or`.
enum ClosureWalk {
    /// All variables inside closures of `expression`.
    static func variables(_ expression: Expression) -> Set<String> {
        var collector = VariableCollector()
        walk(expression) { closure in
            switch closure {
            case .comprehension(let heads, let body):
                for head in heads { collector.walk(head) }
                collector.walk(body)
            case .every(_, _, let body), .body(let body): collector.walk(body)
            }
        }
        return collector.names
    }

    /// One closure.
    enum Closure {
        case comprehension([Term], Body)
        case every(key: Term?, value: Term, Body)
        case body(Body)
    }

    /// The outermost closures of an expression.
    static func walk(_ expression: Expression, _ visit: (Closure) -> Void) {
        switch expression.kind {
        case .term(let term): walk(term, visit)
        case .call(let terms), .some(let terms): for term in terms { walk(term, visit) }
        case .every(let key, let value, let domain, let body):
            walk(domain, visit)
            visit(.every(key: key, value: value, body))
        case .not(let body, _): visit(.body(body))
        case .logical(_, let left, let right):
            visit(.body(left))
            visit(.body(right))
        }
        for with in expression.with { walk(with.value, visit) }
    }

    static func walk(_ term: Term, _ visit: (Closure) -> Void) {
        switch term.value {
        case .arrayComprehension(let head, let body), .setComprehension(let head, let body):
            visit(.comprehension([head], body))
        case .objectComprehension(let key, let value, let body): visit(.comprehension([key, value], body))
        case .template(let parts):
            for part in parts { if case .expression(let expression) = part { visit(.body([expression])) } }
        default: for child in TermWalk.children(term) { walk(child, visit) }
        }
    }
}
