/// Checks that references lead to something that can be there.
struct ReferenceCheck {
    private let environment: TypeEnvironment
    private let context: TypeChecker.Context
    /// What is wrong.
    private(set) var errors: [RegoError] = []

    init(_ environment: TypeEnvironment, _ context: TypeChecker.Context) {
        self.environment = environment
        self.context = context
    }

    // MARK: Walking

    mutating func visit(_ expression: Expression) {
        switch expression.kind {
        case .term(let term): visit(term)
        case .call(let terms): for term in terms.dropFirst() { visit(term) }
        case .some(let terms):
            for term in terms { visit(term) }
            visitWiths(expression)
        case .every(let key, let value, let domain, let body):
            for term in [key, value].compactMap({ $0 }) + [domain] { visit(term) }
            for inner in body { visit(inner) }
            visitWiths(expression)
        case .not(let body, _):
            for inner in body { visit(inner) }
            visitWiths(expression)
        case .logical(_, let left, let right):
            for inner in left + right { visit(inner) }
            visitWiths(expression)
        }
    }

    private mutating func visitWiths(_ expression: Expression) {
        for with in expression.with {
            visit(with.target)
            visit(with.value)
        }
    }

    private mutating func visit(_ term: Term) {
        switch term.value {
        case .arrayComprehension, .setComprehension, .objectComprehension, .template: return
        case .reference(let terms):
            if let error = applied(terms) {
                errors.append(error)
                return
            }
            if let error = check(environment, environment.tree, terms, 0) { errors.append(error) }
            for part in terms { visit(part) }
        default: for child in TermWalk.children(term) { visit(child) }
        }
    }

    // MARK: Checks

    /// Functions are no values.
    private func applied(_ terms: [Term]) -> RegoError? {
        guard let type = environment.type(ofReference: terms), case .function = type else { return nil }
        return unsupported(terms, terms.count - 1, type)
    }

    private mutating func check(_ current: TypeEnvironment, _ node: TypeTree, _ terms: [Term], _ index: Int)
        -> RegoError?
    {
        guard index < terms.count else { return nil }
        let head = terms[index]
        if index == 1 || index == 2 {
            switch head.value {
            case .variable, .string: break
            default:
                return invalid(terms, index, have: environment.type(of: head), want: .string, oneOf: keys(node))
            }
        }
        if case .variable = head.value, index != 0 {
            let wanted = RegoType.keys(environment.extent(node))
            if let known = environment.type(of: head) {
                if !RegoType.unifies(wanted, known) {
                    return invalid(terms, index, have: known, want: wanted, oneOf: keys(node))
                }
            } else {
                environment.tree.put(head, wanted)
            }
        }
        guard let child = node.child(head) else {
            if let next = current.next { return check(next, next.tree, terms, 0) }
            guard TypeEnvironment.isRootDocument(terms[0]) else {
                return checkLeaf(.anything, terms, 0)
            }
            return checkLeaf(.anything, terms, 1)
        }
        if let type = child.value { return checkLeaf(type, terms, index + 1) }
        return check(current, child, terms, index + 1)
    }

    private mutating func checkLeaf(_ type: RegoType?, _ terms: [Term], _ index: Int) -> RegoError? {
        guard index < terms.count else { return nil }
        let head = terms[index]
        guard let wanted = RegoType.keys(type) else { return unsupported(terms, index - 1, type) }
        switch head.value {
        case .variable, .reference:
            if let known = environment.type(of: head) {
                if !RegoType.unifies(known, wanted) {
                    return invalid(terms, index, have: known, want: wanted, oneOf: keys(type))
                }
            } else if case .variable = head.value {
                environment.tree.put(head, wanted)
            }
        case .array, .object, .set:
            if !TypeUnification(environment).unify(head, wanted, union: false) {
                return invalid(terms, index, have: environment.type(of: head), want: wanted, oneOf: [])
            }
        default:
            guard let child = TypeEnvironment.select(type, constant: head) else {
                return invalid(terms, index, have: nil, want: wanted, oneOf: keys(type))
            }
            return checkLeaf(child, terms, index + 1)
        }
        return checkLeaf(RegoType.values(type), terms, index + 1)
    }

    // MARK: Errors

    private func keys(_ node: TypeTree) -> [RegoValue] {
        node.children.compactMap { $0.key.flatMap { ConstantTerm.value($0) } }
            .sorted { TypeKeys.compare($0, $1) < 0 }
    }

    private func keys(_ type: RegoType?) -> [RegoValue] {
        var found: [RegoValue] = []
        func collect(_ type: RegoType) {
            switch type {
            case .object(let properties, _): found += properties.map(\.key)
            case .any(let types): for type in types { collect(type) }
            default: break
            }
        }
        if let type { collect(type) }
        var distinct: [RegoValue] = []
        for key in found.sorted(by: { TypeKeys.compare($0, $1) < 0 })
        where distinct.last.map({ TypeKeys.compare($0, key) != 0 }) ?? true {
            distinct.append(key)
        }
        return distinct
    }

    /// A reference as it was written: locals by their names, and by the terms they stand for.
    private func written(_ terms: [Term]) -> [Term] {
        terms.map { Term(written($0).value, $0.location) }
    }

    private func written(_ term: Term) -> Term {
        switch term.value {
        case .variable(let name):
            if let subject = context.subjects[name] { return written(subject) }
            if let original = context.originals[name] { return Term(.variable(original), term.location) }
            return term
        case .reference(let terms): return Term(.reference(written(terms)), term.location)
        case .array(let terms): return Term(.array(written(terms)), term.location)
        case .set(let terms): return Term(.set(written(terms)), term.location)
        case .call(let terms): return Term(.call(written(terms)), term.location)
        case .object(let pairs):
            return Term(.object(pairs.map { (written($0.key), written($0.value)) }), term.location)
        case .arrayComprehension, .setComprehension, .objectComprehension:
            let copy = term.copy()
            LocalVariables.restore(copy, context.originals)
            return copy
        default: return term
        }
    }

    private func unsupported(_ terms: [Term], _ index: Int, _ have: RegoType?) -> RegoError {
        var isFunction = false
        if case .function = have { isFunction = true }
        let written = written(terms)
        let text = TermPrinter.text(written)
        let prefix = TermPrinter.text(Array(written.prefix(index + 1)))
        let message = isFunction ? "function \(text) used as reference, not called" : "undefined ref: \(text)"
        return RegoError(
            "rego_type_error", terms[0].location, message,
            details: [text, String(repeating: "^", count: prefix.utf8.count), "have: " + RegoType.text(have)])
    }

    private func invalid(_ terms: [Term], _ index: Int, have: RegoType?, want: RegoType?, oneOf: [RegoValue])
        -> RegoError
    {
        let written = written(terms)
        let text = TermPrinter.text(written)
        let prefix = TermPrinter.text(Array(written.prefix(index)))
        let pad = String(repeating: " ", count: prefix.utf8.count + 1)
        var details = [text, pad + "^"]
        if let have {
            details.append(pad + "have (type): " + have.text)
        } else {
            details.append(pad + "have: " + TermPrinter.text(written[index]))
        }
        if oneOf.isEmpty {
            details.append(pad + "want (type): " + RegoType.text(want))
        } else {
            let keys = oneOf.map { TermPrinter.text(ConstantTerm.term($0)) }
            details.append(pad + "want (one of): [" + keys.joined(separator: " ") + "]")
        }
        var error = RegoError("rego_type_error", terms[0].location, "undefined ref: \(text)", details: details)
        let place = terms[index].location
        if place.row > 0 {
            let alternatives = oneOf.compactMap(\.string)
            error.hint = RegoError.Hint(
                row: place.row, column: place.column, width: max(1, place.text.count),
                suggestion: Spelling.suggestion(
                    written, index, alternatives, below: environment.type(of: Term(.reference([terms[0]])))))
        }
        return error
    }
}
