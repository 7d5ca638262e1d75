/// Finds rules that cannot stand beside each other.
struct RuleConflicts {
    private let compiler: Compiler

    init(_ compiler: Compiler) { self.compiler = compiler }

    func run() {
        visit(compiler.tree)
        checkPackages()
    }

    private func visit(_ node: RuleTree) {
        if !node.rules.isEmpty, check(node) { return }
        for child in node.children { visit(child) }
    }

    /// Whether something is wrong here.
    private func check(_ node: RuleTree) -> Bool {
        let rules = node.rules
        let place = rules[0].location
        let name = rules.last.map { self.name($0) } ?? node.name
        if let conflicts = conflicts(node) {
            compiler.fail("rego_type_error", place, "rule \(name) conflicts with:\(conflicts)")
            return true
        }
        let isComplete = rules.map { $0.head.value != nil && Compiler.dynamicParts($0).isEmpty }
        let sets = rules.filter { $0.head.value == nil }
        let dynamicSets = sets.filter { !Compiler.dynamicParts($0).isEmpty }
        let arities = Set(rules.map { $0.head.arguments?.count ?? 0 })
        if (!sets.isEmpty && sets.count < rules.count) || arities.count > 1
            || (isComplete.contains(true) && isComplete.contains(false))
            || (!dynamicSets.isEmpty && dynamicSets.count < sets.count)
        {
            compiler.fail("rego_type_error", place, "conflicting rules \(name) found")
            return true
        }
        let defaults = rules.filter { $0.isDefault }
        if defaults.count > 1 {
            let places = defaults.map { Self.text($0.location) }
            compiler.fail(
                "rego_type_error", defaults[0].module?.packageLocation ?? place,
                "multiple default rules \(name) found at \(places.joined(separator: ", "))")
            return true
        }
        return false
    }

    /// Rules below `node` that it has no room for, a line for each; nil where there are none.
    private func conflicts(_ node: RuleTree) -> String? {
        var below: [Rule] = []
        func collect(_ node: RuleTree) {
            below += node.rules
            for child in node.children { collect(child) }
        }
        for child in node.children { collect(child) }
        let isGround = node.rules.contains { Compiler.dynamicParts($0).isEmpty }
        if !isGround { below = below.filter { $0.head.arguments?.isEmpty == false } }
        if below.isEmpty { return nil }
        // Only the shortest of paths that begin alike are listed.
        var listed: [(path: [Term], rule: Rule)] = []
        for rule in below {
            let path = Self.path(rule)
            if listed.contains(where: { Self.hasPrefix(path, $0.path) }) { continue }
            listed = listed.filter { !Self.hasPrefix($0.path, path) }
            listed.append((path, rule))
        }
        let lines = listed.map { (TermPrinter.text($0.path), $0.rule) }.sorted { $0.0 < $1.0 }
        return lines.map { "\n  rule \($0) at \(Self.text($1.location))" }.joined()
    }

    private static func path(_ rule: Rule) -> [Term] {
        [Term(.variable("data"))] + (rule.module?.package ?? []) + [Term(.string(rule.name))]
            + rule.head.reference.dropFirst()
    }

    private static func hasPrefix(_ path: [Term], _ prefix: [Term]) -> Bool {
        path.count >= prefix.count && zip(path, prefix).allSatisfy { TermPrinter.text($0) == TermPrinter.text($1) }
    }

    private static func text(_ location: Location) -> String { "\(location.source?.name ?? ""):\(location.row)" }

    /// A rule's path with its variables as written.
    private func name(_ rule: Rule) -> String {
        let path = Self.path(rule).map { term -> Term in
            guard case .variable(let local) = term.value, let original = compiler.originals[local] else { return term }
            return Term(.variable(original), term.location)
        }
        return TermPrinter.text(path)
    }

    /// A package must not stand where a rule does.
    private func checkPackages() {
        for module in compiler.modules {
            for rule in module.rules where Compiler.dynamicParts(rule).isEmpty {
                let path = (module.package + [Term(.string(rule.name))] + rule.head.reference.dropFirst())
                    .map { TermPrinter.text($0) }
                for other in compiler.modules where other !== module && other.package.count == path.count {
                    guard other.package.map({ TermPrinter.text($0) }) == path else { continue }
                    let package = TermPrinter.packageName(other.package)
                    compiler.fail(
                        "rego_type_error", module.packageLocation,
                        "package \(package) conflicts with rule \(TermPrinter.text(rule.head.reference)) defined at "
                            + Self.text(rule.location))
                }
            }
        }
    }
}
