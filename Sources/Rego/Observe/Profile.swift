internal import Glibc

/// What one line of a policy took.
public struct ProfileEntry: Sendable, Hashable {
    /// Nanoseconds until the next expression began, in all.
    public internal(set) var nanoseconds: Int
    /// How often its expressions were tried.
    public internal(set) var evaluations: Int
    /// How often another solution of theirs was looked for.
    public internal(set) var redos: Int
    /// How many expressions the compiler made of the line.
    public internal(set) var expressions: Int
    /// The module's name; empty for the query.
    public let file: String
    /// Line, from 1.
    public let row: Int
    /// Column in characters, from 1, of the first expression that was tried.
    public let column: Int

    /// As `opa eval --profile --format json` has it.
    public var value: RegoValue {
        .object([
            (.string("total_time_ns"), RegoValue(nanoseconds)), (.string("num_eval"), RegoValue(evaluations)),
            (.string("num_redo"), RegoValue(redos)), (.string("num_gen_expr"), RegoValue(expressions)),
            (
                .string("location"),
                .object([
                    (.string("file"), .string(file)), (.string("row"), RegoValue(row)),
                    (.string("col"), RegoValue(column)),
                ])
            ),
        ])
    }
}

/// Measures the time between one expression and the next.
struct Profiler {
    private struct Line: Hashable {
        let file: String
        let row: Int
    }

    private var lines: [Line: ProfileEntry] = [:]
    private var indexes: [Line: Set<Int>] = [:]
    private var current: Line?
    private var begun = 0

    /// An expression begins.
    mutating func step(_ site: TraceSite, isRedo: Bool) {
        let line = Line(file: site.file, row: site.row)
        let now = Self.now
        finish(now)
        var entry =
            lines[line]
            ?? ProfileEntry(
                nanoseconds: 0, evaluations: 0, redos: 0, expressions: 0, file: site.file, row: site.row,
                column: site.column)
        if isRedo { entry.redos += 1 } else { entry.evaluations += 1 }
        lines[line] = entry
        indexes[line, default: []].insert(site.index)
        current = line
        begun = Self.now
    }

    private mutating func finish(_ now: Int) {
        if let current { lines[current]?.nanoseconds += now - begun }
        current = nil
    }

    /// All lines: those that took longest first, then those that were tried most, then by place.
    var entries: [ProfileEntry] {
        lines.map { line, entry in
            var entry = entry
            entry.expressions = indexes[line]?.count ?? 0
            return entry
        }.sorted { a, b in
            if a.nanoseconds != b.nanoseconds { return a.nanoseconds > b.nanoseconds }
            if a.evaluations != b.evaluations { return a.evaluations > b.evaluations }
            if a.redos != b.redos { return a.redos > b.redos }
            return (a.file, a.row) < (b.file, b.row)
        }
    }

    private static var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
