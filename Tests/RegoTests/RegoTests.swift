import Testing

@testable import Rego

@Suite struct CompiledPolicyTests {
    @Test func answersFromInputAndData() throws {
        let module = """
            package test
            default p := false
            p if { input.host in data.hosts }
            """
        #expect(try evaluate(module, data: #"{"hosts": ["a", "b"]}"#, input: #"{"host": "b"}"#) == "true")
        #expect(try evaluate(module, data: #"{"hosts": ["a", "b"]}"#, input: #"{"host": "c"}"#) == "false")
        #expect(try evaluate(module) == "false")
    }

    @Test func comparesStringsByTheirBytes() throws {
        let module = "package test\np if \"\\u00e9\" == \"e\\u0301\"\n"
        #expect(try evaluate(module) == nil)
    }

    @Test func keepsTheTextOfNumbers() throws {
        #expect(
            try evaluate("package test\np := [1e3, 0.10, 1e3 + 1, 100000000000000000000 / 3]\n")
                == "[1e3,0.10,1001,33333333333333333334]")
    }

    @Test func refusesTwoValuesOfACompleteRule() throws {
        #expect(throws: RegoError.self) { try evaluate("package test\np := x if { some x in [1, 2] }\n") }
    }

    @Test func namesTheRuleThatDecided() throws {
        let policy = try CompiledPolicy(modules: [("a.rego", "package test\np := 1 if input.x\np := 2 if input.y\n")])
        let evaluator = Evaluator(policy)
        let entry = try policy.entryPoint("data.test.p")
        let input = evaluator.makeInput { builder in builder.object { $0.set("y", true) } }
        let result = try evaluator.evaluate(entry, input: input, time: 0)
        #expect(result.rule?.row == 3)
        #expect(result.rule?.file == "a.rego")
        #expect(result.inputPathsRead.count == 2)
    }

    @Test func endsAnEndlessSearch() throws {
        let module =
            "package test\np if { some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); a * b < 0 }\n"
        let policy = try CompiledPolicy(
            modules: [("test.rego", module)], limits: RegoLimits(instructions: 100_000))
        let evaluator = Evaluator(policy)
        let entry = try policy.entryPoint("data.test.p")
        #expect(throws: RegoError.self) {
            try evaluator.evaluate(entry, input: evaluator.makeEmptyInput(), time: 0)
        }
    }

    @Test func keysOfDataThatNobodyKnowsAreOfAnyType() throws {
        let module = "package test\nf(x) := x\np := f({k | some k, v in data.base.t; v > 1})\n"
        #expect(try evaluate(module, data: #"{"base": {"t": {"a": 1, "b": 2}}}"#) == #"["b"]"#)
    }

    /// Types that `with` gives to what it replaces hold in its expression only, and say nothing of variables elsewhere.
    @Test(
        arguments: [
            ("p if max(data.base.o) == 1 with data.base.o.x as 7", "(object<x: any>[string: any], ???)"),
            ("q := 1\np if max(data.test.q) == 1 with data.test.q as {}", "(any<number, object[any: any]>, ???)"),
            ("p if { some v; data.base.o[v] with data.base.o.x as 7; max(v) == 1 }", "(string, ???)"),
            ("p if { input.x with data.base.o.x as 7; max(data.base.o) == 1 }", nil),
            ("q.x := 1\np if { some v; data.base.t[v]; max(v) }", nil),
        ] as [(String, String?)])
    func typesOfWhatWithReplaces(_ rules: String, _ have: String?) {
        let module = "package test\n" + rules + "\n"
        var found: [String]?
        do throws(RegoErrors) {
            _ = try CompiledPolicy(modules: [("a.rego", module)])
        } catch {
            found = error.errors.first?.details
        }
        #expect(found?.first == have.map { "have: " + $0 })
    }

    @Test func showsTheLineOfAnError() throws {
        let errors = #expect(throws: RegoErrors.self) {
            try CompiledPolicy(modules: [("a.rego", "package test\np if {\n")])
        }
        #expect(errors?.errors.first?.code == "rego_parse_error")
        #expect(errors?.errors.first?.row == 3)
    }
}
