import Enforcement
import Identity
import JOSE
import PacketHeaders
import Policy
import Testing

@testable import Sessions
@testable import Tokens

private let second: UInt64 = 1_000_000_000
private let start = SessionTime(wall: 1_800_000_000 * second, boot: 5000 * second)

private func at(_ seconds: Int64, wall: Int64? = nil) -> SessionTime {
    SessionTime(
        wall: UInt64(Int64(start.wall) + (wall ?? seconds) * Int64(second)),
        boot: UInt64(Int64(start.boot) + seconds * Int64(second)))
}

private func token(
    _ customer: String, end: UInt64 = 60, number: UInt8 = 0, issuer: String = "i", claims: String = "{}"
) throws -> VerifiedToken {
    var by = TokenIssuer(name: issuer, audiences: ["a"], keys: .file("/k"))
    by.inputClaims = ["tier", "none"]
    return VerifiedToken(
        issuer: by, subject: customer, expires: start.wall + end * second,
        claims: try StrictJSON(parsing: Array(claims.utf8)),
        digest: Array(customer.utf8) + [number])
}

private func table() throws -> AgentTable {
    try AgentTable([
        Agent(id: "bot", labels: [:], selectors: [.cgroup(path: "/agents/bot")]),
        Agent(id: "other", labels: [:], selectors: [.cgroup(path: "/agents/other")]),
    ])
}

private let inside = SessionCaller.agent("bot", cgroup: CgroupID(rawValue: 1), path: "/agents/bot")
private let worker = SessionCaller.agent("bot", cgroup: CgroupID(rawValue: 2), path: "/agents/bot/w1")
private let stranger = SessionCaller.agent("other", cgroup: CgroupID(rawValue: 9), path: "/agents/other")
private let cgroup = RequestedBinding.cgroup(path: "/agents/bot/w1", CgroupID(rawValue: 2))

/// Opens a session; its id is the number given.
@discardableResult
private func open(
    _ registry: inout SessionRegistry, _ id: String, _ token: VerifiedToken, _ binding: RequestedBinding? = nil,
    by caller: SessionCaller = .operator, agent: String = "bot"
) throws(SessionError) -> SessionOutcome {
    guard let table = try? table() else { throw .invalid("no table") }
    return try registry.open(
        id: id, agent: agent, token: token, binding: binding, caller: caller, in: table, now: start)
}

@Suite("SessionRegistry")
struct SessionRegistryTests {
    @Test("opens a session and tells the queue threads whose it is and what it covers")
    func opens() throws {
        var registry = SessionRegistry()
        let (session, changes) = try open(
            &registry, "a", token("acme", claims: #"{"tier":"gold","secret":1}"#), .socket(SocketCookie(rawValue: 7)),
            by: inside)
        #expect(session.agent == "bot")
        #expect(session.customer.claims?.text == #"{"tier":"gold"}"#)
        #expect(changes.count == 2)
        guard case .opened(let number, let customer) = changes[0],
            case .bound(let other, let scope, let binding) = changes[1]
        else {
            Issue.record("other changes")
            return
        }
        #expect(number == other)
        #expect(customer === session.customer)
        #expect(scope == SessionScope(agent: "bot"))
        #expect(binding == .socket(SocketCookie(rawValue: 7)))
        let count = registry.count
        #expect(count == 1)
    }

    @Test("lets an agent see, bind, renew and close its own sessions, and no other agent's")
    func ownership() throws {
        var registry = SessionRegistry()
        try open(&registry, "a", token("acme"), by: inside)
        let agents = try table()
        let (mine, theirs) = (registry.list(for: inside).count, registry.list(for: stranger).count)
        #expect(mine == 1 && theirs == 0)
        #expect(throws: SessionError.unknown) {
            try registry.bind(SocketCookie(rawValue: 1), to: "a", caller: stranger, in: agents)
        }
        #expect(throws: SessionError.unknown) {
            try registry.renew("a", token: token("acme", number: 1), caller: stranger, now: start)
        }
        #expect(throws: SessionError.unknown) { try registry.close("a", caller: stranger) }
        #expect(throws: SessionError.self) {
            try open(&registry, "b", token("acme", number: 2), by: stranger, agent: "bot")
        }
        _ = try registry.close("a", caller: inside)
        #expect(throws: SessionError.ended) { try registry.close("a", caller: inside) }
        #expect(throws: SessionError.unknown) { try registry.close("a", caller: stranger) }
    }

    @Test("a worker in a bound cgroup has sessions of its own, and none of the agent's outside it")
    func scopes() throws {
        var registry = SessionRegistry()
        try open(&registry, "outside", token("acme"), by: inside)
        let bound = try open(&registry, "worker", token("beta"), cgroup).session
        #expect(throws: SessionError.unknown) { try registry.close("outside", caller: worker) }
        let own = try registry.session("worker", for: worker).number
        #expect(own == bound.number)
        let agents = try table()
        #expect(throws: SessionError.self, "sockets outside its cgroup are not its to give") {
            try registry.bind(SocketCookie(rawValue: 9), to: "worker", caller: worker, in: agents)
        }
        #expect(registry.isWithinSession(worker) && !registry.isWithinSession(inside))
        let nested = try open(&registry, "nested", token("gamma"), by: worker).session
        #expect(nested.within == bound.number)
        #expect(throws: SessionError.unknown) { try registry.close("nested", caller: inside) }
    }

    @Test("binds only cgroups below the agent's own, and for an agent only its own or below")
    func cgroups() throws {
        var registry = SessionRegistry()
        let token = try token("acme", number: 3)
        func refused(_ path: String, _ caller: SessionCaller = .operator) -> Bool {
            do throws(SessionError) {
                _ = try open(&registry, "x", token, .cgroup(path: path, CgroupID(rawValue: 77)), by: caller)
                return false
            } catch SessionError.forbidden {
                return true
            } catch SessionError.invalid {
                return true
            } catch {
                return false
            }
        }
        for path in [
            "/agents/bot", "/agents/other/w", "/agents", "/", "agents/bot/w", "/agents/bot/../other", "/agents/bot//w",
        ] {
            #expect(refused(path), "\(path)")
        }
        #expect(refused("/agents/bot/w2", worker))
        #expect(refused("/agents/bot/w1x", worker))
        #expect(!refused("/agents/bot/w1/deeper", worker))
    }

    @Test("binds nothing twice while it is a live session's")
    func conflicts() throws {
        var registry = SessionRegistry()
        let bindings: [RequestedBinding] = [
            cgroup, .socket(SocketCookie(rawValue: 5)), .ports(4000...4009), .source(IPAddress(v4: 0xC612_0102)),
        ]
        for (position, binding) in bindings.enumerated() {
            try open(&registry, "first\(position)", token("acme", number: UInt8(position)), binding)
            #expect {
                try open(&registry, "second", token("beta", number: UInt8(position)), binding)
            } throws: {
                if case SessionError.conflict = $0 { true } else { false }
            }
        }
        #expect(throws: SessionError.self) { try open(&registry, "second", token("beta"), .ports(4009...4020)) }
        // Free again, for whoever is next.
        for position in bindings.indices { _ = try registry.close("first\(position)", caller: .operator) }
        for (position, binding) in bindings.enumerated() {
            try open(&registry, "third\(position)", token("beta", number: UInt8(position)), binding)
        }
    }

    @Test("one agent's socket cookie is nothing to another agent's session")
    func forgedCookie() throws {
        var registry = SessionRegistry()
        try open(&registry, "mine", token("acme"), .socket(SocketCookie(rawValue: 5)), by: inside)
        let changes = try open(
            &registry, "theirs", token("beta"), .socket(SocketCookie(rawValue: 5)), by: stranger, agent: "other"
        ).changes
        guard case .bound(_, let scope, _) = changes[1] else {
            Issue.record("not bound")
            return
        }
        #expect(scope == SessionScope(agent: "other"))
    }

    @Test("a token opens sessions of one agent, until one of them is closed")
    func replays() throws {
        var registry = SessionRegistry()
        try open(&registry, "a", token("acme"), by: inside)
        try open(&registry, "b", token("acme"), by: inside)
        #expect {
            try open(&registry, "c", token("acme"), by: stranger, agent: "other")
        } throws: {
            if case SessionError.replayed = $0 { true } else { false }
        }
        _ = try registry.close("a", caller: inside)
        #expect {
            try open(&registry, "d", token("acme"), by: inside)
        } throws: {
            if case SessionError.replayed = $0 { true } else { false }
        }
        // The session that ends with its cgroup takes no token along.
        let number = try open(&registry, "e", token("beta"), cgroup).session.number
        _ = registry.endEmptied([number])
        try open(&registry, "f", token("beta"))
    }

    @Test("renews for the same customer of the same issuer only, and the last token counts")
    func renewal() throws {
        var registry = SessionRegistry()
        try open(&registry, "a", token("acme"), by: inside)
        #expect(throws: SessionError.self) {
            try registry.renew("a", token: token("beta"), caller: inside, now: start)
        }
        #expect(throws: SessionError.self) {
            try registry.renew("a", token: token("acme", number: 1, issuer: "j"), caller: inside, now: start)
        }
        let renewed = try registry.renew("a", token: token("acme", end: 120, number: 2), caller: inside, now: at(30))
        #expect(renewed.session.expires == start.wall + 120 * second)
        #expect(renewed.session.deadline == start.boot + 120 * second)
        // The token that it has: nobody is told anything.
        let again = try registry.renew("a", token: token("acme", end: 120, number: 2), caller: inside, now: at(40))
        #expect(again.changes.isEmpty)
        let early = registry.expire(at(61)).count
        #expect(early == 0)
        let ended = registry.expire(at(120)).map(\.session.id)
        #expect(ended == ["a"])
    }

    @Test("a clock that is set back does not lengthen a session, one that is set forward ends it")
    func clocks() throws {
        var registry = SessionRegistry()
        try open(&registry, "a", token("acme"), by: inside)
        try open(&registry, "b", token("beta", end: 600), by: inside)
        let before = registry.expire(at(59, wall: -3600)).count
        #expect(before == 0)
        let back = registry.expire(at(60, wall: -3600)).map(\.session.id)
        #expect(back == ["a"])
        let forward = registry.expire(at(61, wall: 600)).map(\.session.id)
        #expect(forward == ["b"])
    }

    @Test("says when something ends next, on either clock")
    func nextEnd() throws {
        var registry = SessionRegistry()
        let none = registry.nextEnd
        #expect(none == nil)
        try open(&registry, "b", token("beta", end: 600))
        try open(&registry, "a", token("acme", end: 60))
        let next = registry.nextEnd
        #expect(next == at(60))
    }

    @Test("ends the sessions of agents and issuers that left the configuration")
    func removed() throws {
        var registry = SessionRegistry()
        try open(&registry, "a", token("acme"))
        try open(&registry, "b", token("beta", issuer: "j"))
        let left = try AgentTable([Agent(id: "bot", labels: [:], selectors: [])])
        let issuer = TokenIssuer(name: "i", audiences: ["a"], keys: .file("/k"))
        let first = registry.endRemoved(keeping: left, issuers: [issuer]).map(\.session.id)
        #expect(first == ["b"])
        let second = registry.endRemoved(keeping: try AgentTable([]), issuers: [issuer]).map(\.session.id)
        #expect(second == ["a"])
    }

    @Test("bounds what it keeps: sessions, an agent's sessions, bindings, ended sessions")
    func bounds() throws {
        var limits = SessionLimits()
        limits.sessions = 3
        limits.sessionsOfAgent = 2
        limits.bindings = 1
        limits.endedOfAgent = 1
        var registry = SessionRegistry(limits: limits)
        let agents = try table()
        try open(&registry, "a", token("acme"), .socket(SocketCookie(rawValue: 1)))
        try open(&registry, "b", token("acme", number: 1))
        for agent in ["bot"] {
            #expect(throws: SessionError.self) { try open(&registry, "c", token("acme", number: 2), agent: agent) }
        }
        try open(&registry, "c", token("acme", number: 3), agent: "other")
        #expect(throws: SessionError.self) { try open(&registry, "d", token("acme", number: 4), agent: "other") }
        #expect(throws: SessionError.self) {
            try registry.bind(SocketCookie(rawValue: 2), to: "a", caller: .operator, in: agents)
        }
        let first = try registry.close("a", caller: .operator)
        #expect(first.changes.count == 1)
        let next = try registry.close("b", caller: .operator).changes
        guard next.count == 2, case .forgotten(let forgotten) = next[1] else {
            Issue.record("nothing is forgotten")
            return
        }
        #expect(forgotten == first.session.number)
    }
}
