/// The kinds of tokens; raw values are the names that errors give them.
enum Token: String {
    case illegal
    case eof
    case whitespace
    case identifier
    case comment
    case package
    case `import`
    case `as`
    case `default`
    case `else`
    case not
    case some
    case with
    case null
    case `true`
    case `false`
    case number
    case string
    case templatePart = "template-string-part"
    case templateEnd = "template-string-end"
    case rawTemplatePart = "raw-template-string-part"
    case rawTemplateEnd = "raw-template-string-end"
    case leftBracket = "["
    case rightBracket = "]"
    case leftBrace = "{"
    case rightBrace = "}"
    case leftParenthesis = "("
    case rightParenthesis = ")"
    case comma = ","
    case colon = ":"
    case plus
    case minus
    case times = "mul"
    case divide = "div"
    case remainder = "rem"
    case and
    case or
    case unify = "eq"
    case equal
    case assign
    case `in`
    case notEqual = "neq"
    case greater = "gt"
    case less = "lt"
    case greaterOrEqual = "gte"
    case lessOrEqual = "lte"
    case dot = "."
    case semicolon = ";"
    case every
    case contains
    case `if`
    case logicalAnd = "logical and"
    case logicalOr = "logical or"

    /// The text that errors print.
    var text: String {
        switch self {
        case .logicalAnd: "and"
        case .logicalOr: "or"
        default: rawValue
        }
    }

    /// Keywords of every version of the language.
    static let keywords: [String: Token] = [
        "package": .package, "import": .import, "as": .as, "default": .default, "else": .else, "not": .not,
        "some": .some, "with": .with, "null": .null, "true": .true, "false": .false,
    ]

    /// Keywords that version 1 has and that were imported before.
    static let keywordsOfVersion1: [String: Token] = [
        "in": .in, "every": .every, "contains": .contains, "if": .if,
    ]

    /// Keywords that are imported from `future.keywords`.
    static let futureKeywords: [String: Token] = ["not": .not, "and": .logicalAnd, "or": .logicalOr]

    /// Whether errors call the token a keyword.
    var isKeyword: Bool {
        if self == .and || self == .or { return false }
        return Token.keywords[text] != nil || Token.keywordsOfVersion1[text] != nil || Token.futureKeywords[text] != nil
    }
}
