internal import Yams

/// Reads YAML into values as OPA does: the first document, YAML 1.1's booleans and octal numbers, numbers as JSON of
/// whole numbers and doubles.
enum YAMLReader {
    /// Why text is no YAML, or not one that has a value.
    struct Failure: Error {
        let message: String
    }

    static func read(_ text: String) throws(Failure) -> RegoValue {
        let node: Node?
        do {
            node = try Yams.Parser(yaml: text).nextRoot()
        } catch {
            throw Failure(message: "\(error)")
        }
        guard let node else { return .null }
        var anchors = 0
        return try value(node, depth: 0, &anchors)
    }

    /// Values that aliases may stand for in all; more is an attack.
    private static let maximumNodes = 1_000_000

    private static func value(_ node: Node, depth: Int, _ count: inout Int) throws(Failure) -> RegoValue {
        count += 1
        guard count < maximumNodes else { throw Failure(message: "document contains excessive aliasing") }
        guard depth < RegoLimits.maximumValueDepth else { throw Failure(message: "nested too deeply") }
        switch node {
        case .scalar(let scalar): return try self.scalar(scalar)
        case .sequence(let sequence):
            var elements: [RegoValue] = []
            for element in sequence { elements.append(try value(element, depth: depth + 1, &count)) }
            return .array(elements)
        case .mapping(let mapping):
            var merged: [(key: RegoValue, value: RegoValue)] = []
            var pairs: [(key: RegoValue, value: RegoValue)] = []
            for (key, inner) in mapping {
                if case .scalar(let scalar) = key, scalar.string == "<<", scalar.style == .plain || scalar.style == .any {
                    let item = try value(inner, depth: depth + 1, &count)
                    for source in (item.elements ?? [item]).reversed() {
                        guard case .object(let inherited) = source else {
                            throw Failure(message: "map merge requires map or sequence of maps as the value")
                        }
                        merged += inherited
                    }
                    continue
                }
                let name: RegoValue
                switch try value(key, depth: depth + 1, &count) {
                case .string(let text): name = .string(text)
                case .number(let text): name = .string(text)
                case .boolean(let boolean): name = .string(boolean ? "true" : "false")
                case .null: throw Failure(message: "unsupported map key of type: %!s(<nil>), key: <nil>")
                default: throw Failure(message: "invalid map key")
                }
                pairs.append((name, try value(inner, depth: depth + 1, &count)))
            }
            // Sorted, each key once.
            let arena = Arena()
            return withExtendedLifetime(arena) { RegoValue(arena.make(.object(merged + pairs))) }
        case .alias: throw Failure(message: "an alias without its anchor")
        }
    }

    private static func scalar(_ scalar: Node.Scalar) throws(Failure) -> RegoValue {
        let text = scalar.string
        let tag = scalar.tag.description
        if tag == "tag:yaml.org,2002:binary" {
            let bytes = Array(text.utf8).filter { !($0 == 0x20 || $0 == 0x0A || $0 == 0x0D) }
            guard let decoded = Base64.decode(bytes, url: false, padding: .required) else {
                throw Failure(message: "!!binary value contains invalid base64 data")
            }
            return .string(String(decoding: decoded, as: UTF8.self))
        }
        guard scalar.style == .plain || scalar.style == .any, tag != "tag:yaml.org,2002:str" else {
            return .string(text)
        }
        switch plain(text) {
        case .value(let value): return value
        case .infinite(let name): throw Failure(message: "json: unsupported value: \(name)")
        }
    }

    /// Whether a string that is written plainly reads back as itself.
    static func isPlainString(_ text: String) -> Bool {
        if isDate(text) || text == "<<" { return false }
        if case .value(.string) = plain(text) { return true }
        return false
    }

    private static func isDate(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count >= 8, bytes.prefix(4).allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), bytes[4] == 0x2D else {
            return false
        }
        return ["2006-1-2", "2006-1-2T15:4:5.999999999Z07:00", "2006-1-2t15:4:5.999999999Z07:00", "2006-1-2 15:4:5.999999999"]
            .contains { GoLayout($0).parse(bytes) != nil }
    }

    private enum Plain {
        case value(RegoValue)
        case infinite(String)
    }

    private static func plain(_ text: String) -> Plain {
        switch text {
        case "", "~", "null", "Null", "NULL": return .value(.null)
        case "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON": return .value(.boolean(true))
        case "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF": return .value(.boolean(false))
        case ".nan", ".NaN", ".NAN": return .infinite("NaN")
        case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF": return .infinite("+Inf")
        case "-.inf", "-.Inf", "-.INF": return .infinite("-Inf")
        default: break
        }
        guard let first = text.utf8.first, (first >= 0x30 && first <= 0x39) || [0x2B, 0x2D, 0x2E].contains(first) else {
            return .value(.string(text))
        }
        return .value(number(text).map { .number($0) } ?? .string(text))
    }

    /// A number as JSON writes it.
    private static func number(_ text: String) -> String? {
        let digits = String(text.filter { $0 != "_" })
        let negative = digits.hasPrefix("-")
        let body = negative || digits.hasPrefix("+") ? digits.dropFirst() : digits[...]
        guard let first = body.utf8.first else { return nil }
        func whole(_ text: Substring, _ radix: Int) -> String? {
            guard text.first != "-", text.first != "+", let value = UInt64(text, radix: radix) else { return nil }
            if negative { return value <= UInt64(1) << 63 ? (value == 0 ? "0" : "-\(value)") : nil }
            return String(value)
        }
        if first == 0x30, body.utf8.count > 1 {
            let prefix = body.prefix(2).lowercased()
            let radix = prefix == "0x" ? 16 : prefix == "0b" ? 2 : prefix == "0o" ? 8 : 0
            if radix > 0 { return whole(body.dropFirst(2), radix) }
            if let value = whole(body.dropFirst(), 8) { return value }
        } else if let value = whole(body, 10) {
            return value
        }
        // A float: digits with a point and an exponent.
        var rest = body.utf8[...]
        let before = rest.prefix { $0 >= 0x30 && $0 <= 0x39 }.count
        rest = rest.dropFirst(before)
        var after = 0
        if rest.first == 0x2E {
            rest = rest.dropFirst()
            after = rest.prefix { $0 >= 0x30 && $0 <= 0x39 }.count
            rest = rest.dropFirst(after)
        }
        guard before + after > 0 else { return nil }
        if let mark = rest.first, mark | 0x20 == 0x65 {
            rest = rest.dropFirst()
            if rest.first == 0x2B || rest.first == 0x2D { rest = rest.dropFirst() }
            guard !rest.isEmpty, rest.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
            rest = rest.dropFirst(rest.count)
        }
        guard rest.isEmpty else { return nil }
        let double = Decimal(Array(digits.utf8)).double
        return double.isFinite ? GoFloat.json(double) : nil
    }
}

extension RegoValue {
    /// Reads YAML's first document. Numbers become what JSON has: whole numbers and doubles.
    /// Throws `rego_yaml_error` where the text is no YAML.
    public init(yaml: String) throws(RegoError) {
        do throws(YAMLReader.Failure) {
            self = try YAMLReader.read(yaml)
        } catch {
            throw RegoError(code: "rego_yaml_error", message: error.message)
        }
    }
}
