/// Replaces names of rules and imports by full references (`data.package.rule`), leaving local variables alone.
struct Resolver {
    /// What each name in the module stands for.
    let globals: [String: [Term]]
    private var scopes: [Set<String>] = []

    init(globals: [String: [Term]]) { self.globals = globals }

    private func isLocal(_ name: String) -> Bool { scopes.contains { $0.contains(name) } }

    mutating func resolve(_ rule: Rule) {
        var next: Rule? = rule
        while let rule = next {
            var arguments = VariableCollector()
            for term in rule.head.arguments ?? [] { arguments.walk(term) }
            scopes.append(arguments.names)
            for term in rule.head.arguments ?? [] { resolve(term, inArguments: true) }
            scopes.append(Self.declared(in: rule.body))
            resolve(rule.body, pushed: true)
            for term in rule.head.reference.dropFirst() { resolve(term) }
            if let key = rule.head.key, !sharesKey(rule.head) { resolve(key) }
            if let value = rule.head.value { resolve(value) }
            scopes.removeLast(2)
            next = rule.otherwise
        }
    }

    /// The key of `p[x]` is the same term as the last part of the reference.
    private func sharesKey(_ head: Head) -> Bool {
        guard let key = head.key, let last = head.reference.last else { return false }
        return key === last
    }

    /// The variables that a body declares by `:=` or `some`.
    static func declared(in body: Body) -> Set<String> {
        var names: Set<String> = []
        for expression in body {
            switch expression.kind {
            case .call(let terms) where terms.count == 3 && TermPrinter.text(terms[0]) == "assign":
                names.formUnion(VariableCollector.names([terms[1]], VariableCollector(skipsObjectKeys: true)))
            case .some(let terms):
                if terms.count == 1, case .call(let call) = terms[0].value {
                    for term in call.dropFirst().dropLast() {
                        names.formUnion(VariableCollector.names([term], VariableCollector(skipsReferenceHeads: true)))
                    }
                } else {
                    names.formUnion(VariableCollector.names(terms))
                }
            default: break
            }
        }
        return names
    }

    mutating func resolve(_ body: Body, pushed: Bool = false) {
        if !pushed { scopes.append(Self.declared(in: body)) }
        for expression in body { resolve(expression) }
        if !pushed { scopes.removeLast() }
    }

    private mutating func resolve(_ expression: Expression) {
        switch expression.kind {
        case .term(let term): resolve(term)
        case .call(let terms): for term in terms { resolve(term) }
        case .some(let terms):
            for term in terms {
                if case .call(let call) = term.value { for part in call.dropFirst() { resolve(part) } }
            }
        case .every(let key, let value, let domain, let body):
            resolve(domain)
            var names = VariableCollector.names([value])
            if let key { names.formUnion(VariableCollector.names([key])) }
            scopes.append(names)
            resolve(body)
            scopes.removeLast()
        case .not(let body, _): resolve(body)
        case .logical(_, let left, let right):
            resolve(left)
            resolve(right)
        }
        for with in expression.with {
            resolve(with.target)
            resolve(with.value)
        }
    }

    mutating func resolve(_ term: Term, inArguments: Bool = false) {
        switch term.value {
        case .null, .boolean, .number, .string: break
        case .variable(let name):
            if !isLocal(name), let path = globals[name] { term.value = .reference(located(path, term.location)) }
        case .reference(let terms):
            var terms = terms
            if case .variable(let name) = terms[0].value, !isLocal(name), let path = globals[name] {
                let rest = Array(terms.dropFirst())
                terms = located(path, terms[0].location) + rest
                term.value = .reference(terms)
                for part in rest { resolve(part) }
            } else {
                if case .variable = terms[0].value {} else { resolve(terms[0]) }
                for part in terms.dropFirst() { resolve(part) }
            }
        case .array(let terms), .set(let terms), .call(let terms): for part in terms { resolve(part) }
        case .object(let pairs):
            for pair in pairs {
                resolve(pair.key)
                resolve(pair.value)
            }
        case .arrayComprehension(let head, let body), .setComprehension(let head, let body):
            scopes.append(Self.declared(in: body))
            resolve(head)
            resolve(body, pushed: true)
            scopes.removeLast()
        case .objectComprehension(let key, let value, let body):
            scopes.append(Self.declared(in: body))
            resolve(key)
            resolve(value)
            resolve(body, pushed: true)
            scopes.removeLast()
        case .template(let parts):
            for part in parts {
                switch part {
                case .text(let term): resolve(term)
                case .expression(let expression):
                    resolve([expression])
                }
            }
        }
    }

    private func located(_ path: [Term], _ location: Location) -> [Term] {
        path.map { Term($0.value, location) }
    }
}
