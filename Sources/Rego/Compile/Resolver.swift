/// Replaces names of rules and imports by full references (`data.package.rule`), leaving local variables alone.
struct Resolver {
    /// What each name in the module stands for.
    private let globals: [String: [Term]]
    /// The globals that were met.
    private(set) var used: Set<String> = []
    private var scopes: [Set<String>] = []

    init(globals: [String: [Term]]) { self.globals = globals }

    private func isLocal(_ name: String) -> Bool { scopes.contains { $0.contains(name) } }

    /// Resolves a rule and its `else` branches; what is wrong with their arguments.
    mutating func resolve(_ rule: Rule) -> [RegoError] {
        var errors: [RegoError] = []
        var next: Rule? = rule
        while let rule = next {
            next = rule.otherwise
            var arguments = Arguments()
            for term in rule.head.arguments ?? [] { arguments.walk(term) }
            if let root = arguments.root {
                errors.append(
                    RegoError(
                        "rego_compile_error", rule.location,
                        "args must not shadow \(root) (use a different variable name)"))
                continue
            }
            scopes = [arguments.names, Self.declared(in: rule.body)]
            for term in rule.head.reference.dropFirst() { resolve(term) }
            if let key = rule.head.key, !sharesKey(rule.head) { resolve(key) }
            if let value = rule.head.value { resolve(value) }
            resolve(rule.body)
            scopes = []
        }
        return errors
    }

    /// Resolves a query.
    mutating func resolve(query: Body) {
        scopes = [Self.declared(in: query)]
        resolve(query)
        scopes = []
    }

    /// The variables of a function's arguments that take part in matching.
    private struct Arguments {
        var names: Set<String> = []
        /// A root document that is an argument.
        var root: String?

        mutating func walk(_ term: Term) {
            switch term.value {
            case .variable(let name): names.insert(name)
            case .reference(let terms):
                if terms.count == 1, case .variable(let name) = terms[0].value, name == "input" || name == "data" {
                    root = root ?? name
                    return
                }
                for part in terms { walk(part) }
            case .array(let terms): for part in terms { walk(part) }
            case .object(let pairs): for pair in pairs { walk(pair.value) }
            default: break
            }
        }
    }

    /// The key of `p[x]` is the same term as the last part of the reference.
    private func sharesKey(_ head: Head) -> Bool {
        guard let key = head.key, let last = head.reference.last else { return false }
        return key === last
    }

    // MARK: Declarations

    /// The variables that a body declares by `:=` or `some`, also in the bodies inside it, but for comprehensions.
    static func declared(in body: Body) -> Set<String> {
        var names: Set<String> = []
        for expression in body {
            switch expression.kind {
            case .call(let terms) where terms.count == 3 && TermPrinter.text(terms[0]) == "assign":
                names.formUnion(VariableCollector.names([terms[1]], VariableCollector()))
            case .some(let terms):
                if terms.count == 1, case .call(let call) = terms[0].value {
                    names.formUnion(VariableCollector.names(Array(call.dropFirst().dropLast()), VariableCollector()))
                } else {
                    names.formUnion(VariableCollector.names(terms))
                }
            case .every(_, _, _, let body), .not(let body, _): names.formUnion(declared(in: body))
            case .logical(_, let left, let right): names.formUnion(declared(in: left + right))
            default: break
            }
        }
        return names
    }

    // MARK: Terms

    private mutating func resolve(_ body: Body) { for expression in body { resolve(expression) } }

    private mutating func resolve(_ expression: Expression) {
        switch expression.kind {
        case .term(let term): resolve(term)
        case .call(let terms): for term in terms { resolve(term) }
        case .some(let terms):
            for term in terms {
                if case .call(let call) = term.value { for part in call.dropFirst() { resolve(part) } }
            }
        case .every(let key, let value, let domain, let body):
            scopes.append(VariableCollector.names([key, value].compactMap { $0 }, VariableCollector()))
            resolve(domain)
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

    /// The path of a global that a name stands for here.
    private mutating func path(_ name: String, _ location: Location) -> [Term]? {
        guard let path = globals[name], !isLocal(name) else { return nil }
        used.insert(name)
        // The head is one term for all uses, and its place that of the last one.
        path[0].location = location
        return [path[0]] + path.dropFirst().map { Term($0.value, location) }
    }

    private mutating func resolve(_ term: Term) {
        switch term.value {
        case .null, .boolean, .number, .string: break
        case .variable(let name): if let path = path(name, term.location) { term.value = .reference(path) }
        case .reference(let terms):
            if case .variable(let name) = terms[0].value {
                if let path = path(name, terms[0].location) { term.value = .reference(path + terms.dropFirst()) }
            } else {
                resolve(terms[0])
            }
            for part in terms.dropFirst() { resolve(part) }
        case .array(let terms), .set(let terms), .call(let terms): for part in terms { resolve(part) }
        case .object(let pairs):
            for pair in pairs {
                resolve(pair.key)
                resolve(pair.value)
            }
        case .arrayComprehension(let head, let body), .setComprehension(let head, let body):
            resolveComprehension([head], body)
        case .objectComprehension(let key, let value, let body): resolveComprehension([key, value], body)
        case .template(let parts):
            for part in parts {
                switch part {
                case .text(let term): resolve(term)
                case .expression(let expression): resolve(expression)
                }
            }
        }
    }

    private mutating func resolveComprehension(_ heads: [Term], _ body: Body) {
        scopes.append(Self.declared(in: body))
        for head in heads { resolve(head) }
        resolve(body)
        scopes.removeLast()
    }
}
