import Foundation
import Identity
import PacketHeaders
import Policy
import Testing

@testable import PolicySources

@Suite struct LoadedPolicyTests {
    private let input = {
        var input = PolicyInput(
            time: 0, stage: .hello, agent: Agent(id: "a", labels: [:], selectors: []), address: IPAddress(v4: 1),
            port: 443,
            transport: .tcp)
        input.host = "a.example"
        return input
    }()

    private let policy = "package sallyport.egress\ndecision := {\"allow\": input.destination.host in data.names}\n"

    private func problems(_ directory: TemporaryDirectory) -> [String] {
        do throws(PolicyLoadError) {
            _ = try LoadedPolicy.load(directory.path)
            return []
        } catch {
            return error.problems.map { $0.description.replacingOccurrences(of: directory.path, with: "P") }
        }
    }

    @Test("loads modules and data; tests are not in force")
    func loads() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try directory.write(policy, to: "egress.rego")
        try directory.write("names: [a.example]", to: "data.yaml")
        try directory.write("package broken\np := ", to: "egress_test.rego")
        let engine = try LoadedPolicy.load(directory.path).engine
        #expect(engine.makeSession().decide(input).allow)
        #expect(engine.revision.count == 12)
        #expect(engine.revision == (try LoadedPolicy.load(directory.path).engine.revision))
        try directory.write("names: [b.example]", to: "data.yaml")
        let changed = try LoadedPolicy.load(directory.path).engine
        #expect(changed.revision != engine.revision)
        #expect(!changed.makeSession().decide(input).allow)
    }

    @Test("says file, line and why")
    func errors() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try directory.write("package sallyport.egress\n\nallow if nosuch(input.x)\n", to: "a.rego")
        #expect(problems(directory).first?.hasPrefix("P/a.rego:3: ") == true)
        try directory.write("package sallyport.egress\nallow if {", to: "a.rego")
        #expect(problems(directory).first?.hasPrefix("P/a.rego:2: ") == true)
        try directory.write("package other\nallow if true", to: "a.rego")
        #expect(problems(directory).first?.hasPrefix("P: no rule data.sallyport.egress.decision (define it") == true)
        try directory.write(policy, to: "a.rego")
        try directory.write("a: [", to: "data.yaml")
        #expect(problems(directory).first?.hasPrefix("P/data.yaml:2: not valid YAML") == true)
        try directory.write("a: 1", to: "data.yaml")
        #expect(problems(directory) == [])
    }

    @Test("a policy that does not load leaves the last good one in force")
    func reload() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let store = PolicyStore()
        let reader = store.makeReader()
        try directory.write(policy, to: "egress.rego")
        try directory.write("names: [a.example]", to: "data.yaml")
        let revision = try store.reload(directory.path, package: "sallyport.egress")
        #expect(reader.refresh())
        #expect(reader.session.decide(input).allow)
        try directory.write("package sallyport.egress\nallow if", to: "egress.rego")
        #expect(throws: PolicyLoadError.self) { try store.reload(directory.path, package: "sallyport.egress") }
        #expect(!reader.refresh())
        #expect(store.engine.revision == revision)
        #expect(reader.session.decide(input).allow)
    }
}

@Suite struct PolicyTestRunnerTests {
    private func run(_ tests: String) throws -> [PolicyTestResult] {
        let directory = PolicyDirectory(
            path: "p",
            files: [
                .init(name: "a.rego", bytes: Array("package a\nallow if input.x == data.x".utf8)),
                .init(name: "data.yaml", bytes: Array("x: 1".utf8)),
                .init(name: "a_test.rego", bytes: Array(("package a_test\nimport data.a\n" + tests).utf8)),
            ])
        return try PolicyTestRunner(directory).run(time: 0)
    }

    @Test("a test passes if its rule is true, and else says why not")
    func outcomes() throws {
        let results = try run(
            """
            test_allowed if a.allow with input as {"x": 1}
            test_refused if a.allow with input as {"x": 2}
            test_number := 5
            test_data if a.allow with input as {"x": 7} with data.x as 7
            test_error if to_number("x") == 1
            todo_test_later if false
            helper := true
            """)
        let found: [String: PolicyTestResult.Outcome] = results.reduce(into: [:]) { all, result in
            all[String(result.name.dropFirst("data.a_test.".count))] = result.outcome
        }
        #expect(found.count == 6)
        #expect(found["test_allowed"] == .passed)
        #expect(found["test_data"] == .passed)
        #expect(found["test_number"] == .failed("is 5, not true"))
        #expect(found["test_refused"] == .failed("is undefined: one of its conditions does not hold"))
        #expect(found["todo_test_later"] == .skipped)
        guard case .failed(let why)? = found["test_error"] else {
            Issue.record("an error passed")
            return
        }
        #expect(why.hasPrefix("p/a_test.rego:7: eval_builtin_error: "))
    }

    @Test("the policy that is installed loads and passes its tests")
    func installed() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let directory = try PolicyDirectory.read(root.appendingPathComponent("policies").path)
        #expect(throws: Never.self) { try LoadedPolicy.compile(directory, package: "sallyport.egress") }
        let results = try PolicyTestRunner(directory).run(time: 1_767_225_600_000_000_000)
        #expect(results.count >= 27)
        for result in results { #expect(result.outcome == .passed, "\(result.name)") }
    }
}
