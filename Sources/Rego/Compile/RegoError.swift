/// One thing wrong with a policy, a query or an evaluation, with its place.
public struct RegoError: Error, Hashable, Sendable, CustomStringConvertible {
    /// OPA's code: `rego_parse_error`, `rego_compile_error`, `rego_type_error`, `rego_unsafe_var_error`,
    /// `rego_recursion_error`, `eval_type_error`, `eval_conflict_error`, `eval_builtin_error`, `eval_with_merge_error`,
    /// `eval_internal_error`, `eval_cancel_error`; empty where the host found the error; or our own `rego_limit_error`, and `rego_unavailable_error` for a call
    /// of a built-in function that an embedded engine does not have.
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
    public var details: [String] {
        get { rest.first?.details ?? [] }
        set { setRest(newValue, hint) }
    }
    /// Which part of the text is wrong and what may be meant, where more than its beginning is known.
    public var hint: Hint? {
        get { rest.first?.hint }
        set { setRest(details, newValue) }
    }

    /// What few errors have: at most one, in memory of its own. Readers of deeply nested values keep room for errors in
    /// every frame of their stack.
    private var rest: [Rest] = []

    private struct Rest: Hashable, Sendable {
        let details: [String]
        let hint: Hint?
    }

    private mutating func setRest(_ details: [String], _ hint: Hint?) {
        rest = details.isEmpty && hint == nil ? [] : [Rest(details: details, hint: hint)]
    }

    /// A part of a module's text, and what may be meant.
    public struct Hint: Hashable, Sendable {
        /// Line, from 1.
        public let row: Int
        /// Column in characters, from 1.
        public let column: Int
        /// Characters.
        public let width: Int
        /// What may be meant instead, such as `input.destination.host`; nil where nothing is near.
        public let suggestion: String?
    }

    /// An error from its parts.
    public init(
        code: String, message: String, file: String = "", row: Int = 0, column: Int = 0, details: [String] = []
    ) {
        self.code = code
        self.message = message
        self.file = file
        self.row = row
        self.column = column
        setRest(details, nil)
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
        var text = place + (code.isEmpty ? "" : code + ": ") + message
        for line in details { text += "\n\t" + line }
        return text
    }
}

extension RegoError {
    /// As OPA's commands have it in JSON: `message`, `code`, `location` and `details`.
    public var value: RegoValue {
        var fields: [(key: RegoValue, value: RegoValue)] = [(.string("message"), .string(message))]
        if !code.isEmpty { fields.append((.string("code"), .string(code))) }
        if row > 0 {
            let place: [(key: RegoValue, value: RegoValue)] = [
                (.string("file"), .string(file)), (.string("row"), RegoValue(row)), (.string("col"), RegoValue(column)),
            ]
            fields.append((.string("location"), .object(place)))
        }
        if !details.isEmpty { fields.append((.string("details"), .string(details.joined(separator: "\n")))) }
        if let suggestion = hint?.suggestion { fields.append((.string("suggestion"), .string(suggestion))) }
        return .object(fields)
    }
}

/// Everything that is wrong with the modules of a policy; never empty.
public struct RegoErrors: Error, Hashable, Sendable, CustomStringConvertible {
    /// In OPA's order: as they were found, those of the type checker by their places.
    public var errors: [RegoError]

    /// A list of errors.
    public init(_ errors: [RegoError]) { self.errors = errors }

    /// Errors by their places, and by their texts where the place is the same.
    static func sorted(_ errors: [RegoError]) -> [RegoError] {
        errors.map { ($0, $0.description) }.sorted { a, b in
            if a.0.file != b.0.file { return a.0.file < b.0.file }
            if a.0.row != b.0.row { return a.0.row < b.0.row }
            if a.0.column != b.0.column { return a.0.column < b.0.column }
            return a.1.utf8.lexicographicallyPrecedes(b.1.utf8)
        }.map(\.0)
    }

    /// `1 error occurred: ...` or `N errors occurred:` and a line for each.
    public var description: String {
        if errors.count == 1, let first = errors.first { return "1 error occurred: \(first)" }
        return "\(errors.count) errors occurred:\n" + errors.map(\.description).joined(separator: "\n")
    }
}
