import Foundation
import PacketHeaders
import Testing

@testable import Configuration

@Suite("names")
struct NamesTests {
    private func parse(_ text: String) throws -> Configuration {
        try Configuration.parse("agents: []\n" + text, file: "f", host: testHost)
    }

    private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    @Test("answers are watched where there is a resolver or a binding, unless dns is off")
    func watching() throws {
        #expect(try !parse("").watchesNames)
        #expect(try parse("resolvers: 198.18.0.53").watchesNames)
        #expect(try parse("bindings: [{ host: a.test, addresses: 198.18.0.1 }]").watchesNames)
        #expect(try !parse("resolvers: 198.18.0.53\ndns: off").watchesNames)
        #expect(try parse("dns: { floor_seconds: 0, grace_seconds: 5 }").dns.graceSeconds == 5)
    }

    @Test("a binding's name is normalised")
    func bindings() throws {
        let found = try parse("bindings: [{ host: DB.Example., addresses: [198.18.0.1, fd00::1] }]").bindings
        #expect(found == [.init(host: "db.example", addresses: [try address("198.18.0.1"), try address("fd00::1")])])
    }

    @Test("a hosts file counts as bindings")
    func hostsFile() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("hosts-\(UUID())").path
        try "127.0.0.1 localhost\n# none\n198.18.0.9\tDB.test db # its short name\nnonsense here\n::1 \n"
            .write(toFile: path, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let found = try parse("dns: { hosts_file: \(path) }").bindings
        #expect(found.map(\.host) == ["localhost", "db.test", "db"])
        #expect(found.last?.addresses == [try address("198.18.0.9")])
    }

    @Test(
        "what is wrong is said with its place",
        arguments: [
            ("dns: on", "2: dns: \"on\" is neither off nor a mapping of settings"),
            ("dns: { grace: 5 }", "2: dns.grace: unknown key"),
            ("dns: { hosts_file: /nonexistent/hosts }", "2: dns.hosts_file: /nonexistent/hosts cannot be read"),
            ("bindings: [{ host: a.test }]", "2: bindings[0]: the key addresses is missing"),
            ("bindings: [{ host: a.test, addresses: [] }]", "2: bindings[0].addresses: an empty list leads nowhere"),
            ("bindings: [{ host: 'a b', addresses: 198.18.0.1 }]", "2: bindings[0].host: \"a b\" is no host name"),
        ])
    func wrong(text: String, problem: String) {
        let error = #expect(throws: ConfigurationError.self) { try parse(text) }
        #expect(
            error?.problems.contains { "\($0)".contains(problem) } == true, "\(String(describing: error?.problems))")
    }
}
