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
            var pairs: [RegoType.Property] = []
            if take("<") {
                repeat {
                    let key = name()
                    _ = take(":")
                    pairs.append(RegoType.Property(key: .string(key), type: parse()))
                } while take(",")
                _ = take(">")
            }
            var rest: RegoType.Rest?
            if take("[") {
                let key = parse()
                _ = take(":")
                rest = RegoType.Rest(key: key, value: parse())
                _ = take("]")
            }
            return .object(sorting: pairs, rest: rest)
        default: return .any(sorting: list())
        }
    }
}
