/// A type, as OPA's checker has it. Nil in the place of a part is a type that is not known yet.
indirect enum RegoType: Sendable {
    /// Any value (no alternatives) or one of several types, sorted.
    case any([RegoType])
    case null
    case boolean
    case number
    case string
    /// The types of the first elements, then that of all others.
    case array([RegoType?], rest: RegoType?)
    /// The types of known keys, sorted by key, then those of all others.
    case object([Property], rest: Rest?)
    /// Nil for a set of nothing in particular.
    case set(RegoType?)
    case function([RegoType?], result: RegoType?)

    /// The type of one key's value.
    struct Property: Sendable {
        let key: RegoValue
        var type: RegoType?
    }

    /// The types of other keys and of their values.
    struct Rest: Sendable {
        var key: RegoType?
        var value: RegoType?
    }

    static let anything = RegoType.any([])

    /// An object's type, its properties in order.
    static func object(sorting properties: [Property], rest: Rest?) -> RegoType {
        .object(properties.sorted { TypeKeys.compare($0.key, $1.key) < 0 }, rest: rest)
    }

    /// One of several types.
    static func any(sorting types: [RegoType]) -> RegoType { .any(types.sorted { compare($0, $1) < 0 }) }

    /// Whether this is `any` without alternatives.
    var isAnything: Bool { if case .any(let types) = self { types.isEmpty } else { false } }

    /// As OPA prints it, where a missing type is `???`.
    static func text(_ type: RegoType?) -> String { type?.text ?? "???" }

    /// As OPA prints it.
    var text: String {
        switch self {
        case .any(let types):
            return types.isEmpty ? "any" : "any<" + types.map(\.text).joined(separator: ", ") + ">"
        case .null: return "null"
        case .boolean: return "boolean"
        case .number: return "number"
        case .string: return "string"
        case .array(let elements, let rest):
            var result = "array"
            if !elements.isEmpty { result += "<" + Self.list(elements) + ">" }
            if let rest { result += "[" + rest.text + "]" }
            return result
        case .object(let properties, let rest):
            var result = "object"
            if !properties.isEmpty {
                let texts = properties.map { TypeKeys.text($0.key) + ": " + Self.text($0.type) }
                result += "<" + texts.joined(separator: ", ") + ">"
            }
            if let rest { result += "[" + Self.text(rest.key) + ": " + Self.text(rest.value) + "]" }
            return result
        case .set(let element): return "set[" + Self.text(element) + "]"
        case .function(let arguments, let result):
            return "(" + Self.list(arguments) + ") => " + Self.text(result)
        }
    }

    private static func list(_ types: [RegoType?]) -> String { types.map { text($0) }.joined(separator: ", ") }

    // MARK: Order

    private var rank: Int {
        switch self {
        case .null: 0
        case .boolean: 1
        case .number: 2
        case .string: 3
        case .array: 4
        case .object: 5
        case .set: 6
        case .any: 7
        case .function: 8
        }
    }

    /// OPA's order of types; unknown ones come first.
    static func compare(_ a: RegoType?, _ b: RegoType?) -> Int {
        guard let a else { return b == nil ? 0 : -1 }
        guard let b else { return 1 }
        if a.rank != b.rank { return a.rank < b.rank ? -1 : 1 }
        switch (a, b) {
        case (.array(let x, let restX), .array(let y, let restY)):
            let order = compare(restX, restY)
            return order != 0 ? order : compareLists(x, y)
        case (.set(let x), .set(let y)): return compare(x, y)
        case (.any(let x), .any(let y)): return compareLists(x, y)
        case (.object(let x, let restX), .object(let y, let restY)):
            let order = compareRests(restX, restY)
            if order != 0 { return order }
            for (left, right) in zip(x, y) {
                let keys = TypeKeys.compare(left.key, right.key)
                if keys != 0 { return keys }
                let types = compare(left.type, right.type)
                if types != 0 { return types }
            }
            return x.count == y.count ? 0 : x.count < y.count ? -1 : 1
        case (.function(let x, let resultX), .function(let y, let resultY)):
            if x.count != y.count { return x.count < y.count ? -1 : 1 }
            let order = compareLists(x, y)
            return order != 0 ? order : compare(resultX, resultY)
        default: return 0
        }
    }

    private static func compareRests(_ a: Rest?, _ b: Rest?) -> Int {
        guard let a else { return b == nil ? 0 : -1 }
        guard let b else { return 1 }
        let keys = compare(a.key, b.key)
        return keys != 0 ? keys : compare(a.value, b.value)
    }

    private static func compareLists(_ a: [RegoType?], _ b: [RegoType?]) -> Int {
        for (x, y) in zip(a, b) {
            let order = compare(x, y)
            if order != 0 { return order }
        }
        return a.count == b.count ? 0 : a.count < b.count ? -1 : 1
    }

    // MARK: Union

    /// Whether the alternatives are a superset of `other`.
    private static func contains(_ types: [RegoType], _ other: RegoType?) -> Bool {
        if case .function = other { return false }
        return types.isEmpty || place(of: other, in: types).found
    }

    /// Where `other` stands, or would stand, in sorted alternatives.
    private static func place(of other: RegoType?, in types: [RegoType]) -> (index: Int, found: Bool) {
        var low = 0
        var high = types.count
        while low < high {
            let middle = (low + high) / 2
            if compare(types[middle], other) >= 0 { high = middle } else { low = middle + 1 }
        }
        return (low, low < types.count && compare(types[low], other) == 0)
    }

    /// Whether the type includes `other`.
    static func contains(_ a: RegoType?, _ b: RegoType?) -> Bool {
        if case .any(let types) = a { return contains(types, b) }
        return compare(a, b) == 0
    }

    private static func merge(_ types: [RegoType], _ other: RegoType) -> RegoType {
        if case .any(let others) = other {
            if types.isEmpty { return .any(types) }
            if others.isEmpty { return other }
            var result = types
            for type in others {
                let (index, found) = place(of: type, in: result)
                if !found { result.insert(type, at: index) }
            }
            return .any(result)
        }
        if contains(types, other) { return .any(types) }
        var result = types
        result.insert(other, at: place(of: other, in: types).index)
        return .any(result)
    }

    /// The union of two types; nil for that of a function and something else.
    static func or(_ a: RegoType?, _ b: RegoType?) -> RegoType? {
        guard let a else { return b }
        guard let b else { return a }
        switch (a, b) {
        case (.function(let x, let resultX), .function(let y, let resultY)):
            if x.count != y.count { return nil }
            return .function(zip(x, y).map { or($0, $1) }, result: or(resultX, resultY))
        case (.function, _), (_, .function): return nil
        case (.any(let types), _): return merge(types, b)
        case (_, .any(let types)): return merge(types, a)
        default: return compare(a, b) == 0 ? a : .any(sorting: [a, b])
        }
    }
}

/// Constant keys of objects in types: their order and their text.
enum TypeKeys {
    private static func rank(_ value: RegoValue) -> Int {
        switch value {
        case .null: 0
        case .boolean: 1
        case .number: 2
        case .string: 3
        case .array, .set: 4
        case .object: 5
        }
    }

    /// The order of keys; sets stand as arrays, as in JSON.
    static func compare(_ a: RegoValue, _ b: RegoValue) -> Int {
        if rank(a) != rank(b) { return rank(a) < rank(b) ? -1 : 1 }
        switch (a, b) {
        case (.boolean(let x), .boolean(let y)): return x == y ? 0 : y ? -1 : 1
        case (.number(let x), .number(let y)):
            if x == y { return 0 }
            return Decimal.compare(Decimal(Array(x.utf8)), Decimal(Array(y.utf8)))
        case (.string(let x), .string(let y)):
            if x.utf8.elementsEqual(y.utf8) { return 0 }
            return x.utf8.lexicographicallyPrecedes(y.utf8) ? -1 : 1
        case (.object(let x), .object(let y)):
            for (left, right) in zip(x, y) {
                let keys = compare(left.key, right.key)
                if keys != 0 { return keys }
                let values = compare(left.value, right.value)
                if values != 0 { return values }
            }
            return x.count == y.count ? 0 : x.count < y.count ? -1 : 1
        default:
            let (x, y) = (a.elements ?? [], b.elements ?? [])
            for (left, right) in zip(x, y) {
                let order = compare(left, right)
                if order != 0 { return order }
            }
            return x.count == y.count ? 0 : x.count < y.count ? -1 : 1
        }
    }

    /// A key as the text of a type has it: Go's `%v` of its JSON.
    static func text(_ key: RegoValue) -> String {
        switch key {
        case .null: "<nil>"
        case .boolean(let boolean): boolean ? "true" : "false"
        case .number(let text), .string(let text): text
        case .array(let elements), .set(let elements):
            "[" + elements.map { text($0) }.joined(separator: " ") + "]"
        case .object(let pairs):
            "map[" + pairs.map { text($0.key) + ":" + text($0.value) }.joined(separator: " ") + "]"
        }
    }

    /// The type of a constant.
    static func type(_ value: RegoValue) -> RegoType {
        switch value {
        case .null: .null
        case .boolean: .boolean
        case .number: .number
        case .string: .string
        case .array(let elements), .set(let elements): .array(elements.map { type($0) }, rest: nil)
        case .object(let pairs):
            .object(sorting: pairs.map { RegoType.Property(key: $0.key, type: type($0.value)) }, rest: nil)
        }
    }
}
