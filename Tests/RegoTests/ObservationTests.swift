import Testing

@testable import Rego

/// What an instrumented policy tells.
@Suite struct ObservationTests {
    private static let module = """
        package test

        default allow := false

        allow if {
        \tsome role in input.roles
        \tdata.roles[role].admin
        \ttrace(sprintf("role %v", [role]))
        }

        size(x) := "big" if {
        \tx > 2
        } else := "small"
        """

    private func observe(
        _ parts: Observation.Parts, query: String = "data.test.allow", input: String = #"{"roles": ["dev", "ops"]}"#
    ) throws -> Observation {
        var options = CompileOptions()
        options.isInstrumented = true
        let policy = try CompiledPolicy(
            modules: [("test.rego", Self.module)], data: try RegoValue(json: #"{"roles": {"ops": {"admin": true}}}"#),
            questions: [RegoQuery(query)], options: options)
        let evaluator = Evaluator(policy)
        let observation = Observation(parts)
        evaluator.observation = observation
        _ = try evaluator.solve(input: try evaluator.makeInput(json: Array(input.utf8)), time: 0)
        return observation
    }

    @Test("tells each step as OPA does: places, depths, names as written")
    func trace() throws {
        let lines = try observe(.trace).events.lines
        #expect(
            lines == [
                "query:1         Enter data.test.allow = _",
                "query:1         | Eval data.test.allow = _",
                "query:1         | Index data.test.allow (matched 1 rule, early exit)",
                "test.rego:5     | Enter data.test.allow",
                "test.rego:6     | | Eval role = input.roles[__local0__]",
                "test.rego:7     | | Eval data.roles[role].admin",
                "test.rego:7     | | Fail data.roles[role].admin",
                "test.rego:6     | | Redo role = input.roles[__local0__]",
                "test.rego:7     | | Eval data.roles[role].admin",
                "test.rego:8     | | Eval sprintf(\"role %v\", [role], __local4__)",
                "test.rego:8     | | Eval trace(__local4__)",
                "test.rego:8     | | Note \"role ops\"",
                "test.rego:5     | | Exit data.test.allow early",
                "query:1         | Exit data.test.allow = _",
                "query:1         Redo data.test.allow = _",
                "query:1         | Redo data.test.allow = _",
            ])
    }

    @Test("shows notes and fails behind the rules that lead to them")
    func explains() throws {
        let events = try observe(.trace).events
        #expect(
            events.explaining([.note]).map(\.line) == [
                "Enter data.test.allow = _", "| Enter data.test.allow", "| | Note \"role ops\"",
            ])
        #expect(
            events.explaining([.fail]).map(\.line) == [
                "Enter data.test.allow = _", "| Enter data.test.allow", "| | Fail data.roles[role].admin",
            ])
    }

    @Test("tells that the default of a rule is taken, and of negations, comprehensions and calls")
    func bodies() throws {
        let events = try observe(
            .trace, query: "not data.test.allow; x := [r | r := input.roles[_]]; data.test.size(3)",
            input: "{\"roles\": [\"a\"]}"
        )
        .events
        let lines = events.map(\.line)
        #expect(lines.contains("| Enter data.test.allow"))
        #expect(lines.contains("| | Enter data.test.allow"))
        #expect(lines.contains("| Eval not data.test.allow"))
        #expect(lines.contains("| Enter r = input.roles[_]"))
        #expect(lines.contains("| | Redo r = input.roles[_]"))
        #expect(lines.contains("| Enter data.test.size"))
        #expect(!lines.contains("| Fail not data.test.allow"))
        // The parts of one body share its number; those around it are its parents.
        let begins = events.filter { $0.operation == .enter }
        #expect(Set(begins.map(\.queryID)).count == begins.count)
        #expect(begins.dropFirst().allSatisfy { $0.parentID > 0 && $0.parentID < $0.queryID })
    }

    @Test("covers the rules that had a value and the expressions that were tried")
    func coverage() throws {
        let report = try observe(.coverage).coverage
        let file = try #require(report.files.first)
        #expect(report.files.count == 1)
        #expect(file.covered.map(\.firstRow) == [5, 6, 7, 8, 8])
        #expect(Set(file.notCovered.map(\.firstRow)) == [3, 11, 12, 13])
        #expect(file.notCoveredRows == [3...3, 11...13])
        #expect((report.coveredLines, report.notCoveredLines) == (4, 4))
        #expect(report.percentage == 50)
        let first = try #require(file.covered.first)
        #expect((first.firstColumn, first.lastRow, first.endColumn) == (1, 5, 6))
        #expect(report.value["coverage"]?.json == "50")
        #expect(report.value["files"]?["test.rego"]?["covered"]?.elements?.first?["end"]?["col"]?.integer == 6)
    }

    @Test("adds up what several questions cover")
    func addsUp() throws {
        var options = CompileOptions()
        options.isInstrumented = true
        let policy = try CompiledPolicy(
            modules: [("test.rego", Self.module)],
            questions: [RegoQuery("data.test.size(1)"), RegoQuery("data.test.size(3)")],
            options: options)
        let observation = Observation(.coverage)
        for index in 0..<2 {
            let evaluator = Evaluator(policy)
            evaluator.observation = observation
            _ = try evaluator.solve(index, input: evaluator.makeEmptyInput(), time: 0)
        }
        #expect(observation.coverage.files.first?.covered.contains { $0.firstRow == 11 } == true)
        #expect(observation.coverage.files.first?.covered.contains { $0.firstRow == 13 } == true)
    }

    @Test("counts how often each line is tried, and tried anew")
    func profile() throws {
        let entries = try observe(.profile).profile
        let lines = Dictionary(entries.filter { !$0.file.isEmpty }.map { ($0.row, $0) }) { first, _ in first }
        #expect(lines.keys.sorted() == [6, 7, 8])
        #expect((lines[6]?.evaluations, lines[6]?.redos) == (1, 1))
        #expect((lines[7]?.evaluations, lines[7]?.redos) == (2, 0))
        #expect((lines[8]?.evaluations, lines[8]?.expressions) == (2, 2))
        #expect(zip(entries, entries.dropFirst()).allSatisfy { $0.nanoseconds >= $1.nanoseconds })
    }

    @Test("a policy that is not instrumented has no instruction for it, and the answers are the same")
    func costsNothing() throws {
        let data = try RegoValue(json: #"{"roles": {"ops": {"admin": true}}}"#)
        let plain = try CompiledPolicy(modules: [("test.rego", Self.module)], data: data)
        #expect(!plain.program.code.contains { $0.op == .observe })
        #expect(plain.program.traceSites.isEmpty)
        var options = CompileOptions()
        options.isInstrumented = true
        let told = try CompiledPolicy(modules: [("test.rego", Self.module)], data: data, options: options)
        #expect(told.program.code.contains { $0.op == .observe })
        for roles in ["[]", "[\"dev\"]", "[\"dev\", \"ops\"]"] {
            let answers = try [plain, told].map { policy in
                let evaluator = Evaluator(policy)
                let input = try evaluator.makeInput(json: Array("{\"roles\": \(roles)}".utf8))
                return try evaluator.evaluate(policy.entryPoint("data.test"), input: input, time: 0).json
            }
            #expect(answers[0] == answers[1])
        }
    }
}

/// `print` and questions.
@Suite struct QuestionTests {
    private func solve(
        _ query: RegoQuery, _ module: String = "package test", input: String? = nil, keepsPrints: Bool = false
    ) throws -> (solutions: [Solution], printed: [String]) {
        var options = CompileOptions()
        options.keepsPrints = keepsPrints
        let policy = try CompiledPolicy(modules: [("test.rego", module)], questions: [query], options: options)
        let evaluator = Evaluator(policy)
        var printed: [String] = []
        evaluator.printSink = { text, file, row in printed.append("\(file):\(row): \(text)") }
        let value = try input.map { try evaluator.makeInput(json: Array($0.utf8)) } ?? evaluator.makeEmptyInput()
        return (try evaluator.solve(input: value, time: 0), printed)
    }

    @Test("answers with the values of expressions and the bindings of variables, as opa eval does")
    func values() throws {
        let solutions = try solve(RegoQuery("x := [1, 2][i]; x + 1; x == 1")).solutions
        #expect(solutions.count == 1)
        #expect(
            solutions.first?.value
                == (try RegoValue(
                    json: """
                        {"bindings": {"i": 0, "x": 1}, "expressions": [
                        {"location": {"col": 1, "row": 1}, "text": "x := [1, 2][i]", "value": true},
                        {"location": {"col": 17, "row": 1}, "text": "x + 1", "value": 2},
                        {"location": {"col": 24, "row": 1}, "text": "x == 1", "value": true}]}
                        """)))
    }

    @Test("one expression may be false; one of several, or of several answers, may not")
    func falseValues() throws {
        #expect(try solve(RegoQuery("1 == 2")).solutions.first?.expressions.first?.value == .boolean(false))
        #expect(try solve(RegoQuery("1 == 2; true")).solutions.isEmpty)
        #expect(try solve(RegoQuery("[false, true][_]")).solutions.count == 1)
        #expect(try solve(RegoQuery("data.test.nothing")).solutions.isEmpty)
    }

    @Test("names rules of a package and imported documents without their paths")
    func names() throws {
        let module = "package a.b\np := 7\nq := input.x"
        let query = RegoQuery("p + who.age", package: "a.b", imports: ["input.user as who"])
        let solutions = try solve(query, module, input: #"{"user": {"age": 2}}"#).solutions
        #expect(solutions.first?.expressions.first?.value == RegoValue(9))
        #expect(throws: RegoErrors.self) { try solve(RegoQuery("p", imports: ["nothing.x"])) }
    }

    @Test("prints to the sink of the host, what is undefined too; each combination is a line")
    func prints() throws {
        let module = """
            package test
            p if {
            \tsome x in [1, 2]
            \tprint("x is", x, {"k": "v"}, input.nothing)
            \tx == 2
            }
            """
        let result = try solve(RegoQuery("data.test.p; print(\"done\")"), module, keepsPrints: true)
        #expect(result.solutions.count == 1)
        #expect(
            result.printed == [
                #"test.rego:4: x is 1 {"k": "v"} <undefined>"#, #"test.rego:4: x is 2 {"k": "v"} <undefined>"#,
                ":1: done",
            ])
        #expect(try solve(RegoQuery("data.test.p"), module).printed.isEmpty)
    }

    @Test(
        "what calls of functions bind above can be printed, and what nothing binds cannot",
        arguments: [
            ("x := 1 + 1; print(x)", "2"), ("[x, 1] = [count([7]), 1]; print(x)", "1"),
            ("x := strings.reverse(\"ab\"); print(x)", "ba"), ("print(x)", nil), ("print(x); some x in [1]", nil),
        ])
    func bound(_ body: String, _ text: String?) throws {
        let module = "package test\np if { \(body) }"
        guard let text else {
            #expect(throws: RegoErrors.self) { try CompiledPolicy(modules: [("test.rego", module)]) }
            return
        }
        #expect(try solve(RegoQuery("data.test.p"), module, keepsPrints: true).printed == ["test.rego:2: \(text)"])
    }

    @Test("what is not printed is not evaluated")
    func erased() throws {
        let policy = try CompiledPolicy(modules: [
            ("test.rego", "package test\np if { print(data.test.q) }\nq := input.x")
        ])
        let evaluator = Evaluator(policy)
        let result = try evaluator.evaluate(
            policy.entryPoint("data.test.p"), input: evaluator.makeEmptyInput(), time: 0)
        #expect(result.boolean == true)
        #expect(result.inputPathsRead.isEmpty)
    }
}
