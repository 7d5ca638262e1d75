/// Merging of documents.
enum Documents {
    /// One step into a base document: numbers name the keys of objects too.
    static func step(_ value: Value, _ key: Value) -> Value {
        let found = value.lookup(key)
        if found.isDefined || value.tag != .object || key.tag != .int { return found }
        let text = String(key.integer)
        for index in 0..<value.count where value.key(index).tag == .string && value.key(index).text == text {
            return value.element(index)
        }
        return .undefined
    }

    /// `virtual` and whatever `base` has at other keys.
    static func merge(_ virtual: Value, over base: Value, _ arena: Arena) -> Value {
        guard base.tag == .object, virtual.tag == .object, base.count > 0 else { return virtual }
        if virtual.count == 0 { return base }
        var pairs: [(key: Value, value: Value)] = []
        for index in 0..<virtual.count { pairs.append((virtual.key(index), virtual.element(index))) }
        for index in 0..<base.count {
            let key = base.key(index)
            let place = virtual.place(of: key)
            // Below both, the virtual document has the base document in it already.
            if place >= 0, virtual.element(place).tag == .object, base.element(index).tag == .object { continue }
            pairs.append((key, base.element(index)))
        }
        return arena.object(pairs)
    }

    /// Both, with objects merged and sets united where both have a key; nil where two other values differ.
    ///
    /// `depth` is how deep `a` is a tree of names: what lies below is a value, equal or in conflict.
    static func mergeDeep(_ a: Value, _ b: Value, _ arena: Arena, depth: Int) -> Value? {
        if a.tag == .object, b.tag == .object, depth > 0 {
            var pairs: [(key: Value, value: Value)] = []
            for index in 0..<a.count {
                let key = a.key(index)
                let place = b.place(of: key)
                if place < 0 {
                    pairs.append((key, a.element(index)))
                } else {
                    let inner = (a.element(index), b.element(place))
                    guard let both = mergeDeep(inner.0, inner.1, arena, depth: depth - 1) else { return nil }
                    pairs.append((key, both))
                }
            }
            for index in 0..<b.count where a.place(of: b.key(index)) < 0 {
                pairs.append((b.key(index), b.element(index)))
            }
            return arena.object(pairs)
        }
        if a.tag == .set, b.tag == .set { return arena.set(a.elements + b.elements) }
        return Value.equal(a, b) ? a : nil
    }

    /// A tree from tuples `[kind, key..., value]`: kind 0 sets a value, kind 1 adds to a set. Nil for a conflict.
    static func tree(_ tuples: UnsafeMutableBufferPointer<Value>, _ arena: Arena) -> Value? {
        let root = TreeBuilder()
        for tuple in tuples {
            var node = root
            for index in 1..<max(1, tuple.count - 1) {
                guard let child = node.child(tuple.element(index)) else { return nil }
                node = child
            }
            let value = tuple.element(tuple.count - 1)
            if tuple.element(0).integer == 1 {
                guard node.add(value) else { return nil }
            } else {
                guard node.set(value) else { return nil }
            }
        }
        return root.finish(arena)
    }
}

/// A document that is being put together.
private final class TreeBuilder {
    private var keys: [Value] = []
    private var children: [TreeBuilder] = []
    private var elements: [Value]?
    private var value: Value?

    func child(_ key: Value) -> TreeBuilder? {
        if elements != nil || value != nil { return nil }
        if let place = keys.firstIndex(where: { Value.equal($0, key) }) { return children[place] }
        keys.append(key)
        children.append(TreeBuilder())
        return children[children.count - 1]
    }

    func add(_ element: Value) -> Bool {
        if value != nil || !keys.isEmpty { return false }
        elements = (elements ?? []) + [element]
        return true
    }

    func set(_ new: Value) -> Bool {
        if elements != nil || !keys.isEmpty { return false }
        if let value { return Value.equal(value, new) }
        value = new
        return true
    }

    func finish(_ arena: Arena) -> Value {
        if let value { return value }
        if let elements { return arena.set(elements) }
        return arena.object(zip(keys, children).map { ($0, $1.finish(arena)) })
    }
}
