/// Reports variables that nothing binds.
struct SafetyReport {
    private let compiler: Compiler

    init(_ compiler: Compiler) { self.compiler = compiler }

    private static func isGenerated(_ name: String) -> Bool { name.hasPrefix("__local") }

    /// A variable as it was written; nil for locals of the compiler.
    private func written(_ name: String) -> String? {
        let original = compiler.originals[name] ?? name
        if Self.isGenerated(original) { return nil }
        return original.hasPrefix("$") ? "_" : original
    }

    /// Names the rule where its line holds rules of other names as well.
    private func scope(_ rule: NormalRule) -> String {
        let name = Self.name(rule.rule)
        for other in rule.module.rules {
            var next: Rule? = other
            while let branch = next {
                if branch.location.row == rule.rule.location.row, Self.name(branch) != name {
                    return " in rule \(name)"
                }
                next = branch.otherwise
            }
        }
        return ""
    }

    private static func name(_ rule: Rule) -> String {
        let reference = rule.head.reference
        let ground = reference.dropFirst().firstIndex { !TermWalk.isGround($0) } ?? reference.count
        return TermPrinter.text(Array(reference[..<ground]))
    }

    /// Variables of a head must be bound by the body or be arguments.
    func checkHead(_ rule: NormalRule) {
        var known = VariableCollector.names(rule.body)
        known.formUnion(VariableCollector.names(rule.head.arguments ?? [], VariableCollector()))
        known.formUnion(["input", "data"])
        var reported: Set<String> = []
        for term in rule.head.reference.dropFirst() + [rule.head.key, rule.head.value].compactMap({ $0 }) {
            for (name, location) in VariablePlaces.find(term) where !known.contains(name) {
                guard let original = written(name), reported.insert(name).inserted else { continue }
                compiler.fail("rego_unsafe_var_error", location, "var \(original) is unsafe\(scope(rule))")
            }
        }
    }

    /// Variables of a body must be bound before they are read. Puts the body into a safe order.
    func checkBody(_ rule: NormalRule) {
        var safety = Safety(arity: { compiler.arity(of: $0) })
        var globals = VariableCollector.names(rule.head.arguments ?? [], VariableCollector())
        globals.formUnion(["input", "data"])
        rule.body = safety.reorder(rule.body, globals: globals)
        if !safety.unsafe.isEmpty { report(safety, scope: scope(rule)) }
    }

    /// Reports what a safety check found.
    func report(_ safety: Safety, scope: String) {
        var places: [String: Location] = [:]
        var order: [String] = []
        for entry in safety.unsafe {
            for name in entry.names.sorted() {
                let place = entry.expression.location
                if let known = places[name] {
                    if (known.row, known.column) <= (place.row, place.column) { continue }
                } else {
                    order.append(name)
                }
                places[name] = place
            }
        }
        func precedes(_ a: String, _ b: String) -> Bool {
            guard let x = places[a], let y = places[b] else { return false }
            return (x.row, x.column) < (y.row, y.column)
        }
        var reported = false
        for (_, name) in order.enumerated().sorted(by: {
            precedes($0.element, $1.element) || (!precedes($1.element, $0.element) && $0.offset < $1.offset)
        }) {
            guard let place = places[name], let original = written(name) else { continue }
            reported = true
            let isFuture = Token.futureKeywords[original] != nil || Token.keywordsOfVersion1[original] != nil
            let hint = isFuture ? " (hint: `import future.keywords.\(original)` to import a future keyword)" : ""
            compiler.fail("rego_unsafe_var_error", place, "var \(original) is unsafe\(scope)\(hint)")
        }
        if reported { return }
        var seen: Set<String> = []
        for entry in safety.unsafe.sorted(by: {
            ($0.expression.location.row, $0.expression.location.column)
                < ($1.expression.location.row, $1.expression.location.column)
        }) {
            let before = seen.count
            seen.formUnion(entry.names)
            if seen.count > before {
                compiler.fail("rego_unsafe_var_error", entry.expression.location, "expression is unsafe\(scope)")
            }
        }
    }
}

/// Variables of a term with their places; closures left out.
enum VariablePlaces {
    static func find(_ term: Term) -> [(name: String, location: Location)] {
        switch term.value {
        case .variable(let name): [(name, term.location)]
        case .call(let terms): terms.dropFirst().flatMap { find($0) }
        case .arrayComprehension, .setComprehension, .objectComprehension, .template: []
        default: TermWalk.children(term).flatMap { find($0) }
        }
    }
}
