internal import Yams

/// Reads YAML into values, keeping the text of number literals that JSON has too.
enum YAMLReader {
    /// Why text is no YAML, or not one that has a value.
    struct Failure: Error {
        let message: String
    }

    static func read(_ text: String) throws(Failure) -> RegoValue {
        let node: Node?
        do {
            node = try Yams.compose(yaml: text)
        } catch {
            throw Failure(message: "\(error)")
        }
        guard let node else { return .null }
        return try value(node, depth: 0)
    }

    private static func value(_ node: Node, depth: Int) throws(Failure) -> RegoValue {
        guard depth < RegoLimits.maximumValueDepth else { throw Failure(message: "nested too deeply") }
        switch node {
        case .scalar(let scalar): return self.scalar(scalar, node)
        case .sequence(let sequence):
            var elements: [RegoValue] = []
            for element in sequence { elements.append(try value(element, depth: depth + 1)) }
            return .array(elements)
        case .mapping(let mapping):
            var pairs: [(key: RegoValue, value: RegoValue)] = []
            for (key, inner) in mapping {
                var name = try value(key, depth: depth + 1)
                switch name {
                case .string: break
                case .number, .boolean, .null: name = .string(name.json)
                default: throw Failure(message: "a key is no scalar")
                }
                let item = try value(inner, depth: depth + 1)
                if case .string("<<") = name, case .object(let merged) = item {
                    pairs.insert(contentsOf: merged, at: 0)
                } else {
                    pairs.append((name, item))
                }
            }
            // Sorted, each key once.
            let arena = Arena()
            return withExtendedLifetime(arena) { RegoValue(arena.make(.object(pairs))) }
        case .alias: throw Failure(message: "an alias without its anchor")
        }
    }

    private static func scalar(_ scalar: Node.Scalar, _ node: Node) -> RegoValue {
        let text = scalar.string
        guard scalar.style == .plain || scalar.style == .any else { return .string(text) }
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .boolean(true)
        case "false", "False", "FALSE": return .boolean(false)
        default: break
        }
        if scalar.tag.description == "tag:yaml.org,2002:str" { return .string(text) }
        if Builtins.isNumber(Array(text.utf8)) { return .number(text) }
        if let number = Self.number(text) { return .number(number) }
        return .string(text)
    }

    /// Numbers that YAML has and JSON does not.
    private static func number(_ text: String) -> String? {
        let sign = text.hasPrefix("-") ? "-" : ""
        let body = text.hasPrefix("-") || text.hasPrefix("+") ? text.dropFirst() : text[...]
        if body.hasPrefix("0x"), let value = Int(body.dropFirst(2), radix: 16) { return sign + String(value) }
        if body.hasPrefix("0o"), let value = Int(body.dropFirst(2), radix: 8) { return sign + String(value) }
        if body.hasPrefix("0b"), let value = Int(body.dropFirst(2), radix: 2) { return sign + String(value) }
        let digits = String(body.filter { $0 != "_" })
        if !body.isEmpty, body.first?.isNumber == true || body.first == "." {
            if Builtins.isNumber(Array(digits.utf8)) { return sign + digits }
            if digits.hasPrefix("."), Builtins.isNumber(Array(("0" + digits).utf8)) { return sign + "0" + digits }
            if digits.hasSuffix("."), Builtins.isNumber(Array((digits + "0").utf8)) { return sign + digits + "0" }
        }
        return nil
    }
}

extension RegoValue {
    /// Reads YAML. Number literals keep their text where JSON has them too.
    /// Throws `rego_yaml_error` where the text is no YAML.
    public init(yaml: String) throws(RegoError) {
        do throws(YAMLReader.Failure) {
            self = try YAMLReader.read(yaml)
        } catch {
            throw RegoError(code: "rego_yaml_error", message: error.message)
        }
    }
}
