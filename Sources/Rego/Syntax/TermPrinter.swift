/// Writes terms as OPA does in messages.
enum TermPrinter {
    static func text(_ term: Term) -> String {
        switch term.value {
        case .null: return "null"
        case .boolean(let value): return value ? "true" : "false"
        case .number(let text): return text
        case .string(let text): return RegoWriter.quoted(text)
        case .variable(let name): return name.hasPrefix("$") ? "_" : name
        case .reference(let terms): return text(terms)
        case .array(let terms): return "[" + list(terms) + "]"
        case .set(let terms): return terms.isEmpty ? "set()" : "{" + list(terms) + "}"
        case .object(let pairs):
            return "{" + pairs.map { text($0.key) + ": " + text($0.value) }.joined(separator: ", ") + "}"
        case .arrayComprehension(let head, let body): return "[" + text(head) + " | " + self.body(body) + "]"
        case .setComprehension(let head, let body): return "{" + text(head) + " | " + self.body(body) + "}"
        case .objectComprehension(let key, let value, let body):
            return "{" + text(key) + ": " + text(value) + " | " + self.body(body) + "}"
        case .call(let terms): return text(terms[0]) + "(" + list(Array(terms.dropFirst())) + ")"
        case .template(let parts):
            var result = "$\""
            for part in parts {
                switch part {
                case .text(let term):
                    if case .string(let text) = term.value {
                        result += text
                    } else {
                        result += "{" + text(term) + "}"
                    }
                case .expression(let expression): result += "{" + self.expression(expression) + "}"
                }
            }
            return result + "\""
        }
    }

    static func list(_ terms: [Term]) -> String { terms.map { text($0) }.joined(separator: ", ") }

    static func body(_ body: Body) -> String { body.map { expression($0) }.joined(separator: "; ") }

    /// A reference: `data.foo["a b"][x]`.
    static func text(_ terms: [Term]) -> String {
        guard let first = terms.first else { return "" }
        var result = ""
        switch first.value {
        case .variable(let name): result = name.hasPrefix("$") ? "_" : name
        default: result = text(first)
        }
        for term in terms.dropFirst() {
            if case .string(let name) = term.value, isIdentifier(name), Token.keywords[name] == nil,
                Token.keywordsOfVersion1[name] == nil
            {
                result += "." + name
            } else {
                result += "[" + text(term) + "]"
            }
        }
        return result
    }

    /// A package's path behind `data`.
    static func packageName(_ path: [Term]) -> String {
        guard let first = path.first, case .string(let name) = first.value else { return "" }
        return text([Term(.variable(name))] + path.dropFirst())
    }

    static func isIdentifier(_ name: String) -> Bool {
        guard let first = name.utf8.first, first | 0x20 >= 0x61 && first | 0x20 <= 0x7A || first == 0x5F else {
            return false
        }
        return name.utf8.allSatisfy { byte in
            (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || byte == 0x5F || (byte >= 0x30 && byte <= 0x39)
        }
    }

    static func expression(_ expression: Expression) -> String {
        var result = expression.negated ? "not " : ""
        switch expression.kind {
        case .term(let term): result += text(term)
        case .call(let terms):
            let name = text(terms[0])
            if terms.count == 3, let infix = BuiltinTable.declarations[name]?.infix {
                result += text(terms[1]) + " " + infix + " " + text(terms[2])
            } else {
                result += name + "(" + list(Array(terms.dropFirst())) + ")"
            }
        case .some(let terms):
            if terms.count == 1, case .call(let call) = terms[0].value {
                let names = call.dropFirst().dropLast().map { text($0) }.joined(separator: ", ")
                result += "some " + names + " in " + (call.last.map { text($0) } ?? "")
            } else {
                result += "some " + list(terms)
            }
        case .every(let key, let value, let domain, let body):
            let names = (key.map { text($0) + ", " } ?? "") + text(value)
            result += "every " + names + " in " + text(domain) + " { " + self.body(body) + " }"
        case .not(let body, _): result += "not { " + self.body(body) + " }"
        case .logical(let op, let left, let right):
            result += body(left) + " " + op.rawValue + " " + body(right)
        }
        for with in expression.with { result += " with " + text(with.target) + " as " + text(with.value) }
        return result
    }
}
