extension RegoType {
    /// The type of what `key` selects; nil where it selects nothing.
    static func select(_ type: RegoType?, _ key: RegoValue) -> RegoType? {
        switch type {
        case .array(let elements, let rest):
            guard case .number(let text) = key, let index = Int(text), index >= 0 else { return nil }
            return index < elements.count ? elements[index] : rest
        case .object(let properties, let rest):
            return select(properties, rest, key)
        case .set(let element):
            let selected = TypeKeys.type(key)
            if compare(element, selected) == 0 { return element }
            if case .any = element, contains(element, selected) { return selected }
            return nil
        case .any(let types):
            if types.isEmpty { return .anything }
            return types.reduce(RegoType?.none) { or(select($1, key), $0) }
        default: return nil
        }
    }

    /// The type of a key's value in an object.
    static func select(_ properties: [Property], _ rest: Rest?, _ key: RegoValue) -> RegoType? {
        var low = 0
        var high = properties.count
        while low < high {
            let middle = (low + high) / 2
            if TypeKeys.compare(properties[middle].key, key) >= 0 { high = middle } else { low = middle + 1 }
        }
        if low < properties.count, TypeKeys.compare(properties[low].key, key) == 0 { return properties[low].type }
        if let rest, contains(rest.key, TypeKeys.type(key)) { return rest.value }
        return nil
    }

    /// The type of the keys that can be enumerated; nil where there are none.
    static func keys(_ type: RegoType?) -> RegoType? {
        switch type {
        case .array: return .number
        case .object(let properties, let rest):
            let known = properties.reduce(RegoType?.none) { or($0, TypeKeys.type($1.key)) }
            return rest == nil ? known : or(known, rest?.key)
        case .set(let element): return element
        case .any(let types):
            if types.isEmpty { return .anything }
            return types.reduce(RegoType?.none) { or(keys($1), $0) }
        default: return nil
        }
    }

    /// The type of the values that can be enumerated; nil where there are none.
    static func values(_ type: RegoType?) -> RegoType? {
        switch type {
        case .array(let elements, let rest): return or(elements.reduce(RegoType?.none) { or($0, $1) }, rest)
        case .object(let properties, let rest):
            return or(properties.reduce(RegoType?.none) { or($0, $1.type) }, rest?.value)
        case .set(let element): return element
        case .any(let types):
            if types.isEmpty { return .anything }
            return types.reduce(RegoType?.none) { or(values($1), $0) }
        default: return nil
        }
    }

    /// Whether a part of the type is not known.
    static func isUnknown(_ type: RegoType?) -> Bool {
        switch type {
        case nil: return true
        case .function(let arguments, let result):
            return arguments.contains { isUnknown($0) } || isUnknown(result)
        case .array(let elements, let rest):
            return elements.contains { isUnknown($0) } || (rest != nil && isUnknown(rest))
        case .object(let properties, let rest):
            if properties.contains(where: { isUnknown($0.type) }) { return true }
            return rest.map { isUnknown($0.key) || isUnknown($0.value) } ?? false
        // A set of unknown elements is known to be a set, and so OPA takes it.
        default: return false
        }
    }

    // MARK: Unification

    /// Whether a value can be of both types.
    static func unifies(_ a: RegoType?, _ b: RegoType?) -> Bool {
        guard let a, let b else { return false }
        var isAny = false
        if case .any(let types) = a {
            if unifies(types, b) { return true }
            isAny = true
        }
        if case .any(let types) = b {
            if unifies(types, a) { return true }
            isAny = true
        }
        if isAny { return false }
        switch (a, b) {
        case (.null, .null), (.boolean, .boolean), (.number, .number), (.string, .string): return true
        case (.array(let x, let restX), .array(let y, let restY)):
            return unifies(x, y, restY) && unifies(y, x, restX)
                && (restX == nil || restY == nil || unifies(restX, restY))
        case (.object(let x, let restX), .object(let y, let restY)):
            if !unifies(x, restX, y, restY) || !unifies(y, restY, x, restX) { return false }
            guard let valueX = restX?.value, let valueY = restY?.value else { return true }
            return unifies(valueX, valueY)
        case (.set(let x), .set(let y)): return unifies(x, y)
        case (.function(let x, _), .function(let y, _)):
            return x.count == y.count && zip(x, y).allSatisfy { unifies($0, $1) }
        default: return false
        }
    }

    /// Whether the known keys of an object can be those of another. A key that the other cannot have may be missing
    /// where the first has keys that are not known.
    private static func unifies(_ properties: [Property], _ rest: Rest?, _ others: [Property], _ otherRest: Rest?)
        -> Bool
    {
        properties.allSatisfy { property in
            let other = select(others, otherRest, property.key)
            return other == nil ? rest != nil : unifies(property.type, other)
        }
    }

    private static func unifies(_ types: [RegoType], _ other: RegoType) -> Bool {
        if case .function = other { return false }
        return types.isEmpty || types.contains { unifies($0, other) }
    }

    private static func unifies(_ elements: [RegoType?], _ others: [RegoType?], _ rest: RegoType?) -> Bool {
        for (index, element) in elements.enumerated()
        where !unifies(element, index < others.count ? others[index] : rest) {
            return false
        }
        return true
    }
}
