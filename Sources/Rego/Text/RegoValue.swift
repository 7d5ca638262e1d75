/// A Rego value that owns its memory: for hosts, results, data and tests. Not used while a policy runs.
public indirect enum RegoValue: Sendable {
    case null
    case boolean(Bool)
    /// The literal's text, as written: `1`, `1e3`, `0.10`.
    case number(String)
    case string(String)
    case array([RegoValue])
    /// In OPA's order of elements, each once.
    case set([RegoValue])
    /// In OPA's order of keys, each once.
    case object([(key: RegoValue, value: RegoValue)])

    /// A whole number.
    public init(_ integer: Int) { self = .number(String(integer)) }

    /// A copy of a value in an arena.
    init(_ value: Value) {
        switch value.tag {
        case .undefined, .null: self = .null
        case .true: self = .boolean(true)
        case .false: self = .boolean(false)
        case .int: self = .number(String(value.integer))
        case .number: self = .number(value.text)
        case .string: self = .string(value.text)
        case .array: self = .array((0..<value.count).map { RegoValue(value.element($0)) })
        case .set: self = .set((0..<value.count).map { RegoValue(value.element($0)) })
        case .object:
            self = .object((0..<value.count).map { (RegoValue(value.key($0)), RegoValue(value.element($0))) })
        }
    }

    /// The value of an object's key.
    public subscript(key: String) -> RegoValue? {
        guard case .object(let pairs) = self else { return nil }
        for pair in pairs {
            if case .string(let text) = pair.key, text.utf8.elementsEqual(key.utf8) { return pair.value }
        }
        return nil
    }

    /// The boolean, where it is one.
    public var boolean: Bool? { if case .boolean(let value) = self { value } else { nil } }
    /// The text, where it is a string.
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    /// The whole number, where it is one of 64 bits.
    public var integer: Int? { if case .number(let text) = self { Decimal(Array(text.utf8)).integer } else { nil } }
    /// The elements of an array or a set.
    public var elements: [RegoValue]? {
        switch self {
        case .array(let elements), .set(let elements): elements
        default: nil
        }
    }

    /// Reads JSON. Number literals keep their text; of repeated keys the last one counts.
    /// Throws `rego_json_error` with the byte offset where the text is no JSON or is nested too deeply.
    public init(json: some Sequence<UInt8>) throws(RegoError) {
        let arena = Arena()
        let value = try JSONReader.read(Array(json), arena)
        self = withExtendedLifetime(arena) { RegoValue(value) }
    }

    /// Reads JSON text.
    public init(json: String) throws(RegoError) { try self.init(json: json.utf8) }

    /// JSON without spaces; keys in OPA's order, sets as arrays.
    public var json: String {
        let arena = Arena()
        return withExtendedLifetime(arena) { JSONWriter.text(arena.make(self)) }
    }

    /// JSON over several lines, indented by two spaces.
    public var prettyJSON: String {
        let arena = Arena()
        return withExtendedLifetime(arena) { JSONWriter.pretty(arena.make(self)) }
    }
}

extension RegoValue: Equatable {
    /// Rego's equality: numbers by value, strings by their bytes.
    public static func == (a: RegoValue, b: RegoValue) -> Bool {
        let arena = Arena()
        return withExtendedLifetime(arena) { Value.equal(arena.make(a), arena.make(b)) }
    }
}

extension Arena {
    /// A copy of `value` in this arena.
    func make(_ value: RegoValue) -> Value {
        switch value {
        case .null: return .null
        case .boolean(let boolean): return Value(boolean)
        case .number(let text): return number(text)
        case .string(let text): return string(text)
        case .array(let elements): return array(elements.map { make($0) })
        case .set(let elements): return set(elements.map { make($0) })
        case .object(let pairs): return object(pairs.map { (make($0.key), make($0.value)) })
        }
    }
}
