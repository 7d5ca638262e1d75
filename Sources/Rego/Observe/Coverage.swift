/// The lines of a module on which rules and expressions begin.
struct SourceLines: Sendable {
    let file: String
    private(set) var rows: Set<Int> = []

    init(_ module: Module) {
        file = module.source.name
        for rule in module.rules {
            var next: Rule? = rule
            while let rule = next {
                add(rule.head.location.row > 0 ? rule.head.location : rule.location)
                visit(rule.body)
                for term in (rule.head.arguments ?? []) + rule.head.reference.dropFirst() { visit(term) }
                for term in [rule.head.key, rule.head.value].compactMap({ $0 }) { visit(term) }
                next = rule.otherwise
            }
        }
    }

    private mutating func add(_ location: Location) { if location.row > 0 { rows.insert(location.row) } }

    private mutating func visit(_ body: Body) { for expression in body { visit(expression) } }

    private mutating func visit(_ expression: Expression) {
        switch expression.kind {
        case .term(let term): visit(term)
        case .call(let terms): for term in terms { visit(term) }
        // Declarations do nothing.
        case .some(let terms):
            for term in terms { visit(term) }
            return
        case .every(_, _, let domain, let body):
            visit(domain)
            visit(body)
        case .not(let body, _): visit(body)
        case .logical(_, let left, let right): visit(left + right)
        }
        for with in expression.with { visit(with.value) }
        add(expression.location)
    }

    private mutating func visit(_ term: Term) {
        switch term.value {
        case .arrayComprehension(_, let body), .setComprehension(_, let body), .objectComprehension(_, _, let body):
            visit(body)
        case .template(let parts):
            for part in parts { if case .expression(let expression) = part { visit(expression) } }
        default: break
        }
        for child in TermWalk.children(term) { visit(child) }
    }
}

/// Which lines of a policy's modules evaluations reached, as OPA reports it.
public struct CoverageReport: Sendable {
    /// One module.
    public struct File: Sendable {
        /// The module's name.
        public let name: String
        /// Lines that were reached.
        public let covered: [ClosedRange<Int>]
        /// Lines with a rule or an expression that were not.
        public let notCovered: [ClosedRange<Int>]

        /// How many lines were reached.
        public var coveredLines: Int { covered.reduce(0) { $0 + $1.count } }
        /// How many were not.
        public var notCoveredLines: Int { notCovered.reduce(0) { $0 + $1.count } }
        /// The share that was reached, in per cent.
        public var percentage: Double { CoverageReport.percentage(coveredLines, notCoveredLines) }
    }

    /// All modules, by name.
    public let files: [File]

    init(hits: [String: Set<Int>], lines: [SourceLines]) {
        files = lines.map { module in
            let covered = Self.ranges(hits[module.file] ?? [])
            let missing = module.rows.filter { row in !covered.contains { $0.contains(row) } }
            return File(name: module.file, covered: covered, notCovered: Self.ranges(missing))
        }.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    /// How many lines were reached.
    public var coveredLines: Int { files.reduce(0) { $0 + $1.coveredLines } }
    /// How many were not.
    public var notCoveredLines: Int { files.reduce(0) { $0 + $1.notCoveredLines } }
    /// The share of all lines that was reached, in per cent.
    public var percentage: Double { Self.percentage(coveredLines, notCoveredLines) }

    private static func percentage(_ covered: Int, _ notCovered: Int) -> Double {
        covered + notCovered == 0 ? 0 : 100 * Double(covered) / Double(covered + notCovered)
    }

    private static func ranges(_ rows: some Collection<Int>) -> [ClosedRange<Int>] {
        var result: [ClosedRange<Int>] = []
        for row in rows.sorted() {
            if let range = result.last, range.upperBound + 1 == row {
                result[result.count - 1] = range.lowerBound...row
            } else {
                result.append(row...row)
            }
        }
        return result
    }

    /// As `opa test --coverage` and `opa eval --coverage` print it.
    public var value: RegoValue {
        .object([
            (.string("files"), .object(files.map { (.string($0.name), Self.value($0)) })),
            (.string("covered_lines"), RegoValue(coveredLines)),
            (.string("not_covered_lines"), RegoValue(notCoveredLines)),
            (.string("coverage"), Self.number(percentage)),
        ])
    }

    private static func value(_ file: File) -> RegoValue {
        func ranges(_ ranges: [ClosedRange<Int>]) -> RegoValue {
            func row(_ row: Int) -> RegoValue { .object([(.string("row"), RegoValue(row))]) }
            return .array(
                ranges.map { .object([(.string("start"), row($0.lowerBound)), (.string("end"), row($0.upperBound))]) })
        }
        var fields: [(key: RegoValue, value: RegoValue)] = []
        if !file.covered.isEmpty {
            fields.append((.string("covered"), ranges(file.covered)))
            fields.append((.string("covered_lines"), RegoValue(file.coveredLines)))
            fields.append((.string("coverage"), number(file.percentage)))
        }
        if !file.notCovered.isEmpty {
            fields.append((.string("not_covered"), ranges(file.notCovered)))
            fields.append((.string("not_covered_lines"), RegoValue(file.notCoveredLines)))
        }
        return .object(fields)
    }

    private static func number(_ value: Double) -> RegoValue {
        let text = "\(value)"
        return .number(text.hasSuffix(".0") ? String(text.dropLast(2)) : text)
    }
}
