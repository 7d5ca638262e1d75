// Look-ups in base documents that need not look at every element.

extension Planner {
    /// The number of an index over a base document; the same one for the same path and kind.
    func dataIndex(_ path: Int32, _ kind: DataIndexSpecification.Kind) -> Int32 {
        if let known = dataIndexes.firstIndex(where: { $0.path == path && $0.kind == kind }) { return Int32(known) }
        dataIndexes.append(DataIndexSpecification(path: path, kind: kind))
        return Int32(dataIndexes.count - 1)
    }

    /// The path of a reference with constant parts to base documents alone; nil for other terms.
    func basePath(_ terms: ArraySlice<Term>) -> [RegoValue]? {
        guard let head = terms.first, case .variable("data") = head.value, env["data"] == nil, terms.count > 1 else {
            return nil
        }
        var node: RuleTree? = compiler.tree
        var path: [RegoValue] = []
        for term in terms.dropFirst() {
            guard case .string = term.value, let key = ConstantTerm.value(term) else { return nil }
            path.append(key)
            node = node?.child(key)
            if let node, !node.rules.isEmpty { return nil }
        }
        if let node, node.hasRules { return nil }
        return path
    }

    /// Plans `x in data.a.b` over a base document as a look-up; nil where it is none.
    func planMember(_ terms: [Term]) throws(RegoErrors) -> Int32? {
        guard terms.count >= 3, case .reference(let parts) = terms[2].value, let path = basePath(parts[...]),
            !replacements.functions.contains("internal.member_2"), !isOpen(terms[1])
        else { return nil }
        let element = try planTerm(terms[1])
        let value = slot()
        emitJumping(.member, a: value, b: dataIndex(dataPath(path), .member), c: element)
        return value
    }

    private struct Match {
        let path: [RegoValue]
        let kind: DataIndexSpecification.Kind
        let subject: Term
        /// The variable that stands for the element, and the part that stands for its key.
        let name: String
        let key: Term
    }

    /// Plans an expression that takes each element of a base document in turn, where a later expression of the body
    /// lets only those with an affix of a known text, or only blocks around a known address, pass. That expression is
    /// planned as ever. False where the expression is none.
    func planMatching(_ body: Body, _ index: Int) throws(RegoErrors) -> Bool {
        guard let match = match(body, index) else { return false }
        let subject = try planTerm(match.subject)
        let iterator = slotPair()
        emitJumping(.iterateMatching, a: iterator, b: dataIndex(dataPath(match.path), match.kind), c: subject)
        let again = label()
        place(again)
        let (key, value) = (slot(), slot())
        emitJumping(.next, a: iterator, b: key, c: value)
        fail = again
        try planMatch(match.key, key)
        env[match.name] = value
        return true
    }

    private func match(_ body: Body, _ index: Int) -> Match? {
        let expression = body[index]
        guard !expression.negated, expression.with.isEmpty, case .call(let terms) = expression.kind, terms.count == 3,
            ["eq", "assign"].contains(TermPrinter.text(terms[0]))
        else { return nil }
        for (variable, source) in [(terms[1], terms[2]), (terms[2], terms[1])] {
            guard case .variable(let name) = variable.value, env[name] == nil,
                case .reference(let parts) = source.value, let last = parts.last,
                case .variable(let key) = last.value, env[key] == nil, key != name,
                let path = basePath(parts.dropLast())
            else { continue }
            for later in body[(index + 1)...] where !later.negated && later.with.isEmpty {
                guard case .call(let call) = later.kind, call.count == 3 else { continue }
                let function = TermPrinter.text(call[0])
                guard !replacements.functions.contains(function) else { continue }
                func isElement(_ term: Term) -> Bool {
                    if case .variable(name) = term.value { return true }
                    return false
                }
                let kind: DataIndexSpecification.Kind
                let subject: Term
                switch function {
                case "endswith" where isElement(call[2]): (kind, subject) = (.suffix, call[1])
                case "startswith" where isElement(call[2]): (kind, subject) = (.prefix, call[1])
                case "net.cidr_contains" where isElement(call[1]): (kind, subject) = (.block, call[2])
                default: continue
                }
                if isOpen(subject) { continue }
                return Match(path: path, kind: kind, subject: subject, name: name, key: last)
            }
        }
        return nil
    }
}
