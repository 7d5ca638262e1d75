/// A JSON Schema as the type checker reads it: which keys there are and which kinds of values. What a type cannot say
/// (bounds, patterns, formats, `required`) is passed over.
public struct RegoSchema: Sendable {
    let type: RegoType

    /// Reads a schema: `type`, `properties`, `additionalProperties`, `items`, `enum`, `const`, `anyOf`, `oneOf`, `allOf`
    /// and `$ref` into the same document. An object with `properties` has no others unless `additionalProperties` is
    /// given, as in OPA. Throws where the document is no schema.
    public init(_ value: RegoValue) throws(RegoError) {
        type = try SchemaReader(root: value).type(value, depth: 0)
    }
}

/// Turns a schema into a type.
private struct SchemaReader {
    let root: RegoValue

    /// References that lead to themselves end as `any` here.
    private static let maximumDepth = 32

    func type(_ schema: RegoValue, depth: Int) throws(RegoError) -> RegoType {
        if depth > Self.maximumDepth { return .anything }
        if let boolean = schema.boolean, boolean { return .anything }
        guard case .object = schema else {
            throw Self.error("a schema must be an object, not \(schema.json)")
        }
        if let reference = schema["$ref"] {
            return try type(try target(of: reference), depth: depth + 1)
        }
        for name in ["anyOf", "oneOf"] {
            if let choices = schema[name] { return try union(try list(choices, name), depth) }
        }
        if let parts = schema["allOf"] { return try intersection(try list(parts, "allOf"), depth) }
        switch schema["type"] {
        case nil: return try untyped(schema, depth)
        case .string(let name): return try type(named: name, schema, depth)
        case .array(let names):
            var result: RegoType?
            for name in names {
                guard let name = name.string else { throw Self.error("\"type\" must hold names of types") }
                result = RegoType.or(result, try type(named: name, schema, depth))
            }
            return result ?? .anything
        case .some(let other): throw Self.error("\"type\" must be a name or a list of names, not \(other.json)")
        }
    }

    private func type(named name: String, _ schema: RegoValue, _ depth: Int) throws(RegoError) -> RegoType {
        switch name {
        case "string": return .string
        case "number", "integer": return .number
        case "boolean": return .boolean
        case "null": return .null
        case "object": return try object(schema, depth)
        case "array": return try array(schema, depth)
        default: throw Self.error("unknown type \"\(name)\"")
        }
    }

    private func untyped(_ schema: RegoValue, _ depth: Int) throws(RegoError) -> RegoType {
        if schema["properties"] != nil { return try object(schema, depth) }
        if schema["items"] != nil { return try array(schema, depth) }
        if let constant = schema["const"] { return Self.kind(constant) }
        if let values = schema["enum"] {
            return try list(values, "enum").reduce(RegoType?.none) { RegoType.or($0, Self.kind($1)) } ?? .anything
        }
        return .anything
    }

    /// The type of values like this one.
    private static func kind(_ value: RegoValue) -> RegoType {
        switch value {
        case .null: .null
        case .boolean: .boolean
        case .number: .number
        case .string: .string
        case .array, .set, .object: .anything
        }
    }

    private func object(_ schema: RegoValue, _ depth: Int) throws(RegoError) -> RegoType {
        var properties: [RegoType.Property] = []
        switch schema["properties"] {
        case nil: break
        case .object(let pairs):
            for pair in pairs {
                properties.append(RegoType.Property(key: pair.key, type: try type(pair.value, depth: depth + 1)))
            }
        case .some(let other): throw Self.error("\"properties\" must be an object, not \(other.json)")
        }
        let rest: RegoType.Rest?
        switch schema["additionalProperties"] {
        case .boolean(false): rest = nil
        case nil: rest = properties.isEmpty ? RegoType.Rest(key: .anything, value: .anything) : nil
        case .some(let other): rest = RegoType.Rest(key: .string, value: try type(other, depth: depth + 1))
        }
        return .object(sorting: properties, rest: rest)
    }

    private func array(_ schema: RegoValue, _ depth: Int) throws(RegoError) -> RegoType {
        if let first = schema["prefixItems"] ?? schema["items"], case .array(let items) = first {
            var elements: [RegoType?] = []
            for item in items { elements.append(try type(item, depth: depth + 1)) }
            return .array(elements, rest: schema["items"]?.boolean == false ? nil : .anything)
        }
        guard let items = schema["items"] else { return .array([], rest: .anything) }
        return .array([], rest: try type(items, depth: depth + 1))
    }

    private func union(_ choices: [RegoValue], _ depth: Int) throws(RegoError) -> RegoType {
        var result: RegoType?
        for choice in choices { result = RegoType.or(result, try type(choice, depth: depth + 1)) }
        return result ?? .anything
    }

    /// Objects with the properties of all parts; of other kinds the first that says anything.
    private func intersection(_ parts: [RegoValue], _ depth: Int) throws(RegoError) -> RegoType {
        var all: [RegoType.Property] = []
        var rest: RegoType.Rest?
        var other: RegoType?
        var hasObject = false
        for part in parts {
            let type = try type(part, depth: depth + 1)
            if case .object(let properties, let more) = type {
                hasObject = true
                all += properties.filter { property in
                    !all.contains { TypeKeys.compare($0.key, property.key) == 0 }
                }
                rest = rest ?? more
            } else if !type.isAnything {
                other = other ?? type
            }
        }
        return hasObject ? .object(sorting: all, rest: rest) : other ?? .anything
    }

    /// What `#/$defs/name` leads to.
    private func target(of reference: RegoValue) throws(RegoError) -> RegoValue {
        guard let text = reference.string, text.hasPrefix("#") else {
            throw Self.error("$ref \(reference.json) leads out of the document (put the definition into it)")
        }
        var value = root
        for part in text.dropFirst().split(separator: "/") {
            let key = String(part.replacing("~1", with: "/").replacing("~0", with: "~"))
            guard let next = value[key] else { throw Self.error("$ref \"\(text)\" leads nowhere") }
            value = next
        }
        return value
    }

    private func list(_ value: RegoValue, _ name: String) throws(RegoError) -> [RegoValue] {
        guard case .array(let elements) = value else {
            throw Self.error("\"\(name)\" must be a list, not \(value.json)")
        }
        return elements
    }

    private static func error(_ message: String) -> RegoError {
        RegoError(code: "rego_type_error", message: "unable to compile the schema: \(message)")
    }
}
