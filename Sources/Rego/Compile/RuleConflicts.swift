/// Finds rules that cannot stand beside each other.
struct RuleConflicts {
    private let compiler: Compiler

    init(_ compiler: Compiler) { self.compiler = compiler }

    func run() { visit(compiler.tree) }

    private enum Kind {
        case complete
        case set
        case object
        case function
    }

    private func kind(_ rule: Rule) -> Kind {
        if rule.head.arguments != nil { return .function }
        let dynamic = Compiler.dynamicParts(rule)
        if rule.head.value == nil { return dynamic.isEmpty ? .set : .object }
        return dynamic.isEmpty ? .complete : .object
    }

    private func visit(_ node: RuleTree) {
        if !node.rules.isEmpty { check(node) }
        for child in node.children { visit(child) }
    }

    private func check(_ node: RuleTree) {
        let kinds = Set(node.rules.map { kind($0) })
        let arities = Set(node.rules.map { $0.head.arguments?.count ?? 0 })
        let place = node.rules[0].location
        let defaults = node.rules.filter { $0.isDefault }
        if kinds.count > 1 || arities.count > 1 {
            compiler.fail("rego_type_error", place, "conflicting rules \(node.name) found")
        } else if defaults.count > 1 {
            let places = defaults.map { "\($0.location.source?.name ?? ""):\($0.location.row)" }
            compiler.fail(
                "rego_type_error", defaults[0].location,
                "multiple default rules \(node.name) found at \(places.joined(separator: ", "))")
        } else if kinds.contains(.complete) || kinds.contains(.function) || kinds.contains(.set),
            let child = node.children.first(where: { $0.hasRules })
        {
            _ = child
            compiler.fail("rego_type_error", place, "rule \(node.name) conflicts with \(child.name)")
        }
    }
}
