/// Finds the rules of a path that may match, by the constants that they compare parts of the input or arguments with:
/// a tree of tables from value to the rules that ask for it, each beside the rules that do not ask.
struct RuleIndex {
    /// What a table is asked with.
    enum Reference: Hashable {
        /// An input path by number.
        case input(Int32)
        /// An argument's slot.
        case slot(Int32)
        /// What stands between two delimiters in a text: part `position` of an input path, which a delimiter ends.
        case part(input: Int32, delimiter: UInt8, position: UInt8)
    }

    /// A table, or at the leaves a run of rules.
    struct Node {
        var reference: Reference?
        /// An object from value to the number of a node.
        var table = Value.undefined
        /// The node for other values.
        var otherwise: Int32 = 0
        /// Where the run begins in `entries` and behind its end.
        var first: Int32 = 0
        var end: Int32 = 0
    }

    var nodes: [Node] = []
    /// First instructions of rules.
    var entries: [Int32] = []
}

/// Builds the index of a path's rules.
struct RuleIndexBuilder {
    private let planner: Planner
    private let rules: [Rule]

    init(_ planner: Planner, _ rules: [Rule]) {
        self.planner = planner
        self.rules = rules
    }

    /// What each rule asks for; nil where an index would not pay.
    func conditions() -> [[RuleIndex.Reference: [RegoValue]]]? {
        let all = rules.map { conditions($0) }
        return all.filter { !$0.isEmpty }.count * 2 > all.count ? all : nil
    }

    private func conditions(_ rule: Rule) -> [RuleIndex.Reference: [RegoValue]] {
        var result: [RuleIndex.Reference: [RegoValue]] = [:]
        if rule.otherwise != nil { return result }
        var arguments: [String: Int32] = [:]
        for (index, term) in (rule.head.arguments ?? []).enumerated() {
            if let value = ConstantTerm.value(term) {
                result[.slot(Int32(index + 1))] = [value]
            } else if case .variable(let name) = term.value {
                arguments[name] = Int32(index + 1)
            }
        }
        for expression in rule.body where !expression.negated && expression.with.isEmpty {
            guard case .call(let terms) = expression.kind, terms.count == 3 || terms.count == 4 else { continue }
            let name = TermPrinter.text(terms[0])
            guard !planner.replacements.functions.contains(name) else { continue }
            if name == "internal.member_2", terms.count == 3,
                let values = ConstantTerm.value(terms[2])?.elements, values.count <= 64,
                let reference = reference(terms[1], arguments)
            {
                if result[reference] == nil { result[reference] = values }
                continue
            }
            if name == "glob.match", terms.count == 4 { addGlob(terms, to: &result) }
            guard name == "eq" || name == "equal", terms.count == 3 else { continue }
            for (side, other) in [(terms[1], terms[2]), (terms[2], terms[1])] {
                guard let value = ConstantTerm.value(other), let reference = reference(side, arguments) else {
                    continue
                }
                if result[reference] == nil { result[reference] = [value] }
            }
        }
        return result
    }

    /// What means more than itself in a glob.
    private static let globCharacters = Array("*?[]{}\\".utf8)

    /// What a pattern asks of an input path: to equal it, where it has no wildcards, or to begin with the parts before the
    /// first one.
    private func addGlob(_ terms: [Term], to result: inout [RuleIndex.Reference: [RegoValue]]) {
        guard case .string(let pattern)? = ConstantTerm.value(terms[1]),
            let delimiters = ConstantTerm.value(terms[2]), case .input(let path)? = reference(terms[3], [:])
        else { return }
        var delimiter: UInt8?
        switch delimiters {
        case .array(let list) where list.isEmpty: delimiter = UInt8(ascii: ".")
        case .array(let list) where list.count == 1:
            guard case .string(let text) = list[0], text.utf8.count == 1 else { return }
            delimiter = text.utf8.first
        default: break
        }
        let bytes = Array(pattern.utf8)
        guard let wildcard = bytes.firstIndex(where: { Self.globCharacters.contains($0) }) else {
            if result[.input(path)] == nil { result[.input(path)] = [.string(pattern)] }
            return
        }
        guard let delimiter, !Self.globCharacters.contains(delimiter) else { return }
        let parts = bytes[..<wildcard].split(separator: delimiter, omittingEmptySubsequences: false).dropLast()
        for (position, part) in parts.prefix(8).enumerated() {
            let key = RuleIndex.Reference.part(input: path, delimiter: delimiter, position: UInt8(position))
            if result[key] == nil { result[key] = [.string(String(decoding: part, as: UTF8.self))] }
        }
    }

    private func reference(_ term: Term, _ arguments: [String: Int32]) -> RuleIndex.Reference? {
        switch term.value {
        case .variable(let name): return arguments[name].map { .slot($0) }
        case .reference(let terms):
            guard case .variable("input") = terms[0].value, terms.count > 1 else { return nil }
            var path: [RegoValue] = []
            for part in terms.dropFirst() {
                guard case .string(let key) = part.value else { return nil }
                path.append(.string(key))
            }
            return .input(planner.inputPath(path))
        default: return nil
        }
    }

    /// The index, with the first instruction of each rule.
    func build(_ conditions: [[RuleIndex.Reference: [RegoValue]]], _ entries: [Int32]) -> RuleIndex {
        var index = RuleIndex()
        _ = build(Array(conditions.indices), conditions, entries, &index, depth: 0)
        return index
    }

    private func build(
        _ rules: [Int], _ conditions: [[RuleIndex.Reference: [RegoValue]]], _ entries: [Int32],
        _ index: inout RuleIndex, depth: Int
    ) -> Int32 {
        let number = Int32(index.nodes.count)
        index.nodes.append(RuleIndex.Node())
        // The reference with the most different values parts the rules best.
        var values: [RuleIndex.Reference: Set<RuleTree.Symbol>] = [:]
        if rules.count > 2, depth < 4 {
            for rule in rules {
                for (reference, wanted) in conditions[rule] {
                    values[reference, default: []].formUnion(wanted.map { RuleTree.Symbol($0) })
                }
            }
        }
        let best = values.max { a, b in
            a.value.count == b.value.count ? "\(a.key)" > "\(b.key)" : a.value.count < b.value.count
        }
        // Rules that do not ask stand beside every value: not where that would be many.
        let others = best.map { best in rules.filter { conditions[$0][best.key] == nil } } ?? []
        guard let best, best.value.count > 1, others.count * best.value.count <= 8 * rules.count + 64 else {
            index.nodes[Int(number)].first = Int32(index.entries.count)
            index.entries += rules.map { entries[$0] }
            index.nodes[Int(number)].end = Int32(index.entries.count)
            return number
        }
        let reference = best.key
        var buckets: [(value: RegoValue, rules: [Int])] = []
        var places: [RuleTree.Symbol: Int] = [:]
        for rule in rules {
            for value in conditions[rule][reference] ?? [] {
                let symbol = RuleTree.Symbol(value)
                if let place = places[symbol] {
                    if buckets[place].rules.last != rule { buckets[place].rules.append(rule) }
                } else {
                    places[symbol] = buckets.count
                    buckets.append((value, [rule]))
                }
            }
        }
        var rest = conditions
        for rule in rules { rest[rule][reference] = nil }
        var pairs: [(key: Value, value: Value)] = []
        for bucket in buckets {
            let child = build((bucket.rules + others).sorted(), rest, entries, &index, depth: depth + 1)
            pairs.append((planner.arena.make(bucket.value), Value(Int(child))))
        }
        let otherwise = build(others, rest, entries, &index, depth: depth + 1)
        index.nodes[Int(number)].reference = reference
        index.nodes[Int(number)].table = planner.arena.object(pairs)
        index.nodes[Int(number)].otherwise = otherwise
        return number
    }
}
