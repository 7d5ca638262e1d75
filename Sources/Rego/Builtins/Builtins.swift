/// All built-in functions by name.
enum Builtins {
    /// The function; nil for those that are declared but have no place in an embedded engine.
    static func function(_ name: String) -> BuiltinFunction? { table[name] }

    /// What stands for a function that is not available here, where a `with` may replace it.
    static func unavailable(_ name: String) -> BuiltinFunction {
        { (machine: Machine, arguments: Arguments) throws(BuiltinFailure) -> Value in
            throw .fatal(
                code: "eval_builtin_error", "\(name): not available here, and no `with` replaces it in this call")
        }
    }

    private static let table: [String: BuiltinFunction] = {
        var table: [String: BuiltinFunction] = [:]
        for part in [
            numbers, aggregates, types, arrays, objects, sets, strings, regularExpressions, encodings, networks,
            units, documents, times, cryptography, tokens, miscellaneous, certificates,
        ] {
            table.merge(part) { $1 }
        }
        return table
    }()
}
