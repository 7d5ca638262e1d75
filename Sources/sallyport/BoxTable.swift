/// A table in a frame, as OPA's commands print them.
struct BoxTable {
    private let header: [String]
    private var rows: [[String]] = []

    /// A table with these names above its columns; none where there are none.
    init(_ header: [String]) { self.header = header.map { TerminalText.safe($0) } }

    mutating func append(_ row: [String]) { rows.append(row.map { TerminalText.safe($0) }) }

    /// The lines.
    var lines: [String] {
        var widths = [Int](repeating: 0, count: ([header] + rows).map(\.count).max() ?? 0)
        for row in [header] + rows {
            for (index, cell) in row.enumerated() { widths[index] = max(widths[index], cell.count) }
        }
        func rule(_ left: String, _ middle: String, _ right: String) -> String {
            left + widths.map { String(repeating: "─", count: $0 + 2) }.joined(separator: middle) + right
        }
        var lines = [rule("┌", "┬", "┐")]
        if !header.isEmpty {
            lines.append(Self.line(header, widths, isCentred: true))
            lines.append(rule("├", "┼", "┤"))
        }
        for row in rows { lines.append(Self.line(row, widths, isCentred: false)) }
        lines.append(rule("└", "┴", "┘"))
        return lines
    }

    private static func line(_ cells: [String], _ widths: [Int], isCentred: Bool) -> String {
        let padded = widths.enumerated().map { index, width -> String in
            let cell = index < cells.count ? cells[index] : ""
            let space = width - cell.count
            let left = isCentred ? space / 2 : 0
            return String(repeating: " ", count: left) + cell + String(repeating: " ", count: space - left)
        }
        return "│ " + padded.joined(separator: " │ ") + " │"
    }
}

/// Durations as Go writes them: `87ns`, `12.5µs`, `1.25ms`, `1m2.5s`.
enum GoDuration {
    static func text(_ nanoseconds: Int) -> String {
        switch nanoseconds {
        case ..<1000: return "\(nanoseconds)ns"
        case ..<1_000_000: return fraction(nanoseconds, 1000) + "µs"
        case ..<1_000_000_000: return fraction(nanoseconds, 1_000_000) + "ms"
        default:
            let minutes = nanoseconds / 60_000_000_000
            let seconds = fraction(nanoseconds % 60_000_000_000, 1_000_000_000) + "s"
            if minutes == 0 { return seconds }
            return (minutes >= 60 ? "\(minutes / 60)h" : "") + "\(minutes % 60)m" + seconds
        }
    }

    private static func fraction(_ value: Int, _ unit: Int) -> String {
        var digits = String(value % unit + unit).dropFirst()
        while digits.last == "0" { digits.removeLast() }
        return "\(value / unit)" + (digits.isEmpty ? "" : "." + digits)
    }
}

/// Numbers with two decimals.
enum Decimals {
    static func text(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        return "\(hundredths / 100)." + String(hundredths % 100 + 100).dropFirst()
    }
}
