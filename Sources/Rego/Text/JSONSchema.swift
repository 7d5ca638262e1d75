/// A JSON Schema (drafts 4, 6 and 7 at once, as OPA reads them): checked and taken apart once.
final class JSONSchema {
    /// What is wrong with a schema.
    struct Failure: Error {
        let message: String
    }

    /// What stands for `additionalProperties` and `additionalItems`.
    enum Rest {
        case anything
        case nothing
        case schema(JSONSchema)
    }

    /// What a key asks for, where another key is there.
    enum Dependency {
        case keys([Value])
        case schema(JSONSchema)
    }

    /// `true` and `false` as schemas.
    var fixed: Bool?
    var reference: JSONSchema?
    /// Kinds in the order of the schema.
    var kinds: [String] = []
    var properties: [(key: Value, schema: JSONSchema)] = []
    var patterns: [(pattern: RegularExpression, schema: JSONSchema)] = []
    var additionalProperties = Rest.anything
    var additionalItems = Rest.anything
    var propertyNames: JSONSchema?
    var dependencies: [(key: Value, dependency: Dependency)] = []
    /// One schema for all items, or one for each.
    var items: JSONSchema?
    var itemList: [JSONSchema] = []
    var contains: JSONSchema?
    var multipleOf: Value?
    var minimum: Value?
    var maximum: Value?
    var exclusiveMinimum: Value?
    var exclusiveMaximum: Value?
    var lengths: (least: Int?, most: Int?)
    var counts: (least: Int?, most: Int?)
    var sizes: (least: Int?, most: Int?)
    var pattern: (expression: RegularExpression, text: String)?
    var format: String?
    var required: [Value] = []
    var uniqueItems = false
    var constant: Value?
    var enumeration: [Value]?
    var anyOf: [JSONSchema] = []
    var oneOf: [JSONSchema] = []
    var allOf: [JSONSchema] = []
    var not: JSONSchema?
    var condition: JSONSchema?
    var then: JSONSchema?
    var otherwise: JSONSchema?

    private init() {}

    /// Reads a schema whose values live in the machine's arena.
    static func read(_ document: Value, _ machine: Machine) throws(Failure) -> JSONSchema {
        var reader = Reader(root: document, machine: machine)
        return try reader.schema(document, depth: 0)
    }

    /// The kinds that there are.
    private static let allKinds = ["array", "boolean", "integer", "number", "null", "object", "string"]

    private struct Reader {
        let root: Value
        let machine: Machine
        /// Schemas behind references, by the reference's text; a reference to one that is being read finds it here.
        var known: [String: JSONSchema] = [:]

        func field(_ object: Value, _ name: String) -> Value? {
            let value = object.lookup(machine.arena.string(name))
            return value.isDefined ? value : nil
        }

        private func invalidType(_ expected: String, _ given: String) -> Failure {
            Failure(message: "Invalid type. Expected: \(expected), given: \(given)")
        }

        private func text(_ object: Value, _ name: String) throws(Failure) -> String? {
            guard let value = field(object, name) else { return nil }
            guard value.tag == .string else { throw invalidType("string", name) }
            return value.text
        }

        private func list(_ object: Value, _ name: String) throws(Failure) -> [Value] {
            guard let value = field(object, name) else { return [] }
            guard value.tag == .array else { throw Failure(message: "\(name) must be of an array") }
            return value.elements
        }

        private func isSchema(_ value: Value) -> Bool { value.tag == .object || value.isBoolean }

        mutating func schema(_ document: Value, depth: Int) throws(Failure) -> JSONSchema {
            let result = JSONSchema()
            try fill(result, document, depth)
            return result
        }

        private mutating func fill(_ result: JSONSchema, _ document: Value, _ depth: Int) throws(Failure) {
            guard depth < 128 else { throw Failure(message: "the schema is nested too deeply") }
            if document.isBoolean {
                result.fixed = document.tag == .true
                return
            }
            guard document.tag == .object else { throw Failure(message: "schema is invalid") }
            _ = try text(document, "$id")
            _ = try text(document, "id")
            if let definitions = field(document, "definitions") {
                guard definitions.tag == .object, definitions.pairs.allSatisfy({ isSchema($0.value) }) else {
                    throw invalidType("array of schemas", "definitions")
                }
                for pair in definitions.pairs { _ = try schema(pair.value, depth: depth + 1) }
            }
            _ = try text(document, "title")
            _ = try text(document, "description")
            if let reference = try text(document, "$ref") {
                result.reference = try referenced(reference, depth)
                return
            }
            try readKinds(result, document)
            try readObject(result, document, depth)
            try readArray(result, document, depth)
            try readNumber(result, document)
            try readString(result, document)
            try readLogic(result, document, depth)
        }

        private mutating func referenced(_ text: String, _ depth: Int) throws(Failure) -> JSONSchema {
            if let known = known[text] { return known }
            let result = JSONSchema()
            known[text] = result
            guard text.hasPrefix("#") else {
                throw Failure(message: "remote reference loading disabled: \(text)")
            }
            var value = root
            for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: true) {
                var bytes = Array(part.utf8)
                bytes = URLQuery.unescape(bytes) ?? bytes
                let key = String(decoding: bytes, as: UTF8.self).split(
                    separator: "~1", omittingEmptySubsequences: false
                )
                .map { $0.split(separator: "~0", omittingEmptySubsequences: false).joined(separator: "~") }
                .joined(separator: "/")
                if value.tag == .array {
                    value = Int(key).map { value.element($0) } ?? .undefined
                } else {
                    value = value.lookup(machine.arena.string(key))
                }
                guard value.isDefined else { throw Failure(message: "Object has no key '\(key)'") }
            }
            guard isSchema(value) else { throw Failure(message: "schema must be of type object") }
            try fill(result, value, depth + 1)
            return result
        }

        private func readKinds(_ result: JSONSchema, _ document: Value) throws(Failure) {
            guard let type = field(document, "type") else { return }
            var names: [String] = []
            switch type.tag {
            case .string: names = [type.text]
            case .array:
                for element in type.elements {
                    guard element.tag == .string else { throw invalidType("type", "string/Array Of Strings") }
                    names.append(element.text)
                }
            default: throw invalidType("type", "string/Array Of Strings")
            }
            for name in names {
                guard JSONSchema.allKinds.contains(name) else {
                    throw Failure(
                        message: "has a primitive type that is NOT VALID -- given: /\(name)/ Expected valid values are:"
                            + "[array boolean integer number null object string]")
                }
                if result.kinds.contains(name) { throw Failure(message: "\(name) type is duplicated") }
                result.kinds.append(name)
            }
        }

        private mutating func rest(_ value: Value, _ name: String, _ depth: Int) throws(Failure) -> Rest {
            switch value.tag {
            case .true: return .anything
            case .false: return .nothing
            case .object: return .schema(try schema(value, depth: depth + 1))
            default: throw invalidType("boolean/schema", name)
            }
        }

        private mutating func readObject(_ result: JSONSchema, _ document: Value, _ depth: Int) throws(Failure) {
            if let properties = field(document, "properties") {
                guard properties.tag == .object else { throw Failure(message: "Properties must be of type object") }
                for (key, value) in properties.pairs {
                    result.properties.append((key, try schema(value, depth: depth + 1)))
                }
            }
            if let value = field(document, "additionalProperties") {
                result.additionalProperties = try rest(value, "additionalProperties", depth)
            }
            if let patterns = field(document, "patternProperties") {
                guard patterns.tag == .object else { throw invalidType("schema", "patternProperties") }
                for (key, value) in patterns.pairs {
                    guard let expression = try? machine.caches.expression(key.bytes) else {
                        throw Failure(message: "Invalid regex pattern '\(key.text)'")
                    }
                    result.patterns.append((expression, try schema(value, depth: depth + 1)))
                }
            }
            if let names = field(document, "propertyNames") {
                guard isSchema(names) else { throw invalidType("schema", "patternProperties") }
                result.propertyNames = try schema(names, depth: depth + 1)
            }
            if let dependencies = field(document, "dependencies") {
                guard dependencies.tag == .object else { throw Failure(message: "dependencies must be of type object") }
                for (key, value) in dependencies.pairs {
                    if value.tag == .array, value.elements.allSatisfy({ $0.tag == .string }) {
                        result.dependencies.append((key, .keys(value.elements)))
                    } else if isSchema(value) {
                        result.dependencies.append((key, .schema(try schema(value, depth: depth + 1))))
                    } else {
                        throw Failure(message: "dependency must be of type schema or array of strings")
                    }
                }
            }
            result.sizes = try bounds(document, "minProperties", "maxProperties")
            for value in try list(document, "required") {
                guard value.tag == .string else { throw invalidType("string", "required") }
                if result.required.contains(where: { Value.equal($0, value) }) {
                    throw Failure(message: "required items must be unique")
                }
                result.required.append(value)
            }
        }

        private mutating func readArray(_ result: JSONSchema, _ document: Value, _ depth: Int) throws(Failure) {
            if let items = field(document, "items") {
                if items.tag == .array {
                    for item in items.elements {
                        guard isSchema(item) else { throw invalidType("schema/array of schemas", "items") }
                        result.itemList.append(try schema(item, depth: depth + 1))
                    }
                } else {
                    guard isSchema(items) else { throw invalidType("schema/array of schemas", "items") }
                    result.items = try schema(items, depth: depth + 1)
                }
            }
            if let value = field(document, "additionalItems") {
                result.additionalItems = try rest(value, "additionalItems", depth)
            }
            result.counts = try bounds(document, "minItems", "maxItems")
            if let unique = field(document, "uniqueItems") {
                guard unique.isBoolean else { throw Failure(message: "uniqueItems must be of a boolean") }
                result.uniqueItems = unique.tag == .true
            }
            if let contains = field(document, "contains") { result.contains = try schema(contains, depth: depth + 1) }
        }

        private func readNumber(_ result: JSONSchema, _ document: Value) throws(Failure) {
            if let value = field(document, "multipleOf") {
                guard value.isNumber else { throw invalidType("number", "multipleOf") }
                guard Value.compare(value, Value(0)) > 0 else {
                    throw Failure(message: "multipleOf must be strictly greater than 0")
                }
                result.multipleOf = value
            }
            func limit(_ name: String, _ exclusive: String) throws(Failure) -> (Value?, Value?) {
                var plain = field(document, name)
                if let plain, !plain.isNumber { throw Failure(message: "\(name) must be of a Number") }
                guard let value = field(document, exclusive) else { return (plain, nil) }
                if value.isNumber { return (plain, value) }
                guard value.isBoolean else { throw invalidType("boolean/number", exclusive) }
                guard let known = plain else { throw Failure(message: "\(exclusive) cannot be used without \(name)") }
                if value.tag == .false { return (plain, nil) }
                plain = nil
                return (nil, known)
            }
            (result.minimum, result.exclusiveMinimum) = try limit("minimum", "exclusiveMinimum")
            (result.maximum, result.exclusiveMaximum) = try limit("maximum", "exclusiveMaximum")
        }

        private func bounds(
            _ document: Value, _ least: String, _ most: String
        ) throws(Failure) -> (least: Int?, most: Int?) {
            func bound(_ name: String) throws(Failure) -> Int? {
                guard let value = field(document, name) else { return nil }
                guard value.isNumber, let number = Decimal(value).integer else {
                    throw Failure(message: "\(name) must be of an integer")
                }
                if number < 0 { throw Failure(message: "\(name) must be greater than or equal to 0") }
                return number
            }
            let low = try bound(least)
            let high = try bound(most)
            if let low, let high, low > high { throw Failure(message: "\(least) cannot be greater than \(most)") }
            return (low, high)
        }

        private func readString(_ result: JSONSchema, _ document: Value) throws(Failure) {
            result.lengths = try bounds(document, "minLength", "maxLength")
            if let pattern = try text(document, "pattern") {
                guard let expression = try? machine.caches.expression(Array(pattern.utf8)) else {
                    throw Failure(message: "pattern must be a valid regex")
                }
                result.pattern = (expression, pattern)
            }
            result.format = try text(document, "format")
        }

        private mutating func readLogic(_ result: JSONSchema, _ document: Value, _ depth: Int) throws(Failure) {
            result.constant = field(document, "const")
            let values = try list(document, "enum")
            if field(document, "enum") != nil {
                for (index, value) in values.enumerated()
                where values[..<index].contains(where: { Value.equal($0, value) }) {
                    throw Failure(message: "enum items must be unique")
                }
                result.enumeration = values
            }
            for value in try list(document, "oneOf") { result.oneOf.append(try schema(value, depth: depth + 1)) }
            for value in try list(document, "anyOf") { result.anyOf.append(try schema(value, depth: depth + 1)) }
            for value in try list(document, "allOf") { result.allOf.append(try schema(value, depth: depth + 1)) }
            result.not = try part(document, "not", depth)
            result.condition = try part(document, "if", depth)
            result.then = try part(document, "then", depth)
            result.otherwise = try part(document, "else", depth)
        }

        private mutating func part(_ document: Value, _ name: String, _ depth: Int) throws(Failure) -> JSONSchema? {
            guard let value = field(document, name) else { return nil }
            guard isSchema(value) else { throw Failure(message: "\(name) must be of an object") }
            return try schema(value, depth: depth + 1)
        }
    }
}
