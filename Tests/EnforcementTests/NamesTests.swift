import Flow
import Identity
import Octets
import PacketHeaders
import Policy
import Testing
import WireProtocols

@testable import Enforcement

@Suite("names and places")
struct NamesTests {
    static let watch = NameWatch(isOn: true)

    /// Allows to begin and to ask, and the name where it leads.
    static let wantsPlace: @Sendable (PolicyInput) -> PolicyDecision = { input in
        let allow =
            input.stage == .connect || input.stage == .resolve
            || input.host == "good.example" && input.addressMatchesHost == true
        return PolicyDecision(allow: allow, reason: allow ? .allowed : .policy, rule: "test")
    }

    /// The answer to `Messages.query(name)` with these records.
    static func answer(_ name: String, type: UInt8 = 1, id: UInt8 = 0xCD, _ records: [[UInt8]], code: UInt8 = 0)
        -> [UInt8]
    {
        var message = Messages.query(name, type: type)
        message[1] = id
        message[2] = 0x81
        message[3] = 0x80 | code
        message[7] = UInt8(records.count)
        return message + records.flatMap { $0 }
    }

    /// A record of the question's own name.
    static func record(_ type: UInt8, _ data: [UInt8]) -> [UInt8] {
        [0xC0, 12, 0, type, 0, 1, 0, 0, 0, 60, UInt8(data.count >> 8), UInt8(data.count & 255)] + data
    }

    static let place: [UInt8] = record(1, [0xC6, 0x12, 0, 1])

    static func reply(_ payload: [UInt8], to query: FiveTuple) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 2048)
        var span = buffer.mutableSpan
        var raw = span.mutableBytes
        let count = try PacketBuilder.writeDatagram(flow: query.reversed, payload: payload.span.bytes, into: &raw)
        return Array(buffer[..<count])
    }

    static func flow(from source: IPAddress = Bench.client, port: UInt16 = 53) -> FiveTuple {
        FiveTuple(
            source: source, sourcePort: 40_000, destination: Bench.server, destinationPort: port, transport: .udp)
    }

    private func ask(
        _ bench: inout Bench, _ query: [UInt8], _ payload: [UInt8], from source: IPAddress = Bench.client,
        hook: PacketHook = .output, returning: PacketHook = .input
    ) throws -> Verdict? {
        var buffer = [UInt8](repeating: 0, count: 2048)
        let flow = Self.flow(from: source)
        var span = buffer.mutableSpan
        var raw = span.mutableBytes
        let count = try PacketBuilder.writeDatagram(flow: flow, payload: query.span.bytes, into: &raw)
        _ = bench.send(Array(buffer[..<count]), hook: hook)
        return bench.send(try Self.reply(payload, to: flow), hook: returning)
    }

    /// Expects that a connection may say that it is for `good.example`, or may not.
    private func expectPassing(
        _ expected: Bool, _ bench: inout Bench, port: UInt16 = 41_000, location: SourceLocation = #_sourceLocation
    ) {
        var client = Client()
        client.flow = FiveTuple(
            source: Bench.client, sourcePort: port, destination: Bench.server, destinationPort: 443, transport: .tcp)
        _ = bench.send(client.synchronize())
        _ = bench.send(client.say(Messages.hello("good.example")))
        let passes = bench.effects.outcomes.last?.decision.allow
        #expect(passes == expected, sourceLocation: location)
    }

    @Test("an answer to the agent's own question binds the name, before the agent has it")
    func binds() throws {
        var bench = try Bench(names: Self.watch, policy: Self.wantsPlace)
        expectPassing(false, &bench)
        #expect(bench.effects.outcomes.last?.input.names == [])
        #expect(bench.effects.outcomes.last?.input.addressMatchesHost == false)
        let answer = Self.answer("good.example", [Self.place])
        let verdict = try ask(&bench, Messages.query("good.example"), answer)
        #expect(verdict == .acceptCopy(.undecided, try Self.reply(answer, to: Self.flow())))
        #expect(bench.effects.outcomes.last?.input.question?.rate == 1)
        expectPassing(true, &bench, port: 41_001)
        #expect(bench.effects.outcomes.last?.input.names == ["good.example"])
    }

    @Test(
        "nothing else binds: another id, another question, an error, another's record, twice",
        arguments: [
            answer("good.example", id: 0xCE, [place]), answer("evil.example", [place]),
            answer("good.example", type: 28, [place]), answer("good.example", [place], code: 3),
            answer("good.example", [[0] + Array(place[2...])]), [1, 2, 3],
        ])
    func bindsNothing(answer: [UInt8]) throws {
        var bench = try Bench(names: Self.watch, policy: Self.wantsPlace)
        _ = try ask(&bench, Messages.query("good.example"), answer)
        expectPassing(false, &bench)
    }

    @Test("an answer that nobody asked for is dropped, one of an earlier run too")
    func unasked() throws {
        var bench = try Bench(names: Self.watch, policy: Self.wantsPlace)
        let answer = Self.answer("good.example", [Self.place])
        #expect(bench.send(try Self.reply(answer, to: Self.flow()), hook: .input) == .drop)
        _ = try ask(&bench, Messages.query("good.example"), answer)
        #expect(bench.send(try Self.reply(answer, to: Self.flow()), hook: .input) == .drop)
        #expect(bench.effects.outcomes.count == 1)
    }

    @Test("a chain of aliases binds the name that was asked for, to its end only")
    func chain() throws {
        var bench = try Bench(names: Self.watch, policy: Self.wantsPlace)
        let target = Messages.counted("cdn") + [0]
        let end = target + [0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 0xC6, 0x12, 0, 1]
        _ = try ask(
            &bench, Messages.query("good.example"), Self.answer("good.example", [Self.record(5, target), end]))
        expectPassing(true, &bench)
        #expect(bench.effects.outcomes.last?.input.names == ["good.example"])
    }

    @Test("keys of Encrypted ClientHello are taken out of an answer; its hints count")
    func keys() throws {
        var bench = try Bench(names: Self.watch, policy: Self.wantsPlace)
        let service = Self.record(65, [0, 1, 0, 0, 4, 0, 4, 0xC6, 0x12, 0, 1, 0, 5, 0, 3, 9, 9, 9])
        let verdict = try ask(
            &bench, Messages.query("good.example", type: 65), Self.answer("good.example", type: 65, [service]))
        guard case .acceptCopy(.undecided, let packet)? = verdict else {
            Issue.record("\(String(describing: verdict))")
            return
        }
        let parsed = try Packet(parsing: packet.span.bytes)
        let message = try DNSMessage(parsing: packet.span.bytes.extracting(parsed.payload))
        #expect(message.answers.isEmpty && message.responseCode == 0 && message.id == 0xABCD)
        #expect(bench.engine.counters.withheld == 1)
        expectPassing(true, &bench)
    }

    @Test("an answer to a guest counts on its way through the host, and out of the host's own resolver")
    func guest() throws {
        for returning in [PacketHook.forward, .output] {
            var bench = try Bench(names: Self.watch, policy: Self.wantsPlace)
            let answer = Self.answer("good.example", [Self.place])
            let verdict = try ask(
                &bench, Messages.query("good.example"), answer, from: Bench.guest, hook: .forward,
                returning: returning)
            #expect(verdict == .acceptCopy(.undecided, try Self.reply(answer, to: Self.flow(from: Bench.guest))))
            expectPassing(false, &bench)
        }
    }

    @Test("an agent's socket is no resolver of the host")
    func impostor() throws {
        var bench = try Bench(names: Self.watch, policy: Self.wantsPlace)
        let flow = Self.flow(from: Bench.guest)
        bench.engine.resolver.owners[flow.reversed] = SocketOwner(
            cgroup: CgroupID(rawValue: 7), cookie: SocketCookie(rawValue: 2), uid: 1001, inode: 2)
        let verdict = try ask(
            &bench, Messages.query("good.example"), Self.answer("good.example", [Self.place]), from: Bench.guest,
            hook: .forward, returning: .output)
        #expect(verdict == .accept(.refused))
    }

    @Test("where answers are not watched, no fact about names is there, and answers pass unread")
    func unwatched() throws {
        var bench = try Bench()
        let answer = Self.answer("other.example", [Self.place])
        let verdict = try ask(&bench, Messages.query("good.example"), answer)
        #expect(bench.effects.outcomes.last?.input.question?.rate == nil)
        #expect(verdict == .accept(.undecided))
        expectPassing(true, &bench)
        #expect(bench.effects.outcomes.last?.input.names == nil)
        #expect(bench.effects.outcomes.last?.input.addressMatchesHost == nil)
    }

    @Test("what the configuration binds counts for every agent, beside what was answered")
    func fixed() throws {
        var bench = try Bench(
            names: NameWatch(isOn: true, fixed: [Bench.server: ["b.example", "good.example"]]), policy: Self.wantsPlace)
        expectPassing(true, &bench)
        _ = try ask(&bench, Messages.query("a.example"), Self.answer("a.example", [Self.place]))
        expectPassing(true, &bench, port: 41_001)
        #expect(bench.effects.outcomes.last?.input.names == ["a.example", "b.example", "good.example"])
    }

    @Test("a flow that goes on keeps the names that it was allowed with")
    func goesOn() throws {
        var bench = try Bench(names: Self.watch, policy: Self.wantsPlace)
        _ = try ask(&bench, Messages.query("good.example"), Self.answer("good.example", [Self.place]))
        expectPassing(true, &bench)
        bench.clock.monotonic += 1_000_000 * 1_000_000_000
        expectPassing(false, &bench, port: 41_001)
        let count = bench.effects.cuts.count
        bench.engine.adopt(
            EnforcementSnapshot(
                agents: try AgentTable([Bench.bot]), policy: ClosurePolicy(revision: "222222222222", Self.wantsPlace),
                resolvers: [Bench.server], listen: [], deny: .reset, names: Self.watch))
        while bench.engine.reconsider(atMost: 100, clock: bench.clock, effects: &bench.effects) {}
        #expect(bench.effects.cuts.count == count)
    }
}
