/// A type, as OPA's checker has it.
indirect enum RegoType: Sendable {
    /// Any value (no alternatives) or one of several types.
    case any([RegoType])
    case null
    case boolean
    case number
    case string
    case array([RegoType], rest: RegoType?)
    case object([(key: RegoValue, type: RegoType)], rest: (key: RegoType, value: RegoType)?)
    /// Nil for a set of nothing in particular.
    case set(RegoType?)
    case function([RegoType], result: RegoType?)

    static let anything = RegoType.any([])

    /// As OPA prints it.
    var text: String {
        switch self {
        case .any(let types):
            return types.isEmpty ? "any" : "any<" + RegoType.sorted(types).map(\.text).joined(separator: ", ") + ">"
        case .null: return "null"
        case .boolean: return "boolean"
        case .number: return "number"
        case .string: return "string"
        case .array(let elements, let rest):
            var result = "array"
            if !elements.isEmpty { result += "<" + elements.map(\.text).joined(separator: ", ") + ">" }
            if let rest { result += "[" + rest.text + "]" }
            return result
        case .object(let pairs, let rest):
            var result = "object"
            if !pairs.isEmpty {
                result += "<" + pairs.map { keyText($0.key) + ": " + $0.type.text }.joined(separator: ", ") + ">"
            }
            if let rest { result += "[" + rest.key.text + ": " + rest.value.text + "]" }
            return result
        case .set(let element): return "set[" + (element?.text ?? "") + "]"
        case .function(let arguments, let result):
            return "(" + arguments.map(\.text).joined(separator: ", ") + ") => " + (result?.text ?? "???")
        }
    }

    private func keyText(_ key: RegoValue) -> String {
        if case .string(let text) = key { return text }
        return key.json
    }

    static func sorted(_ types: [RegoType]) -> [RegoType] { types.sorted { compare($0, $1) < 0 } }

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

    /// OPA's order of types.
    static func compare(_ a: RegoType, _ b: RegoType) -> Int {
        if a.rank != b.rank { return a.rank < b.rank ? -1 : 1 }
        switch (a, b) {
        case (.array(let x, let restX), .array(let y, let restY)):
            let rest = compareOptional(restX, restY)
            if rest != 0 { return rest }
            return compareLists(x, y)
        case (.set(let x), .set(let y)): return compareOptional(x, y)
        case (.any(let x), .any(let y)): return compareLists(sorted(x), sorted(y))
        case (.object(let x, let restX), .object(let y, let restY)):
            if let restX, let restY {
                let keys = compare(restX.key, restY.key)
                if keys != 0 { return keys }
                let values = compare(restX.value, restY.value)
                if values != 0 { return values }
            } else if restX != nil || restY != nil {
                return restX == nil ? -1 : 1
            }
            for (left, right) in zip(x, y) {
                if left.key != right.key { return left.key.json < right.key.json ? -1 : 1 }
                let order = compare(left.type, right.type)
                if order != 0 { return order }
            }
            return x.count == y.count ? 0 : x.count < y.count ? -1 : 1
        case (.function(let x, let resultX), .function(let y, let resultY)):
            let order = compareLists(x, y)
            return order != 0 ? order : compareOptional(resultX, resultY)
        default: return 0
        }
    }

    private static func compareOptional(_ a: RegoType?, _ b: RegoType?) -> Int {
        guard let a else { return b == nil ? 0 : -1 }
        guard let b else { return 1 }
        return compare(a, b)
    }

    private static func compareLists(_ a: [RegoType], _ b: [RegoType]) -> Int {
        for (x, y) in zip(a, b) {
            let order = compare(x, y)
            if order != 0 { return order }
        }
        return a.count == b.count ? 0 : a.count < b.count ? -1 : 1
    }

    /// The union of two types.
    static func or(_ a: RegoType?, _ b: RegoType?) -> RegoType? {
        guard let a else { return b }
        guard let b else { return a }
        var types: [RegoType] = []
        for type in [a, b] {
            if case .any(let inner) = type {
                if inner.isEmpty { return .anything }
                types += inner
            } else {
                types.append(type)
            }
        }
        var distinct: [RegoType] = []
        for type in sorted(types) {
            if let last = distinct.last, compare(last, type) == 0 { continue }
            distinct.append(type)
        }
        return distinct.count == 1 ? distinct[0] : .any(distinct)
    }

    /// Whether the type includes every value of `other`'s kind.
    static func contains(_ a: RegoType, _ b: RegoType) -> Bool {
        if case .any(let types) = a {
            return types.isEmpty || types.contains { compare($0, b) == 0 }
        }
        return compare(a, b) == 0
    }
}

/// Parses OPA's notation of types: `array<string, number>[any]`, `object<k: string>[any: any]`.
struct TypeNotation {
    private let text: [UInt8]
    private var offset = 0

    static func type(_ text: Substring) -> RegoType {
        var parser = TypeNotation(text: Array(text.utf8))
        return parser.parse()
    }

    private init(text: [UInt8]) { self.text = text }

    private mutating func take(_ character: Character) -> Bool {
        while offset < text.count, text[offset] == 0x20 { offset += 1 }
        guard offset < text.count, text[offset] == character.asciiValue else { return false }
        offset += 1
        return true
    }

    private mutating func name() -> String {
        while offset < text.count, text[offset] == 0x20 { offset += 1 }
        let start = offset
        while offset < text.count, !Array("<>[],: ".utf8).contains(text[offset]) { offset += 1 }
        return String(decoding: text[start..<offset], as: UTF8.self)
    }

    private mutating func list() -> [RegoType] {
        var types: [RegoType] = []
        guard take("<") else { return types }
        repeat { types.append(parse()) } while take(",")
        _ = take(">")
        return types
    }

    private mutating func parse() -> RegoType {
        switch name() {
        case "null": return .null
        case "boolean": return .boolean
        case "number": return .number
        case "string": return .string
        case "set":
            var element: RegoType?
            if take("["), !take("]") {
                element = parse()
                _ = take("]")
            }
            return .set(element)
        case "array":
            let elements = list()
            var rest: RegoType?
            if take("[") {
                rest = parse()
                _ = take("]")
            }
            return .array(elements, rest: rest)
        case "object":
            var pairs: [(key: RegoValue, type: RegoType)] = []
            if take("<") {
                repeat {
                    let key = name()
                    _ = take(":")
                    pairs.append((.string(key), parse()))
                } while take(",")
                _ = take(">")
            }
            var rest: (key: RegoType, value: RegoType)?
            if take("[") {
                let key = parse()
                _ = take(":")
                rest = (key, parse())
                _ = take("]")
            }
            return .object(pairs, rest: rest)
        default: return .any(list())
        }
    }
}
