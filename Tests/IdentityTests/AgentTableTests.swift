import PacketHeaders
import Testing

@testable import Identity

@Suite struct AgentTableTests {
    private func agent(_ id: String, _ selectors: AgentSelector...) -> Agent {
        Agent(id: id, labels: [:], selectors: selectors)
    }

    private func table() throws -> AgentTable {
        try AgentTable([
            agent("bot", .uid(1001), .unit(name: "bot.service")),
            agent("team", .cgroup(path: "/team.slice"), .uid(1002)),
            agent("team-child", .cgroup(path: "/team.slice/child.service/worker")),
            agent("net", .source(try #require(IPPrefix("198.18.0.0/16"))), .interface(name: "veth-net")),
            agent("net-inner", .source(try #require(IPPrefix("198.18.5.0/24"))), .interface(name: "veth-inner")),
            agent("six", .source(try #require(IPPrefix("fd00:5::/64")))),
            agent("a.b_c-d"),
        ])
    }

    private func name(_ identification: Identification, in table: AgentTable) -> String? {
        identification.agent.map { table[$0].id }
    }

    @Test(
        "the deepest named directory decides, byte for byte",
        arguments: [
            ("/sallyport.slice/sallyport-bot.slice", "bot"),
            ("/sallyport.slice/sallyport-bot.slice/run-1.scope/x", "bot"),
            (#"/sallyport.slice/sallyport-a.b_c\x2dd.slice/run.scope"#, "a.b_c-d"),
            ("/sallyport.slice/sallyport-bot.slicer", nil),
            ("/sallyport.slice/sallyport-bot", nil),
            ("/sallyport.slice", nil), ("/", nil), ("", nil), ("sallyport.slice/sallyport-bot.slice", nil),
            ("/sallyport.slice/bot.service", "bot"),
            ("/system.slice/bot.service/sub", "bot"),
            ("/bot.service", "bot"),
            ("/system.slice/xbot.service", nil),
            ("/team.slice", "team"), ("/team.slice/child.service", "team"),
            ("/team.slice/child.service/worker", "team-child"),
            ("/team.slice/child.service/worker/x/y", "team-child"),
            ("/team.slice/child.service/workers", "team"),
            ("/team.slice/bot.service", "bot"),
        ] as [(String, String?)])
    func cgroups(path: String, agent: String?) throws {
        let table = try table()
        #expect(name(table.agent(ofCgroup: path), in: table) == agent)
    }

    @Test(
        "a directory that an agent can make below its service or scope names no other agent",
        arguments: [
            ("/team.slice/child.service/bot.service", "team"),
            ("/user.slice/user-1002.slice/user@1002.service/app.slice/bot.service", nil),
            ("/sallyport.slice/sallyport-net.slice/run-1.scope/bot.service", "net"),
        ] as [(String, String?)])
    func delegatedDirectories(path: String, agent: String?) throws {
        let table = try table()
        #expect(name(table.agent(ofCgroup: path), in: table) == agent)
    }

    @Test("cgroup names that only Unicode calls equal are two cgroups")
    func bytesNotCharacters() throws {
        let table = try AgentTable([agent("bot", .cgroup(path: "/caf\u{e9}"))])
        #expect(table.agent(ofCgroup: "/caf\u{e9}").agent != nil)
        #expect(table.agent(ofCgroup: "/cafe\u{301}").agent == nil)
    }

    @Test("a unit and a path that meet in one directory and name two agents are a conflict")
    func pathAgainstUnit() throws {
        let table = try AgentTable([
            agent("one", .cgroup(path: "/system.slice/x.service")), agent("two", .unit(name: "x.service")),
        ])
        let conflict = Identification.nobody(
            .conflict(.cgroup, AgentIndex(rawValue: 0), .unit, AgentIndex(rawValue: 1)))
        #expect(table.agent(ofCgroup: "/system.slice/x.service/sub") == conflict)
        #expect(table.identify(cgroup: "/system.slice/x.service", uid: nil) == conflict)
    }

    @Test(
        "the cgroup comes before the uid; two agents are nobody",
        arguments: [
            ("/team.slice/x", 1002, "team"), ("/team.slice/x", 7, "team"), ("/team.slice/x", nil, "team"),
            ("/elsewhere", 1001, "bot"), ("/elsewhere", 7, nil), ("/elsewhere", nil, nil),
            ("/team.slice/x", 1001, nil), ("/sallyport.slice/sallyport-bot.slice", 1002, nil),
        ] as [(String, UInt32?, String?)])
    func cgroupAndUID(path: String, uid: UInt32?, agent: String?) throws {
        let table = try table()
        #expect(name(table.identify(cgroup: path, uid: uid), in: table) == agent)
    }

    @Test("a conflict says which facts and which agents")
    func conflictText() throws {
        let table = try table()
        guard case .nobody(let reason) = table.identify(cgroup: "/team.slice", uid: 1001) else {
            Issue.record("a conflict named an agent")
            return
        }
        #expect(table.describe(reason) == "cgroup says agent team, uid says agent bot")
    }

    @Test(
        "forwarded traffic: interface and longest source prefix, two agents are nobody",
        arguments: [
            (10, "198.18.1.1", "net"), (nil, "198.18.1.1", "net"), (nil, "198.18.5.1", "net-inner"),
            (11, "198.18.5.1", "net-inner"), (10, "192.0.2.1", "net"), (10, "198.18.5.1", nil),
            (12, "192.0.2.1", nil), (nil, "fd00:5::1", "six"), (nil, "fd00:5:0:1::1", nil), (10, "fd00:5::1", nil),
            (nil, "::ffff:198.18.1.1", nil),
        ] as [(UInt32?, String, String?)])
    func forwarded(interface: UInt32?, source: String, agent: String?) throws {
        let table = try table().withInterfaces(["veth-net": 10, "veth-inner": 11, "eth0": 12])
        let source = try #require(IPAddress(source))
        #expect(name(table.identify(interface: interface, source: source), in: table) == agent)
    }

    @Test("an interface names nobody before its index is known")
    func interfacesOfNow() throws {
        let table = try table()
        #expect(table.listedInterfaces == ["veth-inner", "veth-net"])
        #expect(table.agent(ofInterface: 10) == nil)
        #expect(table.withInterfaces(["veth-net": 10]).agent(ofInterface: 10)?.rawValue == 3)
        #expect(table.withInterfaces(["veth-net": 10]).withInterfaces([:]).agent(ofInterface: 10) == nil)
    }

    @Test("longest prefix agrees with a naive search over all prefixes")
    func prefixesAgreeWithTwin() throws {
        var random = SplitMix(state: 7)
        var prefixes: [IPPrefix] = []
        for _ in 0..<200 {
            let isV4 = Bool.random(using: &random)
            let address =
                isV4
                ? IPAddress(v4: 0xC612_0000 | UInt32.random(in: 0...0xFFFF, using: &random))
                : IPAddress(v6: 0xFD00 << 48, UInt64.random(in: 0...0xFFFF, using: &random) << 48)
            prefixes.append(
                IPPrefix(containing: address, length: Int.random(in: isV4 ? 14...32 : 50...90, using: &random)))
        }
        prefixes = Array(Set(prefixes))
        let table = try AgentTable(prefixes.enumerated().map { agent("a\($0.offset)", .source($0.element)) })
        for _ in 0..<4000 {
            let address =
                Bool.random(using: &random)
                ? IPAddress(v4: 0xC612_0000 | UInt32.random(in: 0...0x1FFFF, using: &random))
                : IPAddress(v6: 0xFD00 << 48, UInt64.random(in: 0...0xFFFFF, using: &random) << 44)
            let naive = prefixes.enumerated().filter { $0.element.contains(address) }
                .max { $0.element.length < $1.element.length }
            #expect(table.agent(ofSource: address).map { Int($0.rawValue) } == naive?.offset)
        }
    }

    @Test("two agents with one selector or one name make no table")
    func shared() {
        #expect(throws: AgentTableError.duplicateAgent("a")) { try AgentTable([agent("a"), agent("a")]) }
        #expect(throws: AgentTableError.sharedSelector(.uid(5), "a", "b")) {
            try AgentTable([agent("a", .uid(5)), agent("b", .uid(5))])
        }
        #expect(throws: AgentTableError.sharedSelector(.cgroup(path: "/sallyport.slice/sallyport-a.slice"), "a", "b")) {
            try AgentTable([agent("a"), agent("b", .cgroup(path: "/sallyport.slice/sallyport-a.slice"))])
        }
        #expect(throws: Never.self) { try AgentTable([agent("a", .uid(5), .uid(5))]) }
    }
}

/// Repeatable random numbers (SplitMix64).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
