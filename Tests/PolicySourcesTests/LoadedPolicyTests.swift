import Foundation
import Identity
import PacketHeaders
import Policy
import Rego
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

@Suite struct InstalledPolicyTests {
    @Test("the policy that is installed loads, fits the input's schema and passes its tests")
    func installed() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let path = root.appendingPathComponent("policies").path
        let directory = try PolicyDirectory.read(path)
        #expect(throws: Never.self) { try LoadedPolicy.compile(directory, package: "sallyport.egress") }
        let files = try PolicyFiles([path], layout: .bundle)
        var options = CompileOptions()
        options.inputSchema = try PolicySchemas.input()
        var limits = RegoLimits()
        limits.strictBuiltinErrors = true
        let runner = try RegoTestRunner(modules: files.modules, data: files.data, limits: limits, options: options)
        let reports = try runner.run(time: 1_767_225_600_000_000_000)
        #expect(reports.count >= 27)
        for report in reports { #expect(report.outcome == .passed, "\(report.name)") }
    }

    @Test("a key that the input never has is found in a policy")
    func misspelt() throws {
        var options = CompileOptions()
        options.inputSchema = try PolicySchemas.input()
        let module = "package sallyport.egress\nallow if input.destination.hostname == \"a\""
        let error = #expect(throws: RegoErrors.self) {
            try CompiledPolicy(modules: [("egress.rego", module)], options: options)
        }
        #expect(error?.errors.first?.message == "undefined ref: input.destination.hostname")
    }
}

@Suite struct PolicyFilesTests {
    @Test("takes files and directories: all data or a bundle's, below prefixes and directories")
    func layouts() throws {
        let directory = try TemporaryDirectory()
        try directory.write("package a", to: "a.rego")
        try directory.write("{\"u\": 1}", to: "users/list.json")
        try directory.write("t: 2", to: "teams/data.yaml")
        try directory.write("nothing", to: "notes.txt")
        let path = directory.path
        let loose = try PolicyFiles([path], layout: .loose)
        #expect(loose.modules.map(\.name) == [path + "/a.rego"])
        #expect(loose.data.json == #"{"teams":{"t":2},"users":{"u":1}}"#)
        #expect(try PolicyFiles([path + "/"], layout: .bundle).data.json == #"{"teams":{"t":2}}"#)
        let single = try PolicyFiles(
            [path + "/a.rego", "x.y:\(path)/users/list.json", path + "/a.rego"], layout: .bundle)
        #expect(single.modules.count == 1)
        #expect(single.data.json == #"{"x":{"y":{"u":1}}}"#)
    }

    @Test("says what cannot be read or used")
    func refused() throws {
        let directory = try TemporaryDirectory()
        try directory.write("nothing", to: "notes.txt")
        try directory.write("[1]", to: "list.json")
        for name in ["notes.txt", "list.json", "missing.rego"] {
            let error = #expect(throws: PolicyLoadError.self) {
                try PolicyFiles([directory.path + "/" + name], layout: .loose)
            }
            #expect(error?.problems.first?.file == directory.path + "/" + name)
        }
    }

    @Test("reads one schema, or those of a directory by their names")
    func schemas() throws {
        let directory = try TemporaryDirectory()
        try directory.write("{\"type\": \"string\"}", to: "input.json")
        try directory.write("{\"type\": \"string\"}", to: "corp/users.json")
        #expect(try PolicySchemas.read(directory.path).keys.sorted() == ["corp.users", "input"])
        #expect(try PolicySchemas.read(directory.path + "/corp/users.json").keys.sorted() == ["input"])
        try directory.write("5", to: "bad.json")
        #expect(throws: PolicyLoadError.self) { try PolicySchemas.read(directory.path) }
        #expect(throws: PolicyLoadError.self) { try PolicySchemas.read(directory.path + "/none") }
    }
}
