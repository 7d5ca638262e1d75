/// Columns of text, as wide as their widest cell. What could move a terminal's cursor is spelled out.
struct TextTable {
    /// One cell.
    struct Cell {
        var text: String
        var style = Console.Style.plain

        init(_ text: String, _ style: Console.Style = .plain) {
            self.text = TerminalText.safe(text)
            self.style = style
        }
    }

    private let header: [String]
    private var rows: [[Cell]] = []

    init(_ header: [String]) {
        self.header = header
    }

    mutating func append(_ row: [Cell]) {
        rows.append(row)
    }

    /// The lines, the header first.
    var lines: [String] {
        var widths = header.map { $0.count }
        for row in rows {
            for (index, cell) in row.enumerated() where index < widths.count {
                widths[index] = max(widths[index], cell.text.count)
            }
        }
        return ([header.map { Cell($0, .bold) }] + rows).map { Self.line($0, widths: widths) }
    }

    /// One line with cells of at least these widths; the last one is as wide as it is.
    static func line(_ row: [Cell], widths: [Int]) -> String {
        var line = ""
        for (index, cell) in row.enumerated() {
            line += Console.styled(cell.text, cell.style)
            guard index < row.count - 1 else { break }
            let width = index < widths.count ? widths[index] : 0
            line += String(repeating: " ", count: max(0, width - cell.text.count) + 2)
        }
        return line
    }
}
