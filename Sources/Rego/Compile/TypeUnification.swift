/// Finds out whether terms can be equal, and learns the types of variables on the way.
struct TypeUnification {
    private let environment: TypeEnvironment

    init(_ environment: TypeEnvironment) { self.environment = environment }

    /// Whether two terms can be equal.
    func unify(_ a: Term, _ typeA: RegoType?, _ b: Term, _ typeB: RegoType?) -> Bool {
        let unknownA = RegoType.isUnknown(typeA)
        let unknownB = RegoType.isUnknown(typeB)
        if unknownA, !unknownB { return unify(a, typeB, union: false) }
        if unknownB, !unknownA { return unify(b, typeA, union: false) }
        if !unknownA, !unknownB { return RegoType.unifies(typeA, typeB) }
        switch (a.value, b.value) {
        case (.array, _), (.object, _): return unifyParts(a, b)
        case (.variable, .variable): return unifyVariable(a, b)
        case (.variable, .array), (.variable, .object): return unifyParts(b, a)
        default: return false
        }
    }

    private func unifyVariable(_ a: Term, _ b: Term) -> Bool {
        unify(a, .anything, union: false) && unify(b, environment.type(of: a), union: false)
    }

    private func unifyParts(_ a: Term, _ b: Term) -> Bool {
        switch (a.value, b.value) {
        case (_, .variable): return unifyVariable(a, b)
        case (.array(let x), .array(let y)):
            return x.count == y.count
                && zip(x, y).allSatisfy { unify($0, environment.type(of: $0), $1, environment.type(of: $1)) }
        case (.object(let x), .object(let y)):
            guard x.count == y.count else { return false }
            var values: [TypeTree.Key: Term] = [:]
            for pair in y { values[TypeTree.Key(pair.key)] = pair.value }
            for pair in x {
                guard let other = values[TypeTree.Key(pair.key)] else { return false }
                if !unify(pair.value, environment.type(of: pair.value), other, environment.type(of: other)) {
                    return false
                }
            }
            return true
        default: return false
        }
    }

    /// Whether a term can be of a type. With `union`, types of variables grow instead of being compared.
    @discardableResult
    func unify(_ term: Term, _ type: RegoType?, union: Bool) -> Bool {
        switch term.value {
        case .array(let terms):
            if case .array(let elements, let rest) = type {
                if terms.count != elements.count, rest == nil { return false }
                return terms.enumerated().allSatisfy {
                    unify($1, $0 < elements.count ? elements[$0] : rest, union: union)
                }
            }
            return unifyAny(term, type, terms)
        case .object(let pairs):
            if case .object(let properties, let rest) = type {
                if pairs.count != properties.count, rest?.value == nil { return false }
                return unify(pairs, type, union: union)
            }
            return unifyAny(term, type, pairs.flatMap { [$0.key, $0.value] })
        case .set(let terms):
            if case .set = type {
                let element = RegoType.values(type)
                return terms.allSatisfy { unify($0, element, union: union) }
            }
            return unifyAny(term, type, terms)
        case .variable:
            let known = environment.type(of: term)
            if union {
                environment.tree.put(term, RegoType.or(known, type))
            } else if let known {
                return RegoType.unifies(known, type)
            } else {
                environment.tree.put(term, type)
            }
            return true
        default: return RegoType.unifies(environment.type(of: term), type)
        }
    }

    private func unify(_ pairs: [(key: Term, value: Term)], _ type: RegoType?, union: Bool) -> Bool {
        for pair in pairs {
            if TermWalk.isConstant(pair.key) {
                guard let child = TypeEnvironment.select(type, constant: pair.key) else { return false }
                if !unify(pair.value, child, union: union) { return false }
            } else {
                unify(pair.value, .anything, union: union)
            }
        }
        return true
    }

    private func unifyAny(_ term: Term, _ type: RegoType?, _ parts: [Term]) -> Bool {
        guard case .any(let types) = type else { return false }
        if types.isEmpty {
            for part in parts { unify(part, .anything, union: true) }
            return true
        }
        var unifies = false
        for type in types where unify(term, type, union: true) { unifies = true }
        return unifies
    }
}
