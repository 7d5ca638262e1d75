/// What is wrong with a policy directory: one or more problems.
public struct PolicyLoadError: Error, Equatable, Sendable, CustomStringConvertible {
    /// At least one.
    public let problems: [PolicyProblem]

    /// All of `problems`.
    public init(_ problems: [PolicyProblem]) {
        self.problems = problems
    }

    init(_ path: String, _ message: String) {
        self.init([PolicyProblem(file: path, line: nil, message: message)])
    }

    /// One line a problem.
    public var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}

/// One thing that is wrong with a policy or its data.
public struct PolicyProblem: Equatable, Sendable, CustomStringConvertible {
    /// The file or directory.
    public let file: String
    /// The line, from 1; nil where the whole file is meant.
    public let line: Int?
    /// What is wrong and what to do.
    public let message: String

    /// A problem from its parts.
    public init(file: String, line: Int?, message: String) {
        self.file = file
        self.line = line
        self.message = message
    }

    /// `file:line: message`, always one line.
    public var description: String {
        let place = line.map { "\(file):\($0)" } ?? file
        var text = ""
        for scalar in "\(place): \(message)".unicodeScalars {
            switch scalar.value {
            case 0x0A: text += " "
            case 0..<0x20, 0x7F...0x9F, 0x2028, 0x2029: text += "\\u{" + String(scalar.value, radix: 16) + "}"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}
