// Rules: complete, partial, functions, `else`, `default`.

extension Planner {
    func planRules(_ node: RuleTree) throws(RegoErrors) {
        if node.rules[0].head.arguments == nil, node.children.contains(where: { $0.hasRules }) {
            try planTree(node)
            return
        }
        let rules = node.rules.filter { !$0.isDefault }
        let defaults = node.rules.filter { $0.isDefault }
        let sample = rules.first ?? node.rules[0]
        let dynamic = rules.contains { !Compiler.dynamicParts($0).isEmpty }
        if sample.head.value == nil || dynamic {
            try planPartial(rules, dynamic: dynamic)
            return
        }
        let done = label()
        let early = Self.sameConstant(rules)
        try planIndexed(rules, .complete(early: early ? done : nil))
        place(done)
        if let rule = defaults.first, let value = rule.head.value {
            let end = label()
            emitJumping(.jumpDefined, b: 0, to: end)
            let savedFail = fail
            let skip = label()
            fail = skip
            bindArguments(rule.head.arguments)
            let site = traceRule(rule)
            let operand = try planTerm(value)
            emit(.result, a: 0, b: operand, c: placeNumber(rule))
            trace(.exit, site)
            place(skip)
            fail = savedFail
            place(end)
        }
        place(fail)
        emit(.return)
    }

    /// What a rule's success does.
    private enum Form {
        /// Sets the value; goes to `early` where that settles it.
        case complete(early: Label?)
        /// Collects keys and values.
        case partial(dynamic: Bool, isTree: Bool)

        var isEarly: Bool { if case .complete(.some) = self { true } else { false } }
    }

    private func plan(_ rule: Rule, _ form: Form) throws(RegoErrors) {
        currentRule = rule
        defer { currentRule = nil }
        try reusingSlots { () throws(RegoErrors) in
            switch form {
            case .complete(let early): try planComplete(rule, early: early)
            case .partial(let dynamic, let isTree): try planElement(rule, dynamic: dynamic, isTree: isTree)
            }
        }
    }

    /// Plans rules one after the other, or through an index where that pays.
    private func planIndexed(_ rules: [Rule], _ form: Form) throws(RegoErrors) {
        let builder = RuleIndexBuilder(self, rules)
        guard rules.count > 2, let conditions = builder.conditions() else {
            traceIndex(rules, iterator: nil, form.isEarly)
            for rule in rules { try plan(rule, form) }
            return
        }
        let iterator = slotPair()
        let number = Int32(indexes.count)
        indexes.append(RuleIndex())
        emit(.indexBegin, a: iterator, b: number)
        traceIndex(rules, iterator: iterator, form.isEarly)
        let again = label()
        let end = label()
        place(again)
        emitJumping(.indexNext, a: iterator, to: end)
        var entries: [Int32] = []
        for rule in rules {
            entries.append(Int32(code.count))
            try plan(rule, form)
            emitJumping(.jump, to: again)
        }
        place(end)
        indexes[Int(number)] = builder.build(conditions, entries)
    }

    /// Whether all rules have one and the same constant value, so that the first success decides.
    private static func sameConstant(_ rules: [Rule]) -> Bool {
        guard let first = rules.first?.head.value, let value = ConstantTerm.value(first) else { return false }
        return rules.allSatisfy { rule in
            var next: Rule? = rule
            while let rule = next {
                guard let other = rule.head.value, let constant = ConstantTerm.value(other), constant == value else {
                    return false
                }
                next = rule.otherwise
            }
            return true
        }
    }

    private func bindArguments(_ arguments: [Term]?) {
        for (index, term) in (arguments ?? []).enumerated() {
            if case .variable(let name) = term.value, env[name] == nil { env[name] = Int32(index + 1) }
        }
    }

    private func matchArguments(_ arguments: [Term]?) throws(RegoErrors) {
        for (index, term) in (arguments ?? []).enumerated() { try planMatch(term, Int32(index + 1)) }
    }

    private func planComplete(_ rule: Rule, early: Label?) throws(RegoErrors) {
        let savedEnv = env
        let savedFail = fail
        defer {
            env = savedEnv
            fail = savedFail
        }
        if rule.otherwise == nil {
            let end = label()
            fail = end
            try planBranch(rule, target: 0, early: early)
            place(end)
            return
        }
        let value = slot()
        emit(.clear, a: value)
        let found = label()
        var next: Rule? = rule
        while let branch = next {
            env = savedEnv
            let end = label()
            fail = end
            try planBranch(branch, target: value, early: nil)
            place(end)
            emitJumping(.jumpDefined, b: value, to: found)
            next = branch.otherwise
        }
        let none = label()
        emitJumping(.jump, to: none)
        place(found)
        emit(.result, a: 0, b: value, c: -1)
        if let early { emitJumping(.jump, to: early) }
        place(none)
    }

    /// Plans a rule whose value goes to a slot; then it goes to `early`, or looks for more.
    private func planBranch(_ rule: Rule, target: Int32, early: Label?) throws(RegoErrors) {
        let site = traceRule(rule)
        try matchArguments(rule.head.arguments)
        try planBody(rule.body)
        var operand = constant(.boolean(true))
        if let value = rule.head.value { operand = try planTerm(value) }
        emit(.result, a: target, b: operand, c: placeNumber(rule))
        if early == nil { traceSolution(site) } else { trace(.exitEarly, site) }
        emitJumping(.jump, to: early)
    }

    private func planPartial(_ rules: [Rule], dynamic: Bool) throws(RegoErrors) {
        let start = slot()
        emit(.begin, a: start)
        let isTree = dynamic && rules.contains { Compiler.dynamicParts($0).count != 1 || $0.head.value == nil }
        try planIndexed(rules, .partial(dynamic: dynamic, isTree: isTree))
        let place = rules.first.map { placeNumber($0) } ?? -1
        if !dynamic {
            emit(.endSet, a: 0, b: start)
        } else {
            emit(isTree ? .endTree : .endObject, a: 0, b: start, c: place)
        }
        self.place(fail)
        emit(.return)
    }

    /// Plans the rules of a node and all below as one partial object: each solution puts a value at its path, so that
    /// what has none leaves nothing behind; defaults do not count.
    private func planTree(_ node: RuleTree) throws(RegoErrors) {
        let start = slot()
        emit(.begin, a: start)
        for rule in node.rulesBelow where !rule.isDefault && rule.head.arguments == nil {
            currentRule = rule
            try planBranchOfTree(rule, depth: node.path.count)
        }
        currentRule = nil
        emit(.endTree, a: 0, b: start, c: node.rules.first.map { placeNumber($0) } ?? -1)
        place(fail)
        emit(.return)
    }

    private func planBranchOfTree(_ rule: Rule, depth: Int) throws(RegoErrors) {
        let savedEnv = env
        let savedFail = fail
        let end = label()
        fail = end
        let parts = (rule.module?.package ?? []) + [Term(.string(rule.name))] + rule.head.reference.dropFirst()
        let names = parts.dropFirst(depth)
        if rule.otherwise == nil {
            let site = traceRule(rule)
            try planBody(rule.body)
            var keys: [Int32] = []
            for term in names { keys.append(try planTerm(term)) }
            if let value = rule.head.value {
                pushTuple(0, keys, try planTerm(value))
            } else if let key = rule.head.key {
                pushTuple(1, keys, try planTerm(key))
            }
            traceSolution(site)
            emitJumping(.jump)
        } else {
            let value = slot()
            emit(.clear, a: value)
            let found = label()
            var next: Rule? = rule
            while let branch = next {
                env = savedEnv
                let none = label()
                fail = none
                try planBranch(branch, target: value, early: nil)
                place(none)
                emitJumping(.jumpDefined, b: value, to: found)
                next = branch.otherwise
            }
            emitJumping(.jump, to: end)
            place(found)
            env = savedEnv
            fail = end
            var keys: [Int32] = []
            for term in names { keys.append(try planTerm(term)) }
            pushTuple(0, keys, value)
        }
        place(end)
        env = savedEnv
        fail = savedFail
    }

    private func planElement(_ rule: Rule, dynamic: Bool, isTree: Bool) throws(RegoErrors) {
        let savedEnv = env
        let savedFail = fail
        let end = label()
        fail = end
        let site = traceRule(rule)
        try planBody(rule.body)
        var keys: [Int32] = []
        for term in Compiler.dynamicParts(rule) { keys.append(try planTerm(term)) }
        if !dynamic {
            if let key = rule.head.key { emit(.push, b: try planTerm(key)) }
        } else if let value = rule.head.value {
            let operand = try planTerm(value)
            if isTree { pushTuple(0, keys, operand) } else { emit(.pushPair, b: keys[0], c: operand) }
        } else if let key = rule.head.key {
            pushTuple(1, keys, try planTerm(key))
        }
        traceSolution(site)
        emitJumping(.jump)
        place(end)
        env = savedEnv
        fail = savedFail
    }

    private func pushTuple(_ kind: Int, _ keys: [Int32], _ value: Int32) {
        let operands = [constant(RegoValue(kind))] + keys + [value]
        let tuple = slot()
        emit(.makeArray, a: tuple, b: Int32(operands.count), c: pooled(operands))
        emit(.push, b: tuple)
    }
}
