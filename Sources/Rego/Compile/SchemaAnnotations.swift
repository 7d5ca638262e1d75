/// `schemas` of annotations: the types of `input` and of base documents where one rule, document or package reads them.
struct SchemaAnnotations {
    private let annotations: Annotations
    private let schemas: [String: RegoSchema]

    init(_ modules: [Module], _ schemas: [String: RegoSchema]) {
        annotations = Annotations(modules)
        self.schemas = schemas
    }

    /// The environment of a rule: `outer` with what annotations say, nearer ones last. Errors name schemas that are not
    /// there.
    func environment(
        of rule: Rule, in outer: TypeEnvironment
    ) -> (environment: TypeEnvironment, errors: [RegoError]) {
        guard let module = rule.module else { return (outer, []) }
        let entries = annotations.schemas(rule, package: module.package.compactMap { ConstantTerm.value($0) })
        if entries.isEmpty { return (outer, []) }
        let environment = TypeEnvironment(outer.checker, next: outer, depth: outer.depth)
        var errors: [RegoError] = []
        for (path, value) in entries {
            do throws(RegoError) {
                try put(try type(value), at: try reference(path), environment)
            } catch {
                errors.append(RegoError("rego_type_error", rule.location, error.message))
            }
        }
        return (environment, errors)
    }

    /// The type that an annotation gives: a schema's name, or a schema itself.
    private func type(_ value: RegoValue) throws(RegoError) -> RegoType {
        guard let name = value.string else { return try RegoSchema(value).type }
        let parts = try reference(name).compactMap { Self.text($0) }
        guard parts.first == "schema", let schema = schemas[parts.dropFirst().joined(separator: ".")] else {
            throw RegoError(code: "rego_type_error", message: "undefined schema: \(name)")
        }
        return schema.type
    }

    private static func text(_ term: Term) -> String? {
        switch term.value {
        case .variable(let text), .string(let text): text
        default: nil
        }
    }

    /// A reference's parts.
    private func reference(_ text: String) throws(RegoError) -> [Term] {
        let body = try? Parser.query(text)
        guard let body, body.count == 1, case .term(let term) = body[0].kind else {
            throw RegoError(code: "rego_type_error", message: "schemas of annotations: \(text) is no reference")
        }
        switch term.value {
        case .reference(let terms): return terms
        case .variable: return [term]
        default:
            throw RegoError(code: "rego_type_error", message: "schemas of annotations: \(text) is no reference")
        }
    }

    /// Sets the type at a path; within the type of what is above it, where that is known.
    private func put(_ type: RegoType, at path: [Term], _ environment: TypeEnvironment) throws(RegoError) {
        for count in stride(from: path.count - 1, to: 0, by: -1) {
            let prefix = Array(path.prefix(count))
            guard let known = environment.type(ofReference: prefix), !known.isAnything else { continue }
            let keys = path.dropFirst(count).compactMap { ConstantTerm.value($0) }
            guard keys.count == path.count - count else { break }
            environment.tree.put(prefix, Self.replacing(known, keys[...], by: type))
            return
        }
        environment.tree.put(path, type)
    }

    /// A type with another one at a path inside.
    private static func replacing(_ outer: RegoType, _ path: ArraySlice<RegoValue>, by type: RegoType) -> RegoType {
        guard let key = path.first else { return type }
        var known: [RegoType.Property] = []
        var rest: RegoType.Rest?
        if case .object(let properties, let more) = outer { (known, rest) = (properties, more) }
        let inner = RegoType.select(known, rest, key) ?? .anything
        known.removeAll { TypeKeys.compare($0.key, key) == 0 }
        known.append(RegoType.Property(key: key, type: replacing(inner, path.dropFirst(), by: type)))
        return .object(sorting: known, rest: rest)
    }
}
