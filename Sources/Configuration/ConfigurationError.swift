/// What is wrong with a configuration: every problem of the file, in the order of its lines.
public struct ConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
    /// At least one.
    public let problems: [ConfigurationProblem]

    /// All of `problems`.
    public init(_ problems: [ConfigurationProblem]) {
        self.problems = problems
    }

    /// One line a problem.
    public var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}

/// One thing that is wrong: `sallyport.yaml:12: agents[0].uuid: unknown key (did you mean uid?)`.
public struct ConfigurationProblem: Equatable, Sendable, CustomStringConvertible {
    /// The file, as it was named by whoever asked.
    public let file: String
    /// The line, from 1; nil where the whole file is meant.
    public let line: Int?
    /// The key, such as `agents[0].uid`; empty where the whole file is meant.
    public let key: String
    /// What is wrong and what to do.
    public let message: String

    /// A problem from its parts.
    public init(file: String, line: Int?, key: String, message: String) {
        self.file = file
        self.line = line
        self.key = key
        self.message = message
    }

    /// `file:line: key: message`, always one line.
    public var description: String {
        var text = file
        if let line { text += ":\(line)" }
        if !key.isEmpty { text += ": \(key)" }
        return "\(text): \(message)".oneLine
    }
}

extension String {
    /// The text with every control character escaped, so that hostile input stays on its line.
    var oneLine: String {
        var result = ""
        for scalar in unicodeScalars {
            if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || [0x2028, 0x2029].contains(scalar.value) {
                result += "\\u{" + String(scalar.value, radix: 16) + "}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// The text in double quotes, shortened to 64 characters, for error messages.
    var quoted: String {
        count <= 64 ? "\"\(self)\"" : "\"\(prefix(61))...\""
    }
}
