// Terms, references, equality, patterns.

extension Planner {
    /// Whether a variable in `term` has no value yet.
    func isOpen(_ term: Term) -> Bool {
        switch term.value {
        case .null, .boolean, .number, .string: false
        case .variable(let name): env[name] == nil && name != "input" && name != "data"
        case .arrayComprehension, .setComprehension, .objectComprehension, .template: false
        default: TermWalk.children(term).contains { isOpen($0) }
        }
    }

    /// Emits what computes `term`; opens a loop for each variable of a reference that has no value yet.
    func planTerm(_ term: Term) throws(RegoErrors) -> Int32 {
        if let value = ConstantTerm.value(term) { return constant(value) }
        switch term.value {
        case .null, .boolean, .number, .string: return constant(.null)
        case .variable(let name):
            guard let operand = env[name] else {
                if name.hasPrefix("__local") {
                    // A name of the compiler's own that a policy wrote: the safety checks pass it over, as OPA's do.
                    emitJumping(.jump)
                    return constant(.null)
                }
                throw RegoErrors([RegoError("rego_unsafe_var_error", term.location, "var \(name) is unsafe")])
            }
            return operand
        case .reference(let terms): return try planReference(terms)
        case .array(let terms): return try planCollection(.makeArray, terms)
        case .set(let terms): return try planCollection(.makeSet, terms)
        case .object(let pairs):
            var operands: [Int32] = []
            for pair in pairs {
                operands.append(try planTerm(pair.key))
                operands.append(try planTerm(pair.value))
            }
            let object = slot()
            emit(.makeObject, a: object, b: Int32(pairs.count), c: pooled(operands))
            return object
        case .arrayComprehension(let head, let body): return try planComprehension(.endArray, [head], body)
        case .setComprehension(let head, let body): return try planComprehension(.endSet, [head], body)
        case .objectComprehension(let key, let value, let body):
            return try planComprehension(.endObject, [key, value], body)
        case .call(let terms):
            guard let arity = compiler.arity(of: terms[0]) else {
                throw RegoErrors([
                    RegoError("rego_type_error", term.location, "undefined function \(TermPrinter.text(terms[0]))")
                ])
            }
            return try planInvoke(terms, arity, term.location)
        case .template: return constant(.string(""))
        }
    }

    private func planCollection(_ op: Opcode, _ terms: [Term]) throws(RegoErrors) -> Int32 {
        var operands: [Int32] = []
        for term in terms { operands.append(try planTerm(term)) }
        let value = slot()
        emit(op, a: value, b: Int32(operands.count), c: pooled(operands))
        return value
    }

    private func planComprehension(_ op: Opcode, _ heads: [Term], _ body: Body) throws(RegoErrors) -> Int32 {
        let savedEnv = env
        let savedFail = fail
        let start = slot()
        let end = label()
        emit(.begin, a: start)
        fail = end
        scopeDepth += 1
        let site = traceBody(body)
        try planBody(body)
        var operands: [Int32] = []
        for head in heads { operands.append(try planTerm(head)) }
        if operands.count == 2 {
            emit(.pushPair, b: operands[0], c: operands[1])
        } else {
            emit(.push, b: operands[0])
        }
        traceSolution(site)
        scopeDepth -= 1
        emitJumping(.jump)
        place(end)
        env = savedEnv
        fail = savedFail
        let value = slot()
        emit(op, a: value, b: start, c: -1)
        return value
    }

    // MARK: References

    private func planReference(_ terms: [Term]) throws(RegoErrors) -> Int32 {
        if case .variable(let name) = terms[0].value, env[name] == nil {
            if name == "input" { return try planInput(terms) }
            if name == "data" { return try planData(terms) }
        }
        let head = try planTerm(terms[0])
        return try planSteps(head, terms.dropFirst())
    }

    private func planSteps(_ head: Int32, _ parts: ArraySlice<Term>) throws(RegoErrors) -> Int32 {
        var current = head
        for part in parts { current = try planStep(current, part) }
        return current
    }

    /// One part of a reference: a look-up where its value is known, a loop where it is not.
    private func planStep(_ current: Int32, _ part: Term) throws(RegoErrors) -> Int32 {
        let value = slot()
        if isPattern(part) {
            let iterator = slotPair()
            emitJumping(.iterate, a: iterator, b: current)
            let again = label()
            place(again)
            let key = slot()
            emitJumping(.next, a: iterator, b: key, c: value)
            fail = again
            try planMatch(part, key)
            return value
        }
        let key = try planTerm(part)
        emitJumping(.lookup, a: value, b: current, c: key)
        return value
    }

    /// Whether a part of a reference is a variable without a value, or a collection with one inside.
    private func isPattern(_ term: Term) -> Bool {
        switch term.value {
        case .variable(let name): env[name] == nil
        case .array, .object, .set: isOpen(term)
        default: false
        }
    }

    private func planInput(_ terms: [Term]) throws(RegoErrors) -> Int32 {
        var path: [RegoValue] = []
        for term in terms.dropFirst() {
            guard let key = ConstantTerm.value(term), !isSetOrObject(key) else { break }
            path.append(key)
        }
        let value = slot()
        emitJumping(.input, a: value, b: inputPath(path))
        return try planSteps(value, terms.dropFirst(1 + path.count))
    }

    private func isSetOrObject(_ value: RegoValue) -> Bool {
        switch value {
        case .array, .set, .object: true
        default: false
        }
    }

    private func planData(_ terms: [Term]) throws(RegoErrors) -> Int32 {
        var node = compiler.tree
        var index = 1
        while true {
            let below = node.children.contains { $0.hasRules }
            if !node.rules.isEmpty, node.rules[0].head.arguments == nil {
                let value = slot()
                let number = below ? try document(of: node) : try group(of: node)
                emitJumping(.call, a: value, b: number)
                return try planSteps(value, terms.dropFirst(index))
            }
            guard index < terms.count else {
                let value = slot()
                emitJumping(.call, a: value, b: try document(of: node))
                return value
            }
            let part = terms[index]
            guard let key = ConstantTerm.value(part), !isSetOrObject(key) else {
                return try planDynamic(node, terms, index)
            }
            guard let child = node.child(key), child.rules.first?.head.arguments == nil else { break }
            node = child
            index += 1
        }
        // Nothing virtual from here on.
        var path = node.path
        while index < terms.count, let key = ConstantTerm.value(terms[index]), !isSetOrObject(key) {
            path.append(key)
            index += 1
        }
        let value = slot()
        emitJumping(.data, a: value, b: dataPath(path))
        return try planSteps(value, terms.dropFirst(index))
    }

    /// A part that is no constant, at a node of the rule tree.
    private func planDynamic(_ node: RuleTree, _ terms: [Term], _ index: Int) throws(RegoErrors) -> Int32 {
        let value = slot()
        if isPattern(terms[index]) {
            emitJumping(.call, a: value, b: try document(of: node))
            return try planSteps(value, terms.dropFirst(index))
        }
        let key = try planTerm(terms[index])
        emitJumping(.dispatch, a: value, b: try dispatchNode(node), c: key)
        return try planSteps(value, terms.dropFirst(index + 1))
    }

    // MARK: Equality

    func planUnify(_ a: Term, _ b: Term) throws(RegoErrors) {
        if case .variable(let name) = a.value, isOpen(a) {
            if case .variable(let other) = b.value, isOpen(b) {
                throw RegoErrors([
                    RegoError("rego_unsafe_var_error", a.location, "var \(name) or \(other) is unsafe")
                ])
            }
            env[name] = try planTerm(b)
            return
        }
        if case .variable(let name) = b.value, isOpen(b) {
            env[name] = try planTerm(a)
            return
        }
        let openA = isLiteral(a) && isOpen(a)
        let openB = isLiteral(b) && isOpen(b)
        if openA && openB {
            try planUnifyLiterals(a, b)
        } else if openA {
            try planMatch(a, try planTerm(b))
        } else if openB {
            try planMatch(b, try planTerm(a))
        } else {
            let left = try planTerm(a)
            let right = try planTerm(b)
            emitJumping(.equal, b: left, c: right)
        }
    }

    func isLiteral(_ term: Term) -> Bool {
        switch term.value {
        case .array, .object: true
        default: false
        }
    }

    /// Two collections with variables on both sides: part by part, in an order in which one side is known.
    private func planUnifyLiterals(_ a: Term, _ b: Term) throws(RegoErrors) {
        var pairs: [(Term, Term)] = []
        switch (a.value, b.value) {
        case (.array(let x), .array(let y)) where x.count == y.count: pairs = Array(zip(x, y))
        case (.object(let x), .object(let y)) where x.count == y.count:
            for pair in x {
                guard let other = y.first(where: { TermPrinter.text($0.key) == TermPrinter.text(pair.key) }) else {
                    emitJumping(.jump)
                    return
                }
                pairs.append((pair.value, other.value))
            }
        default:
            emitJumping(.jump)
            return
        }
        while !pairs.isEmpty {
            let place =
                pairs.firstIndex { !isOpen($0.0) || !isOpen($0.1) }
                ?? pairs.firstIndex { isLiteral($0.0) && isLiteral($0.1) }
            guard let place else {
                throw RegoErrors([RegoError("rego_unsafe_var_error", a.location, "expression is unsafe")])
            }
            let (left, right) = pairs.remove(at: place)
            try planUnify(left, right)
        }
    }

    /// Takes the value in `operand` apart as `pattern` says: variables without a value get one, the rest is compared.
    func planMatch(_ pattern: Term, _ operand: Int32) throws(RegoErrors) {
        if case .variable(let name) = pattern.value, env[name] == nil {
            env[name] = operand
            return
        }
        if isOpen(pattern) {
            switch pattern.value {
            case .array(let terms):
                emitJumping(.arrayOf, a: Int32(terms.count), b: operand)
                for (index, term) in terms.enumerated() {
                    let element = slot()
                    emitJumping(.lookup, a: element, b: operand, c: constant(RegoValue(index)))
                    try planMatch(term, element)
                }
                return
            case .object(let pairs):
                emitJumping(.objectOf, a: Int32(pairs.count), b: operand)
                for pair in pairs {
                    let element = slot()
                    let key = try planTerm(pair.key)
                    emitJumping(.lookup, a: element, b: operand, c: key)
                    try planMatch(pair.value, element)
                }
                return
            default: break
            }
        }
        let value = try planTerm(pattern)
        emitJumping(.equal, b: value, c: operand)
    }
}
