/// All built-in functions by name.
enum Builtins {
    /// The function; nil for those that are declared but have no place in an embedded engine.
    static func function(_ name: String) -> BuiltinFunction? { table[name] }

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
