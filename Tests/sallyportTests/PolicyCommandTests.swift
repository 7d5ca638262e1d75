import Glibc
import Testing

@testable import sallyport

@Suite("sallyport policy")
struct PolicyCommandTests {
    private static let shipped =
        String(#filePath.dropLast("Tests/sallyportTests/PolicyCommandTests.swift".count))
        + "policies"
    private static let good = """
        package sallyport.egress
        decision := {"allow": input.destination.host == "good.test", "reason": "as listed", "rule": "list"}
        """
    private static let input = #"""
        {"time":"2026-01-01T00:00:00Z","stage":"hello","agent":{"id":"bot"},"destination":{"host":"HOST","host_source":"sni","address":"198.18.0.1","port":443,"transport":"tcp"}}
        """#

    @Test("finds the shipped policy good, and its tests pass")
    func shippedPolicy() async throws {
        let check = try await Program.run("policy check \(Self.shipped)")
        #expect(check.status == 0)
        #expect(check.output.hasPrefix("\(Self.shipped): good, revision "))
        let test = try await Program.run("policy test \(Self.shipped)")
        #expect(test.status == 0)
        #expect(test.output.firstMatch(of: /^PASS: (\d+)\/\1\n$/) != nil)
    }

    // MARK: check

    @Test("says file, line, column and why of a policy that does not compile, and of tests that do not")
    func broken() async throws {
        try await withPolicy(["a.rego": "package sallyport.egress\ndecision := {\n"]) { directory in
            for command in ["check", "test"] {
                let result = try await Program.run("policy \(command) \(directory)")
                #expect(result.status == 1)
                #expect(result.complaint.hasPrefix("sallyport: \(directory)/a.rego:3:"))
            }
        }
        try await withPolicy(["a.rego": Self.good, "a_test.rego": "package x\ntest_a if {"]) { directory in
            let result = try await Program.run("policy check \(directory)")
            #expect(result.status == 1)
            #expect(result.complaint.contains("a_test.rego:2:"))
        }
    }

    @Test("finds a key that the input never has, shows the line and says what may be meant")
    func schema() async throws {
        let module = "package sallyport.egress\n\nallow if {\n\tinput.destination.hots == \"a\"\n}\n"
        try await withPolicy(["a.rego": module]) { directory in
            let result = try await Program.run("policy check \(directory)")
            #expect(result.status == 1)
            #expect(result.output == "")
            #expect(
                result.complaint == """
                    sallyport: \(directory)/a.rego:4:20: rego_type_error: undefined ref: input.destination.hots (did you mean input.destination.host?)
                    sallyport:   4 |  input.destination.hots == "a"
                    sallyport:     |                    ^^^^

                    """)
            let json = try await Program.run("policy check \(directory) --format json")
            #expect(json.status == 1)
            for part in [
                "\"errors\"", "\"code\": \"rego_type_error\"", "\"row\": 4",
                "\"suggestion\": \"input.destination.host\"",
            ] {
                #expect(json.output.contains(part), "\(part)")
            }
            #expect(try await Program.run("policy check \(directory) --no-schema").status == 0)
            // One's own schema takes the place of the shipped one.
            let own =
                #"{"type": "object", "properties": {"destination": {"type": "object", "properties": {"hots": {"type": "string"}}}}}"#
            try Self.write(own, to: "\(directory)/own.json")
            #expect(try await Program.run("policy check \(directory) --schema \(directory)/own.json").status == 0)
        }
    }

    @Test("refuses what is not used, with --strict alone; files need no decision")
    func strict() async throws {
        try await withPolicy(["a.rego": "package x\np if {\n\tx := 1\n}\n"]) { directory in
            #expect(try await Program.run("policy check \(directory)/a.rego").status == 0)
            #expect(try await Program.run("policy check \(directory)").complaint.contains("decision"))
            let result = try await Program.run("policy check --strict \(directory)/a.rego")
            #expect(result.status == 1)
            #expect(result.complaint.contains("assigned var x unused"))
        }
    }

    // MARK: test

    private static let tests = """
        package x_test
        test_good if { 1 == 1 }
        test_bad if {
        \tx := 1 + 1
        \tprint("x is", x)
        \tx == 3
        }
        todo_test_later if false
        """

    @Test("prints what opa test prints: failures with what they printed, and the counts")
    func tests() async throws {
        try await withPolicy(["a.rego": Self.good, "a_test.rego": Self.tests]) { directory in
            let result = try await Program.run("policy test \(directory)")
            #expect(result.status == 2)
            let line = String(repeating: "-", count: 80)
            #expect(
                Self.withoutTimes(result.output) == """
                    \(directory)/a_test.rego:3:
                    data.x_test.test_bad: FAIL (T)

                      x is 2

                    \(directory)/a_test.rego:8:
                    data.x_test.todo_test_later: SKIPPED
                    \(line)
                    PASS: 1/3
                    FAIL: 1/3
                    SKIPPED: 1/3

                    """)
            let passing = try await Program.run("policy test \(directory) -r 'test_good$'")
            #expect((passing.status, passing.output) == (0, "PASS: 1/1\n"))
            let skipped = "policy test \(directory) -r later"
            #expect(try await Program.run(skipped).status == 2)
            #expect(try await Program.run(skipped + " -z").status == 0)
            let none = try await Program.run("policy test \(directory) -r nothing")
            #expect(none.status == 1)
            #expect(none.complaint.contains("no tests were run"))
            #expect(try await Program.run("policy test \(directory) -r '('").status == 2)
        }
    }

    @Test("shows with -v each test, and the steps at which one failed")
    func verbose() async throws {
        try await withPolicy(["a.rego": Self.good, "a_test.rego": Self.tests]) { directory in
            let output = Self.withoutTimes(try await Program.run("policy test -v \(directory)").output)
            #expect(output.contains("data.x_test.test_good: PASS (T)\n"))
            let width = "\(directory)/a_test.rego:3".count
            let query = "query:1" + String(repeating: " ", count: width - 7)
            #expect(
                output.contains(
                    """
                    FAILURES
                    \(String(repeating: "-", count: 80))
                    data.x_test.test_bad: FAIL (T)

                      \(query)     Enter data.x_test.test_bad = _
                      \(directory)/a_test.rego:3     | Enter data.x_test.test_bad
                      \(directory)/a_test.rego:6     | | Fail x = 3
                      \(query)     | Fail data.x_test.test_bad = _
                    """))
        }
    }

    @Test("gives tests as JSON, with their places, times and outcomes")
    func testsAsJSON() async throws {
        try await withPolicy(["a.rego": Self.good, "a_test.rego": Self.tests]) { directory in
            let result = try await Program.run("policy test --format json \(directory)")
            #expect(result.status == 2)
            let pick =
                "import json, sys; print([[t['name'], t['package'], t['location']['row'], t.get('fail'), t.get('skip'), t.get('output'), t['duration'] >= 0] for t in json.load(sys.stdin)])"
            let picked = try await blocking {
                try shell("\(Program.path) policy test --format json \(directory) | python3 -c \"\(pick)\"").output
            }
            #expect(
                picked == """
                    [['test_good', 'data.x_test', 2, None, None, None, True], \
                    ['test_bad', 'data.x_test', 3, True, None, 'eCBpcyAyCg==', True], \
                    ['todo_test_later', 'data.x_test', 8, None, True, None, True]]

                    """)
        }
    }

    @Test("gives the coverage of passing tests, and fails below the threshold")
    func coverage() async throws {
        let tests = "package x_test\nimport data.x\ntest_p if x.p with input as {\"a\": 1}\n"
        let module = "package x\np if {\n\tinput.a == 1\n}\nq if {\n\tinput.b\n}\n"
        try await withPolicy(["a.rego": module, "a_test.rego": tests]) { directory in
            let pick =
                "import json, sys; r = json.load(sys.stdin); print(r['covered_lines'], r['not_covered_lines'], [c['start'] for c in r['files']['\(directory)/a.rego']['not_covered']])"
            let picked = try await blocking {
                try shell("\(Program.path) policy test --coverage \(directory) | python3 -c \"\(pick)\"").output
            }
            #expect(picked == "3 2 [{'col': 1, 'row': 5}, {'col': 2, 'row': 6}]\n")
            let good = try await Program.run("policy test --threshold 60 \(directory)")
            #expect(good.status == 0)
            let bad = try await Program.run("policy test --threshold 90.5 -v \(directory)")
            #expect((bad.status, bad.output) == (2, ""))
            #expect(
                bad.complaint == """
                    sallyport: Code coverage threshold not met: got 60.00 instead of 90.50
                    sallyport: Lines not covered:
                    sallyport:   \(directory)/a.rego:5-6

                    """)
            #expect(try await Program.run("policy test --threshold 101 \(directory)").status == 2)
        }
        try await withPolicy(["a.rego": Self.good, "a_test.rego": Self.tests]) { directory in
            let result = try await Program.run("policy test --coverage \(directory)")
            #expect(result.status == 1)
            #expect(result.output.contains("data.x_test.test_bad: FAIL"))
        }
    }

    // MARK: eval

    @Test("answers a query as opa eval does, with bindings, errors and exit status")
    func eval() async throws {
        let module = "package x\nallow if input.user in data.users\nprinted := 1 if { print(\"hello\", input.user) }\n"
        try await withPolicy(["a.rego": module, "d.yaml": "users: [alice]", "in.json": #"{"user": "alice"}"#]) {
            directory in
            let given = "policy eval -d \(directory)/a.rego -d \(directory)/d.yaml -i \(directory)/in.json"
            let allowed = try await Program.run("\(given) 'data.x.allow; u := input.user'")
            #expect(allowed.status == 0)
            #expect(
                allowed.output == """
                    {
                      "result": [
                        {
                          "bindings": {
                            "u": "alice"
                          },
                          "expressions": [
                            {
                              "location": {
                                "col": 1,
                                "row": 1
                              },
                              "text": "data.x.allow",
                              "value": true
                            },
                            {
                              "location": {
                                "col": 15,
                                "row": 1
                              },
                              "text": "u := input.user",
                              "value": true
                            }
                          ]
                        }
                      ]
                    }

                    """)
            let printed = try await Program.run("\(given) --format pretty data.x.printed")
            #expect((printed.status, printed.output, printed.complaint) == (0, "1\n", "hello alice\n"))
            for (options, query, status, output) in [
                ("", "data.x.nothing", Int32(0), "{}\n"), ("--fail", "data.x.nothing", 1, "{}\n"),
                ("--fail-defined", "data.x.nothing", 0, "{}\n"),
                ("-f pretty --fail-defined", "data.x.allow", 1, "true\n"),
                ("-f pretty --fail", "data.x.allow", 0, "true\n"), ("-f pretty", "data.x.nothing", 0, "undefined\n"),
                ("-f pretty --package x", "allow", 0, "true\n"),
                ("-f pretty --import data.users", "'users[0]'", 0, "\"alice\"\n"),
            ] {
                let result = try await Program.run("\(given) \(options) \(query)")
                #expect((result.status, result.output) == (status, output), "\(options) \(query)")
            }
        }
    }

    @Test("gives errors as JSON on standard output, or as OPA's text on standard error, and exits with 2")
    func evalErrors() async throws {
        let result = try await Program.run("policy eval '1 +'")
        #expect(result.status == 2)
        for part in ["\"errors\": [", "\"code\": \"rego_parse_error\"", "\"row\": 1", "\"message\": "] {
            #expect(result.output.contains(part), "\(part)")
        }
        let pretty = try await Program.run("policy eval --format pretty --strict-builtin-errors 'to_number(\"x\")'")
        #expect((pretty.status, pretty.output) == (2, ""))
        #expect(pretty.complaint.hasPrefix("1 error occurred: 1:1: eval_builtin_error: to_number: "))
        #expect(try await Program.run("policy eval -f pretty 'to_number(\"x\")'").output == "undefined\n")
        let missing = try await Program.run("policy eval -d /nonexistent true")
        #expect(missing.status == 2)
        #expect(missing.output.contains("\"message\": \"/nonexistent: cannot be read: "))
        #expect(try await Program.run("policy eval -i /nonexistent true").status == 2)
    }

    @Test("shows answers as a table, the steps, the profile and the coverage")
    func evalPretty() async throws {
        #expect(
            try await Program.run("policy eval -f pretty 'x := [1, 2][_]; y := \"a\"; x + 1'").output == """
                ┌───┬─────┬───────┐
                │ x │  y  │ x + 1 │
                ├───┼─────┼───────┤
                │ 1 │ "a" │ 2     │
                │ 2 │ "a" │ 3     │
                └───┴─────┴───────┘

                """)
        try await withPolicy(["a.rego": "package x\np if {\n\ttrace(\"here\")\n\tinput.a == 1\n}\n"]) { directory in
            let asked = "policy eval -d \(directory)/a.rego -f pretty data.x.p"
            let fails = try await Program.run("\(asked) --explain fails").output
            #expect(fails.contains("\(directory)/a.rego:4     | | Fail input.a = 1\n"))
            #expect(!fails.contains("Eval"))
            #expect(try await Program.run("\(asked) --explain full").output.contains("| | Eval input.a = 1\n"))
            let notes = try await Program.run("\(asked) --explain notes").output
            #expect(notes.hasSuffix("| | Note \"here\"\nundefined\n"))
            let counted = try await Program.run("\(asked) --profile --coverage").output
            #expect(counted.contains(" Num Eval │ Num Redo │ Num Gen Expr │ "))
            #expect(counted.contains("│ 1        │ 0        │ 1            │ \(directory)/a.rego:4"))
            #expect(counted.contains("│ Overall Coverage │ 66.67 │"))
            let json = try await Program.run(
                "policy eval -d \(directory)/a.rego data.x.p --explain notes --profile --coverage")
            for part in [
                "\"explanation\": [", "\"Op\": \"Note\"", "\"Message\": \"here\"", "\"profile\": [", "\"num_eval\": ",
                "\"not_covered_lines\": 1",
            ] {
                #expect(json.output.contains(part), "\(part)")
            }
        }
    }

    // MARK: decide

    @Test("decides on an input, and says by its exit status what")
    func decide() async throws {
        try await withPolicy(["a.rego": Self.good]) { directory in
            let allowed = try await decide("good.test", directory)
            #expect(allowed.status == 0)
            #expect(allowed.output == "allow (rule list, as listed)\n")
            let denied = try await decide("bad.test", directory, "--json")
            #expect(denied.status == 1)
            #expect(denied.output.contains(#""policy_reason" : "as listed""#))
        }
    }

    @Test("answers with 2 where the directory or the input cannot be used")
    func badInput() async throws {
        #expect(try await Program.run("policy check /nonexistent").status == 2)
        #expect(try await Program.run("policy test /nonexistent").status == 2)
        try await withPolicy(["a.rego": Self.good, "in.json": #"{"stage":"hello"}"#, "no.json": "{"]) { directory in
            for file in ["in.json", "no.json", "missing.json"] {
                let result = try await Program.run("policy decide \(directory) --input \(directory)/\(file)")
                #expect(result.status == 2)
                #expect(result.complaint.hasPrefix("sallyport: \(directory)/\(file): "))
                #expect(result.output == "")
            }
        }
    }

    @Test(
        "writes durations as Go does",
        arguments: [
            (0, "0ns"), (999, "999ns"), (1000, "1µs"), (12_500, "12.5µs"), (1_000_001, "1.000001ms"),
            (2_000_000_000, "2s"), (62_500_000_000, "1m2.5s"), (3_600_000_000_000, "1h0m0s"),
        ])
    func durations(_ nanoseconds: Int, _ text: String) {
        #expect(GoDuration.text(nanoseconds) == text)
    }

    private func decide(_ host: String, _ directory: String, _ options: String = "") async throws -> Program.Result {
        let input = Self.input.replacing("HOST", with: host)
        return try await Program.run("policy decide \(directory) \(options) --input - <<'END'\n\(input)\nEND\n")
    }

    private static func withoutTimes(_ text: String) -> String {
        text.replacing(/\([0-9.]+(ns|µs|ms|s)\)/, with: "(T)")
    }

    private static func write(_ text: String, to path: String) throws {
        guard let file = fopen(path, "w") else { throw TestFailure("fopen \(path)") }
        fputs(text, file)
        fclose(file)
    }

    private func withPolicy(_ files: [String: String], _ body: (String) async throws -> Void) async throws {
        let directory = try temporaryDirectory()
        defer { _ = try? shell("rm -rf \(directory)") }
        for (name, text) in files {
            try Self.write(text, to: directory + "/" + name)
        }
        try await body(directory)
    }
}
