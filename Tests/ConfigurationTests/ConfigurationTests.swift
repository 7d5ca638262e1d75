import Identity
import PacketHeaders
import Testing

@testable import Configuration

/// A host with one user.
let testHost = Host(uid: { ["bot": 1001, "root": 0][$0] }, processorCount: 8)

@Suite struct ConfigurationTests {
    /// The problems of `text`, without the file's name.
    private func problems(_ text: String) -> [String] {
        do throws(ConfigurationError) {
            _ = try Configuration.parse(text, file: "f", host: testHost)
            return []
        } catch {
            return error.problems.map { String($0.description.dropFirst(2)) }
        }
    }

    @Test("reads every key")
    func everything() throws {
        let read = try Configuration.parse(
            """
            slice: agents.slice
            agents:
              - id: research-bot
                labels: { team: growth, "tier": "1" }
                unit: research-bot.service
                cgroup: [/custom/path, /other]
                uid: [1002, bot]
                interface: veth-bot
                source: [198.18.5.0/24, "fd00:5::/64", fd00::1]
              - id: second
            listen:
              - { agent: research-bot, port: 8080, transport: udp, source: [198.18.0.0/24] }
              - { agent: second, port: 1, source: 0.0.0.0/0 }
            resolvers: [198.18.0.1, "fd00::53", fd00::54]
            queues: { base: 100, count: 3, length: 1024 }
            mark: { mask: 0xf0 }
            policy: { directory: /p, package: a.b_c }
            limits: { flows: 2000, held_milliseconds: 200, hello_bytes: 5000 }
            log: { socket: /j, ring: 2048 }
            control: { socket: /c }
            deny: drop
            """, file: "f", host: testHost)
        var expected = Configuration()
        expected.slice = "agents.slice"
        func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }
        expected.agents = [
            Agent(
                id: "research-bot", labels: ["team": "growth", "tier": "1"],
                selectors: [
                    .cgroup(path: "/custom/path"), .cgroup(path: "/other"), .unit(name: "research-bot.service"),
                    .uid(1002), .uid(1001), .interface(name: "veth-bot"), .source(try prefix("198.18.5.0/24")),
                    .source(try prefix("fd00:5::/64")), .source(try prefix("fd00::1/128")),
                ]),
            Agent(id: "second", labels: [:], selectors: []),
        ]
        expected.listen = [
            ListenRule(agent: "research-bot", port: 8080, transport: .udp, sources: [try prefix("198.18.0.0/24")]),
            ListenRule(agent: "second", port: 1, transport: .tcp, sources: [try prefix("0.0.0.0/0")]),
        ]
        expected.resolvers = ["198.18.0.1", "fd00::53", "fd00::54"].compactMap { IPAddress($0) }
        expected.queues.base = 100
        expected.queues.count = 3
        expected.queues.length = 1024
        expected.mark = try #require(MarkBits(mask: 0xF0))
        expected.policy.directory = "/p"
        expected.policy.package = "a.b_c"
        expected.limits.flows = 2000
        expected.limits.heldMilliseconds = 200
        expected.limits.helloBytes = 5000
        expected.log.socket = "/j"
        expected.log.ring = 2048
        expected.control.socket = "/c"
        expected.deny = .drop
        #expect(read == expected)
        #expect(read.queues.tcp == 100..<103)
        #expect(read.queues.udp == 103..<106)
        #expect(throws: Never.self) { try read.agentTable() }
    }

    @Test("absent keys have the documented defaults; a thread a processor, at most four")
    func defaults() throws {
        let read = try Configuration.parse("agents: []\n", file: "f", host: testHost)
        var expected = Configuration()
        expected.queues.count = 4
        #expect(read == expected)
        #expect(read.mark.mask == 0x0F00_0000)
        #expect(
            [read.mark.confined, read.mark.allowed, read.mark.refused, read.mark.inject]
                == [0x0100_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000])
        let small = Host(uid: { _ in nil }, processorCount: 0)
        #expect(try Configuration.parse("agents: []", file: "f", host: small).queues.count == 1)
    }

    @Test("the example that is installed loads and shows the defaults")
    func example() throws {
        let path = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        var read = try Configuration.load(path: "/\(path)/configuration/sallyport.yaml", host: testHost)
        #expect(read.agents.map(\.id) == ["research-bot"])
        read.agents = []
        #expect(read == (try Configuration.parse("agents: []", file: "f", host: testHost)))
    }

    @Test(
        "says line, key, what is wrong and what to do",
        arguments: [
            ("agents:\n - id: a\n   uuid: 5", ["3: agents[0].uuid: unknown key (did you mean uid?)"]),
            (
                "agents: []\nfrobnicate: 1",
                [
                    "2: frobnicate: unknown key (known keys: slice, agents, customers, agent_tokens, listen, resolvers, dns, bindings, "
                        + "queues, mark, policy, limits, log, control, deny)"
                ]
            ),
            (
                "queus: {}",
                [
                    "1: queus: unknown key (did you mean queues?)",
                    "1: the key agents is missing (list the agents, or write agents: [] to confine without knowing any)",
                ]
            ),
            ("agents: []\nagents: []", ["1: the key agents is given twice in one mapping (remove one)"]),
            ("agents: 5", ["1: agents: expected a list of agents, found the value \"5\""]),
            (
                "agents:\n- 5",
                [
                    "2: agents[0]: expected a mapping with the keys id, labels, unit, cgroup, uid, interface, source, "
                        + "found the value \"5\""
                ]
            ),
            ("agents:\n - labels: {}", ["2: agents[0]: the key id is missing (give the agent a name)"]),
            ("agents:\n - id: a b", ["2: agents[0].id: \"a b\" is no agent's name (1 to 64 of A-Z a-z 0-9 . _ -)"]),
            (
                "agents:\n - id: 007",
                [
                    "2: agents[0].id: expected an agent's name, found the value \"007\", which YAML takes for something other "
                        + "than text (put it in quotes)"
                ]
            ),
            (
                "agents:\n - id: a\n - id: a",
                ["3: agents[1].id: a second agent a, the first is in line 2 (give each its own id)"]
            ),
            (
                "agents:\n - id: a\n   labels: {x: true}",
                [
                    "3: agents[0].labels.x: expected text, found the value \"true\", which YAML takes for something other than "
                        + "text (put it in quotes)"
                ]
            ),
            (
                "agents:\n - id: a\n   uid: [5]\n - id: b\n   uid: 5",
                [
                    "5: agents[1].uid: uid 5 already names agent a, line 3 (it can name one only)"
                ]
            ),
            (
                "agents:\n - id: a\n   uid: bot\n - id: b\n   uid: 1001",
                [
                    "5: agents[1].uid: uid 1001 already names agent a, line 3 (it can name one only)"
                ]
            ),
            ("agents:\n - id: a\n   uid: [5, 5]", ["3: agents[0].uid[1]: uid 5 is listed twice (remove one)"]),
            (
                "agents:\n - id: a\n   uid: root",
                [
                    "3: agents[0].uid: uid 0 is root: this would confine the host itself (run the agent as a user of its own)"
                ]
            ),
            (
                "agents:\n - id: a\n   uid: ghost",
                [
                    "3: agents[0].uid: there is no user \"ghost\" on this host (create it first, or give its number)"
                ]
            ),
            ("agents:\n - id: a\n   uid: 4294967295", ["3: agents[0].uid: \"4294967295\" is no uid (0 to 4294967294)"]),
            (
                "agents:\n - id: a\n   cgroup: /",
                [
                    "3: agents[0].cgroup: the root cgroup is the whole host (name the cgroup of the agent)"
                ]
            ),
            (
                "agents:\n - id: a\n   cgroup: /x/../y",
                [
                    "3: agents[0].cgroup: \"/x/../y\" is no cgroup path (from the root of the v2 hierarchy, without empty parts, "
                        + ". or ..)"
                ]
            ),
            (
                "agents:\n - id: a\n - id: b\n   cgroup: /sallyport.slice/sallyport-a.slice",
                [
                    "4: agents[1].cgroup: cgroup /sallyport.slice/sallyport-a.slice already names agent a, line 2 (it can name "
                        + "one only)"
                ]
            ),
            (
                "agents:\n - id: a\n   unit: a.socket",
                [
                    "3: agents[0].unit: \"a.socket\" is no unit that holds processes (such as bot.service, bot@1.service or "
                        + "bot.slice)"
                ]
            ),
            (
                "agents:\n - id: a\n   interface: lo",
                [
                    "3: agents[0].interface: lo is the host's own loopback: this would confine the host itself"
                ]
            ),
            (
                "agents:\n - id: a\n   interface: a-very-long-name",
                [
                    "3: agents[0].interface: \"a-very-long-name\" is no interface name (1 to 15 bytes, no space, / or :)"
                ]
            ),
            (
                "agents:\n - id: a\n   source: 10.0.0.1/8",
                [
                    "3: agents[0].source: \"10.0.0.1/8\" has bits behind its prefix length (write 10.0.0.0/8)"
                ]
            ),
            (
                "agents:\n - id: a\n   source: [x]",
                [
                    "3: agents[0].source[0]: \"x\" is no address prefix (such as 198.18.5.0/24 or fd00:5::/64)"
                ]
            ),
            (
                "agents:\n - id: a\n   source: 0.0.0.0/0",
                [
                    "3: agents[0].source: 0.0.0.0/0 holds the host's own addresses (127.0.0.0/8): this would confine the host "
                        + "itself"
                ]
            ),
            (
                "agents:\n - id: a\n   source: \"::1\"",
                [
                    "3: agents[0].source: ::1/128 holds the host's own addresses (::1/128): this would confine the host itself"
                ]
            ),
            (
                "agents: []\nlisten: [{agent: a, port: 1, source: 10.0.0.0/8}]",
                [
                    "2: listen[0].agent: there is no agent \"a\" (list it under agents)"
                ]
            ),
            (
                "agents: [{id: a}]\nlisten: [{agent: a, port: 70000, source: 10.0.0.0/8}]",
                [
                    "2: listen[0].port: 70000 is out of range (a whole number from 1 to 65535)"
                ]
            ),
            (
                "agents: [{id: a}]\nlisten: [{agent: a, port: 80}]",
                [
                    "2: listen[0]: the key source is missing (a rule says which agent, which port and from where)"
                ]
            ),
            (
                "agents: [{id: a}]\nlisten: [{agent: a, port: 80, source: []}]",
                [
                    "2: listen[0].source: an empty list lets nobody in (list prefixes, or remove the rule)"
                ]
            ),
            (
                "agents: [{id: a}]\nlisten: [{agent: a, port: 80, source: 10.0.0.0/8, transport: tpc}]",
                [
                    "2: listen[0].transport: unknown value \"tpc\" (did you mean tcp?)"
                ]
            ),
            (
                "agents: []\nresolvers: [dns.example]",
                [
                    "2: resolvers[0]: \"dns.example\" is not an IPv4 or IPv6 address"
                ]
            ),
            (
                "agents: []\nqueues: { base: 65530, count: 4 }",
                [
                    "2: queues: 4 threads need the queues 65530 to 65537, and 65535 is the last (lower base or count)"
                ]
            ),
            (
                "agents: []\nqueues: { count: 010 }",
                [
                    "2: queues.count: expected a whole number from 1 to 64, found the value \"010\""
                ]
            ),
            (
                "agents: []\nmark: { mask: 0x0f0f0000 }",
                [
                    "2: mark.mask: 0xf0f0000 is not four neighbouring bits (such as 0x0f000000)"
                ]
            ),
            (
                "agents: []\nmark: { mask: 0x80000007 }",
                [
                    "2: mark.mask: 0x80000007 is not four neighbouring bits (such as 0x0f000000)"
                ]
            ),
            (
                "agents: []\npolicy: { directory: policies }",
                [
                    "2: policy.directory: \"policies\" is not an absolute path (begin with /)"
                ]
            ),
            ("agents: []\npolicy: { package: data.x }", ["2: policy.package: write the package without data. (x)"]),
            (
                "agents: []\npolicy: { package: a-b }",
                [
                    "2: policy.package: \"a-b\" is no Rego package (such as sallyport.egress)"
                ]
            ),
            (
                "agents: []\ncontrol: { socket: /\(String(repeating: "x", count: 107)) }",
                [
                    "2: control.socket: the path has 108 bytes (at most 107)"
                ]
            ),
            ("agents: []\ndeny: [reset]", ["2: deny: expected one of explain, reset, drop, found a list"]),
            (
                "agents: []\nslice: system",
                [
                    "2: slice: \"system\" is not the name of a systemd slice (such as sallyport.slice)"
                ]
            ),
            (
                "agents: []\nlimits:",
                [
                    "2: limits: expected a mapping with the keys flows, held_milliseconds, hello_bytes, found empty"
                ]
            ),
            ("", ["the file is empty (it needs at least the key agents)".prefixed]),
            ("agents: [", ["2: not valid YAML: did not find expected node content, at column 1"]),
            ("agents: *x", ["1: not valid YAML: found undefined alias, at column 9"]),
        ] as [(String, [String])])
    func errors(text: String, expected: [String]) {
        #expect(problems(text) == expected)
    }

    @Test("reports all problems of a file, in the order of its lines")
    func all() {
        let found = problems("slice: x\nagents:\n - id: a\n   uid: ghost\n   foo: 1\nmark: {mask: 1}\ndeny: never")
        #expect(found.map { $0.prefix(2) } == ["1:", "4:", "5:", "6:", "7:"])
    }

    @Test("hostile text stays on its line")
    func oneLine() {
        let found = problems("agents:\n - id: \"a\\nb\\u2028\\e[31m\"")
        #expect(found.count == 1)
        #expect(found.first?.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x2028 } == true)
    }

    @Test("a file that cannot be read says why and what to do")
    func unreadable() {
        func message(_ path: String) -> String {
            do throws(ConfigurationError) {
                _ = try Configuration.load(path: path, host: testHost)
                return ""
            } catch {
                return error.description
            }
        }
        #expect(
            message("/nonexistent/x.yaml")
                == "/nonexistent/x.yaml: cannot be opened: No such file or directory (create it, or name another with --config)"
        )
        #expect(message("/tmp") == "/tmp: cannot be read: Is a directory (name the file in it)")
        #expect(message("/dev/zero") == "/dev/zero: larger than 1048576 bytes (is this the right file?)")
    }
}

extension String {
    /// As `problems` writes a message about the whole file.
    fileprivate var prefixed: String { " \(self)" }
}
