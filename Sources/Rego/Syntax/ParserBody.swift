// Bodies: literals, `with`, `some`, `every`, `not` bodies.

extension Parser {
    mutating func parseBody(_ end: Token) -> Body? {
        guard enter() else { return nil }
        defer { leave() }
        return parseQuery(requireSemicolon: false, end: end)
    }

    mutating func parseQuery(requireSemicolon: Bool, end: Token) -> Body? {
        if token == end {
            error(state.location, "found empty body")
            return nil
        }
        var body: Body = []
        while true {
            guard let expression = parseLiteral() else { return nil }
            expression.index = body.count
            body.append(expression)
            if token == .semicolon {
                scan()
                continue
            }
            if token == end || requireSemicolon { return body }
            if !state.skippedNewline {
                if state.errors.isEmpty { illegal("expected \\n or ; or \(end.text)") }
                return nil
            }
        }
    }

    mutating func parseLiteral() -> Expression? {
        guard enter() else { return nil }
        defer { leave() }
        var location = state.location
        guard let expression = parseLiteralInner() else { return nil }
        location.end = max(location.offset, state.lastEnd)
        expression.location = location
        if case .not(let body, explicit: false) = expression.kind {
            for inner in body { inner.location = location }
        }
        return expression
    }

    private mutating func parseLiteralInner() -> Expression? {
        if token == .leftBrace, logicalKeywordsActive {
            let saved = state
            let brace = state.location
            scan()
            if let body = parseBody(.rightBrace) {
                scan()
                if token == .logicalAnd || token == .logicalOr {
                    if isAmbiguousUnion(body) {
                        reportAmbiguousUnion(brace, body, "")
                        return nil
                    }
                    return parseLogicalChain(body, isBraced: true, brace).flatMap { attachWith($0) }
                }
            }
            state = saved
        }
        if token == .leftParenthesis, logicalKeywordsActive {
            if let group = parseLogicalGroup(isOperand: false, prefix: "") {
                guard let (body, location) = group.operand else { return nil }
                return foldLogicalTail(body, isBraced: group.explicit, location)
            }
        }
        if isAllowedReferenceKeyword(token) {
            let saved = state
            scanWhitespace()
            let next = token
            state = saved
            if next == .dot || next == .leftBracket {
                state.token = .identifier
                return parseLiteralExpression(negatedAt: nil)
            }
        }
        var negation: Location?
        if isNegation {
            negation = state.location
            scan()
        }
        if let negation, notBodies, token == .leftBrace {
            guard let expression = parseNotBody(negation) else { return nil }
            return foldLogicalTail([expression], isBraced: false, expression.location)
        }
        switch token {
        case .some:
            if negation != nil {
                illegal("illegal negation of 'some'")
                return nil
            }
            return parseSome()
        case .every:
            if negation != nil {
                illegal("illegal negation of 'every'")
                return nil
            }
            return parseEvery()
        default: return parseLiteralExpression(negatedAt: negation)
        }
    }

    private mutating func parseLiteralExpression(negatedAt negation: Location?) -> Expression? {
        let start = state.location
        if let negation, notBodies, token == .leftParenthesis {
            if let group = parseLogicalGroup(isOperand: true, prefix: "not ") {
                guard let (body, _) = group.operand else { return nil }
                let location = extended(negation)
                let negated = Expression(.not(body, explicit: group.explicit), location)
                return foldLogicalTail([negated], isBraced: false, location)
            }
        }
        guard var expression = parseExpression() else { return nil }
        var withLocation: Location?
        if token == .with {
            withLocation = state.location
            guard let with = parseWith() else { return nil }
            expression.with = with
        }
        if let negation {
            if notBodies {
                let with = expression.with
                expression.with = []
                let location = extended(negation)
                expression = Expression(.not([expression], explicit: false), location)
                expression.with = with
            } else {
                expression.negated = true
            }
        }
        if token == .logicalAnd || token == .logicalOr {
            if let withLocation {
                reportWithOnOperand(withLocation, token.text)
                return nil
            }
            if expression.location.source == nil { expression.location = extended(start) }
            if negation == nil, expression.location.text.hasPrefix("{") {
                if case .term(let term) = expression.kind, case .object(let pairs) = term.value, pairs.isEmpty {
                    error(expression.location, "found empty body")
                    return nil
                }
                reportBraceLedOperand(expression.location, token.text)
                return nil
            }
            return parseLogicalChain([expression], isBraced: false, expression.location).flatMap { attachWith($0) }
        }
        return expression
    }

    var isNegation: Bool {
        mutating get {
            guard token == .not else { return false }
            let saved = state
            scanWhitespace()
            let next = token
            state = saved
            return next != .dot && next != .leftBracket
        }
    }

    mutating func parseWith() -> [With]? {
        var result: [With] = []
        repeat {
            let location = state.location
            scan()
            guard token == .identifier else {
                illegal("expected ident")
                return nil
            }
            guard let target = parseTerm() else { return nil }
            switch target.value {
            case .reference, .variable: break
            default: illegal("expected with target path")
            }
            guard token == .as else {
                illegal("expected as keyword")
                return nil
            }
            scan()
            guard let value = parseTermInfixCall() else { return nil }
            result.append(With(target: target, value: value, location: extended(location)))
        } while token == .with
        return result
    }

    mutating func attachWith(_ expression: Expression) -> Expression? {
        if token == .with {
            guard let with = parseWith() else { return nil }
            expression.with = with
        }
        return expression
    }

    private mutating func parseSome() -> Expression? {
        let location = state.location
        let saved = state
        scan()
        if let term = parseTermInfixCall(), case .call(let terms) = term.value {
            switch TermPrinter.text(terms[0]) {
            case "internal.member_2", "internal.member_3": break
            default:
                illegal("expected `x in xs` or `x, y in xs` expression")
                return nil
            }
            let expression = Expression(.some([term]), location)
            return attachWith(expression)
        }
        state = saved
        var names: [Term] = []
        repeat {
            scan()
            guard token == .identifier else {
                illegal("expected var")
                return nil
            }
            names.append(parseVariable())
            scan()
        } while token == .comma
        return Expression(.some(names), location)
    }

    private mutating func parseEvery() -> Expression? {
        let location = state.location
        scan()
        guard let term = parseTermInfixCall() else { return nil }
        guard case .call(let terms) = term.value else {
            illegal("expected `x[, y] in xs { ... }` expression")
            return nil
        }
        var key: Term?
        let value: Term
        let domain: Term
        switch TermPrinter.text(terms[0]) {
        case "internal.member_2" where terms.count == 3: (value, domain) = (terms[1], terms[2])
        case "internal.member_3" where terms.count == 4:
            key = terms[1]
            (value, domain) = (terms[2], terms[3])
            if case .variable = terms[1].value {
            } else {
                illegal("expected key to be a variable")
                return nil
            }
        default:
            illegal("expected `x[, y] in xs { ... }` expression")
            return nil
        }
        guard case .variable = value.value else {
            illegal("expected value to be a variable")
            return nil
        }
        guard token == .leftBrace else {
            illegal("missing body")
            return nil
        }
        scan()
        guard let body = parseBody(.rightBrace) else { return nil }
        scan()
        let expression = Expression(.every(key: key, value: value, domain: domain, body: body), location)
        return attachWith(expression)
    }

    mutating func parseExpression() -> Expression? {
        guard let left = parseTermInfixCall() else { return nil }
        if token == .assign || token == .unify {
            let location = state.location
            let name = token.text
            scan()
            guard let right = parseTermInfixCall() else { return nil }
            let op = Term(.reference([Term(.variable(name), location)]), location)
            return Expression(.call([op, left, right]), Location())
        }
        if case .call(let terms) = left.value { return Expression(.call(terms), Location()) }
        return Expression(.term(left), Location())
    }

    mutating func parseNotBody(_ negation: Location) -> Expression? {
        let brace = state.location
        let saved = state
        scan()
        let empty = token == .rightBrace
        guard let body = parseBody(.rightBrace) else {
            if empty { return nil }
            let failed = state
            state = saved
            if let term = parseTermInfixCall() {
                reportBraceNeedsBody(brace, term, "not ")
                return nil
            }
            state = failed
            return nil
        }
        scan()
        if isAmbiguousUnion(body) {
            reportAmbiguousUnion(brace, body, "not ")
            return nil
        }
        return Expression(.not(body, explicit: true), extended(negation))
    }
}
