import Identity
import PacketHeaders
import Policy
import Testing

@testable import Enforcement

@Suite struct ObservingTests {
    private static func client(_ port: UInt16) -> Client {
        Client(
            flow: FiveTuple(
                source: Bench.client, sourcePort: port, destination: Bench.server, destinationPort: 443,
                transport: .tcp))
    }

    @Test("a flow is shown with what it was allowed for, whose it is and since when")
    func flows() throws {
        var bench = try Bench()
        bench.engine.apply(
            .opened(SessionNumber(rawValue: 1), Customer(id: "acme", session: "s1")), clock: bench.clock,
            effects: &bench.effects)
        bench.engine.apply(
            .bound(SessionNumber(rawValue: 1), SessionScope(agent: "bot"), .ports(40_001...40_001)),
            clock: bench.clock, effects: &bench.effects)
        let begun = bench.clock.monotonic
        for (port, host) in [(40_000, "good.example"), (40_001, "good.example"), (40_002, "bad.example")] {
            bench.clock.monotonic += 1_000_000_000
            var client = Self.client(UInt16(port))
            _ = bench.send(client.synchronize())
            _ = bench.send(client.say(Messages.hello(host)))
        }
        var silent = Self.client(40_003)
        _ = bench.send(silent.synchronize())
        _ = bench.send(Client.datagram(Messages.query("good.example"), to: 53))

        let view = bench.engine.view(of: FlowSelection(limit: 10))
        let flows = Dictionary(
            uniqueKeysWithValues: view.flows.filter { $0.flow.transport == .tcp }.map { ($0.flow.sourcePort, $0) })
        #expect(view.matching == 5)
        #expect(view.liveFlows == ["bot": 5])
        #expect(view.flows.allSatisfy { $0.agent == "bot" && !$0.isInbound })
        #expect([40_001, 40_002, 40_003].map { flows[$0]?.verdict } == [.allowed, .refused, .undecided])
        #expect([40_001, 40_002, 40_003].map { flows[$0]?.host } == ["good.example", nil, nil])
        #expect(flows[40_001]?.protocol == "tls")
        #expect(flows[40_001]?.customer?.id == "acme")
        #expect(flows[40_001]?.since == begun + 2_000_000_000)
        #expect(flows[40_002]?.customer == nil)
        let question = view.flows.first { $0.flow.destinationPort == 53 }
        #expect(question?.verdict == .requests)
        #expect(question?.protocol == "dns")

        #expect(
            bench.engine.view(of: FlowSelection(customer: "acme", limit: 10)).flows.map(\.flow.sourcePort) == [40_001])
        #expect(bench.engine.view(of: FlowSelection(agent: "box", limit: 10)).matching == 0)
        let few = bench.engine.view(of: FlowSelection(agent: "bot", limit: 2))
        #expect(few.flows.count == 2 && few.matching == 5)
    }

    @Test("decisions are counted by agent and by reason; an agent that is configured no more is forgotten")
    func decisions() throws {
        var bench = try Bench()
        for (port, host) in [(40_001, "good.example"), (40_002, "bad.example"), (40_003, "bad.example")] {
            var client = Self.client(UInt16(port))
            _ = bench.send(client.synchronize())
            _ = bench.send(client.say(Messages.hello(host)))
        }
        let foreign = Client(
            flow: FiveTuple(
                source: IPAddress(v4: 0xC612_0101), sourcePort: 1, destination: Bench.server, destinationPort: 443,
                transport: .tcp))
        _ = bench.send(foreign.segment([], flags: .syn), hook: .forward)
        var (bot, nobody) = (DecisionCount(), DecisionCount())
        (bot.allowed, bot.refused, nobody.refused) = (1, 2, 1)
        #expect(bench.engine.view(of: FlowSelection(limit: 0)).decisions == ["bot": bot, "": nobody])
        #expect(bench.engine.counters.refusedByReason == [.policy: 2, .noIdentity: 1])
        #expect(bench.engine.counters.allowed == 1)
        #expect(bench.engine.counters.refused == 3)

        try bench.adopt([Bench.box, Bench.bot])
        #expect(bench.engine.view(of: FlowSelection(limit: 0)).decisions == ["bot": bot, "": nobody])
        try bench.adopt([Bench.box])
        #expect(bench.engine.view(of: FlowSelection(limit: 0)).decisions == ["": nobody])
    }
}
