/// A parsed module as a document, in the shape that `rego.parse_module` gives it.
enum ModuleDocument {
    static func value(_ module: Module) -> RegoValue {
        var fields: [(key: RegoValue, value: RegoValue)] = []
        if !module.comments.isEmpty {
            add(&fields, "comments", .array(module.comments.map { comment($0, module) }))
        }
        if !module.imports.isEmpty { add(&fields, "imports", .array(module.imports.map { statement($0) })) }
        let path = [Term(.variable("data"))] + module.package
        add(&fields, "package", object([("path", .array(path.map { term($0) }))]))
        if !module.rules.isEmpty { add(&fields, "rules", .array(module.rules.map { rule($0) })) }
        return .object(fields)
    }

    private static func add(_ fields: inout [(key: RegoValue, value: RegoValue)], _ name: String, _ value: RegoValue) {
        fields.append((.string(name), value))
    }

    private static func object(_ fields: [(String, RegoValue)]) -> RegoValue {
        .object(fields.map { (.string($0.0), $0.1) })
    }

    private static func comment(_ comment: Comment, _ module: Module) -> RegoValue {
        let text = Base64.encode(comment.text, url: false, padded: true)
        return object([
            (
                "Location",
                object([
                    ("col", RegoValue(comment.location.column)), ("file", .string(module.source.name)),
                    ("row", RegoValue(comment.location.row)),
                ])
            ),
            ("Text", .string(String(decoding: text, as: UTF8.self))),
        ])
    }

    private static func statement(_ statement: Import) -> RegoValue {
        var fields: [(String, RegoValue)] = []
        if let alias = statement.alias { fields.append(("alias", .string(alias))) }
        let path = statement.path
        fields.append(("path", path.count == 1 ? term(path[0]) : term(Term(.reference(path)))))
        return object(fields)
    }

    private static func rule(_ rule: Rule) -> RegoValue {
        var fields: [(String, RegoValue)] = []
        let body = rule.body.isEmpty ? [Expression(.term(Term(.boolean(true))))] : rule.body
        fields.append(("body", self.body(body)))
        if rule.isDefault { fields.append(("default", .boolean(true))) }
        if let otherwise = rule.otherwise { fields.append(("else", self.rule(otherwise))) }
        fields.append(("head", head(rule)))
        return object(fields)
    }

    private static func head(_ rule: Rule) -> RegoValue {
        let head = rule.head
        var fields: [(String, RegoValue)] = []
        if let arguments = head.arguments { fields.append(("args", .array(arguments.map { term($0) }))) }
        if head.assigned { fields.append(("assign", .boolean(true))) }
        var key = head.key
        if key == nil, head.arguments == nil, head.reference.count == 2, let last = head.reference.last {
            if case .string = last.value {} else { key = last }
        }
        if let key { fields.append(("key", term(key))) }
        let isName = head.reference.count == 1 || (head.reference.count == 2 && key != nil)
        if isName, case .variable(let name) = head.reference[0].value { fields.append(("name", .string(name))) }
        fields.append(("ref", .array(head.reference.map { term($0) })))
        if let value = head.value { fields.append(("value", term(value))) }
        return object(fields)
    }

    private static func body(_ body: Body) -> RegoValue {
        .array(body.enumerated().map { expression($0.element, $0.offset) })
    }

    private static func expression(_ expression: Expression, _ index: Int) -> RegoValue {
        var fields: [(String, RegoValue)] = [("index", RegoValue(index))]
        var isNegated = expression.negated
        var kind = expression.kind
        if case .not(let body, false) = kind, body.count == 1 {
            isNegated = true
            kind = body[0].kind
        }
        if isNegated { fields.append(("negated", .boolean(true))) }
        fields.append(("terms", terms(kind)))
        if !expression.with.isEmpty {
            let list = expression.with.map { object([("target", term($0.target)), ("value", term($0.value))]) }
            fields.append(("with", .array(list)))
        }
        return object(fields)
    }

    private static func terms(_ kind: ExpressionKind) -> RegoValue {
        switch kind {
        case .term(let inner): return term(inner)
        case .call(let terms): return .array(terms.map { term($0) })
        case .some(let terms): return object([("symbols", .array(terms.map { term($0) }))])
        case .every(let key, let value, let domain, let body):
            var fields: [(String, RegoValue)] = [("body", self.body(body)), ("domain", term(domain))]
            fields.append(("key", key.map { term($0) } ?? .null))
            fields.append(("value", term(value)))
            return object(fields)
        case .not(let body, _): return object([("body", self.body(body))])
        case .logical(let op, let left, let right):
            return object([
                ("left", self.body(left)), ("operator", .string(op.rawValue)), ("right", self.body(right)),
            ])
        }
    }

    private static func term(_ term: Term) -> RegoValue {
        object([("type", .string(type(term.value))), ("value", value(term.value))])
    }

    private static func type(_ value: TermValue) -> String {
        if case .call = value { return "call" }
        return value.kindName
    }

    private static func value(_ value: TermValue) -> RegoValue {
        switch value {
        case .null: return .object([])
        case .boolean(let boolean): return .boolean(boolean)
        case .number(let text): return .number(text)
        case .string(let text), .variable(let text): return .string(text)
        case .reference(let terms), .array(let terms), .call(let terms): return .array(terms.map { term($0) })
        case .set(let terms): return .array(sorted(terms).map { term($0) })
        case .object(let pairs): return .array(pairs.map { .array([term($0.key), term($0.value)]) })
        case .arrayComprehension(let head, let body), .setComprehension(let head, let body):
            return object([("body", self.body(body)), ("term", term(head))])
        case .objectComprehension(let key, let value, let body):
            return object([("body", self.body(body)), ("key", term(key)), ("value", term(value))])
        case .template(let parts):
            let list = parts.map { part -> RegoValue in
                switch part {
                case .text(let text): return term(text)
                case .expression(let inner): return expression(inner, 0)
                }
            }
            return object([("multi_line", .boolean(false)), ("parts", .array(list))])
        }
    }

    /// The elements of a set in OPA's order where they are constants, each once.
    private static func sorted(_ terms: [Term]) -> [Term] {
        let values = terms.compactMap { ConstantTerm.value($0) }
        guard values.count == terms.count else { return terms }
        let arena = Arena()
        return withExtendedLifetime(arena) {
            (RegoValue(arena.make(.set(values))).elements ?? []).map { ConstantTerm.term($0) }
        }
    }
}
