// Bodies and expressions.

extension Planner {
    func planBody(_ body: Body) throws(RegoErrors) {
        for (index, expression) in body.enumerated() {
            if options.isInstrumented {
                try planObserved(expression)
            } else if try !planMatching(body, index) {
                try plan(expression)
            }
        }
    }

    func plan(_ expression: Expression) throws(RegoErrors) {
        if !expression.with.isEmpty {
            try planWith(expression)
            return
        }
        if expression.negated {
            let positive = Expression(try hoisted(expression.kind), expression.location)
            if options.isInstrumented {
                shown[ObjectIdentifier(positive)] = Expression(expression.kind, expression.location)
            }
            try planNot([positive])
            return
        }
        try planKind(expression)
    }

    /// A negated expression with the references that its call takes, or that stand inside of others, planned outside of
    /// the negation, as OPA does: `not f(input.x)` is undefined where `input.x` is.
    private func hoisted(_ kind: ExpressionKind) throws(RegoErrors) -> ExpressionKind {
        switch kind {
        case .term(let term): return .term(try hoisted(term, isOutermost: true))
        case .call(let terms):
            let name = TermPrinter.text(terms[0])
            // In rules `==` unifies; in queries it is a call.
            let isEquality = name == "eq" || (name == "equal" && currentRule != nil)
            var result = [terms[0]]
            for term in terms.dropFirst() { result.append(try hoisted(term, isOutermost: isEquality)) }
            return .call(result)
        default: return kind
        }
    }

    private func hoisted(_ term: Term, isOutermost: Bool) throws(RegoErrors) -> Term {
        switch term.value {
        case .reference(let terms):
            if isOutermost || isOpen(term) {
                var parts = [terms[0]]
                for part in terms.dropFirst() { parts.append(try hoisted(part, isOutermost: false)) }
                return Term(.reference(parts), term.location)
            }
            let name = "__hoisted\(hoistedCount)__"
            hoistedCount += 1
            env[name] = try planTerm(term)
            return Term(.variable(name), term.location)
        case .array(let terms):
            var parts: [Term] = []
            for part in terms { parts.append(try hoisted(part, isOutermost: false)) }
            return Term(.array(parts), term.location)
        case .set(let terms):
            var parts: [Term] = []
            for part in terms { parts.append(try hoisted(part, isOutermost: false)) }
            return Term(.set(parts), term.location)
        case .object(let pairs):
            var parts: [(key: Term, value: Term)] = []
            for pair in pairs {
                parts.append(
                    (try hoisted(pair.key, isOutermost: false), try hoisted(pair.value, isOutermost: false)))
            }
            return Term(.object(parts), term.location)
        default: return term
        }
    }

    private func planKind(_ expression: Expression) throws(RegoErrors) {
        switch expression.kind {
        case .term(let term):
            if case .boolean(true) = term.value { return }
            let operand = try planTerm(term)
            emitJumping(.test, b: operand)
        case .call(let terms): try planCall(terms, expression.location)
        case .some: break
        case .every(let key, let value, let domain, let body): try planEvery(key, value, domain, body)
        case .not(let body, _): try planNot(body)
        case .logical(let op, let left, let right):
            switch op {
            case .and:
                try planExists(left, onFailure: fail)
                try planExists(right, onFailure: fail)
            case .or:
                let second = label()
                let done = label()
                try planExists(left, onFailure: second)
                emitJumping(.jump, to: done)
                place(second)
                try planExists(right, onFailure: fail)
                place(done)
            }
        }
    }

    /// Plans a body that must have a solution; nothing that it binds is seen outside.
    private func planExists(_ body: Body, onFailure: Label) throws(RegoErrors) {
        let savedEnv = env
        let savedFail = fail
        fail = onFailure
        scopeDepth += 1
        let site = traceBody(body)
        try planBody(body)
        trace(.exit, site)
        scopeDepth -= 1
        env = savedEnv
        fail = savedFail
    }

    private func planNot(_ body: Body) throws(RegoErrors) {
        let holds = label()
        try planExists(body, onFailure: holds)
        emitJumping(.jump)
        place(holds)
    }

    private func planEvery(_ key: Term?, _ value: Term, _ domain: Term, _ body: Body) throws(RegoErrors) {
        let collection = try planTerm(domain)
        let iterator = slotPair()
        emitJumping(.iterate, a: iterator, b: collection)
        let again = label()
        let done = label()
        place(again)
        let savedEnv = env
        var keySlot: Int32 = -1
        if let key, case .variable(let name) = key.value {
            keySlot = slot()
            env[name] = keySlot
        }
        let valueSlot = slot()
        if case .variable(let name) = value.value { env[name] = valueSlot }
        emitJumping(.next, a: iterator, b: keySlot, c: valueSlot, to: done)
        try planExists(body, onFailure: fail)
        emitJumping(.jump, to: again)
        place(done)
        env = savedEnv
    }

    // MARK: With

    private func planWith(_ expression: Expression) throws(RegoErrors) {
        var specifications: [WithSpecification] = []
        for with in expression.with { specifications.append(try planTarget(with)) }
        let first = Int32(withs.count)
        withs += specifications
        let inner = Expression(expression.kind, expression.location)
        inner.negated = expression.negated
        let known = Set(env.keys)
        let outerFail = fail
        // What the expression binds is collected inside and handed out afterwards.
        let names = VariableCollector.names(inner, VariableCollector(skipsCallHeads: true, skipsClosures: true))
            .subtracting(known).subtracting(["input", "data"]).sorted()
        let failed = label()
        if names.isEmpty || inner.negated {
            emit(.withBegin, b: Int32(specifications.count), c: first)
            fail = failed
            try plan(inner)
            fail = outerFail
            emit(.withEnd)
            let done = label()
            emitJumping(.jump, to: done)
            place(failed)
            emit(.withEnd)
            emitJumping(.jump)
            place(done)
            return
        }
        let start = slot()
        emit(.withBegin, b: Int32(specifications.count), c: first)
        emit(.begin, a: start)
        fail = failed
        try plan(inner)
        let bound = names.filter { env[$0] != nil }
        let tuple = slot()
        emit(.makeArray, a: tuple, b: Int32(bound.count), c: pooled(bound.compactMap { env[$0] }))
        emit(.push, b: tuple)
        emitJumping(.jump)
        place(failed)
        fail = outerFail
        let solutions = slot()
        emit(.endArray, a: solutions, b: start)
        emit(.withEnd)
        let iterator = slotPair()
        emitJumping(.iterate, a: iterator, b: solutions)
        let again = label()
        place(again)
        let solution = slot()
        emitJumping(.next, a: iterator, b: -1, c: solution)
        fail = again
        for (index, name) in bound.enumerated() {
            let value = slot()
            emitJumping(.lookup, a: value, b: solution, c: constant(RegoValue(index)))
            env[name] = value
        }
    }

    private func planTarget(_ with: With) throws(RegoErrors) -> WithSpecification {
        var terms: [Term] = [with.target]
        if case .reference(let parts) = with.target.value { terms = parts }
        guard case .variable(let root) = terms[0].value else {
            throw RegoErrors([RegoError("rego_type_error", with.location, "with keyword target must be a reference")])
        }
        if root == "input" || (root == "data" && compiler.function(with.target) == nil) {
            var path: [Int32] = []
            for term in terms.dropFirst() { path.append(try planTerm(term)) }
            let value = try planTerm(with.value)
            return WithSpecification(target: root == "input" ? .input : .data, path: path, value: value)
        }
        let name = TermPrinter.text(with.target)
        if let callee = try functionValue(with.value) {
            return WithSpecification(target: .function(name, replacement: callee), path: [], value: 0)
        }
        let value = try planTerm(with.value)
        return WithSpecification(target: .function(name, replacement: nil), path: [], value: value)
    }

    /// The function that a `with`'s value names; nil where it is a value.
    private func functionValue(_ term: Term) throws(RegoErrors) -> Callee? {
        var term = term
        if case .call(let terms) = term.value, terms.count == 1 { term = terms[0] }
        if let node = compiler.function(term) { return .group(try group(of: node)) }
        let name = TermPrinter.text(term)
        switch term.value {
        case .reference, .variable:
            if env[name] != nil { return nil }
            guard let declaration = BuiltinTable.declarations[name] else { return nil }
            return .builtin(site: try site(name, declaration.arguments.count, term.location))
        default: return nil
        }
    }

    // MARK: Calls

    private static let comparisons: [String: Comparison] = [
        "equal": .equal, "neq": .notEqual, "lt": .less, "lte": .lessOrEqual, "gt": .greater, "gte": .greaterOrEqual,
    ]

    private func planCall(_ terms: [Term], _ location: Location) throws(RegoErrors) {
        let name = TermPrinter.text(terms[0])
        if name == "eq" || name == "assign", terms.count == 3 {
            try planUnify(terms[1], terms[2])
            return
        }
        if name == "print" || name == "internal.print" {
            if options.keepsPrints, terms.count == 2 { try planPrint(terms[1], location) }
            return
        }
        if let comparison = Planner.comparisons[name], !replacements.functions.contains(name) {
            let operands = try planArguments(Array(terms[1...2]))
            let (left, right) = (operands[0], operands[1])
            if terms.count == 3 {
                if comparison == .equal {
                    emitJumping(.equal, b: left, c: right)
                } else {
                    emitJumping(.compare, a: comparison.rawValue, b: left, c: right)
                }
                return
            }
            let value = slot()
            code.append(Instruction(op: .compareValue, a: value, b: left, c: right, d: comparison.rawValue))
            try planMatch(terms[3], value)
            return
        }
        guard let arity = compiler.arity(of: terms[0]) else {
            throw RegoErrors([RegoError("rego_type_error", location, "undefined function \(name)")])
        }
        let value = try planInvoke(terms, arity, location)
        if options.isInstrumented, name == "trace" { traceNote(try planTerm(terms[1]), location) }
        if BuiltinTable.isRelation(name) {
            let iterator = slotPair()
            emitJumping(.iterate, a: iterator, b: value)
            let again = label()
            place(again)
            let element = slot()
            emitJumping(.next, a: iterator, b: -1, c: element)
            fail = again
            if terms.count > arity + 1 { try planMatch(terms[arity + 1], element) }
            return
        }
        if terms.count > arity + 1 {
            try planMatch(terms[arity + 1], value)
        } else if BuiltinTable.declarations[name]?.result != nil || BuiltinTable.declarations[name] == nil {
            emitJumping(.test, b: value)
        }
    }

    /// Arguments in order, but variables that references bind after those references.
    private func planArguments(_ terms: [Term]) throws(RegoErrors) -> [Int32] {
        var operands = [Int32?](repeating: nil, count: terms.count)
        for (index, term) in terms.enumerated() {
            if isLiteral(term) || isVariable(term), isOpen(term) { continue }
            operands[index] = try planTerm(term)
        }
        var result: [Int32] = []
        for (index, term) in terms.enumerated() {
            if let operand = operands[index] { result.append(operand) } else { result.append(try planTerm(term)) }
        }
        return result
    }

    private func isVariable(_ term: Term) -> Bool {
        if case .variable = term.value { return true }
        return false
    }

    /// Emits the call itself; the result's slot.
    func planInvoke(_ terms: [Term], _ arity: Int, _ location: Location) throws(RegoErrors) -> Int32 {
        let name = TermPrinter.text(terms[0])
        if let rule = currentRule, let module = rule.module, !replacements.functions.contains(name) {
            if name == "rego.metadata.rule" { return constant(annotations.rule(rule)) }
            if name == "rego.metadata.chain" {
                let package = module.package.compactMap { ConstantTerm.value($0) }
                return constant(annotations.chain(rule, package: package))
            }
        }
        if name == "internal.member_2", let value = try planMember(terms) { return value }
        let arguments = try planArguments(Array(terms.dropFirst().prefix(arity)))
        let value = slot()
        if let node = compiler.function(terms[0]) {
            let number = try group(of: node)
            if replacements.functions.contains(name) {
                callees.append(.group(number))
                calleeNames.append(name)
                emitJumping(
                    .callReplaceable, a: value, b: Int32(callees.count - 1), c: pooled([Int32(arity)] + arguments))
            } else {
                emitJumping(.call, a: value, b: number, c: pooled(arguments))
            }
            return value
        }
        let site = try site(name, arity, location)
        if replacements.functions.contains(name) {
            callees.append(.builtin(site: site))
            calleeNames.append(name)
            emitJumping(.callReplaceable, a: value, b: Int32(callees.count - 1), c: pooled([Int32(arity)] + arguments))
        } else {
            emitJumping(.builtin, a: value, b: site, c: pooled(arguments))
        }
        return value
    }

    /// Plans what is left of a call of `print`: the operands as sets, and the place of the call.
    private func planPrint(_ operands: Term, _ location: Location) throws(RegoErrors) {
        let values = try planTerm(operands)
        let site = try site("internal.print", 2, location)
        emitJumping(.builtin, a: slot(), b: site, c: pooled([values, constant(RegoValue(Int(site)))]))
    }

    private func site(_ name: String, _ count: Int, _ location: Location) throws(RegoErrors) -> Int32 {
        if let function = function(name) {
            functions.append(function)
        } else if replacements.functions.contains(name) {
            functions.append(Builtins.unavailable(name))
        } else {
            throw RegoErrors([
                RegoError(
                    "rego_unavailable_error", location,
                    "built-in function \(name) is not available here (replace it with a `with`, or leave it out)")
            ])
        }
        sites.append(
            CallSite(
                name: name, argumentCount: count, file: location.source?.name ?? "", row: location.row,
                column: location.column))
        return Int32(sites.count - 1)
    }
}
