// `and` and `or` between expressions (imported from `future.keywords`).

/// A parenthesised group of logical operands; `operand` is nil where an error was reported.
struct LogicalGroup {
    var operand: (body: Body, location: Location)?
    var explicit = false
}

extension Parser {
    var logicalKeywordsActive: Bool {
        state.scanner.keywords["and"] != nil || state.scanner.keywords["or"] != nil
    }

    mutating func foldLogicalTail(_ body: Body, isBraced: Bool, _ location: Location) -> Expression? {
        if token == .logicalAnd || token == .logicalOr {
            return parseLogicalChain(body, isBraced: isBraced, location).flatMap { attachWith($0) }
        }
        return body.first.flatMap { attachWith($0) }
    }

    /// `or`s over `and`s, from the left operand on.
    mutating func parseLogicalChain(_ left: Body, isBraced: Bool, _ start: Location) -> Expression? {
        guard enter() else { return nil }
        defer { leave() }
        var left = left
        var isBraced = isBraced
        if token == .logicalAnd {
            guard let expression = parseAndChain(left, isBraced: isBraced, start) else { return nil }
            (left, isBraced) = ([expression], false)
        }
        while token == .logicalOr {
            scan()
            guard var right = parseLogicalOperand("or") else { return nil }
            if token == .logicalAnd {
                guard let expression = parseAndChain(right.body, isBraced: right.explicit, right.location) else {
                    return nil
                }
                (right.body, right.explicit) = ([expression], false)
            }
            checkVoidOperands(left, right.body, "or")
            left = [logical(.or, left, right.body, (isBraced, right.explicit), start)]
            isBraced = false
        }
        return left.first
    }

    private func logical(
        _ op: LogicalOperator, _ left: Body, _ right: Body, _ isBraced: (Bool, Bool), _ start: Location
    ) -> Expression {
        let expression = Expression(.logical(op, left, right), extended(start))
        expression.bracedOperands = isBraced
        return expression
    }

    private mutating func parseAndChain(_ left: Body, isBraced: Bool, _ start: Location) -> Expression? {
        var left = left
        var isBraced = isBraced
        while token == .logicalAnd {
            scan()
            guard let right = parseLogicalOperand("and") else { return nil }
            checkVoidOperands(left, right.body, "and")
            left = [logical(.and, left, right.body, (isBraced, right.explicit), start)]
            isBraced = false
        }
        return left.first
    }

    private mutating func parseLogicalOperand(_ op: String) -> (body: Body, explicit: Bool, location: Location)? {
        if token == .leftBrace {
            let brace = state.location
            let saved = state
            scan()
            let empty = token == .rightBrace
            guard let body = parseBody(.rightBrace) else {
                if empty || op.isEmpty { return nil }
                let failed = state
                state = saved
                if parseTermInfixCall() != nil {
                    reportBraceLedOperand(extended(brace), op)
                    return nil
                }
                state = failed
                return nil
            }
            scan()
            if isAmbiguousUnion(body) { reportAmbiguousUnion(brace, body, "") }
            return (body, true, brace)
        }
        var negation: Location?
        if isNegation {
            negation = state.location
            scan()
        }
        if let negation, notBodies, token == .leftBrace {
            guard let expression = parseNotBody(negation) else { return nil }
            return ([expression], false, expression.location)
        }
        if token == .leftParenthesis, logicalKeywordsActive, negation == nil || notBodies {
            if let group = parseLogicalGroup(isOperand: true, prefix: negation == nil ? "" : "not ") {
                guard let (body, location) = group.operand else { return nil }
                guard let negation else { return (body, group.explicit, location) }
                let spanned = extended(negation)
                return ([Expression(.not(body, explicit: group.explicit), spanned)], false, spanned)
            }
        }
        let start = state.location
        guard var expression = parseExpression() else { return nil }
        if expression.location.source == nil { expression.location = extended(start) }
        if let negation {
            if notBodies {
                expression = Expression(.not([expression], explicit: false), extended(negation))
            } else {
                expression.negated = true
            }
        }
        return ([expression], false, expression.location)
    }

    /// A group of logical operands in parentheses; nil, with the state restored, where the parentheses hold a term.
    mutating func parseLogicalGroup(isOperand: Bool, prefix: String) -> LogicalGroup? {
        guard enter() else { return LogicalGroup(operand: nil) }
        defer { leave() }
        let saved = state
        let open = state.location
        scan()
        if token == .rightParenthesis {
            if isOperand {
                error(open, "empty parenthesized group")
                return LogicalGroup(operand: nil)
            }
            state = saved
            return nil
        }
        guard let left = parseLogicalOperand("") else {
            state = saved
            return nil
        }
        if token == .logicalAnd || token == .logicalOr {
            guard let chain = parseLogicalChain(left.body, isBraced: left.explicit, left.location),
                let whole = attachWith(chain),
                expectRightParenthesis()
            else { return LogicalGroup(operand: nil) }
            return LogicalGroup(operand: ([whole], extended(open)))
        }
        if token == .with, !left.explicit, left.body.count == 1 {
            let withLocation = state.location
            guard attachWith(left.body[0]) != nil else { return LogicalGroup(operand: nil) }
            if token == .logicalAnd || token == .logicalOr {
                reportWithOnOperand(withLocation, token.text)
                return LogicalGroup(operand: nil)
            }
            guard expectRightParenthesis() else { return LogicalGroup(operand: nil) }
            if isOperand || token == .logicalAnd || token == .logicalOr {
                return LogicalGroup(operand: (left.body, extended(open)))
            }
            state = saved
            return nil
        }
        if left.explicit {
            let braces = state.scanner.source.text(left.location.offset, state.lastEnd)
            state = saved
            scan()
            let term = parseTerm()
            state = saved
            if term == nil {
                state.hints.append("drop the parens to keep the body: `\(prefix)\(braces)`")
                error(open, "`(...)` in an operand position cannot contain a body")
                return LogicalGroup(operand: nil)
            }
            return nil
        }
        if left.body.count == 1 {
            var isGroup = left.body[0].negated
            switch left.body[0].kind {
            case .logical, .not: isGroup = true
            default: break
            }
            if isGroup {
                guard expectRightParenthesis() else { return LogicalGroup(operand: nil) }
                return LogicalGroup(operand: (left.body, extended(open)))
            }
        }
        state = saved
        return nil
    }

    private mutating func expectRightParenthesis() -> Bool {
        guard token == .rightParenthesis else {
            error(state.location, "expected ) to close parenthesized group")
            return false
        }
        scan()
        return true
    }

    // MARK: What operands must not be

    func isAmbiguousUnion(_ body: Body) -> Bool {
        guard let first = body.first, case .call(let terms) = first.kind, TermPrinter.text(terms[0]) == "or" else {
            return false
        }
        guard terms[0].location.text == "|" else { return false }
        return !first.location.text.drop { $0 == " " || $0 == "\n" || $0 == "\t" }.hasPrefix("(")
    }

    mutating func reportAmbiguousUnion(_ brace: Location, _ body: Body, _ prefix: String) {
        let source = state.scanner.source
        let braces = source.text(brace.offset, state.lastEnd)
        var union = braces
        if let place = body.first?.location, place.offset > brace.offset, place.end <= state.lastEnd {
            union =
                source.text(brace.offset, place.offset) + "(" + place.text + ")"
                + source.text(place.end, state.lastEnd)
        }
        state.hints.append(
            "write `\(prefix)(\(braces))` for the comprehension, or `\(prefix)\(union)` for the set union")
        error(
            brace,
            "ambiguous `{ ... | ... }` operand: read as a body holding a set-union expression, not as a comprehension")
    }

    mutating func reportBraceNeedsBody(_ brace: Location, _ term: Term, _ prefix: String) {
        let operand = state.scanner.source.text(brace.offset, state.lastEnd)
        var first = term
        while case .call(let terms) = first.value, terms.count == 3,
            BuiltinTable.declarations[TermPrinter.text(terms[0])]?.infix != nil
        {
            first = terms[1]
        }
        state.hints.append(
            "write `\(prefix)(\(operand))` to negate the value, or `\(prefix){\(operand)}` for a body holding it")
        error(brace, "`{...}` in an operand position must contain expression(s), got: \(first.value.kindName)")
    }

    mutating func reportBraceLedOperand(_ location: Location, _ op: String) {
        let operand = location.text
        state.hints.append("wrap the operand to keep the value: `(\(operand)) \(op) ...`")
        error(location, "operand of `\(op)` cannot begin with `{` unless the braces hold a body")
    }

    mutating func reportWithOnOperand(_ location: Location, _ keyword: String) {
        state.hints.append(
            "Wrap the operand in `(...)` or `{...}` to scope, or move `with` after the `\(keyword)` expression to "
                + "apply it to the whole expression")
        error(location, "`with` modifier is not allowed on operand of `\(keyword)`")
    }

    private mutating func checkVoidOperands(_ left: Body, _ right: Body, _ op: String) {
        for body in [left, right] {
            var first: (name: String, location: Location)?
            var isVoid = true
            for expression in body {
                guard !expression.negated, case .call(let terms) = expression.kind,
                    let declaration = BuiltinTable.declarations[TermPrinter.text(terms[0])],
                    declaration.result == nil
                else {
                    isVoid = false
                    break
                }
                if first == nil { first = (declaration.name, expression.location) }
            }
            if isVoid, let first {
                state.hints.append(
                    "`\(first.name)` produces no value and always succeeds, so the operand can never fail; move it "
                        + "out of the operand, or add an expression that can fail")
                error(first.location, "operand of `\(op)` cannot consist only of calls to `\(first.name)`")
            }
        }
    }
}
