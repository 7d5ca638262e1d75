/// Gives variables that are declared (`:=`, `some`, arguments, `every`) names of their own, `__local0__` and on, and
/// turns `:=` and `some x in xs` into unification. Reports what is declared twice or not used.
struct LocalVariables {
    /// How a name came to be known in a scope.
    private enum Occurrence {
        case argument
        case seen
        case assigned
        case declared
    }

    private struct Entry {
        var local: String
        var occurrence: Occurrence
    }

    private struct Scope {
        var names: [String: Entry] = [:]
        /// How often each name was met.
        var counts: [String: Int] = [:]
    }

    /// The name as written of each local.
    private(set) var originals: [String: String] = [:]
    private(set) var errors: [RegoError] = []
    private var counter: Int
    private var scopes: [Scope] = []
    /// Whether unused assignments and arguments are errors.
    private let isStrict: Bool
    /// Built-in functions and those of the host, for what `some x in xs` binds.
    private let arity: (Term) -> Int?

    /// `counter` is the number of the next local.
    init(counter: Int, isStrict: Bool = false, arity: @escaping (Term) -> Int?) {
        self.counter = counter
        self.isStrict = isStrict
        self.arity = arity
    }

    /// The number of the next local.
    var nextNumber: Int { counter }

    private mutating func fresh() -> String {
        defer { counter += 1 }
        return "__local\(counter)__"
    }

    private static func isWildcard(_ name: String) -> Bool { name.hasPrefix("$") }
    private static func isGenerated(_ name: String) -> Bool { name.hasPrefix("__local") }

    private mutating func fail(_ location: Location, _ message: String) {
        errors.append(RegoError("rego_compile_error", location, message))
    }

    // MARK: Scopes

    /// The local, or the name itself where it was only seen.
    private func known(_ name: String) -> Entry? {
        for scope in scopes.reversed() {
            if let entry = scope.names[name] { return entry }
        }
        return nil
    }

    private mutating func see(_ name: String) {
        for index in scopes.indices.reversed() {
            if let count = scopes[index].counts[name] {
                scopes[index].counts[name] = count + 1
                return
            }
        }
        scopes[scopes.count - 1].counts[name] = 1
    }

    private func count(_ name: String) -> Int {
        for scope in scopes.reversed() {
            if let count = scope.counts[name] { return count }
        }
        return 0
    }

    private mutating func insert(_ name: String, _ local: String, _ occurrence: Occurrence) {
        scopes[scopes.count - 1].names[name] = Entry(local: local, occurrence: occurrence)
        scopes[scopes.count - 1].counts[name] = 1
        if name != local { originals[local] = name }
    }

    /// Declares a name; nil, with an error, where the scope has it already.
    private mutating func declare(_ name: String, _ kind: Occurrence, _ location: Location) -> String? {
        switch scopes[scopes.count - 1].names[name]?.occurrence {
        case .seen: fail(location, "var \(name) referenced above")
        case .assigned: fail(location, "var \(name) assigned above")
        case .declared: fail(location, "var \(name) declared above")
        case .argument: fail(location, "arg \(name) redeclared")
        case nil:
            let local = fresh()
            insert(name, local, kind)
            return local
        }
        return nil
    }

    // MARK: Rules

    /// Rewrites a rule and its `else` branches.
    mutating func rewrite(_ rule: Rule) {
        scopes = [Scope()]
        var unused = isStrict ? VariableCollector.names(rule.head.arguments ?? [], VariableCollector()) : []
        let location = rule.head.location
        for term in rule.head.arguments ?? [] { declareArguments(term) }
        let arguments = scopes
        var next: Rule? = rule
        while let rule = next {
            scopes = arguments
            rewriteBranch(rule, &unused)
            unused = unused.filter { count($0) <= 1 }
            next = rule.otherwise
        }
        scopes = []
        for name in unused.sorted() where !Self.isWildcard(name) {
            fail(location, "unused argument \(name). (hint: use _ (wildcard variable) instead)")
        }
    }

    private mutating func rewriteBranch(_ rule: Rule, _ unused: inout Set<String>) {
        let (keys, heads) = headTerms(rule)
        for term in (rule.head.arguments ?? []) + heads { rewriteNested(term) }
        if let value = rule.head.value {
            unused.subtract(VariableCollector.names([value], VariableCollector()))
        }
        let used = VariableCollector.names(keys + heads, VariableCollector())
        hideFunctions(rule.body)
        // Keys that have to be evaluated count as expressions behind the body.
        rule.body = rewrite(rule.body, used: used, behind: keys)
        let declared = scopes[scopes.count - 1].names
        // Arguments of `else` branches are copies of the rule's.
        for term in rule.head.arguments ?? [] { rename(term, declared) }
        for term in heads { rename(term, declared) }
    }

    /// Variables named as built-in functions hide these in the whole body.
    private mutating func hideFunctions(_ body: Body) {
        var found = VariableCollector(skipsCallHeads: true, skipsClosures: true)
        for expression in body {
            let bare = Expression(expression.kind, expression.location)
            bare.bracedOperands = expression.bracedOperands
            found.walk(bare)
        }
        let functions = found.names.filter { BuiltinTable.declarations[$0] != nil && known($0) == nil }
        if functions.isEmpty { return }
        for name in functions.subtracting(Resolver.declared(in: body)).sorted() { insert(name, fresh(), .seen) }
    }

    /// The parts of a head that stand for expressions, and those that do not.
    private func headTerms(_ rule: Rule) -> (keys: [Term], heads: [Term]) {
        var keys: [Term] = []
        var heads: [Term] = []
        for term in rule.head.reference.dropFirst() {
            switch term.value {
            case .variable, .null, .boolean, .number, .string: heads.append(term)
            default: keys.append(term)
            }
        }
        if let key = rule.head.key, !(keys + heads).contains(where: { $0 === key }) { heads.append(key) }
        if let value = rule.head.value { heads.append(value) }
        return (keys, heads)
    }

    private mutating func declareArguments(_ term: Term) {
        switch term.value {
        case .variable(let name):
            if let entry = scopes[0].names[name] {
                see(name)
                term.value = .variable(entry.local)
            } else {
                let local = fresh()
                insert(name, local, .argument)
                term.value = .variable(local)
            }
        case .array(let terms), .reference(let terms): for part in terms { declareArguments(part) }
        case .object(let pairs): for pair in pairs { declareArguments(pair.value) }
        case .call: fail(term.location, "rule arguments cannot contain calls")
        default: break
        }
    }

    /// Rewrites comprehensions and template strings in a head, whose scopes are their own.
    private mutating func rewriteNested(_ term: Term) {
        switch term.value {
        case .arrayComprehension, .setComprehension, .objectComprehension, .template:
            let saved = scopes
            scopes = [Scope()]
            rewrite(term)
            scopes = saved
        default: for child in TermWalk.children(term) { rewriteNested(child) }
        }
    }

    /// Gives the locals of a term their names as written.
    static func restore(_ term: Term, _ originals: [String: String]) {
        LocalVariables(counter: 0, arity: { _ in nil }).rename(
            term, originals.mapValues { Entry(local: $0, occurrence: .seen) })
    }

    /// Gives the locals of an expression their names as written.
    static func restore(_ expression: Expression, _ originals: [String: String]) {
        LocalVariables(counter: 0, arity: { _ in nil }).rename(
            expression, originals.mapValues { Entry(local: $0, occurrence: .seen) })
    }

    /// Renames variables of a head that the body declares.
    private func rename(_ term: Term, _ declared: [String: Entry]) {
        switch term.value {
        case .variable(let name): if let entry = declared[name] { term.value = .variable(entry.local) }
        case .arrayComprehension(_, let body), .setComprehension(_, let body), .objectComprehension(_, _, let body):
            for child in TermWalk.children(term) { rename(child, declared) }
            for expression in body { rename(expression, declared) }
        case .template(let parts):
            for part in parts { if case .expression(let expression) = part { rename(expression, declared) } }
        default: for child in TermWalk.children(term) { rename(child, declared) }
        }
    }

    private func rename(_ expression: Expression, _ declared: [String: Entry]) {
        switch expression.kind {
        case .term(let term): rename(term, declared)
        case .call(let terms), .some(let terms): for term in terms { rename(term, declared) }
        case .every(let key, let value, let domain, let body):
            for term in [key, value].compactMap({ $0 }) + [domain] { rename(term, declared) }
            for inner in body { rename(inner, declared) }
        case .not(let body, _): for inner in body { rename(inner, declared) }
        case .logical(_, let left, let right): for inner in left + right { rename(inner, declared) }
        }
        for with in expression.with {
            rename(with.target, declared)
            rename(with.value, declared)
        }
    }

    // MARK: Bodies

    /// A query: its variables keep their names in the result.
    mutating func rewriteQuery(_ body: Body) -> Body {
        scopes = [Scope()]
        defer { scopes = [] }
        return rewrite(body, used: [])
    }

    private mutating func rewrite(_ body: Body, used: Set<String>, behind terms: [Term] = []) -> Body {
        let before = errors.count
        var result: Body = []
        let declarations = body.map { Resolver.declared(in: [$0]) }
        for expression in body {
            if let rewritten = rewriteStatement(expression) {
                rewritten.index = result.count
                result.append(rewritten)
            }
        }
        for term in terms { rewrite(term) }
        if result.isEmpty {
            let location = body.first?.location ?? Location()
            result.append(Expression(.term(Term(.boolean(true), location)), location))
        }
        if errors.count == before, isStrict { reportUnusedAssignments(body, result, used) }
        if errors.count == before { reportUnusedDeclarations(body, declarations, result, used) }
        return result
    }

    private mutating func reportUnusedAssignments(_ body: Body, _ result: Body, _ used: Set<String>) {
        let scope = scopes[scopes.count - 1]
        let unused = scope.names.filter { name, entry in
            entry.occurrence == .assigned && !Self.isWildcard(name) && count(name) <= 1 && !used.contains(name)
                && !used.contains(entry.local)
        }
        for (name, entry) in unused.sorted(by: { $0.value.local < $1.value.local }) {
            let place = result.first { VariableCollector.names($0, VariableCollector()).contains(entry.local) }
            fail((place ?? body.first)?.location ?? Location(), "assigned var \(name) unused")
        }
    }

    private mutating func reportUnusedDeclarations(
        _ body: Body, _ declarations: [Set<String>], _ result: Body, _ used: Set<String>
    ) {
        let declared = scopes[scopes.count - 1].names.filter { $0.value.occurrence == .declared }
        if declared.isEmpty { return }
        var present = VariableCollector.names(result, VariableCollector())
        for name in used { present.insert(known(name)?.local ?? name) }
        for (name, entry) in declared.sorted(by: { $0.value.local < $1.value.local })
        where !present.contains(entry.local) && !used.contains(entry.local) && !Self.isGenerated(name) {
            let index = declarations.firstIndex { $0.contains(name) } ?? 0
            fail(index < body.count ? body[index].location : Location(), "declared var \(name) unused")
        }
    }

    private mutating func rewriteStatement(_ expression: Expression) -> Expression? {
        switch expression.kind {
        case .some(let terms):
            if terms.count == 1, case .call(let call) = terms[0].value { return rewriteSomeIn(expression, call) }
            for term in terms {
                guard case .variable(let name) = term.value else { continue }
                if declare(name, .declared, expression.location) == nil { return nil }
            }
            return nil
        case .every(let key, let value, let domain, let body):
            return rewriteEvery(expression, key, value, domain, body)
        case .call(let terms) where terms.count == 3 && TermPrinter.text(terms[0]) == "assign":
            rewriteAssignment(expression, terms)
        default: rewrite(expression)
        }
        return expression
    }

    private mutating func rewriteWith(_ expression: Expression) {
        for with in expression.with {
            if case .reference(let terms) = with.target.value {
                if case .variable(let name) = terms[0].value, name != "input", name != "data" { rewrite(terms[0]) }
                for part in terms.dropFirst() { rewrite(part) }
            } else {
                rewrite(with.target)
            }
            rewrite(with.value)
        }
    }

    private mutating func rewrite(_ expression: Expression) {
        switch expression.kind {
        case .term(let term): rewrite(term)
        case .call(let terms): for term in terms { rewrite(term) }
        case .not(let body, let explicit):
            expression.kind = .not(rewriteInScope(body), explicit: explicit)
        case .logical(let op, let left, let right):
            let newLeft = rewriteInScope(left)
            let newRight = rewriteInScope(right)
            expression.kind = .logical(op, newLeft, newRight)
        case .some, .every: break
        }
        rewriteWith(expression)
    }

    private mutating func rewriteInScope(_ body: Body) -> Body {
        scopes.append(Scope())
        defer { scopes.removeLast() }
        return rewrite(body, used: [])
    }

    private mutating func rewriteAssignment(_ expression: Expression, _ terms: [Term]) {
        if expression.negated {
            fail(expression.location, "cannot assign vars inside negated expression")
            return
        }
        let before = errors.count
        rewrite(terms[2])
        for with in expression.with { rewrite(with.value) }
        assign(terms[1])
        if errors.count == before {
            let op = Term(.variable("eq"), terms[0].location)
            expression.kind = .call([Term(.reference([op]), terms[0].location), terms[1], terms[2]])
        }
    }

    private mutating func assign(_ term: Term) {
        switch term.value {
        case .variable(let name):
            if let local = declare(name, .assigned, term.location) { term.value = .variable(local) }
        case .array(let terms): for part in terms { assign(part) }
        case .object(let pairs): for pair in pairs { assign(pair.value) }
        case .reference(let parts):
            if parts.count == 1, case .variable(let name) = parts[0].value {
                if let local = declare(name, .assigned, term.location) { term.value = .variable(local) }
            } else {
                fail(term.location, "cannot assign to ref")
            }
        default: fail(term.location, "cannot assign to \(term.value.kindName)")
        }
    }

    private mutating func rewriteSomeIn(_ expression: Expression, _ call: [Term]) -> Expression? {
        let container = call[call.count - 1]
        let value = call[call.count - 2]
        let key = call.count == 4 ? call[1] : Term(.variable(fresh()), value.location)
        let reference: Term
        if case .reference(let parts) = container.value {
            reference = Term(.reference(parts + [key]), container.location)
        } else {
            reference = Term(.reference([container, key]), container.location)
        }
        let op = Term(.reference([Term(.variable("eq"), expression.location)]), expression.location)
        let result = Expression(.call([op, value, reference]), expression.location)
        let safe = VariableCollector.names([container], VariableCollector())
        for name in Safety(arity: arity).outputs(result, safe).sorted() {
            if declare(name, .declared, expression.location) == nil { return nil }
        }
        result.with = expression.with
        result.negated = expression.negated
        for term in [value, container, key] { rewrite(term) }
        rewriteWith(result)
        return result
    }

    private mutating func rewriteEvery(
        _ expression: Expression, _ key: Term?, _ value: Term, _ domain: Term, _ body: Body
    ) -> Expression? {
        rewrite(domain)
        scopes.append(Scope())
        defer { scopes.removeLast() }
        for term in [key, value].compactMap({ $0 }) {
            guard case .variable(let name) = term.value, !Self.isWildcard(name) else { continue }
            guard let local = declare(name, .declared, expression.location) else { return nil }
            term.value = .variable(local)
        }
        let rewritten = rewrite(body, used: [])
        expression.kind = .every(key: key, value: value, domain: domain, body: rewritten)
        rewriteWith(expression)
        return expression
    }

    // MARK: Terms

    private mutating func rewrite(_ term: Term) {
        switch term.value {
        case .null, .boolean, .number, .string: break
        case .variable(let name):
            if let entry = known(name) {
                term.value = .variable(entry.local)
                see(name)
            } else if !scopes.isEmpty {
                insert(name, name, .seen)
            }
        case .reference(let terms):
            if terms.count == 1, case .variable(let name) = terms[0].value, name == "input" || name == "data" {
                if let entry = known(name), entry.occurrence != .seen { term.value = .variable(entry.local) }
                return
            }
            for part in terms { rewrite(part) }
        case .array(let terms), .set(let terms): for part in terms { rewrite(part) }
        case .object(let pairs):
            for pair in pairs {
                rewrite(pair.key)
                rewrite(pair.value)
            }
        case .call(let terms):
            let names = VariableCollector.names([terms[0]], VariableCollector())
            if names.contains(where: { name in known(name).map { $0.local != name } ?? false }) {
                fail(term.location, "called function \(TermPrinter.text(terms[0])) shadowed")
            }
            for part in terms { rewrite(part) }
        case .arrayComprehension(let head, let body):
            term.value = .arrayComprehension(head, rewriteComprehension([head], body))
        case .setComprehension(let head, let body):
            term.value = .setComprehension(head, rewriteComprehension([head], body))
        case .objectComprehension(let key, let value, let body):
            term.value = .objectComprehension(key, value, rewriteComprehension([key, value], body))
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

    private mutating func rewriteComprehension(_ heads: [Term], _ body: Body) -> Body {
        let used = VariableCollector.names(heads, VariableCollector())
        scopes.append(Scope())
        defer { scopes.removeLast() }
        let rewritten = rewrite(body, used: used)
        for head in heads { rewrite(head) }
        return rewritten
    }
}
