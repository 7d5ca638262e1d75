/// What the compiler knows of a built-in function.
struct BuiltinDeclaration: Sendable {
    let name: String
    /// The operator it is written as, between its two arguments.
    let infix: String?
    let isDeprecated: Bool
    let isDeterministic: Bool
    let isVariadic: Bool
    /// Names of the arguments, empty where they have none.
    let argumentNames: [String]
    let arguments: [RegoType]
    /// Nil for functions that have no result.
    let result: RegoType?
    let resultName: String

    /// `name: type` or `type`.
    var argumentTexts: [String] {
        zip(argumentNames, arguments).map { $0.isEmpty ? $1.text : $0 + ": " + $1.text }
    }
}

/// The declarations of all built-in functions.
enum BuiltinTable {
    static let declarations: [String: BuiltinDeclaration] = {
        var result: [String: BuiltinDeclaration] = [:]
        for line in BuiltinDeclarations.text.split(separator: "\n") {
            let fields = line.split(separator: "~", omittingEmptySubsequences: false)
            guard fields.count == 5 else { continue }
            var names: [String] = []
            var types: [RegoType] = []
            for argument in fields[3].split(separator: ";") {
                let (name, type) = split(argument)
                names.append(name)
                types.append(TypeNotation.type(type))
            }
            let (resultName, resultType) = split(fields[4])
            result[String(fields[0])] = BuiltinDeclaration(
                name: String(fields[0]), infix: fields[1] == "-" ? nil : String(fields[1]),
                isDeprecated: fields[2].contains("d"), isDeterministic: !fields[2].contains("n"),
                isVariadic: fields[2].contains("v"), argumentNames: names, arguments: types,
                result: resultType == "-" ? nil : TypeNotation.type(resultType), resultName: resultName)
        }
        return result
    }()

    /// `name: type`, where the name is no type itself.
    private static func split(_ text: Substring) -> (name: String, type: Substring) {
        guard let colon = text.firstIndex(of: ":") else { return ("", text) }
        let name = text[..<colon]
        if name.contains(where: { "<[".contains($0) }) { return ("", text) }
        return (String(name), text[text.index(after: colon)...].drop { $0 == " " })
    }

    /// Whether a built-in has many results, each in turn.
    static func isRelation(_ name: String) -> Bool { name == "walk" }
}
