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
        case .array(let terms), .set(let terms): terms.flatMap { defaultViolations($0) }
        case .object(let pairs): pairs.flatMap { defaultViolations($0.key) + defaultViolations($0.value) }
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
