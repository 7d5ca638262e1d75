/// What is known of the types of variables, rules and built-in functions. Environments are nested: that of a rule's body
/// in that of all rules, that of a comprehension in that of the body around it.
final class TypeEnvironment {
    let tree = TypeTree()
    let next: TypeEnvironment?
    let checker: TypeChecker
    /// How many comprehensions are around.
    let depth: Int

    init(_ checker: TypeChecker, next: TypeEnvironment? = nil, depth: Int = 0) {
        self.checker = checker
        self.next = next
        self.depth = depth
    }

    /// Comprehensions nested more deeply are not looked into: each level is checked several times.
    static let maximumDepth = 8

    /// The type of a term; nil where nothing is known.
    func type(of term: Term) -> RegoType? {
        switch term.value {
        case .null: return .null
        case .boolean: return .boolean
        case .number: return .number
        case .string, .template: return .string
        case .array(let terms):
            return bounded(.array(terms.map { type(of: $0) }, rest: terms.isEmpty ? .anything : nil))
        case .object(let pairs): return bounded(objectType(pairs))
        case .set(let terms):
            let element = terms.reduce(RegoType?.none) { RegoType.or($0, type(of: $1)) }
            return bounded(.set(element ?? .anything))
        case .arrayComprehension(let head, let body):
            guard let inner = bodyEnvironment(body) else { return nil }
            return bounded(.array([], rest: inner.type(of: head)))
        case .setComprehension(let head, let body):
            guard let inner = bodyEnvironment(body) else { return nil }
            return bounded(.set(inner.type(of: head)))
        case .objectComprehension(let key, let value, let body):
            guard let inner = bodyEnvironment(body) else { return nil }
            return bounded(
                .object([], rest: RegoType.Rest(key: inner.type(of: key), value: inner.type(of: value))))
        case .reference(let terms): return type(ofReference: terms)
        case .variable:
            var environment: TypeEnvironment? = self
            while let current = environment {
                if let node = current.tree.child(term) { return node.value }
                environment = current.next
            }
            return nil
        case .call: return nil
        }
    }

    /// A type, or `any` in its place where it has become too large to handle.
    private func bounded(_ type: RegoType) -> RegoType {
        var left = RegoLimits.typeParts
        return Self.fits(type, &left) ? type : .anything
    }

    private static func fits(_ type: RegoType?, _ left: inout Int) -> Bool {
        left -= 1
        if left < 0 { return false }
        switch type {
        case .array(let elements, let rest):
            for element in elements where !fits(element, &left) { return false }
            return fits(rest, &left)
        case .object(let properties, let rest):
            for property in properties where !fits(property.type, &left) { return false }
            return fits(rest?.key, &left) && fits(rest?.value, &left)
        case .set(let element): return fits(element, &left)
        case .any(let types):
            for type in types where !fits(type, &left) { return false }
            return true
        default: return true
        }
    }

    private func bodyEnvironment(_ body: Body) -> TypeEnvironment? {
        if depth >= Self.maximumDepth { return nil }
        let (inner, errors) = checker.fresh().check(body, in: self)
        return errors.isEmpty ? inner : nil
    }

    private func objectType(_ pairs: [(key: Term, value: Term)]) -> RegoType {
        var properties: [RegoType.Property] = []
        var rest: RegoType.Rest?
        for pair in TermOrder.sorted(pairs) {
            if TermWalk.isConstant(pair.key), let key = ConstantTerm.value(pair.key) {
                properties.append(RegoType.Property(key: key, type: type(of: pair.value)))
            } else {
                rest = RegoType.Rest(key: type(of: pair.key), value: type(of: pair.value))
            }
        }
        if properties.isEmpty, rest == nil { rest = RegoType.Rest(key: .anything, value: .anything) }
        return .object(sorting: properties, rest: rest)
    }

    // MARK: References

    /// Within an expression, what `with` replaces may have the type of the replacement as well as its own.
    func replace(_ replacements: [With]) {
        let types = replacements.compactMap { with -> (target: [Term], type: RegoType?)? in
            let target: [Term]
            switch with.target.value {
            case .reference(let terms): target = terms
            case .variable: target = [with.target]
            default: return nil
            }
            guard target.first.map(Self.isRootDocument) == true else { return nil }
            let known = type(ofReference: target)
            if case .function = known { return nil }
            return (target, RegoType.or(known, type(of: with.value)))
        }
        for (target, type) in types { tree.put(target, type) }
    }

    /// Ends what `replace` said; only what was learned of variables stays.
    func endReplacements() { tree.remove(where: Self.isRootDocument) }

    static func isRootDocument(_ term: Term) -> Bool {
        if case .variable(let name) = term.value { name == "data" || name == "input" } else { false }
    }

    /// The type of what a reference reads.
    func type(ofReference terms: [Term]) -> RegoType? {
        guard let head = terms.first, let node = tree.child(head) else { return fallback(terms) }
        return type(node, terms, terms.dropFirst())
    }

    private func fallback(_ terms: [Term]) -> RegoType? {
        if let next { return next.type(ofReference: terms) }
        return terms.first.map(Self.isRootDocument) == true ? .anything : nil
    }

    private func type(_ node: TypeTree, _ terms: [Term], _ tail: ArraySlice<Term>) -> RegoType? {
        guard let first = tail.first else { return extent(node) }
        if let value = node.value {
            if let child = node.child(first) { return type(child, terms, tail.dropFirst()) }
            return Self.select(value, tail)
        }
        if !TermWalk.isConstant(first) { return Self.select(extent(node), tail) }
        guard let child = node.child(first) else { return fallback(terms) }
        return type(child, terms, tail.dropFirst())
    }

    /// The type of everything below a node.
    func extent(_ node: TypeTree) -> RegoType? {
        if let value = node.value { return value }
        var properties: [RegoType.Property] = []
        for child in node.children {
            switch child.key?.value {
            case .string, .number, .boolean:
                if let key = child.key.flatMap({ ConstantTerm.value($0) }) {
                    properties.append(RegoType.Property(key: key, type: extent(child)))
                }
            default: break
            }
        }
        return .object(sorting: properties, rest: RegoType.Rest(key: .string, value: .anything))
    }

    private static func select(_ type: RegoType?, _ tail: ArraySlice<Term>) -> RegoType? {
        var type = type
        for term in tail {
            guard type != nil else { return nil }
            switch term.value {
            case .variable, .reference, .array, .object, .set: type = RegoType.values(type)
            default: type = ConstantTerm.value(term).flatMap { RegoType.select(type, $0) }
            }
        }
        return type
    }

    /// The type that a constant term selects from another.
    static func select(_ type: RegoType?, constant term: Term) -> RegoType? {
        ConstantTerm.value(term).flatMap { RegoType.select(type, $0) }
    }
}

/// Types by path: a variable or a root document, then keys.
final class TypeTree {
    /// A term by its bytes.
    enum Key: Hashable {
        case variable(String)
        case string([UInt8])
        case number(String)
        case other(String)

        init(_ term: Term) {
            switch term.value {
            case .variable(let name): self = .variable(name)
            case .string(let text): self = .string(Array(text.utf8))
            case .number(let text): self = .number(text)
            default: self = .other(TermPrinter.text(term))
            }
        }
    }

    /// The last part of the path; nil at the root.
    let key: Term?
    var value: RegoType?
    /// In the order in which they came: a module must be judged alike each time.
    private(set) var children: [TypeTree] = []
    private var index: [Key: Int] = [:]

    init(key: Term? = nil) { self.key = key }

    /// The node of a key.
    func child(_ term: Term) -> TypeTree? { index[Key(term)].map { children[$0] } }

    private func makeChild(_ term: Term) -> TypeTree {
        if let child = child(term) { return child }
        let child = TypeTree(key: term)
        index[Key(term)] = children.count
        children.append(child)
        return child
    }

    /// Takes out children.
    func remove(where isRemoved: (Term) -> Bool) {
        guard children.contains(where: { $0.key.map(isRemoved) == true }) else { return }
        children.removeAll { $0.key.map(isRemoved) == true }
        index = [:]
        for (place, child) in children.enumerated() { if let key = child.key { index[Key(key)] = place } }
    }

    /// Sets the type of a variable.
    func put(_ term: Term, _ type: RegoType?) { makeChild(term).value = type }

    /// Sets the type at a path.
    func put(_ path: some Sequence<Term>, _ type: RegoType?) {
        var node = self
        for term in path { node = node.makeChild(term) }
        node.value = type
    }

    /// Adds a type at a path: to objects along it, and to what is there.
    func insert(_ path: [Term], _ type: RegoType, _ environment: TypeEnvironment) {
        var node = self
        for (index, term) in path.enumerated() {
            let known = node.child(term)
            let child = known ?? node.makeChild(term)
            if known != nil, index + 1 < path.count, case .object(let properties, let rest) = child.value {
                child.value = Self.insert(properties, rest, path[(index + 1)...], type, environment)
            }
            node = child
        }
        node.value = Self.merge(node.value, type)
        guard case .object = type else { return }
        for (path, leaf) in node.leaves() {
            guard case .object(let properties, let rest) = node.value else { return }
            node.value = Self.insert(properties, rest, path[...], leaf, environment)
        }
    }

    private static func insert(
        _ properties: [RegoType.Property], _ rest: RegoType.Rest?, _ path: ArraySlice<Term>, _ type: RegoType,
        _ environment: TypeEnvironment
    ) -> RegoType {
        guard let first = path.first else { return .object(properties, rest: rest) }
        let key = environment.type(of: first)
        let value = path.count == 1 ? type : insert([], nil, path.dropFirst(), type, environment)
        return .object(
            properties, rest: RegoType.Rest(key: RegoType.or(rest?.key, key), value: RegoType.or(rest?.value, value)))
    }

    private func leaves() -> [(path: [Term], type: RegoType)] {
        var found: [(path: [Term], type: RegoType)] = []
        func collect(_ node: TypeTree, _ path: [Term]) {
            let path = path + [node.key].compactMap { $0 }
            if let value = node.value {
                found.append((path, value))
            } else {
                for child in node.children { collect(child, path) }
            }
        }
        for child in children { collect(child, []) }
        return found
    }

    /// One type for what two rules of a path give.
    private static func merge(_ a: RegoType?, _ b: RegoType?) -> RegoType? {
        guard let a else { return b }
        guard let b else { return a }
        switch (a, b) {
        case (.object(let x, let restX), .object(let y, let restY)) where x.isEmpty && y.isEmpty:
            return .object(
                [],
                rest: RegoType.Rest(
                    key: RegoType.or(restX?.key, restY?.key), value: merge(restX?.value, restY?.value)))
        case (.object(let x, let rest), .any(let types)) where x.isEmpty:
            for (index, type) in types.enumerated() {
                guard case .object(let y, let restY) = type, y.isEmpty else { continue }
                var types = types
                types[index] = .object(
                    [],
                    rest: RegoType.Rest(
                        key: RegoType.or(restY?.key, rest?.key), value: RegoType.or(restY?.value, rest?.value)))
                return .any(types)
            }
            return RegoType.or(a, b)
        case (.set(let x), .set(let y)): return .set(RegoType.or(x, y))
        case (.any, .any): return RegoType.or(a, b)
        case (.any, _): return merge(b, a)
        default: return RegoType.or(a, b)
        }
    }
}
