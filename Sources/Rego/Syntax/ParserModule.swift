// Statements: package, imports, rules.

extension Parser {
    private enum Statement {
        case package([Term], Location)
        case imported(Import)
        case rules([Rule])
        case body(Body)

        var location: Location {
            switch self {
            case .package(_, let location): location
            case .imported(let statement): statement.location
            case .rules(let rules): rules.first?.location ?? Location()
            case .body(let body): body.first?.location ?? Location()
            }
        }
    }

    /// Parses statements until the end or the first error.
    mutating func parseModule(into module: Module) {
        scan()
        var statements: [Statement] = []
        while token != .eof {
            let saved = state
            if let (path, location) = parsePackage() {
                statements.append(.package(path, location))
                continue
            } else if !state.errors.isEmpty {
                return
            }
            state = saved
            if let statement = parseImport() {
                applyImport(statement)
                statements.append(.imported(statement))
                continue
            } else if !state.errors.isEmpty {
                return
            }
            state = saved
            if let rules = parseRules() {
                statements.append(.rules(rules))
                continue
            } else if !state.errors.isEmpty {
                return
            }
            state = saved
            guard let body = parseQuery(requireSemicolon: true, end: .eof) else { break }
            statements.append(.body(body))
        }
        if !state.errors.isEmpty { return }
        build(module, statements)
        module.comments = state.comments
    }

    private mutating func build(_ module: Module, _ statements: [Statement]) {
        guard let first = statements.first else {
            state.errors.append(RegoError(code: "rego_parse_error", message: "empty module", file: module.source.name))
            return
        }
        func report(_ location: Location, _ message: String) {
            state.errors.append(RegoError("rego_parse_error", location, message))
        }
        if case .package(let path, let location) = first {
            module.package = path
            module.packageLocation = location
        } else {
            report(first.location, "package expected")
        }
        for statement in statements.dropFirst() {
            switch statement {
            case .package(_, let location): report(location, "unexpected package")
            case .imported(let statement): module.imports.append(statement)
            case .rules(let rules): module.rules += rules
            case .body(let body):
                switch BodyRule.rule(body) {
                case .success(let rule): module.rules.append(rule)
                case .failure(let failure): report(body.first?.location ?? Location(), failure.message)
                }
            }
        }
        for rule in module.rules {
            var next: Rule? = rule
            while let rule = next {
                for message in Self.problems(rule) { report(rule.location, message) }
                next = rule.otherwise
            }
        }
    }

    /// What version 1 of the language does not allow in a rule.
    private static func problems(_ rule: Rule) -> [String] {
        let kind = rule.head.arguments?.isEmpty == false ? "function" : "rule"
        var problems: [String] = []
        if rule.head.reference.count < 2,
            Token.keywords[rule.name] != nil || Token.keywordsOfVersion1[rule.name] != nil
        {
            problems.append("\(rule.name) keyword cannot be used for rule name")
        }
        if rule.generatedBody, rule.head.generatedValue {
            problems.append("\(kind) must have value assignment and/or body declaration")
        }
        if !rule.generatedBody, !rule.hasIf, !rule.isDefault {
            problems.append("`if` keyword is required before \(kind) body")
        }
        if rule.head.value == nil, rule.head.key != nil, !rule.head.usesContains {
            problems.append("`contains` keyword is required for partial set rules")
        }
        return problems
    }

    mutating func parsePackage() -> (path: [Term], location: Location)? {
        guard token == .package else { return nil }
        let location = state.location
        scanWhitespace()
        if token == .dot || token == .leftBracket { return nil }
        if token == .whitespace { scan() }
        guard takeIdentifierOrKeyword() else {
            illegal()
            return nil
        }
        let term = parseTerm()
        guard let term else {
            if state.errors.isEmpty { error(state.location, "expected path") }
            return nil
        }
        var path: [Term] = []
        switch term.value {
        case .variable(let name): path = [Term(.string(name), term.location)]
        case .reference(let terms):
            guard case .variable(let name) = terms[0].value else {
                error(terms[0].location, "unexpected \(terms[0].value.kindName) token: expecting var")
                return nil
            }
            path = [Term(.string(name), terms[0].location)]
            for part in terms.dropFirst() {
                guard case .string = part.value else {
                    error(part.location, "unexpected \(part.value.kindName) token: expecting string")
                    return nil
                }
                path.append(part)
            }
        default:
            illegal()
            return nil
        }
        return (path, location)
    }

    mutating func parseImport() -> Import? {
        guard token == .import else { return nil }
        let location = state.location
        scanWhitespace()
        if token == .dot || token == .leftBracket { return nil }
        if token == .whitespace { scan() }
        guard takeIdentifierOrKeyword() else {
            illegal()
            return nil
        }
        // Keywords that can be imported are identifiers in an import's path.
        let keywords = state.scanner.keywords
        for name in Token.keywordsOfVersion1.keys { state.scanner.keywords[name] = nil }
        for name in Token.futureKeywords.keys { state.scanner.keywords[name] = nil }
        forget()
        let term = parseTerm()
        forget()
        state.scanner.keywords = keywords
        var path: [Term] = []
        if let term {
            switch term.value {
            case .variable: path = [term]
            case .reference(let terms):
                for part in terms.dropFirst() {
                    guard case .string = part.value else {
                        error(part.location, "unexpected \(part.value.kindName) token: expecting string")
                        return nil
                    }
                }
                path = terms
            default: break
            }
        }
        guard let term, let first = path.first else {
            error(state.location, "expected path")
            return nil
        }
        var root = TermPrinter.text(first)
        if case .variable(let name) = first.value { root = name }
        guard ["data", "input", "future", "rego"].contains(root) else {
            state.hints.append("if this is unexpected, try updating OPA")
            error(
                term.location,
                "unexpected import path, must begin with one of: {data, future, input, rego}, got: \(root)")
            return nil
        }
        if token == .as {
            scan()
            guard token == .identifier else {
                illegal("expected var")
                return nil
            }
            if let alias = parseTerm(), case .variable(let name) = alias.value {
                return Import(path: path, alias: name, location: location)
            }
            illegal("expected var")
            return nil
        }
        var last = root
        if path.count > 1, case .string(let name) = path[path.count - 1].value { last = name }
        if path.count == 1 || root != "future",
            Token.keywords[last] != nil || Token.keywordsOfVersion1[last] != nil
        {
            let place = path[path.count - 1].location
            state.hints.append("import a different path or use an alias")
            error(place, "unexpected import path, must not end with a keyword, got: \(last)")
        }
        return Import(path: path, alias: nil, location: location)
    }

    /// Turns on what an import of `future` or `rego` asks for.
    mutating func applyImport(_ statement: Import) {
        guard let first = statement.path.first, case .variable(let root) = first.value else { return }
        let names = statement.path.dropFirst().map { term -> String in
            if case .string(let name) = term.value { return name }
            return ""
        }
        if root == "rego" {
            if names != ["v1"] {
                error(
                    extended(first.location),
                    "invalid import `\(TermPrinter.text(statement.path))`, must be `rego.v1`")
            }
            return
        }
        guard root == "future" else { return }
        let place = first.location
        guard names.first == "keywords" else {
            error(place, "invalid import, must be `future.keywords`")
            return
        }
        if statement.alias != nil {
            error(place, "`future` imports cannot be aliased")
            return
        }
        var chosen = Token.keywordsOfVersion1.merging(Token.futureKeywords) { $1 }
        if names.count == 2 {
            guard let token = chosen[names[1]] else {
                error(
                    place, "unexpected keyword, must be one of [\(chosen.keys.sorted().joined(separator: " "))]")
                return
            }
            chosen = [names[1]: token]
        }
        for (name, token) in chosen {
            if name == "not" { notBodies = true }
            state.scanner.keywords[name] = token
        }
        forget()
    }

    mutating func parseRules() -> [Rule]? {
        let start = state.location
        scanAheadReference()
        var isDefault = false
        if token == .default {
            scan()
            isDefault = true
            scanAheadReference()
        }
        guard token == .identifier else { return nil }
        guard var head = parseHead(isDefault: isDefault) else { return nil }
        let rule = Rule(head: head)
        rule.location = start
        rule.isDefault = isDefault
        if isDefault {
            guard checkDefault(rule) else { return nil }
            rule.body = [trueExpression(start)]
            return [rule]
        }
        let hasIf = token == .if
        if hasIf, !head.usesContains, head.reference.count == 2 {
            let last = head.reference[1]
            var isReference = false
            if case .reference = last.value { isReference = true }
            if !TermWalk.isGround(last) || isReference, head.arguments == nil { head.key = last }
            if head.value == nil {
                head.generatedValue = true
                head.value = Term(.boolean(true), head.location)
            }
        }
        if !hasIf, !head.usesContains, head.arguments == nil, head.reference.count == 2 {
            head.key = head.reference[1]
            if head.value == nil { head.reference.removeLast() }
        }
        rule.head = head
        rule.hasIf = hasIf
        guard parseRuleBody(rule, start: start) else { return nil }
        if rule.generatedBody {
            rule.location = rule.head.location
            return [rule]
        }
        rule.location = extended(start)
        var rules = [rule]
        while token == .leftBrace {
            if rule.otherwise != nil {
                error(state.location, "expected else keyword")
                return nil
            }
            let location = state.location
            scan()
            let next = Rule(head: rule.head.copy())
            guard let body = parseBody(.rightBrace) else { return nil }
            scan()
            next.body = body
            next.hasIf = rule.hasIf
            next.location = extended(location)
            next.head.location = location
            renameWildcards(&next.head)
            rules.append(next)
        }
        return rules
    }

    private mutating func parseRuleBody(_ rule: Rule, start: Location) -> Bool {
        if token == .if {
            scan()
            let saved = state
            // Only a set with a leading brace may be meant as a body; without one the literal's own error stands.
            let leadingBrace = token == .leftBrace
            if let expression = parseLiteral() {
                var isSet = false
                if leadingBrace, case .term(let term) = expression.kind, case .set = term.value { isSet = true }
                if !isSet {
                    rule.body = [expression]
                    return parseOtherwise(rule)
                }
            }
            if !leadingBrace { return false }
            state = saved
            return parseBracedBody(rule)
        }
        if token == .leftBrace { return parseBracedBody(rule) }
        if rule.head.usesContains {
            rule.body = [trueExpression(start)]
            rule.generatedBody = true
            return true
        }
        return false
    }

    private mutating func parseBracedBody(_ rule: Rule) -> Bool {
        scan()
        guard let body = parseBody(.rightBrace) else { return false }
        scan()
        rule.body = body
        return parseOtherwise(rule)
    }

    private mutating func parseOtherwise(_ rule: Rule) -> Bool {
        guard token == .else, !scanAheadReference() else { return true }
        let reference = rule.head.reference
        if reference.count > 1, !reference.dropFirst().allSatisfy({ TermWalk.isGround($0) }) {
            error(state.location, "else keyword cannot be used on rules with variables in head")
            return false
        }
        if rule.head.key != nil {
            error(state.location, "else keyword cannot be used on multi-value rules")
            return false
        }
        rule.otherwise = parseElse(rule.head)
        return rule.otherwise != nil
    }

    private mutating func parseElse(_ head: Head) -> Rule? {
        let start = state.location
        let rule = Rule(head: head.copy())
        rule.location = start
        rule.head.generatedValue = false
        renameWildcards(&rule.head)
        rule.head.location = start
        scan()
        switch token {
        case .leftBrace, .if:
            rule.head.generatedValue = true
            rule.head.value = Term(.boolean(true), start)
        case .assign, .unify:
            rule.head.assigned = token == .assign
            scan()
            guard let value = parseTermInfixCall() else { return nil }
            rule.head.value = value
            rule.head.location = extended(start)
        default:
            illegal("expected else value term or rule body")
            return nil
        }
        let hasIf = token == .if
        guard hasIf || token == .leftBrace else {
            rule.body = [trueExpression(start)]
            rule.generatedBody = true
            rule.location = extended(start)
            return rule
        }
        rule.hasIf = hasIf
        if hasIf { scan() }
        if token == .leftBrace {
            scan()
            guard let body = parseBody(.rightBrace) else { return nil }
            scan()
            rule.body = body
        } else if token != .eof {
            guard let expression = parseLiteral() else { return nil }
            rule.body = [expression]
        } else {
            illegal("rule body expected")
            return nil
        }
        if token == .else {
            rule.otherwise = parseElse(head)
            if rule.otherwise == nil { return nil }
        }
        rule.location = extended(start)
        return rule
    }

    private mutating func renameWildcards(_ head: inout Head) {
        guard let arguments = head.arguments else { return }
        for term in arguments {
            if case .variable(let name) = term.value, name.hasPrefix("$") { term.value = .variable(wildcard()) }
        }
    }

    private mutating func parseHead(isDefault: Bool) -> Head? {
        let start = state.location
        let name = parseVariable()
        guard let term = parseHeadFinish(name) else {
            illegal("expected rule head name")
            return nil
        }
        var head = Head(reference: [])
        switch term.value {
        case .variable: head.reference = [term]
        case .reference(let terms): head.reference = terms
        case .call(let terms):
            head.arguments = Array(terms.dropFirst())
            switch terms[0].value {
            case .reference(let parts):
                guard case .variable = parts[0].value else {
                    illegal("rule head ref \(TermPrinter.text(terms[0])) invalid")
                    return nil
                }
                head.reference = parts
            default: head.reference = [terms[0]]
            }
        default: return nil
        }
        head.location = start
        let text = TermPrinter.text(head.reference)
        switch token {
        case .contains:
            if head.arguments?.isEmpty == false {
                illegal(
                    "the contains keyword can only be used with multi-value rule definitions "
                        + "(e.g., \(text) contains <VALUE> { ... })")
            }
            scan()
            head.key = parseTermInfixCall()
            if head.key == nil { illegal("expected rule key term (e.g., \(text) contains <VALUE> { ... })") }
            head.usesContains = true
            head.location = extended(start)
            return head
        case .unify:
            scan()
            head.value = parseTermInfixCall()
            if head.value == nil {
                illegal("expected rule value term (e.g., \(text)[<nil>] = <VALUE> { ... })")
            }
        case .assign:
            scan()
            head.assigned = true
            head.value = parseTermInfixCall()
            if head.value == nil {
                if let arguments = head.arguments, !arguments.isEmpty {
                    illegal("expected function value term (e.g., \(text)(...) := <VALUE> { ... })")
                } else if isDefault {
                    illegal("expected default rule value term (e.g., default \(text) := <VALUE>)")
                } else {
                    illegal("expected rule value term (e.g., \(text) := <VALUE> { ... })")
                }
            }
        default: break
        }
        head.location = extended(start)
        if head.value == nil, head.reference.count != 2 || head.arguments?.isEmpty == false {
            head.generatedValue = true
            head.value = Term(.boolean(true), head.location)
        }
        return head
    }

    private mutating func parseHeadFinish(_ head: Term) -> Term? {
        let offset = state.location.offset
        scanWhitespace()
        switch token {
        case .plus, .minus, .times, .divide, .remainder, .and, .or, .equal, .notEqual, .greater, .greaterOrEqual,
            .less, .lessOrEqual:
            illegal()
        case .whitespace: scan()
        default: break
        }
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

    func trueExpression(_ location: Location) -> Expression {
        Expression(.term(Term(.boolean(true), location)), location)
    }

    private mutating func checkDefault(_ rule: Rule) -> Bool {
        guard let value = rule.head.value else {
            error(rule.location, "illegal default rule (must have a value)")
            return false
        }
        var valid = true
        for kind in TermWalk.defaultViolations(value) {
            error(rule.location, "illegal default rule (value cannot contain \(kind))")
            valid = false
        }
        var seen: Set<String> = []
        for argument in rule.head.arguments ?? [] {
            if case .variable(let name) = argument.value {
                if !seen.insert(name).inserted {
                    error(rule.location, "illegal default rule (arguments cannot be repeated \(name))")
                    valid = false
                }
            } else {
                error(
                    rule.location,
                    "illegal default rule (arguments cannot contain \(argument.value.kindName))")
                valid = false
            }
        }
        return valid
    }
}
