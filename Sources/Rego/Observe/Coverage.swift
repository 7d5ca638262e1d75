/// A part of a module: from its first character to behind its last one; lines and columns from 1.
public struct SourceSpan: Hashable, Comparable, Sendable {
    /// The first character's line.
    public let firstRow: Int
    /// The first character's column.
    public let firstColumn: Int
    /// The line of the end.
    public let lastRow: Int
    /// The column behind the last character.
    public let endColumn: Int

    init(_ location: Location) {
        firstRow = location.row
        firstColumn = location.column
        let lines = location.text.split(omittingEmptySubsequences: false) { $0.isNewline }
        lastRow = location.row + max(0, lines.count - 1)
        endColumn = (lines.last?.count ?? 0) + (lines.count > 1 ? 1 : location.column)
    }

    /// By first characters, then by ends.
    public static func < (a: SourceSpan, b: SourceSpan) -> Bool {
        (a.firstRow, a.firstColumn, a.lastRow, a.endColumn) < (b.firstRow, b.firstColumn, b.lastRow, b.endColumn)
    }

    /// As OPA writes it.
    var value: RegoValue {
        func place(_ row: Int, _ column: Int) -> RegoValue {
            .object([(.string("row"), RegoValue(row)), (.string("col"), RegoValue(column))])
        }
        return .object([
            (.string("start"), place(firstRow, firstColumn)), (.string("end"), place(lastRow, endColumn)),
        ])
    }
}

/// The rules and expressions of a module that can be covered.
struct CoverableSource: Sendable {
    let file: String
    private(set) var spans: Set<SourceSpan> = []

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

    private mutating func add(_ location: Location) { if location.row > 0 { spans.insert(SourceSpan(location)) } }

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

/// Which rules and expressions of a policy's modules evaluations reached, as OPA reports it.
public struct CoverageReport: Sendable {
    /// One module.
    public struct File: Sendable {
        /// The module's name.
        public let name: String
        /// Rules that had a value and expressions that were tried, in order.
        public let covered: [SourceSpan]
        /// Those that were not.
        public let notCovered: [SourceSpan]

        /// How many lines have something that was reached.
        public var coveredLines: Int { Self.rows(covered).count }
        /// How many have something that was not.
        public var notCoveredLines: Int { Self.rows(notCovered).count }
        /// The share of the lines that was reached, in per cent.
        public var percentage: Double { CoverageReport.percentage(coveredLines, notCoveredLines) }
        /// The lines that were not reached.
        public var notCoveredRows: [ClosedRange<Int>] {
            var result: [ClosedRange<Int>] = []
            for row in Self.rows(notCovered).sorted() {
                if let range = result.last, range.upperBound + 1 == row {
                    result[result.count - 1] = range.lowerBound...row
                } else {
                    result.append(row...row)
                }
            }
            return result
        }

        private static func rows(_ spans: [SourceSpan]) -> Set<Int> {
            spans.reduce(into: []) { $0.formUnion($1.firstRow...$1.lastRow) }
        }
    }

    /// All modules, by name.
    public let files: [File]

    init(hits: [String: Set<SourceSpan>], sources: [CoverableSource]) {
        files = sources.map { source in
            let covered = hits[source.file] ?? []
            return File(
                name: source.file, covered: covered.sorted(), notCovered: source.spans.subtracting(covered).sorted())
        }.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    /// How many lines have something that was reached.
    public var coveredLines: Int { files.reduce(0) { $0 + $1.coveredLines } }
    /// How many have something that was not.
    public var notCoveredLines: Int { files.reduce(0) { $0 + $1.notCoveredLines } }
    /// The share of all lines that was reached, in per cent.
    public var percentage: Double { Self.percentage(coveredLines, notCoveredLines) }

    private static func percentage(_ covered: Int, _ notCovered: Int) -> Double {
        covered + notCovered == 0 ? 0 : 100 * Double(covered) / Double(covered + notCovered)
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
        var fields: [(key: RegoValue, value: RegoValue)] = []
        if !file.covered.isEmpty {
            fields.append((.string("covered"), .array(file.covered.map(\.value))))
            fields.append((.string("covered_lines"), RegoValue(file.coveredLines)))
            fields.append((.string("coverage"), number(file.percentage)))
        }
        if !file.notCovered.isEmpty {
            fields.append((.string("not_covered"), .array(file.notCovered.map(\.value))))
            fields.append((.string("not_covered_lines"), RegoValue(file.notCoveredLines)))
        }
        return .object(fields)
    }

    private static func number(_ value: Double) -> RegoValue {
        let text = "\(value)"
        return .number(text.hasSuffix(".0") ? String(text.dropLast(2)) : text)
    }
}
