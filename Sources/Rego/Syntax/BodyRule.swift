/// Reads a statement that is an expression (`p := 1`, `f(x) := y`, `p.q`) as the rule it defines.
enum BodyRule {
    /// Why an expression defines no rule.
    struct Failure: Error {
        let message: String
        init(_ message: String) { self.message = message }
    }

    static func rule(_ body: Body) -> Result<Rule, Failure> {
        guard body.count == 1, let expression = body.first else {
            return .failure(Failure("multiple expressions cannot be used for rule head"))
        }
        if !expression.with.isEmpty {
            return .failure(Failure("expressions using with keyword cannot be used for rule head"))
        }
        if expression.negated { return .failure(Failure("negated expressions cannot be used for rule head")) }
        switch expression.kind {
        case .some: return .failure(Failure("'some' declarations cannot be used for rule head"))
        case .term(let term): return fromTerm(term)
        case .every, .not, .logical: return .failure(Failure("expression cannot be used for rule head"))
        case .call(let terms):
            let name = TermPrinter.text(terms[0])
            if (name == "eq" || name == "assign"), terms.count == 3 {
                return fromEquality(terms[1], terms[2]).map { rule in
                    rule.head.assigned = name == "assign"
                    rule.location = expression.location
                    rule.head.location = expression.location
                    return rule
                }
            }
            if BuiltinTable.declarations[name] != nil {
                return .failure(Failure("rule name conflicts with built-in function"))
            }
            guard terms.count > 1 else {
                return .failure(Failure("rule argument list must take at least one argument"))
            }
            guard case .reference(let reference) = terms[0].value else {
                return .failure(Failure("invalid rule head: \(name)"))
            }
            guard case .variable = reference[0].value else { return .failure(Failure("invalid rule head: \(name)")) }
            var head = Head(reference: reference)
            head.arguments = Array(terms.dropFirst())
            head.value = Term(.boolean(true), terms[0].location)
            return .success(make(head, terms[0].location))
        }
    }

    private static func fromTerm(_ term: Term) -> Result<Rule, Failure> {
        guard case .reference(let reference) = term.value else {
            return .failure(Failure("\(term.value.kindName) cannot be used for rule name"))
        }
        guard case .variable = reference[0].value else {
            return .failure(Failure("invalid rule head: \(TermPrinter.text(term))"))
        }
        if reference.count == 1 { return .failure(Failure("refs cannot be used for rule head")) }
        if reference.count > 2 {
            var head = Head(reference: reference)
            head.value = Term(.boolean(true), term.location)
            head.generatedValue = true
            return .success(make(head, term.location))
        }
        var head = Head(reference: [reference[0]])
        head.key = reference[1]
        return .success(make(head, term.location))
    }

    private static func fromEquality(_ left: Term, _ right: Term) -> Result<Rule, Failure> {
        switch left.value {
        case .call(let terms):
            guard case .reference(let reference) = terms[0].value, case .variable = reference[0].value else {
                return .failure(Failure("call cannot be used for rule name"))
            }
            var head = Head(reference: reference)
            head.arguments = Array(terms.dropFirst())
            head.value = right
            return .success(make(head, left.location))
        case .reference(let reference):
            guard case .variable = reference[0].value else {
                return .failure(Failure("invalid rule head: \(TermPrinter.text(left))"))
            }
            var head = Head(reference: reference)
            if reference.count == 2 { head.key = reference[1] }
            head.value = right
            return .success(make(head, right.location))
        case .variable:
            var head = Head(reference: [left])
            head.value = right
            return .success(make(head, left.location))
        default: return .failure(Failure("\(left.value.kindName) cannot be used for rule name"))
        }
    }

    private static func make(_ head: Head, _ location: Location) -> Rule {
        var head = head
        head.location = location
        let rule = Rule(head: head)
        rule.location = location
        rule.body = [Expression(.term(Term(.boolean(true), location)), location)]
        rule.generatedBody = true
        return rule
    }
}
