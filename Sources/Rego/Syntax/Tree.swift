// The syntax tree. Classes, since the compiler rewrites it in place; it is gone once a policy is compiled.

/// A term with its place.
final class Term {
    var value: TermValue
    var location: Location

    init(_ value: TermValue, _ location: Location = Location()) {
        self.value = value
        self.location = location
    }

    /// A deep copy.
    func copy() -> Term { Term(value.copy(), location) }
}

/// What a term is.
indirect enum TermValue {
    case null
    case boolean(Bool)
    /// The literal's text.
    case number(String)
    case string(String)
    case variable(String)
    /// A head and at least one operand, or a root document alone.
    case reference([Term])
    case array([Term])
    case object([(key: Term, value: Term)])
    case set([Term])
    case arrayComprehension(Term, Body)
    case setComprehension(Term, Body)
    case objectComprehension(Term, Term, Body)
    /// The operator (a reference), then the arguments.
    case call([Term])
    case template([TemplatePart])

    func copy() -> TermValue {
        switch self {
        case .null, .boolean, .number, .string, .variable: return self
        case .reference(let terms): return .reference(terms.map { $0.copy() })
        case .array(let terms): return .array(terms.map { $0.copy() })
        case .object(let pairs): return .object(pairs.map { ($0.key.copy(), $0.value.copy()) })
        case .set(let terms): return .set(terms.map { $0.copy() })
        case .arrayComprehension(let head, let body): return .arrayComprehension(head.copy(), body.map { $0.copy() })
        case .setComprehension(let head, let body): return .setComprehension(head.copy(), body.map { $0.copy() })
        case .objectComprehension(let key, let value, let body):
            return .objectComprehension(key.copy(), value.copy(), body.map { $0.copy() })
        case .call(let terms): return .call(terms.map { $0.copy() })
        case .template(let parts): return .template(parts.map { $0.copy() })
        }
    }

    /// The name that errors give the kind.
    var kindName: String {
        switch self {
        case .null: "null"
        case .boolean: "boolean"
        case .number: "number"
        case .string: "string"
        case .variable: "var"
        case .reference: "ref"
        case .array: "array"
        case .object: "object"
        case .set: "set"
        case .arrayComprehension: "arraycomprehension"
        case .setComprehension: "setcomprehension"
        case .objectComprehension: "objectcomprehension"
        case .call: "call"
        case .template: "templatestring"
        }
    }
}

/// A piece of a template string.
enum TemplatePart {
    case text(Term)
    case expression(Expression)

    func copy() -> TemplatePart {
        switch self {
        case .text(let term): .text(term.copy())
        case .expression(let expression): .expression(expression.copy())
        }
    }
}

/// Expressions that must all hold.
typealias Body = [Expression]

/// One expression of a body.
final class Expression {
    var kind: ExpressionKind
    var negated = false
    var with: [With] = []
    var location: Location
    /// Made by the compiler from a nested term.
    var generated = false
    /// Of `and` and `or`: which operands were written in braces.
    var bracedOperands = (left: false, right: false)
    /// The order in the body as written.
    var index = 0

    init(_ kind: ExpressionKind, _ location: Location = Location()) {
        self.kind = kind
        self.location = location
    }

    func copy() -> Expression {
        let copy = Expression(kind.copy(), location)
        copy.negated = negated
        copy.with = with.map { With(target: $0.target.copy(), value: $0.value.copy(), location: $0.location) }
        copy.generated = generated
        copy.bracedOperands = bracedOperands
        copy.index = index
        return copy
    }
}

/// What an expression is.
indirect enum ExpressionKind {
    case term(Term)
    /// The operator (a reference), then the arguments.
    case call([Term])
    /// `some x, y` (variables) or `some x in xs` (one call of `internal.member_2` or `_3`).
    case some([Term])
    case every(key: Term?, value: Term, domain: Term, body: Body)
    /// `not { ... }` and, where `future.keywords.not` is imported, every `not`.
    case not(Body, explicit: Bool)
    case logical(LogicalOperator, Body, Body)

    func copy() -> ExpressionKind {
        switch self {
        case .term(let term): .term(term.copy())
        case .call(let terms): .call(terms.map { $0.copy() })
        case .some(let terms): .some(terms.map { $0.copy() })
        case .every(let key, let value, let domain, let body):
            .every(key: key?.copy(), value: value.copy(), domain: domain.copy(), body: body.map { $0.copy() })
        case .not(let body, let explicit): .not(body.map { $0.copy() }, explicit: explicit)
        case .logical(let op, let left, let right):
            .logical(op, left.map { $0.copy() }, right.map { $0.copy() })
        }
    }
}

/// `and` or `or` between expressions.
enum LogicalOperator: String {
    case and
    case or
}

/// `with target as value`.
struct With {
    var target: Term
    var value: Term
    var location: Location
}

/// A rule's head.
struct Head {
    /// The name as a reference: a variable, then the operands.
    var reference: [Term]
    /// Arguments of a function; nil for rules that are none.
    var arguments: [Term]?
    /// The key of a partial set (`contains`), or of a partial object with one key.
    var key: Term?
    /// The value; nil for partial sets.
    var value: Term?
    var assigned = false
    /// The value is `true` because none was written.
    var generatedValue = false
    var usesContains = false
    var location = Location()

    func copy() -> Head {
        var copy = self
        copy.reference = reference.map { $0.copy() }
        copy.arguments = arguments?.map { $0.copy() }
        copy.key = key?.copy()
        copy.value = value?.copy()
        return copy
    }
}

/// A rule, or an `else` branch of one.
final class Rule {
    var head: Head
    var body: Body = []
    var otherwise: Rule?
    var isDefault = false
    var generatedBody = false
    /// `if` was written.
    var hasIf = false
    var location = Location()
    /// Filled in by the compiler.
    unowned(unsafe) var module: Module?

    init(head: Head) { self.head = head }
}

/// `import path as alias`.
struct Import {
    var path: [Term]
    var alias: String?
    var location: Location

    /// The name that the module uses.
    var name: String {
        if let alias { return alias }
        guard let last = path.last else { return "" }
        switch last.value {
        case .string(let text), .variable(let text): return text
        default: return ""
        }
    }
}

/// A comment.
struct Comment {
    var text: [UInt8]
    var location: Location
}

/// One parsed module.
final class Module {
    let source: Source
    /// The package's path behind `data`.
    var package: [Term] = []
    var packageLocation = Location()
    var imports: [Import] = []
    var rules: [Rule] = []
    var comments: [Comment] = []

    init(source: Source) { self.source = source }
}
