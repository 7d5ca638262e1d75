import DecisionLog
import Glibc

/// Standard output and standard error of a command.
enum Console {
    /// How a word stands out on a terminal (ECMA-48 §8.3.117).
    enum Style: String {
        case plain = ""
        case bold = "1"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case dim = "2"
    }

    /// Whether standard output is a terminal that shows colours; NO_COLOR (no-color.org) and TERM=dumb switch them off.
    static let hasColours: Bool = {
        guard isatty(STDOUT_FILENO) == 1 else { return false }
        if let variable = getenv("NO_COLOR"), variable.pointee != 0 { return false }
        guard let terminal = getenv("TERM") else { return false }
        return String(cString: terminal) != "dumb"
    }()

    /// `text` as it is to be printed, in `style` where colours are shown.
    static func styled(_ text: String, _ style: Style) -> String {
        hasColours && style != .plain ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Prints an error: `sallyport: ` before each line, and nothing that could move a terminal's cursor.
    static func complain(_ message: String) {
        for line in message.split(separator: "\n") {
            let safe = JournalText.escape(line, as: .sentence, limit: 4096)
            let bytes = Array(("sallyport: " + safe + "\n").utf8)
            _ = write(STDERR_FILENO, bytes, bytes.count)
        }
    }

    /// Shows at once what was printed, for a reader that waits on a pipe.
    static func flush() {
        fflush(nil)
    }
}
