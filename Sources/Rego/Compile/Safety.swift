/// Orders the expressions of a body so that each variable is bound before it is read, and reports those that cannot be.
struct Safety {
    /// The number of input arguments of a function or built-in by name, or nil.
    let arity: (Term) -> Int?
    /// Expressions with variables that nothing binds.
    private(set) var unsafe: [(expression: Expression, names: Set<String>)] = []

    init(arity: @escaping (Term) -> Int?) { self.arity = arity }

    /// Finds what an expression reads outside its closures.
    private static var collector: VariableCollector {
        var collector = VariableCollector.safety
        collector.entersOperands = true
        return collector
    }

    private mutating func record(_ expression: Expression, _ names: Set<String>) {
        if names.isEmpty { return }
        if let index = unsafe.firstIndex(where: { $0.expression === expression }) {
            unsafe[index].names.formUnion(names)
        } else {
            unsafe.append((expression, names))
        }
    }

    /// The body in a safe order; unchanged where there is none (see `unsafe`).
    mutating func reorder(_ body: Body, globals: Set<String>) -> Body {
        let bodyNames = VariableCollector.names(body, Self.collector)
        var safe = globals
        var missing = body.map { VariableCollector.names($0, Self.collector).subtracting(globals) }
        let closures = body.map { ClosureWalk.variables($0) }
        var placed = [Bool](repeating: false, count: body.count)
        var reordered: Body = []
        var outputsSoFar: Set<String> = []
        while true {
            let before = reordered.count
            for (index, expression) in body.enumerated() where !placed[index] {
                let outputs = self.outputs(expression, safe)
                let closedOver = closures[index].intersection(bodyNames).subtracting(globals)
                let open = closedOver.subtracting(outputsSoFar)
                if !open.isEmpty {
                    if open == outputs { continue }
                    missing[index] = open
                }
                missing[index] = missing[index].filter { !outputs.contains($0) && !safe.contains($0) }
                if missing[index].isEmpty {
                    placed[index] = true
                    reordered.append(expression)
                    safe.formUnion(outputs)
                    outputsSoFar.formUnion(outputs)
                }
            }
            if reordered.count == before { break }
        }
        let count = unsafe.count
        for index in body.indices where !placed[index] { record(body[index], missing[index]) }
        var known = globals
        for (index, expression) in reordered.enumerated() {
            if index > 0 { known.formUnion(VariableCollector.names(reordered[index - 1])) }
            visit(expression, known)
        }
        if unsafe.count > count || reordered.count != body.count { return body }
        return reordered
    }

    // MARK: Closures

    private mutating func visit(_ expression: Expression, _ globals: Set<String>) {
        switch expression.kind {
        case .term(let term): visit(term, expression, globals)
        case .call(let terms), .some(let terms): for term in terms { visit(term, expression, globals) }
        case .every(let key, let value, let domain, let body):
            visit(domain, expression, globals)
            var inner = globals
            inner.formUnion(VariableCollector.names([key, value].compactMap { $0 }))
            expression.kind = .every(key: key, value: value, domain: domain, body: reorder(body, globals: inner))
        case .not(let body, let explicit):
            expression.kind = .not(reorder(body, globals: globals), explicit: explicit)
        case .logical(let op, let left, let right):
            expression.kind = .logical(op, reorder(left, globals: globals), reorder(right, globals: globals))
        }
        for with in expression.with { visit(with.value, expression, globals) }
    }

    private mutating func visit(_ term: Term, _ expression: Expression, _ globals: Set<String>) {
        switch term.value {
        case .arrayComprehension(let head, let body):
            term.value = .arrayComprehension(head, comprehension([head], body, expression, globals))
        case .setComprehension(let head, let body):
            term.value = .setComprehension(head, comprehension([head], body, expression, globals))
        case .objectComprehension(let key, let value, let body):
            term.value = .objectComprehension(key, value, comprehension([key, value], body, expression, globals))
        default: for child in TermWalk.children(term) { visit(child, expression, globals) }
        }
    }

    private mutating func comprehension(
        _ heads: [Term], _ body: Body, _ expression: Expression, _ globals: Set<String>
    ) -> Body {
        let known = VariableCollector.names(body, Self.collector).union(globals)
        record(expression, VariableCollector.names(heads).subtracting(known))
        let result = reorder(body, globals: globals)
        for head in heads { visit(head, expression, known) }
        return result
    }

    // MARK: What an expression binds

    /// The variables that `expression` binds where those in `safe` are bound.
    func outputs(_ expression: Expression, _ safe: Set<String>) -> Set<String> {
        if expression.negated { return [] }
        for with in expression.with {
            var collector = VariableCollector.safety
            collector.skipsWithTargets = false
            collector.walk(with.value)
            if !collector.names.isSubset(of: safe) { return [] }
        }
        var output: Set<String> = []
        switch expression.kind {
        case .term(let term): referenceOutputs(term, safe, &output)
        case .call(let terms):
            for term in terms.dropFirst() { referenceOutputs(term, safe, &output) }
            if isEquality(terms) {
                output.formUnion(safe)
                var unifier = Unifier(safe: output)
                unifier.unify(terms[1], terms[2])
                output.formUnion(unifier.unified)
                return output.subtracting(safe)
            }
            if isNamedEquality(terms) { return [] }
            guard let arity = arity(terms[0]) else { return [] }
            if arity + 1 >= terms.count { return output }
            let inputs = VariableCollector(
                skipsReferenceHeads: true, skipsClosures: true, skipsObjectKeys: true, skipsSets: true)
            let needed = VariableCollector.names(Array(terms[1..<arity + 1]), inputs)
            if !needed.subtracting(output).isSubset(of: safe) { return [] }
            output.formUnion(VariableCollector.names(Array(terms[(arity + 1)...]), inputs))
        case .every(_, _, let domain, _): referenceOutputs(domain, safe, &output)
        case .some, .not, .logical: break
        }
        return output
    }

    private func isEquality(_ terms: [Term]) -> Bool { terms.count == 3 && isNamedEquality(terms) }

    private func isNamedEquality(_ terms: [Term]) -> Bool {
        guard case .reference(let parts) = terms[0].value, parts.count == 1 else { return false }
        if case .variable(let name) = parts[0].value { return name == "eq" || name == "assign" }
        return false
    }

    private func referenceOutputs(_ term: Term, _ safe: Set<String>, _ output: inout Set<String>) {
        switch term.value {
        case .arrayComprehension, .setComprehension, .objectComprehension, .template: return
        case .reference(let terms):
            guard isSafe(terms[0], safe) else { return }
            var collector = VariableCollector(skipsReferenceHeads: true, skipsClosures: true)
            for part in terms.dropFirst() { collector.walk(part) }
            output.formUnion(collector.names)
            for part in terms { referenceOutputs(part, safe, &output) }
        default: for child in TermWalk.children(term) { referenceOutputs(child, safe, &output) }
        }
    }

    private func isSafe(_ head: Term, _ safe: Set<String>) -> Bool {
        if case .variable(let name) = head.value { return safe.contains(name) }
        return VariableCollector.names([head]).isSubset(of: safe)
    }
}

/// Finds out which variables an equality binds.
struct Unifier {
    let safe: Set<String>
    private(set) var unified: Set<String> = []
    private var unknown: [String: Set<String>] = [:]

    init(safe: Set<String>) { self.safe = safe }

    private func isSafe(_ name: String) -> Bool { safe.contains(name) || unified.contains(name) }

    private func isSafe(_ head: Term) -> Bool {
        if case .variable(let name) = head.value { return isSafe(name) }
        return VariableCollector.names([head]).allSatisfy { isSafe($0) }
    }

    private mutating func markSafe(_ name: String) {
        unified.insert(name)
        let dependencies = unknown.removeValue(forKey: name) ?? []
        for other in dependencies { markSafe(other) }
        for (other, dependencies) in unknown where dependencies.contains(name) {
            unknown[other]?.remove(name)
            if unknown[other]?.isEmpty == true { markSafe(other) }
        }
    }

    private mutating func markUnknown(_ a: String, _ b: String) { unknown[a, default: []].insert(b) }

    private func patternNames(_ term: Term) -> Set<String> {
        VariableCollector.names(
            [term], VariableCollector(skipsReferenceHeads: true, skipsClosures: true, skipsObjectKeys: true))
    }

    private mutating func markAllSafe(_ term: Term) { for name in patternNames(term) { markSafe(name) } }

    private mutating func unifyAll(_ name: String, _ term: Term) {
        if isSafe(name) {
            markAllSafe(term)
            return
        }
        let open = patternNames(term).filter { !isSafe($0) }
        if open.isEmpty { markSafe(name) } else { for other in open { markUnknown(name, other) } }
    }

    mutating func unify(_ a: Term, _ b: Term) {
        switch (a.value, b.value) {
        case (.variable(let x), .variable(let y)):
            if isSafe(y) {
                markSafe(x)
            } else if isSafe(x) {
                markSafe(y)
            } else {
                markUnknown(x, y)
                markUnknown(y, x)
            }
        case (.variable(let x), .array), (.variable(let x), .object): unifyAll(x, b)
        case (.array, .variable(let y)), (.object, .variable(let y)): unifyAll(y, a)
        case (.variable(let x), .reference(let terms)), (.variable(let x), .call(let terms)):
            if isSafe(terms[0]) { markSafe(x) }
        case (.reference(let terms), .variable(let y)), (.call(let terms), .variable(let y)):
            if isSafe(terms[0]) { markSafe(y) }
        case (.variable(let x), _): markSafe(x)
        case (_, .variable(let y)): markSafe(y)
        case (.reference(let terms), .array), (.reference(let terms), .object):
            if isSafe(terms[0]) { markAllSafe(b) }
        case (.array, .reference(let terms)), (.object, .reference(let terms)):
            if isSafe(terms[0]) { markAllSafe(a) }
        case (.array(let x), .array(let y)):
            if x.count == y.count { for (left, right) in zip(x, y) { unify(left, right) } }
        case (.object(let x), .object(let y)):
            guard x.count == y.count else { return }
            for pair in x {
                let key = TermPrinter.text(pair.key)
                if let other = y.first(where: { TermPrinter.text($0.key) == key }) { unify(pair.value, other.value) }
            }
        case (.array, .arrayComprehension), (.array, .setComprehension), (.array, .objectComprehension),
            (.object, .objectComprehension), (.object, .arrayComprehension), (.object, .setComprehension):
            markAllSafe(a)
        case (.arrayComprehension, .array), (.setComprehension, .array), (.objectComprehension, .array),
            (.objectComprehension, .object), (.arrayComprehension, .object), (.setComprehension, .object):
            markAllSafe(b)
        default: break
        }
    }
}
