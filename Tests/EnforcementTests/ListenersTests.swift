import Flow
import Identity
import PacketHeaders
import Policy
import Testing

@testable import Enforcement

@Suite("listeners on this host")
struct ListenersTests {
    /// A bench whose policy lets `bot` reach its own listener and nothing else; at port 443 of the server's address, which is
    /// the host's own, the socket of `listener` listens.
    private static func bench(_ listener: String?, listen: [ListenRule] = [], policy: Bool = true) throws -> Bench {
        var bench = try Bench(
            listen: listen, agents: [Bench.bot, worker, Bench.box, Bench.tap],
            policy: { input in
                let allow = policy ? input.listenerAgent == input.agent.id : true
                return PolicyDecision(allow: allow, reason: allow ? .allowed : .policy, rule: "test")
            })
        if let listener {
            let cgroup = CgroupID(rawValue: 8)
            bench.engine.resolver.paths[cgroup] = "/sallyport.slice/sallyport-\(listener).slice"
            let owner = SocketOwner(cgroup: cgroup, cookie: SocketCookie(rawValue: 2), uid: 1001, inode: 2)
            bench.engine.resolver.listening[443] = owner
            bench.engine.resolver.owners[Client().flow.reversed.withoutPorts] = owner
        }
        return bench
    }

    private static let worker = Agent(id: "worker", labels: [:], selectors: [])

    /// The SYN and ACK, or a segment with payload, of whoever listens.
    private func answer(_ client: Client, flags: TCPFlags, payload: [UInt8] = []) -> [UInt8] {
        var server = Client()
        server.flow = client.flow.reversed
        server.sequence = SequenceNumber(rawValue: 9000)
        server.acknowledgment = client.sequence
        return server.segment(payload, flags: flags)
    }

    @Test("an agent's flow to its own listener is decided with the listener in the input, and answered")
    func own() throws {
        var bench = try Self.bench("bot")
        var client = Client()
        let begun = bench.send(client.synchronize(), outputInterface: 1)
        #expect(begun == .accept(.undecided))
        let taken = bench.send(answer(client, flags: [.syn, .ack]), outputInterface: 1)
        #expect(taken == .accept(.undecided))
        _ = bench.send(client.say(Messages.hello("any.example")), outputInterface: 1)
        let answered = bench.send(answer(client, flags: [.ack, .psh], payload: [1, 2, 3]), outputInterface: 1)
        #expect(answered == .accept(.undecided))
        let outcomes = bench.effects.outcomes
        #expect(outcomes.map(\.decision.allow) == [true])
        #expect(outcomes.allSatisfy { $0.input.listenerAgent == "bot" && $0.input.agent.id == "bot" && !$0.isInbound })
    }

    @Test(
        "what listens elsewhere, or is nobody's, is no agent's listener",
        arguments: [("bot", UInt32(4)), (nil, UInt32(1))])
    func elsewhere(listener: String?, interface: UInt32) throws {
        var bench = try Self.bench(listener)
        var client = Client()
        let begun = bench.send(client.synchronize(), outputInterface: interface)
        #expect(begun == .accept(.refused))
        #expect(bench.effects.outcomes.last?.input.listenerAgent == nil)
    }

    @Test("another agent's listener takes what policy and listen: allow, and every word of it is decided")
    func others() throws {
        let rule = ListenRule(
            agent: "worker", port: 443, transport: .tcp, sources: [try #require(IPPrefix("198.18.0.2"))])
        for (listen, policy, verdict) in [
            ([rule], false, Verdict.accept(.undecided)), ([], false, .accept(.refused)),
            ([rule], true, .accept(.refused)),
        ] {
            var bench = try Self.bench("worker", listen: listen, policy: policy)
            var client = Client()
            let begun = bench.send(client.synchronize(), outputInterface: 1)
            #expect(begun == verdict)
            guard begun == .accept(.undecided) else { continue }
            let taken = bench.send(answer(client, flags: [.syn, .ack]), outputInterface: 1)
            #expect(taken == .accept(.undecided))
            #expect(!bench.effects.outcomes.contains { $0.isInbound })
        }
    }

    @Test("a socket of another agent that answers in the listener's place is an outsider's listener")
    func swapped() throws {
        var bench = try Self.bench("bot")
        var client = Client()
        _ = bench.send(client.synchronize(), outputInterface: 1)
        bench.engine.resolver.paths[CgroupID(rawValue: 9)] = "/sallyport.slice/sallyport-worker.slice"
        bench.engine.resolver.owners[client.flow.reversed.withoutPorts] = SocketOwner(
            cgroup: CgroupID(rawValue: 9), cookie: SocketCookie(rawValue: 3), uid: 1001, inode: 3)
        let taken = bench.send(answer(client, flags: [.syn, .ack]), outputInterface: 1)
        #expect(taken == .accept(.refused))
    }

    @Test("a flow that the listener opens from its port is decided as its own")
    func back() throws {
        var bench = try Self.bench("bot", policy: false)
        var client = Client()
        _ = bench.send(client.synchronize(), outputInterface: 1)
        var back = Client()
        back.flow = client.flow.reversed
        _ = bench.send(back.synchronize(), outputInterface: 1)
        _ = bench.send(back.say(Messages.hello("any.example")), outputInterface: 1)
        #expect(bench.effects.outcomes.map(\.flow) == [back.flow])
    }

    @Test("a reload keeps the listener by its id, and cuts what listen: names no more")
    func reload() throws {
        let rule = ListenRule(
            agent: "worker", port: 443, transport: .tcp, sources: [try #require(IPPrefix("198.18.0.2"))])
        var bench = try Self.bench("worker", listen: [rule], policy: false)
        var client = Client()
        _ = bench.send(client.synchronize(), outputInterface: 1)
        try bench.adopt([Self.worker, Bench.bot]) { _ in PolicyDecision(allow: true, reason: .allowed) }
        let said = bench.send(client.say(Messages.hello("any.example")), outputInterface: 1)
        #expect(said == .accept(.refused))
        #expect(bench.effects.outcomes.last?.input.listenerAgent == "worker")
        #expect(bench.effects.outcomes.last?.decision.reason == .policyChanged)
    }
}
