// Terms: operators by precedence, references, calls, literals, comprehensions, template strings.

extension Parser {
    mutating func parseTermInfixCall() -> Term? {
        guard enter() else { return nil }
        defer { leave() }
        return parseTermIn(keyValue: true, state.location.offset)
    }

    mutating func parseTermInfixCallInList() -> Term? {
        guard enter() else { return nil }
        defer { leave() }
        return parseTermIn(keyValue: false, state.location.offset)
    }

    /// A call of an operator written between its operands.
    private func infix(_ op: Term, _ operands: [Term], _ offset: Int) -> Term {
        var location = operands[0].location
        location.offset = offset
        location.end = max(offset, state.lastEnd)
        return Term(.call([op] + operands), location)
    }

    private mutating func parseTermIn(keyValue: Bool, _ offset: Int) -> Term? {
        guard var left = parseRelation(offset) else { return nil }
        while true {
            if keyValue, token == .comma {
                let saved = state
                scan()
                if let middle = parseRelation(offset), let op = parseMember("internal.member_3") {
                    if let right = parseRelation(state.location.offset) {
                        left = infix(op, [left, middle, right], offset)
                        if token == .in { continue }
                        return left
                    }
                }
                state = saved
            }
            scanAheadReference()
            guard let op = parseMember("internal.member_2"), let right = parseRelation(state.location.offset) else {
                return left
            }
            left = infix(op, [left, right], offset)
            if token != .in { return left }
        }
    }

    private mutating func parseMember(_ name: String) -> Term? {
        guard token == .in else { return nil }
        let location = state.location
        scan()
        let parts = name.split(separator: ".")
        return Term(
            .reference([Term(.variable(String(parts[0])), location), Term(.string(String(parts[1])), location)]),
            location)
    }

    private mutating func parseOperator(_ tokens: [Token]) -> Term? {
        guard tokens.contains(token) else { return nil }
        let location = state.location
        let name = token.text
        scan()
        return Term(.reference([Term(.variable(name), location)]), location)
    }

    private mutating func parseRelation(_ offset: Int) -> Term? {
        parseBinary(offset, [.equal, .notEqual, .less, .greater, .lessOrEqual, .greaterOrEqual], level: 0)
    }

    private static let levels: [[Token]] = [
        [.equal, .notEqual, .less, .greater, .lessOrEqual, .greaterOrEqual], [.or], [.and], [.plus, .minus],
        [.times, .divide, .remainder],
    ]

    private mutating func parseBinary(_ offset: Int, _ tokens: [Token], level: Int) -> Term? {
        guard enter() else { return nil }
        defer { leave() }
        func operand(_ parser: inout Parser, _ offset: Int) -> Term? {
            if level + 1 == Parser.levels.count { return parser.parseTerm() }
            return parser.parseBinary(offset, Parser.levels[level + 1], level: level + 1)
        }
        guard var left = operand(&self, offset) else { return nil }
        while let op = parseOperator(tokens) {
            guard let right = operand(&self, state.location.offset) else { return left }
            left = infix(op, [left, right], offset)
        }
        return left
    }

    mutating func parseTerm() -> Term? {
        guard enter() else { return nil }
        defer { leave() }
        let start = state.location.offset
        if let (term, after) = cached(start) {
            state = after
            return term
        }
        var term: Term?
        var minus: Location?
        takeLogicalFunctionName()
        switch token {
        case .null: term = Term(.null, state.location)
        case .true: term = Term(.boolean(true), state.location)
        case .false: term = Term(.boolean(false), state.location)
        case .minus:
            let saved = state
            scan()
            if token == .identifier || token == .contains {
                // `-x` is `0 - x`.
                minus = saved.location
                term = parseVariable()
            } else {
                state = saved
                term = parseNumber()
            }
        case .dot, .number: term = parseNumber()
        case .string: term = parseString()
        case .templatePart, .templateEnd: term = parseTemplate(raw: false)
        case .rawTemplatePart, .rawTemplateEnd: term = parseTemplate(raw: true)
        case .identifier, .contains: term = parseVariable()
        case .leftBracket: term = parseArray()
        case .leftBrace: term = parseSetOrObject()
        case .leftParenthesis:
            let offset = state.location.offset
            scan()
            if let inner = parseTermInfixCall() {
                if token == .rightParenthesis {
                    inner.location.offset = offset
                    inner.location.end = state.tokenEnd
                    term = inner
                } else {
                    error(state.location, "non-terminated expression")
                }
            }
        default: illegal()
        }
        if let found = term { term = parseTermFinish(found) }
        if let minus, let operand = term {
            var location = minus
            location.end = max(location.offset, state.lastEnd)
            let op = Term(.reference([Term(.variable("minus"), minus)]), minus)
            term = Term(.call([op, Term(.number("0"), minus), operand]), location)
        }
        remember(term, start)
        return term
    }

    /// `and(` and `or(` where a term is expected are calls of the set functions of these names.
    private mutating func takeLogicalFunctionName() {
        guard token == .logicalAnd || token == .logicalOr else { return }
        let saved = state
        scanWhitespace()
        let next = token
        state = saved
        if next == .leftParenthesis { state.token = .identifier }
    }

    private mutating func parseTermFinish(_ head: Term) -> Term? {
        let offset = state.location.offset
        scanWhitespace()
        switch token {
        case .leftParenthesis, .dot, .leftBracket: return parseReference(head, offset)
        case .whitespace: scan()
        default: break
        }
        if case .variable(let name) = head.value, name == "data" || name == "input" {
            return Term(.reference([head]), head.location)
        }
        return head
    }

    mutating func parseVariable() -> Term {
        let name = literal
        return Term(.variable(name == "_" ? wildcard() : name), state.location)
    }

    private mutating func parseNumber() -> Term? {
        var prefix = ""
        let location = state.location
        if token == .minus {
            prefix = "-"
            scan()
            if token != .number, token != .dot {
                illegal("expected number")
                return nil
            }
        }
        if token == .dot {
            prefix += "."
            scan()
            if token != .number {
                illegal("expected number")
                return nil
            }
        }
        let text = state.text
        if prefix.last != ".", text.count > 1, text[0] == 0x30 {
            let decimal = text[1] == UInt8(ascii: ".")
            let scientific = text.count > 2 && text[1] | 0x20 == UInt8(ascii: "e")
            if !decimal, !scientific {
                illegal("expected number without leading zero")
                return nil
            }
        }
        if prefix.last == ".", text.contains(UInt8(ascii: ".")) {
            illegal("invalid float")
            return nil
        }
        let literal = prefix + literal
        let decimal = Decimal(Array(literal.utf8))
        if !decimal.digits.isEmpty, abs(decimal.exponent) > 30103 {
            error(state.location, "number too big")
            return nil
        }
        return Term(.number(literal), location)
    }

    private mutating func parseString() -> Term? {
        let text = state.text
        guard text.count >= 2 else { return nil }
        if text[0] == 0x22 {
            guard let value = JSONReader.unescape(text.dropFirst().dropLast()) else {
                error(state.location, "illegal string literal: \(literal)")
                return nil
            }
            return Term(.string(value), state.location)
        }
        return Term(.string(String(decoding: text.dropFirst().dropLast(), as: UTF8.self)), state.location)
    }

    private mutating func parseTemplate(raw: Bool) -> Term? {
        var location = state.location
        var parts: [TemplatePart] = []
        while true {
            let inner = state.text.dropFirst().dropLast()
            var text = String(decoding: inner, as: UTF8.self)
            if !raw {
                guard let value = JSONReader.unescape(inner) else {
                    error(state.location, "illegal template-string part: \(literal)")
                    return nil
                }
                text = value
            }
            if !text.isEmpty { parts.append(.text(Term(.string(text), state.location))) }
            if token == .templateEnd || token == .rawTemplateEnd { break }
            let comments = state.comments.count
            scan()
            let hadComment = state.comments.count != comments
            guard let expression = parseLiteral() else {
                error(state.location, "invalid template-string expression")
                return nil
            }
            guard checkTemplateExpression(expression) else { return nil }
            var constant: Term?
            if case .term(let term) = expression.kind, !hadComment, expression.with.isEmpty {
                switch term.value {
                case .string, .number, .boolean, .null: constant = term
                default: break
                }
            }
            if let constant { parts.append(.text(constant)) } else { parts.append(.expression(expression)) }
            guard token == .rightBrace else {
                error(state.location, "expected } to end template string expression")
                return nil
            }
            scan(skipWhitespace: false, raw ? .rawTemplate : .template)
        }
        location.end = state.tokenEnd
        return Term(.template(parts), location)
    }

    private mutating func checkTemplateExpression(_ expression: Expression) -> Bool {
        var problem: String?
        if expression.negated { problem = "unexpected negation ('not') in template-string expression" }
        switch expression.kind {
        case .call(let terms):
            let name = TermPrinter.text(terms[0])
            if name == "eq" { problem = "unexpected unification ('=') in template-string expression" }
            if name == "assign" { problem = "unexpected assignment (':=') in template-string expression" }
        case .every: problem = "unexpected 'every' in template-string expression"
        case .some: problem = "unexpected 'some' in template-string expression"
        case .not: problem = "unexpected negation ('not') in template-string expression"
        case .logical(let op, _, _): problem = "unexpected '\(op.rawValue)' in template-string expression"
        case .term: break
        }
        guard let problem else { return true }
        error(expression.location, problem)
        return false
    }

    // MARK: References and calls

    private mutating func parseCall(_ op: Term, _ offset: Int) -> Term? {
        guard enter() else { return nil }
        defer { leave() }
        var location = op.location
        location.offset = offset
        scan()
        if token == .rightParenthesis {
            location.end = state.tokenEnd
            scanWhitespace()
            if case .reference(let terms) = op.value, terms.count == 1, case .variable("set") = terms[0].value {
                return Term(.set([]), location)
            }
            return Term(.call([op]), location)
        }
        guard let terms = parseList(.rightParenthesis, [op]) else { return nil }
        location.end = state.tokenEnd
        scanWhitespace()
        return Term(.call(terms), location)
    }

    mutating func parseReference(_ head: Term, _ offset: Int) -> Term? {
        guard enter() else { return nil }
        defer { leave() }
        var location = head.location
        let start = location.offset
        switch head.value {
        case .null, .boolean, .number, .string, .reference, .template:
            error(location, "illegal ref (head cannot be \(head.value.kindName))")
        default: break
        }
        var terms = [head]
        func finished(_ parser: Parser) -> Term {
            location.offset = start
            location.end = max(start, parser.state.lastEnd)
            return Term(.reference(terms), location)
        }
        while true {
            switch token {
            case .dot:
                scanWhitespace()
                guard token == .identifier || isAllowedReferenceKeyword(token) else {
                    illegal("expected identifier")
                    return nil
                }
                terms.append(Term(.string(literal), state.location))
                scanWhitespace()
            case .leftParenthesis:
                location.end = state.location.offset
                guard let call = parseCall(Term(.reference(terms), location), start) else { return nil }
                if token == .whitespace {
                    scan()
                    return call
                }
                if token == .dot || token == .leftBracket { return parseReference(call, offset) }
                return call
            case .leftBracket:
                scan()
                guard let operand = parseTermInfixCall() else { return nil }
                guard token == .rightBracket else {
                    illegal("expected [")
                    return nil
                }
                terms.append(operand)
                scanWhitespace()
            case .whitespace:
                let term = finished(self)
                scan()
                term.location.end = max(start, term.location.end)
                return term
            default: return finished(self)
            }
        }
    }

    // MARK: Collections

    private mutating func parseArray() -> Term? {
        guard enter() else { return nil }
        defer { leave() }
        var location = state.location
        func finished(_ value: TermValue, _ parser: Parser) -> Term {
            location.end = parser.state.tokenEnd
            return Term(value, location)
        }
        scan()
        if token == .rightBracket { return finished(.array([]), self) }
        var mayBeComprehension = true
        if token == .comma {
            mayBeComprehension = false
            scan()
        }
        let saved = state
        guard let head = parseTerm() else { return nil }
        switch token {
        case .rightBracket: return finished(.array([head]), self)
        case .comma:
            scan()
            guard let terms = parseList(.rightBracket, [head]) else { return nil }
            return finished(.array(terms), self)
        case .or:
            if mayBeComprehension {
                scan()
                if let body = parseBody(.rightBracket) { return finished(.arrayComprehension(head, body), self) }
                if token != .comma { return nil }
            }
        default: break
        }
        state = saved
        guard let terms = parseList(.rightBracket, []) else { return nil }
        return finished(.array(terms), self)
    }

    private mutating func parseSetOrObject() -> Term? {
        guard enter() else { return nil }
        defer { leave() }
        var location = state.location
        guard let value = parseSetOrObjectValue() else { return nil }
        location.end = state.tokenEnd
        return Term(value, location)
    }

    private mutating func parseSetOrObjectValue() -> TermValue? {
        scan()
        if token == .rightBrace { return .object([]) }
        var mayBeComprehension = true
        if token == .comma {
            mayBeComprehension = false
            scan()
        }
        let saved = state
        guard let head = parseTerm() else { return nil }
        switch token {
        case .or where mayBeComprehension: return parseSet(saved, head, mayBeComprehension)
        case .rightBrace, .comma: return parseSet(saved, head, mayBeComprehension)
        case .colon: return parseObject(head, mayBeComprehension)
        default: break
        }
        state = saved
        guard let head = parseTermInfixCallInList() else { return nil }
        switch token {
        case .rightBrace, .comma: return parseSet(saved, head, false)
        case .colon: return parseObject(head, mayBeComprehension)
        default: break
        }
        illegal("non-terminated set")
        return nil
    }

    private mutating func parseSet(_ saved: State, _ head: Term, _ mayBeComprehension: Bool) -> TermValue? {
        switch token {
        case .rightBrace: return .set([head])
        case .comma:
            scan()
            return parseList(.rightBrace, [head]).map { .set($0) }
        case .or:
            if mayBeComprehension {
                scan()
                if let body = parseBody(.rightBrace) { return .setComprehension(head, body) }
                if token != .comma { return nil }
            }
            state = saved
            return parseList(.rightBrace, []).map { .set($0) }
        default: return nil
        }
    }

    private mutating func parseObject(_ key: Term, _ mayBeComprehension: Bool) -> TermValue? {
        guard enter() else { return nil }
        defer { leave() }
        scan()
        let saved = state
        guard let value = parseTerm() else { return nil }
        var mayBeRelation = true
        if mayBeComprehension {
            switch token {
            case .rightBrace, .comma:
                mayBeRelation = false
                if let object = parseObjectFinish(key, value, true) { return object }
            case .or:
                if let object = parseObjectFinish(key, value, true) { return object }
            default: break
            }
        }
        state = saved
        if mayBeRelation {
            guard let value = parseTermInfixCallInList() else { return nil }
            if token == .rightBrace || token == .comma { return parseObjectFinish(key, value, false) }
        }
        illegal("non-terminated object")
        return nil
    }

    private mutating func parseObjectFinish(_ key: Term, _ value: Term, _ mayBeComprehension: Bool) -> TermValue? {
        switch token {
        case .rightBrace: return .object([(key, value)])
        case .or:
            if mayBeComprehension {
                scan()
                if let body = parseBody(.rightBrace) { return .objectComprehension(key, value, body) }
            } else {
                illegal("non-terminated object")
            }
            return nil
        case .comma:
            scan()
            return parsePairs([(key, value)]).map { .object($0) }
        default: return nil
        }
    }

    private mutating func parseList(_ end: Token, _ initial: [Term]) -> [Term]? {
        var terms = initial
        if token == end { return terms }
        while let term = parseTermInfixCallInList() {
            terms.append(term)
            if token == end { return terms }
            guard token == .comma else {
                illegal("expected \",\" or \"\(end.text)\"")
                return nil
            }
            scan()
            if token == end { return terms }
        }
        return nil
    }

    private mutating func parsePairs(_ initial: [(key: Term, value: Term)]) -> [(key: Term, value: Term)]? {
        var pairs = initial
        if token == .rightBrace { return pairs }
        while let key = parseTermInfixCallInList() {
            guard token == .colon else {
                illegal("expected \":\"")
                return nil
            }
            scan()
            guard let value = parseTermInfixCallInList() else { return nil }
            pairs.append((key, value))
            if token == .rightBrace { return pairs }
            guard token == .comma else {
                illegal("expected \",\" or \"}\"")
                return nil
            }
            scan()
            if token == .rightBrace { return pairs }
        }
        return nil
    }
}
