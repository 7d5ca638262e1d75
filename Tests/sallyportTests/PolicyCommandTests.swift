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
        #expect(test.output.hasSuffix(" passed, 0 failed, 0 skipped\n"))
    }

    @Test("says file, line and why of a policy that does not compile, and of tests that do not")
    func broken() async throws {
        try await withPolicy(["a.rego": "package sallyport.egress\ndecision := {\n"]) { directory in
            for command in ["check", "test"] {
                let result = try await Program.run("policy \(command) \(directory)")
                #expect(result.status == 1)
                #expect(result.complaint.hasPrefix("sallyport: \(directory)/a.rego:3: "))
            }
        }
        try await withPolicy(["a.rego": Self.good, "a_test.rego": "package x\ntest_a if {"]) { directory in
            let result = try await Program.run("policy check \(directory)")
            #expect(result.status == 1)
            #expect(result.complaint.contains("a_test.rego:2: "))
        }
    }

    @Test("tells failing tests from passing ones, and a policy without tests from one that passes")
    func tests() async throws {
        let tests = "package x\ntest_good if { 1 == 1 }\ntest_bad if { 1 == 2 }\n"
        try await withPolicy(["a.rego": Self.good, "a_test.rego": tests]) { directory in
            let result = try await Program.run("policy test \(directory)")
            #expect(result.status == 1)
            #expect(result.output.contains("failed   data.x.test_bad: "))
            #expect(result.output.contains("passed   data.x.test_good\n"))
            #expect(result.output.hasSuffix("1 passed, 1 failed, 0 skipped\n"))
        }
        try await withPolicy(["a.rego": Self.good]) { directory in
            let result = try await Program.run("policy test \(directory)")
            #expect(result.status == 1)
            #expect(result.complaint.contains("no tests"))
        }
    }

    @Test("decides on an input, and says by its exit status what")
    func eval() async throws {
        try await withPolicy(["a.rego": Self.good]) { directory in
            let allowed = try await eval("good.test", directory)
            #expect(allowed.status == 0)
            #expect(allowed.output == "allow (rule list, as listed)\n")
            let denied = try await eval("bad.test", directory, "--json")
            #expect(denied.status == 1)
            #expect(denied.output.contains(#""policy_reason" : "as listed""#))
        }
    }

    @Test("answers with 2 where the directory or the input cannot be used")
    func badInput() async throws {
        #expect(try await Program.run("policy check /nonexistent").status == 2)
        try await withPolicy(["a.rego": Self.good, "in.json": #"{"stage":"hello"}"#, "no.json": "{"]) { directory in
            for file in ["in.json", "no.json", "missing.json"] {
                let result = try await Program.run("policy eval \(directory) --input \(directory)/\(file)")
                #expect(result.status == 2)
                #expect(result.complaint.hasPrefix("sallyport: \(directory)/\(file): "))
                #expect(result.output == "")
            }
        }
    }

    private func eval(_ host: String, _ directory: String, _ options: String = "") async throws -> Program.Result {
        let input = Self.input.replacing("HOST", with: host)
        return try await Program.run("policy eval \(directory) \(options) --input - <<'END'\n\(input)\nEND\n")
    }

    private func withPolicy(_ files: [String: String], _ body: (String) async throws -> Void) async throws {
        let directory = try temporaryDirectory()
        defer { _ = try? shell("rm -rf \(directory)") }
        for (name, text) in files {
            guard let file = fopen(directory + "/" + name, "w") else { throw TestFailure("fopen \(name)") }
            fputs(text, file)
            fclose(file)
        }
        try await body(directory)
    }
}
