import Testing

@testable import Rego

@Suite struct RegoTestRunnerTests {
    private func runner(_ tests: String, observing parts: Observation.Parts = []) throws -> RegoTestRunner {
        var limits = RegoLimits()
        limits.strictBuiltinErrors = true
        return try RegoTestRunner(
            modules: [
                ("a.rego", "package a\nallow if input.x == data.x"),
                ("a_test.rego", "package a_test\nimport data.a\n" + tests),
            ], data: try RegoValue(json: #"{"x": 1}"#), limits: limits, observing: parts)
    }

    private static let tests = """
        test_allowed if a.allow with input as {"x": 1}
        test_refused if a.allow with input as {"x": 2}
        test_number := 5
        test_data if a.allow with input as {"x": 7} with data.x as 7
        test_false := false
        test_error if to_number("x") == 1
        test_cases[name] := result if {
            some name, x in {"one": 1, "two": 2}
            result := x == 1
        }
        test_none contains x if { some x in [] }
        todo_test_later if false
        helper := true
        """

    @Test("a test passes where its rule is neither undefined nor false", arguments: [[], Observation.Parts.trace])
    func outcomes(_ parts: Observation.Parts) throws {
        let reports = try runner(Self.tests, observing: parts).run(time: 0)
        let found = Dictionary(reports.map { ($0.name, $0.outcome) }) { first, _ in first }
        #expect(
            reports.map(\.name) == [
                "test_allowed", "test_refused", "test_number", "test_data", "test_false", "test_error", "test_cases",
                "test_none", "todo_test_later",
            ])
        for name in ["test_allowed", "test_number", "test_data"] { #expect(found[name] == .passed, "\(name)") }
        for name in ["test_refused", "test_false", "test_cases", "test_none"] {
            #expect(found[name] == .failed, "\(name)")
        }
        #expect(found["todo_test_later"] == .skipped)
        guard case .failedWithError(let error)? = found["test_error"] else {
            Issue.record("an error passed")
            return
        }
        #expect(error.description.hasPrefix("a_test.rego:8: eval_builtin_error: "))
        #expect(reports.allSatisfy { $0.package == "data.a_test" && $0.file == "a_test.rego" && $0.row > 2 })
        for report in reports {
            #expect(report.trace.isEmpty == (parts.isEmpty || report.outcome == .passed || report.outcome == .skipped))
        }
    }

    @Test("runs the tests that an expression matches, and refuses what is no expression")
    func matching() throws {
        let runner = try runner(Self.tests)
        #expect(
            try runner.run(matching: "^data.a_test.test_(allowed|data)$", time: 0).map(\.name) == [
                "test_allowed", "test_data",
            ])
        #expect(try runner.run(matching: "nothing", time: 0).isEmpty)
        #expect(throws: RegoError.self) { try runner.run(matching: "(", time: 0) }
    }

    @Test("keeps what each test prints, and covers what they reach")
    func output() throws {
        let runner = try runner(
            "test_a if { print(\"one\") }\ntest_b if { print(\"two\", a.allow) }", observing: .coverage)
        let reports = try runner.run(time: 0)
        #expect(reports.map(\.output) == [["one"], ["two <undefined>"]])
        #expect(reports.first?.value["output"]?.string == "b25lCg==")
        let files = try #require(runner.coverage?.files)
        #expect(files.map(\.name) == ["a.rego", "a_test.rego"])
        #expect(files[1].notCovered.isEmpty)
        #expect(files[0].covered.map(\.firstRow) == [2])
        #expect(files[0].notCovered.map(\.firstRow) == [2])
    }
}
