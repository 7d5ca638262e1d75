import Testing

@testable import Rego

@Suite struct LimitTests {
    private static let small = RegoLimits(instructions: 100_000, memoryBytes: 8 << 20)

    @Test(arguments: [
        "count(numbers.range(1, 1000000000))",
        "count([1 | some i in numbers.range(1, 400); some j in numbers.range(1, 400); i != j])",
        "bits.lsh(1, 1000000000)", "count(net.cidr_expand(\"10.0.0.0/4\"))",
        "count(net.cidr_expand(\"2001:db8::/32\"))",
        "sprintf(\"%1000000000d\", [1])",
        "count(graph.reachable_paths({k: [x | some x in numbers.range(1, 12); x != k] | some k in numbers.range(1, 12)}, [1]))",
        "x if { a := numbers.range(1, 9000); b := array.concat(a, a); c := array.concat(b, b); d := array.concat(c, c); "
            + "e := array.concat(d, d); f := array.concat(e, e); x := count(f) }",
        "count(json.marshal([[x, y] | some x in numbers.range(1, 300); some y in numbers.range(1, 300)]))",
    ])
    func endsInAnError(_ expression: String) {
        let body = expression.hasPrefix("x if") ? "p := \(expression)" : "p := \(expression)"
        // Either a limit of the query, or a document that is refused.
        let text = failure { _ = try evaluate("package test\n\(body)\n", limits: Self.small) }
        let isUndefined = (try? evaluate("package test\n\(body)\n", limits: Self.small)) == .some(nil)
        #expect(text?.hasPrefix("rego_limit_error") == true || isUndefined, "\(text ?? "no error")")
    }

    @Test func answersWhatOnlyLooksExpensive() throws {
        // Go refuses such a precision by itself, and an alias costs no copy.
        let precision = "package test\np := sprintf(\"%.*f\", [999999999, 1.5])\n"
        #expect(try evaluate(precision, limits: Self.small) == "\"%!(BADPREC)1.500000\"")
        let names = ["a", "b", "c", "d", "e"]
        var yaml = "a: &a [x,x,x,x,x,x,x,x]\\n"
        for (name, last) in zip(names.dropFirst(), names) {
            yaml += "\(name): &\(name) [" + Array(repeating: "*\(last)", count: 8).joined(separator: ",") + "]\\n"
        }
        let aliases = "package test\np := count(yaml.unmarshal(\"\(yaml)\"))\n"
        #expect(try evaluate(aliases, limits: Self.small) == "5")
    }

    @Test func endsCollectionsThatTakeTooMuchMemory() {
        let module = """
            package test
            p := count({x | some a in numbers.range(1, 1000); some b in numbers.range(1, 1000); x := [a, b, a, b, a, b]})
            """
        let text = failure {
            _ = try evaluate(module, limits: RegoLimits(instructions: 50_000_000, memoryBytes: 4 << 20))
        }
        #expect(text?.contains("memory limit of 4194304 bytes reached") == true)
    }

    @Test func refusesCallsThatAreTooDeep() throws {
        var module = "package test\np := f0(1)\nf5000(x) := x\n"
        for number in 0..<5000 { module += "f\(number)(x) := f\(number + 1)(x)\n" }
        let text = failure { _ = try evaluate(module) }
        #expect(
            text
                == "rego_limit_error: rules call each other more than 4096 deep (simplify the policy, or raise the limit if it is what you mean)"
        )
    }

    @Test func refusesValuesThatAreTooDeep() throws {
        var module = "package test\np := f0([])\nf600(x) := x\n"
        for number in 0..<600 { module += "f\(number)(x) := f\(number + 1)([x])\n" }
        let text = failure { _ = try evaluate(module) }
        #expect(text?.hasPrefix("rego_limit_error: a value is nested deeper than 512") == true)
        let json = String(repeating: "[", count: 600) + String(repeating: "]", count: 600)
        #expect(failure { _ = try RegoValue(json: json) }?.hasPrefix("rego_json_error") == true)
    }

    @Test func refusesSourcesThatAreTooLarge() {
        let module = "package test\n" + String(repeating: "#", count: RegoLimits.maximumSourceBytes)
        #expect(failure { _ = try CompiledPolicy(modules: [("big.rego", module)]) } != nil)
    }

    /// Each level is read several times to find out what it is, and so is each one in it.
    @Test func refusesSourcesThatTakeTooLongToRead() {
        let (opening, closing) = (String(repeating: "{x |(", count: 60), String(repeating: ")}", count: 60))
        let keywords = "import future.keywords.not\nimport future.keywords.and\nimport future.keywords.or\n"
        let module = "package test\n\(keywords)p if {\n\(opening)1\(closing)\n}"
        let text = failure { _ = try CompiledPolicy(modules: [("deep.rego", module)]) }
        #expect(text?.contains("rego_limit_error: more than") == true)
        #expect(text?.contains("steps to parse it") == true)
    }

    @Test func fitsAStackOf512KiB() {
        nonisolated(unsafe) var answers: [String] = []
        onStack(of: 512 << 10) {
            // The deepest value and the deepest chain of calls that are let pass.
            let json = String(repeating: "[", count: 500) + String(repeating: "]", count: 500)
            var module =
                "package test\np := [count(json.marshal(input)), input == json.unmarshal(json.marshal(input)), f0(1)]\n"
            module += "f3000(x) := x\nq contains x if { some x; walk(input, [_, x]) }\n"
            for number in 0..<3000 { module += "f\(number)(x) := f\(number + 1)(x)\n" }
            // Compilation has a thread of its own size elsewhere.
            answers.append((try? RegoValue(json: json)) == nil ? "no JSON" : "JSON")
            _ = module
        }
        #expect(answers == ["JSON"])
        let json = String(repeating: "[", count: 500) + String(repeating: "]", count: 500)
        var module =
            "package test\np := [count(json.marshal(input)), input == json.unmarshal(json.marshal(input)), f0(1)]\n"
        module += "f2000(x) := x\n"
        for number in 0..<2000 { module += "f\(number)(x) := f\(number + 1)(x)\n" }
        guard let policy = try? CompiledPolicy(modules: [("deep.rego", module)]),
            let entry = try? policy.entryPoint("data.test.p")
        else {
            Issue.record("the module does not compile")
            return
        }
        onStack(of: 512 << 10) {
            let evaluator = Evaluator(policy)
            let result = try? evaluator.evaluate(
                entry, input: evaluator.makeInput(json: Array(json.utf8)), time: 0)
            answers.append(result?.json ?? "nothing")
        }
        #expect(answers.last == "[1000,true,1]")
    }
}
