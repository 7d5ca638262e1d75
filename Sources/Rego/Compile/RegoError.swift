/// One thing wrong with a policy, a query or an evaluation, with its place.
public struct RegoError: Error, Hashable, Sendable, CustomStringConvertible {
    /// OPA's code: `rego_parse_error`, `rego_compile_error`, `rego_type_error`, `rego_unsafe_var_error`,
    /// `rego_recursion_error`, `eval_type_error`, `eval_conflict_error`, `eval_builtin_error`, `eval_with_merge_error`,
    /// `eval_internal_error`, `eval_cancel_error`; or our own `rego_limit_error`.
    public var code: String
    /// What is wrong, in OPA's words where OPA has some.
    public var message: String
    /// The module's name; empty where there is no place.
    public var file: String
    /// Line, from 1; 0 where there is no place.
    public var row: Int
    /// Column in characters, from 1.
    public var column: Int
    /// The source line and a caret below it, or a type error's `have` and `want` lines.
    public var details: [String]

    /// An error from its parts.
    public init(
        code: String, message: String, file: String = "", row: Int = 0, column: Int = 0, details: [String] = []
    ) {
        self.code = code
        self.message = message
        self.file = file
        self.row = row
        self.column = column
        self.details = details
    }

    init(_ code: String, _ location: Location, _ message: String, details: [String] = []) {
        self.init(
            code: code, message: message, file: location.source?.name ?? "", row: location.row,
            column: location.column, details: details)
    }

    /// `file:row: code: message`, then the details, each on a line with a tab, as OPA prints it.
    public var description: String {
        var place = ""
        if row > 0 { place = file.isEmpty ? "\(row):\(column): " : "\(file):\(row): " }
        var text = "\(place)\(code): \(message)"
        for line in details { text += "\n\t" + line }
        return text
    }
}

/// Everything that is wrong with the modules of a policy; never empty.
public struct RegoErrors: Error, Hashable, Sendable, CustomStringConvertible {
    /// In order of their places.
    public var errors: [RegoError]

    /// A list of errors.
    public init(_ errors: [RegoError]) { self.errors = errors }

    /// `1 error occurred: ...` or `N errors occurred:` and a line for each.
    public var description: String {
        if errors.count == 1, let first = errors.first { return "1 error occurred: \(first)" }
        return "\(errors.count) errors occurred:\n" + errors.map(\.description).joined(separator: "\n")
    }
}
