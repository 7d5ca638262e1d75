/// An expression of a query whose value is part of the answer.
struct QueryExpression {
    /// The text as written.
    let text: String
    /// Line, from 1.
    let row: Int
    /// Column in characters, from 1.
    let column: Int
    /// The variable that holds the value; nil for expressions that have none of their own and are just true.
    let variable: String?

    /// Whether a variable holds the value of an expression: no policy can write such a name.
    static func isVariable(_ name: String) -> Bool { name.hasPrefix(prefix) }

    private static let prefix = "$result"

    /// Gives the value of each expression that has one a variable. In queries with several answers or expressions, one
    /// that is false ends the answer, and it is appended for that.
    static func capture(_ body: inout Body, arity: (Term) -> Int?) -> [QueryExpression] {
        let checksValues = body.count > 1 || body.contains { iterates($0) }
        var expressions: [QueryExpression] = []
        var conditions: Body = []
        for (index, expression) in body.enumerated() {
            let variable = Term(.variable(prefix + String(index)), expression.location)
            let place = expression.location
            var isCaptured = false
            switch expression.kind {
            case .term(let term) where !expression.negated:
                let eq = Term(.reference([Term(.variable("eq"), place)]), place)
                expression.kind = .call([eq, term, variable])
                isCaptured = true
            case .call(let terms) where !expression.negated:
                let name = TermPrinter.text(terms[0])
                let declaration = BuiltinTable.declarations[name]
                let hasResult = declaration == nil || declaration?.result != nil
                if name != "eq", name != "assign", hasResult, arity(terms[0]) == terms.count - 1 {
                    expression.kind = .call(terms + [variable])
                    isCaptured = true
                }
            default: break
            }
            expressions.append(
                QueryExpression(
                    text: place.text, row: place.row, column: place.column,
                    variable: isCaptured ? prefix + String(index) : nil))
            if isCaptured, checksValues {
                let condition = Expression(.term(variable.copy()), place)
                condition.generated = true
                conditions.append(condition)
            }
        }
        body += conditions
        for (index, expression) in body.enumerated() { expression.index = index }
        return expressions
    }

    /// Whether an expression can have several answers.
    private static func iterates(_ expression: Expression) -> Bool {
        switch expression.kind {
        case .term(let term): return iterates(term)
        case .call(let terms):
            return BuiltinTable.isRelation(TermPrinter.text(terms[0])) || terms.dropFirst().contains { iterates($0) }
        case .some(let terms): return terms.contains { iterates($0) }
        case .every(_, _, let domain, _): return iterates(domain)
        case .not, .logical: return false
        }
    }

    private static func iterates(_ term: Term) -> Bool {
        switch term.value {
        case .arrayComprehension, .setComprehension, .objectComprehension, .template: return false
        case .reference(let terms):
            for part in terms.dropFirst() { if case .variable = part.value { return true } }
            return terms.contains { iterates($0) }
        case .call(let terms):
            return BuiltinTable.isRelation(TermPrinter.text(terms[0])) || terms.dropFirst().contains { iterates($0) }
        default: return TermWalk.children(term).contains { iterates($0) }
        }
    }
}
