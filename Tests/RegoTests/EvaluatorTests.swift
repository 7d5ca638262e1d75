import CAllocationCounter
import Testing

@testable import Rego

@Suite struct EvaluatorTests {
    @Test func callsHostFunctions() throws {
        let double = HostFunction("host.double", argumentCount: 1) { arguments in
            arguments[0].integer.map { RegoValue($0 * 2) }
        }
        #expect(try evaluate("package test\np := host.double(21)\n", functions: [double]) == "42")
        #expect(try evaluate("package test\np := host.double(\"x\")\n", functions: [double]) == nil)
        #expect(
            failure { _ = try evaluate("package test\np := host.double(1, 2, 3)\n", functions: [double]) } != nil)
    }

    @Test func replacementsSeeNoOtherReplacement() throws {
        let module = """
            package test
            f(x) := 7
            g(x) := count(x)
            p := x if { x := object.keys({"a": 1}) with object.keys as g with count as f }
            """
        #expect(try evaluate(module) == "1")
    }

    @Test func refusesWhatIsNotAvailableByName() {
        let text = failure { _ = try evaluate("package test\np := http.send({\"method\": \"get\", \"url\": \"x\"})\n") }
        #expect(text?.contains("http.send") == true)
    }

    @Test func replacesWhatIsNotAvailable() throws {
        let module = """
            package test
            answer(_) := {"status": 200}
            q := http.send({"method": "get", "url": "x"}).status
            p := x if { x := q with http.send as answer }
            """
        #expect(try evaluate(module) == "200")
    }

    @Test func givesAnnotationsOut() throws {
        let module = """
            # METADATA
            # description: all of it
            package test

            # METADATA
            # title: mine
            p := [rego.metadata.rule().title, [link.path | some link in rego.metadata.chain()]]
            """
        #expect(try evaluate(module) == #"["mine",[["test","p"],["test"]]]"#)
    }

    @Test func recordsWhatWasRead() throws {
        let module = "package test\np if { input.a.b == 1; input.c[_] == time.now_ns() }\nq := rand.intn(\"x\", 10)\n"
        let policy = try CompiledPolicy(modules: [("test.rego", module)])
        let evaluator = Evaluator(policy)
        let input = try evaluator.makeInput(json: Array(#"{"a": {"b": 1}, "c": [1]}"#.utf8))
        let result = try evaluator.evaluate(try policy.entryPoint("data.test.p"), input: input, time: 1)
        #expect(
            result.inputPathsRead.map { RegoValue.array($0).json }.sorted() == [#"["a","b"]"#, #"["c"]"#])
        #expect(result.readClock)
        #expect(!result.readRandom)
        #expect(result.rule?.row == 2)
        let other = try evaluator.evaluate(
            try policy.entryPoint("data.test.q"), input: evaluator.makeEmptyInput(), time: 1)
        #expect(other.readRandom)
        #expect(other.inputPathsRead.isEmpty)
    }

    @Test(arguments: [
        "allow if { data.hosts[input.host] }", "allow if { input.host in data.list }",
        "allow if { user_is_admin }\nuser_is_admin if \"admin\" in data.roles[input.user]",
        "allow if { input.method == \"GET\"; input.path == \"/a\" }\nallow if { input.method == \"GET\"; input.path == \"/b\" }\n"
            + "allow if { input.method == \"POST\"; input.path == \"/c\" }",
        "allow if { some g in granted; g == input.path }\ngranted contains g if { some r in data.roles[input.user]; some g in data.grants[r] }",
        "allow if { some s in data.suffixes; endswith(input.host, s) }",
    ])
    func decidesWithoutAllocations(_ rules: String) throws {
        let data = #"""
            {"hosts": {"a.com": true}, "list": ["b.com", "a.com"], "roles": {"u": ["user", "admin"]}, "suffixes": [".org", ".com"],
             "grants": {"user": ["/a"], "admin": ["/b", "/x"]}}
            """#
        let policy = try CompiledPolicy(
            modules: [("a.rego", "package test\ndefault allow := false\n\(rules)\n")], data: try RegoValue(json: data))
        let entry = try policy.entryPoint("data.test.allow")
        let evaluator = Evaluator(policy)
        let input = PreparedInput(
            try RegoValue(json: #"{"host": "a.com", "user": "u", "method": "GET", "path": "/b"}"#))
        for _ in 0..<3 { #expect(try evaluator.evaluate(entry, input: input, time: 0).boolean == true) }
        let before = allocation_count()
        for _ in 0..<100 { _ = try evaluator.evaluate(entry, input: input, time: 0).boolean }
        let after = allocation_count()
        #expect(after - before == 0)
    }
}
