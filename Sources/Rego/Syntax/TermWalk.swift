/// Walks over terms and bodies.
enum TermWalk {
    /// Whether a term has no variables (references and calls are not ground either).
    static func isGround(_ term: Term) -> Bool {
        switch term.value {
        case .null, .boolean, .number, .string: true
        case .variable: false
        case .reference(let terms): terms.dropFirst().allSatisfy { isGround($0) }
        case .array(let terms), .set(let terms), .call(let terms): terms.allSatisfy { isGround($0) }
        case .object(let pairs): pairs.allSatisfy { isGround($0.key) && isGround($0.value) }
        case .arrayComprehension, .setComprehension, .objectComprehension, .template: false
        }
    }

    /// Text that is the same for terms that are the same; nil where that takes more than comparing names.
    static func identity(_ term: Term) -> String? {
        switch term.value {
        case .null, .boolean, .number, .string: return TermPrinter.text(term)
        case .variable(let name): return name.hasPrefix("$") ? nil : name
        case .reference(let terms): return list(terms, "ref")
        case .array(let terms): return list(terms, "array")
        case .call(let terms): return list(terms, "call")
        case .set(let terms):
            let parts = terms.compactMap { identity($0) }
            return parts.count == terms.count ? "set(" + parts.sorted().joined(separator: ", ") + ")" : nil
        case .object(let pairs):
            let parts = pairs.compactMap { pair in
                identity(pair.key).flatMap { key in identity(pair.value).map { key + ": " + $0 } }
            }
            return parts.count == pairs.count ? "{" + parts.sorted().joined(separator: ", ") + "}" : nil
        case .arrayComprehension, .setComprehension, .objectComprehension, .template: return nil
        }
    }

    private static func list(_ terms: [Term], _ kind: String) -> String? {
        let parts = terms.compactMap { identity($0) }
        return parts.count == terms.count ? kind + "(" + parts.joined(separator: ", ") + ")" : nil
    }

    /// An object's pairs, of those with the same key the last value.
    static func distinct(_ pairs: [(key: Term, value: Term)]) -> [(key: Term, value: Term)] {
        if pairs.count < 2 { return pairs }
        var places: [String: Int] = [:]
        var result: [(key: Term, value: Term)] = []
        for pair in pairs {
            if let identity = identity(pair.key) {
                if let place = places[identity] {
                    result[place].value = pair.value
                    continue
                }
                places[identity] = result.count
            }
            result.append(pair)
        }
        return result
    }

    /// A set's elements, each once.
    static func distinct(_ terms: [Term]) -> [Term] {
        if terms.count < 2 { return terms }
        var seen: Set<String> = []
        return terms.filter { term in identity(term).map { seen.insert($0).inserted } ?? true }
    }

    /// A constant: no variable, reference, call or comprehension inside.
    static func isConstant(_ term: Term) -> Bool {
        switch term.value {
        case .null, .boolean, .number, .string: true
        case .array(let terms), .set(let terms): terms.allSatisfy { isConstant($0) }
        case .object(let pairs): pairs.allSatisfy { isConstant($0.key) && isConstant($0.value) }
        default: false
        }
    }

    /// The kinds in a default rule's value that must not be there, in order.
    static func defaultViolations(_ term: Term) -> [String] {
        switch term.value {
        case .null, .boolean, .number, .string: []
        case .variable: ["var"]
        case .reference: ["ref"]
        case .call: ["call"]
        case .array(let terms): terms.flatMap { defaultViolations($0) }
        case .set(let terms): TermOrder.sorted(terms).flatMap { defaultViolations($0) }
        case .object(let pairs):
            TermOrder.sorted(pairs).flatMap { defaultViolations($0.key) + defaultViolations($0.value) }
        case .arrayComprehension, .setComprehension, .objectComprehension: []
        case .template(let parts):
            parts.flatMap { part -> [String] in
                guard case .expression(let expression) = part else { return [] }
                switch expression.kind {
                case .term(let term): return defaultViolations(term)
                case .call(let terms): return ["ref"] + terms.dropFirst().flatMap { defaultViolations($0) }
                default: return []
                }
            }
        }
    }

    /// The direct parts of a term that are terms; bodies of comprehensions are left out.
    static func children(_ term: Term) -> [Term] {
        switch term.value {
        case .null, .boolean, .number, .string, .variable: []
        case .reference(let terms), .array(let terms), .set(let terms), .call(let terms): terms
        case .object(let pairs): pairs.flatMap { [$0.key, $0.value] }
        case .arrayComprehension(let head, _), .setComprehension(let head, _): [head]
        case .objectComprehension(let key, let value, _): [key, value]
        case .template(let parts):
            parts.compactMap { if case .text(let term) = $0 { term } else { nil } }
        }
    }
}
