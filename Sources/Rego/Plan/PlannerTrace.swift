// Instrumentation: where a program tells what it does. None of it is in programs that are not instrumented.

/// What a program tells of: a body, a rule, or an expression, with its place.
struct TraceSite: Sendable {
    let kind: TraceEvent.Kind
    let text: String
    let file: String
    let row: Int
    let column: Int
    /// The expression's number in its body.
    var index = 0
    /// What counts as covered; nil where nothing does.
    var span: SourceSpan?
}

extension Planner {
    /// Plans an expression with what it tells: that it is tried, that it fails, and that it is tried anew.
    func planObserved(_ expression: Expression) throws(RegoErrors) {
        let site = traceSite(expression)
        let before = fail
        let failed = label()
        let redo = label()
        let holds = label()
        let isSolved = slot()
        trace(.eval, site)
        emit(.clear, a: isSolved)
        fail = failed
        try plan(expression)
        let again = fail
        emit(.move, a: isSolved, b: constant(.boolean(true)))
        emitJumping(.jump, to: holds)
        place(failed)
        emitJumping(.jumpDefined, b: isSolved, to: before)
        trace(.fail, site)
        emitJumping(.jump, to: before)
        place(redo)
        trace(.redo, site)
        emitJumping(.jump, to: again)
        place(holds)
        fail = redo
    }

    /// Tells that a body is entered; its site.
    func traceBody(_ body: Body) -> Int32 {
        guard options.isInstrumented else { return -1 }
        let place = body.first?.location ?? Location()
        let text = body.map { shownText($0) }.joined(separator: "; ")
        return enter(
            TraceSite(kind: .body, text: text, file: place.source?.name ?? "", row: place.row, column: place.column))
    }

    /// Tells that a rule is entered; its site.
    func traceRule(_ rule: Rule) -> Int32 {
        guard options.isInstrumented else { return -1 }
        let place = rule.location
        var site = TraceSite(
            kind: .rule, text: RuleGraph.name(rule), file: place.source?.name ?? "", row: place.row,
            column: place.column)
        site.span = SourceSpan(rule.head.location.row > 0 ? rule.head.location : place)
        return enter(site)
    }

    private func enter(_ site: TraceSite) -> Int32 {
        traceSites.append(site)
        let number = Int32(traceSites.count - 1)
        trace(.enter, number)
        return number
    }

    /// Tells that a body or a rule has a solution, and that more of them are looked for.
    func traceSolution(_ site: Int32) {
        trace(.exit, site)
        trace(.redo, site)
    }

    /// Tells of an operation at a site.
    func trace(_ operation: TraceOperation, _ site: Int32, operand: Int32 = 0) {
        guard options.isInstrumented else { return }
        code.append(
            Instruction(op: .observe, a: Int32(operation.rawValue), b: site, c: operand, d: scopeDepth))
    }

    /// Tells how many rules of a path are looked at: those that an iterator has, or all.
    func traceIndex(_ rules: [Rule], iterator: Int32?, _ isEarly: Bool) {
        guard options.isInstrumented, let rule = rules.first else { return }
        traceSites.append(TraceSite(kind: .none, text: RuleGraph.name(rule), file: "", row: 0, column: 0))
        trace(isEarly ? .indexEarly : .index, Int32(traceSites.count - 1), operand: iterator ?? ~Int32(rules.count))
    }

    /// Tells what a call of `trace` says.
    func traceNote(_ message: Int32, _ place: Location) {
        traceSites.append(
            TraceSite(kind: .none, text: "", file: place.source?.name ?? "", row: place.row, column: place.column))
        trace(.note, Int32(traceSites.count - 1), operand: message)
    }

    private func traceSite(_ expression: Expression) -> Int32 {
        let place = expression.location
        var site = TraceSite(
            kind: .expression, text: shownText(expression), file: place.source?.name ?? "", row: place.row,
            column: place.column, index: expression.index)
        site.span = SourceSpan(place)
        traceSites.append(site)
        return Int32(traceSites.count - 1)
    }

    /// An expression as OPA shows it: locals by their names as written, `==` of rules as the unification that it is.
    private func shownText(_ expression: Expression) -> String {
        let copy = (shown[ObjectIdentifier(expression)] ?? expression).copy()
        if currentRule != nil, case .call(let terms) = copy.kind, TermPrinter.text(terms[0]) == "equal" {
            let eq = Term(.reference([Term(.variable("eq"), terms[0].location)]), terms[0].location)
            copy.kind = .call([eq] + terms.dropFirst())
        }
        let names = VariableCollector.names([copy], VariableCollector())
        LocalVariables.restore(copy, compiler.originals.filter { names.contains($0.key) })
        return TermPrinter.expression(copy)
    }
}
