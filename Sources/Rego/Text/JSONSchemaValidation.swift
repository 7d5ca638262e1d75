internal import BigInt

/// Compares a document with a JSON Schema and says what differs, in OPA's words.
struct JSONSchemaValidation {
    /// One difference.
    struct Problem {
        /// The kind of difference (`invalid_type`).
        let type: String
        /// The place (`a.0`, `(root)`).
        let field: String
        let description: String
    }

    private let machine: Machine
    private var remaining: Int
    private(set) var ranOut = false

    private init(_ machine: Machine) {
        self.machine = machine
        remaining = max(0, machine.budget)
    }

    /// What differs; charges the machine for the work.
    static func problems(
        _ document: Value, _ schema: JSONSchema, _ machine: Machine
    ) throws(BuiltinFailure) -> [Problem] {
        var validation = JSONSchemaValidation(machine)
        let before = validation.remaining
        var result = Result()
        validation.validate(schema, document, "(root)", &result, depth: 0)
        if validation.ranOut { throw .limit("the schema takes too much work") }
        try machine.charge(before - validation.remaining)
        return result.problems
    }

    /// Differences, and a score by which the nearest of several schemas is found.
    private struct Result {
        var problems: [Problem] = []
        var score = 0

        mutating func add(_ type: String, _ path: String, _ description: String) {
            let field = path.hasPrefix("(root).") ? String(path.dropFirst(7)) : path
            problems.append(Problem(type: type, field: field, description: description))
            score -= 2
        }

        mutating func merge(_ other: Result) {
            problems += other.problems
            score += other.score
        }
    }

    private mutating func result(_ schema: JSONSchema, _ value: Value, _ path: String, _ depth: Int) -> Result {
        var result = Result()
        validate(schema, value, path, &result, depth: depth + 1)
        return result
    }

    private mutating func validate(
        _ schema: JSONSchema, _ value: Value, _ path: String, _ result: inout Result, depth: Int
    ) {
        remaining -= 1
        guard remaining > 0, depth < 256 else {
            ranOut = true
            return
        }
        if let fixed = schema.fixed {
            if !fixed { result.add("false", path, "False always fails validation") }
            return
        }
        if let reference = schema.reference {
            validate(reference, value, path, &result, depth: depth + 1)
            return
        }
        let kind = Self.kind(value)
        let fits =
            schema.kinds.isEmpty || schema.kinds.contains(kind) || (kind == "integer" && schema.kinds.contains("number"))
        if !fits {
            let expected = schema.kinds.joined(separator: ",")
            result.add("invalid_type", path, "Invalid type. Expected: \(expected), given: \(kind)")
            return
        }
        validateLogic(schema, value, path, &result, depth)
        switch value.tag {
        case .array: validateArray(schema, value, path, &result, depth)
        case .object: validateObject(schema, value, path, &result, depth)
        case .int, .number: validateNumber(schema, value, path, &result)
        default: break
        }
        validateCommon(schema, value, path, &result)
        if value.tag == .string { validateString(schema, value, path, &result) }
        if value.tag == .object {
            for (key, inner) in schema.properties {
                let element = value.lookup(key)
                if element.isDefined { validate(inner, element, path + "." + key.text, &result, depth: depth + 1) }
            }
        }
        result.score += 1
    }

    private static func kind(_ value: Value) -> String {
        switch value.tag {
        case .int: "integer"
        case .number: Decimal(value).isInteger ? "integer" : "number"
        default: value.typeName
        }
    }

    private mutating func validateLogic(
        _ schema: JSONSchema, _ value: Value, _ path: String, _ result: inout Result, _ depth: Int
    ) {
        if !schema.anyOf.isEmpty {
            var best: Result?
            var found = false
            for inner in schema.anyOf where !found {
                let attempt = self.result(inner, value, path, depth)
                found = attempt.problems.isEmpty
                if !found, attempt.score > best?.score ?? Int.min { best = attempt }
            }
            if !found {
                result.add("number_any_of", path, "Must validate at least one schema (anyOf)")
                if let best { result.merge(best) }
            }
        }
        if !schema.oneOf.isEmpty {
            var best: Result?
            var count = 0
            for inner in schema.oneOf {
                let attempt = self.result(inner, value, path, depth)
                if attempt.problems.isEmpty {
                    count += 1
                } else if count == 0, attempt.score > best?.score ?? Int.min {
                    best = attempt
                }
            }
            if count != 1 {
                result.add("number_one_of", path, "Must validate one and only one schema (oneOf)")
                if count == 0, let best { result.merge(best) }
            }
        }
        if !schema.allOf.isEmpty {
            var count = 0
            for inner in schema.allOf {
                let attempt = self.result(inner, value, path, depth)
                if attempt.problems.isEmpty { count += 1 }
                result.merge(attempt)
            }
            if count != schema.allOf.count {
                result.add("number_all_of", path, "Must validate all the schemas (allOf)")
            }
        }
        if let not = schema.not, self.result(not, value, path, depth).problems.isEmpty {
            result.add("number_not", path, "Must not validate the schema (not)")
        }
        if value.tag == .object {
            for (key, dependency) in schema.dependencies where value.place(of: key) >= 0 {
                switch dependency {
                case .keys(let keys):
                    for other in keys where value.place(of: other) < 0 {
                        result.add("missing_dependency", path, "Has a dependency on \(other.text)")
                    }
                case .schema(let inner): validate(inner, value, path, &result, depth: depth + 1)
                }
            }
        }
        if let condition = schema.condition {
            let holds = self.result(condition, value, path, depth).problems.isEmpty
            if let branch = holds ? schema.then : schema.otherwise {
                let attempt = self.result(branch, value, path, depth)
                if !attempt.problems.isEmpty {
                    result.add(
                        holds ? "condition_then" : "condition_else", path,
                        "Must validate \"\(holds ? "then" : "else")\" as \"if\" was \(holds ? "valid" : "not valid")")
                    result.merge(attempt)
                }
            }
        }
        result.score += 1
    }

    private func validateCommon(_ schema: JSONSchema, _ value: Value, _ path: String, _ result: inout Result) {
        let field = path.hasPrefix("(root).") ? String(path.dropFirst(7)) : path
        if let constant = schema.constant, !Value.equal(constant, value) {
            result.add("const", path, "\(field) does not match: \(JSONWriter.text(constant))")
        }
        if let allowed = schema.enumeration, !allowed.contains(where: { Value.equal($0, value) }) {
            let texts = allowed.map { JSONWriter.text($0) }.joined(separator: ", ")
            result.add("enum", path, "\(field) must be one of the following: \(texts.isEmpty ? "(none)" : texts)")
        }
        if let format = schema.format, value.tag == .string, !JSONSchemaFormat.holds(format, value, machine) {
            result.add("format", path, "Does not match format '\(format)'")
        }
        result.score += 1
    }

    private mutating func validateArray(
        _ schema: JSONSchema, _ value: Value, _ path: String, _ result: inout Result, _ depth: Int
    ) {
        let elements = value.elements
        if let items = schema.items {
            for (index, element) in elements.enumerated() {
                result.merge(self.result(items, element, "\(path).\(index)", depth))
            }
        } else if !schema.itemList.isEmpty {
            for (index, pair) in zip(schema.itemList, elements).enumerated() {
                result.merge(self.result(pair.0, pair.1, "\(path).\(index)", depth))
            }
            if schema.itemList.count < elements.count {
                switch schema.additionalItems {
                case .anything: break
                case .nothing:
                    result.add("array_no_additional_items", path, "No additional items allowed on array")
                case .schema(let inner):
                    for index in schema.itemList.count..<elements.count {
                        result.merge(self.result(inner, elements[index], "\(path).\(index)", depth))
                    }
                }
            }
        }
        if let least = schema.counts.least, elements.count < least {
            result.add("array_min_items", path, "Array must have at least \(least) items")
        }
        if let most = schema.counts.most, elements.count > most {
            result.add("array_max_items", path, "Array must have at most \(most) items")
        }
        if schema.uniqueItems {
            var last: [UInt32: [Int]] = [:]
            for (index, element) in elements.enumerated() {
                let same = last[element.hash]?.last { Value.equal(elements[$0], element) }
                if let same {
                    result.add("unique", path, "array items[\(same),\(index)] must be unique")
                }
                last[element.hash, default: []].append(index)
            }
        }
        if let contains = schema.contains {
            var best: Result?
            var found = false
            for (index, element) in elements.enumerated() where !found {
                let attempt = self.result(contains, element, "\(path).\(index)", depth)
                found = attempt.problems.isEmpty
                if !found, attempt.score > best?.score ?? Int.min { best = attempt }
            }
            if !found {
                result.add("contains", path, "At least one of the items must match")
                if let best { result.merge(best) }
            }
        }
        result.score += 1
    }

    private mutating func validateObject(
        _ schema: JSONSchema, _ value: Value, _ path: String, _ result: inout Result, _ depth: Int
    ) {
        if let least = schema.sizes.least, value.count < least {
            result.add("array_min_properties", path, "Must have at least \(least) properties")
        }
        if let most = schema.sizes.most, value.count > most {
            result.add("array_max_properties", path, "Must have at most \(most) properties")
        }
        for key in schema.required {
            if value.place(of: key) >= 0 {
                result.score += 1
            } else {
                result.add("required", path, "\(key.text) is required")
            }
        }
        for (key, element) in value.pairs {
            let isNamed = schema.properties.contains { Value.equal($0.key, key) }
            var matched = false
            for (pattern, inner) in schema.patterns where key.withBytes({ pattern.matches($0) }) {
                matched = true
                result.merge(self.result(inner, element, path + "." + key.text, depth))
            }
            if matched { result.score += 1 }
            if isNamed || matched { continue }
            switch schema.additionalProperties {
            case .anything: break
            case .nothing:
                result.add(
                    "additional_property_not_allowed", path, "Additional property \(key.text) is not allowed")
            case .schema(let inner): result.merge(self.result(inner, element, path + "." + key.text, depth))
            }
        }
        if let names = schema.propertyNames {
            for (key, _) in value.pairs {
                let attempt = self.result(names, key, path, depth)
                if !attempt.problems.isEmpty {
                    result.add("invalid_property_name", path, "Property name of \"\(key.text)\" does not match")
                    result.merge(attempt)
                }
            }
        }
        result.score += 1
    }

    private func validateString(_ schema: JSONSchema, _ value: Value, _ path: String, _ result: inout Result) {
        if let least = schema.lengths.least, value.characterCount < least {
            result.add("string_gte", path, "String length must be greater than or equal to \(least)")
        }
        if let most = schema.lengths.most, value.characterCount > most {
            result.add("string_lte", path, "String length must be less than or equal to \(most)")
        }
        if let pattern = schema.pattern, !value.withBytes({ pattern.expression.matches($0) }) {
            result.add("pattern", path, "Does not match pattern '\(pattern.text)'")
        }
        result.score += 1
    }

    private func validateNumber(_ schema: JSONSchema, _ value: Value, _ path: String, _ result: inout Result) {
        func text(_ value: Value) -> String { GoFloat.general(Decimal(value).double, precision: 10, threshold: nil) }
        if let multiple = schema.multipleOf, !Self.isMultiple(value, of: multiple) {
            result.add("multiple_of", path, "Must be a multiple of \(text(multiple))")
        }
        if let maximum = schema.maximum, Value.compare(value, maximum) > 0 {
            result.add("number_lte", path, "Must be less than or equal to \(text(maximum))")
        }
        if let maximum = schema.exclusiveMaximum, Value.compare(value, maximum) >= 0 {
            result.add("number_lt", path, "Must be less than \(text(maximum))")
        }
        if let minimum = schema.minimum, Value.compare(value, minimum) < 0 {
            result.add("number_gte", path, "Must be greater than or equal to \(text(minimum))")
        }
        if let minimum = schema.exclusiveMinimum, Value.compare(value, minimum) <= 0 {
            result.add("number_gt", path, "Must be greater than \(text(minimum))")
        }
        result.score += 1
    }

    /// Whether the exact quotient is whole.
    private static func isMultiple(_ value: Value, of unit: Value) -> Bool {
        let (a, b) = (Decimal(value), Decimal(unit))
        guard !a.digits.isEmpty else { return true }
        // Both as whole numbers of the same power of ten.
        let power = min(a.exponent - a.digits.count, b.exponent - b.digits.count)
        guard max(a.exponent, b.exponent) - power < 10_000 else { return false }
        func whole(_ decimal: Decimal) -> BigInt {
            var text = decimal.digits.map { String($0) }.joined()
            text += String(repeating: "0", count: decimal.exponent - decimal.digits.count - power)
            return BigInt(text) ?? 0
        }
        let divisor = whole(b)
        return divisor != 0 && whole(a) % divisor == 0
    }
}

/// The formats of strings that OPA checks; every other format holds.
enum JSONSchemaFormat {
    private static let label = "([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\\-]{0,61}[a-zA-Z0-9])"
    private static let expressions: [String: String] = [
        "hostname": "^" + label + "(\\." + label + ")*$",
        "uuid": "^(?i)[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}$",
        "json-pointer": "^(?:/(?:[^~/]|~0|~1)*)*$",
        "relative-json-pointer": "^(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^~/]|~0|~1)*)*)$",
        "uri-template": "^([^{]*({[^}]*})?)*$",
        "email": "^[^@\\s]+@[^@\\s]+$",
        "idn-email": "^[^@\\s]+@[^@\\s]+$",
    ]

    static func holds(_ format: String, _ value: Value, _ machine: Machine) -> Bool {
        let bytes = value.bytes
        if let text = expressions[format] {
            if format == "hostname", bytes.count > 255 { return false }
            guard let expression = try? machine.caches.expression(Array(text.utf8)) else { return true }
            return bytes.withUnsafeBufferPointer { expression.matches($0) }
        }
        func parses(_ layouts: [String]) -> Bool { layouts.contains { GoLayout($0).parse(bytes) != nil } }
        switch format {
        case "date": return parses(["2006-01-02"])
        case "time": return parses(["15:04:05", "15:04:05Z07:00"])
        case "date-time": return parses(["15:04:05", "15:04:05Z07:00", "2006-01-02", "RFC3339", "RFC3339Nano"])
        case "ipv4": return bytes.contains(0x2E) && AddressRange.address(bytes) != nil
        case "ipv6": return bytes.contains(0x3A) && AddressRange.address(bytes) != nil
        case "uri", "iri": return !bytes.contains(0x5C) && (ParsedURI(bytes)?.hasScheme ?? false)
        case "uri-reference", "iri-reference": return !bytes.contains(0x5C) && (bytes.isEmpty || ParsedURI(bytes) != nil)
        case "regex": return bytes.isEmpty || (try? machine.caches.expression(bytes)) != nil
        default: return true
        }
    }
}
