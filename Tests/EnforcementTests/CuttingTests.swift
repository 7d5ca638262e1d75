import Identity
import PacketHeaders
import Policy
import Testing

@testable import Enforcement

@Suite struct CuttingTests {
    static let session = SessionNumber(rawValue: 1)
    static let scope = SessionScope(agent: "bot")

    static func customer(_ id: String, expires: UInt64? = nil) -> Customer {
        Customer(id: id, issuer: "https://chat.example", session: "s1", expires: expires)
    }

    /// Allows `good.example` to customers but `blocked`, and to nobody else.
    static let wantsCustomer: @Sendable (PolicyInput) -> PolicyDecision = { input in
        let allow =
            input.customer.map { $0.id != "blocked" } ?? false
            && (input.stage == .connect || input.host == "good.example")
        return PolicyDecision(allow: allow, reason: allow ? .allowed : .policy)
    }

    /// A bench with one session of `acme`, bound to the socket that every flow comes from.
    private func bench(
        expires: UInt64? = nil, policy: @escaping @Sendable (PolicyInput) -> PolicyDecision = wantsCustomer
    ) throws -> Bench {
        var bench = try Bench(policy: policy)
        bench.apply(.opened(Self.session, Self.customer("acme", expires: expires)))
        bench.apply(.bound(Self.session, Self.scope, .socket(SocketCookie(rawValue: 1))))
        return bench
    }

    /// Brings a flow to where the kernel passes it.
    private func settle(_ bench: inout Bench, _ client: inout Client) {
        _ = bench.send(client.synchronize())
        let hello = Messages.hello("good.example")
        _ = bench.send(client.say(hello))
        bench.acknowledged.count = UInt64(hello.count)
        #expect(bench.send(client.say(Messages.secondFlight)) == .acceptCopy(.allowed, client.last))
    }

    @Test("a flow of a session carries its customer; one without is refused where policy wants one")
    func attribution() throws {
        var bench = try bench()
        var client = Client()
        settle(&bench, &client)
        #expect(bench.effects.outcomes.map(\.input.customer?.id) == ["acme"])
        #expect(bench.effects.outcomes.first?.input.customer?.session == "s1")
        var alone = try Bench(policy: Self.wantsCustomer)
        var other = Client()
        #expect(alone.send(other.synchronize()) == .accept(.refused))
    }

    @Test(
        "the end of a session cuts its flows at once, with one record each",
        arguments: [Reason.tokenExpired, .sessionClosed])
    func end(_ reason: Reason) throws {
        var bench = try bench()
        var client = Client()
        settle(&bench, &client)
        bench.apply(.ended(Self.session, reason))
        #expect(bench.effects.cuts == [client.flow])
        let record = try #require(bench.effects.outcomes.last)
        #expect(record.decision.reason == reason)
        #expect(!record.decision.allow)
        #expect(record.input.host == "good.example")
        #expect(record.input.customer?.id == "acme")
        let count = bench.effects.outcomes.count
        #expect(bench.send(client.say([23, 3, 3])) == .accept(.refused))
        bench.apply(.forgotten(Self.session))
        #expect(bench.effects.cuts.count == 1)
        #expect(bench.effects.outcomes.count == count)
    }

    @Test("what an ended session was bound to stays closed until it is forgotten or bound anew")
    func tombstones() throws {
        var bench = try bench()
        bench.apply(.ended(Self.session, .sessionClosed))
        var client = Client()
        #expect(bench.send(client.synchronize()) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .sessionClosed)
        let next = SessionNumber(rawValue: 2)
        bench.apply(.opened(next, Self.customer("acme")))
        bench.apply(.bound(next, Self.scope, .socket(SocketCookie(rawValue: 1))))
        client = Client()
        #expect(bench.send(client.synchronize()) == .accept(.undecided))
    }

    @Test("a token that has expired by the clock covers nothing, whether or not its end was told")
    func expired() throws {
        var bench = try bench(expires: 1_800_000_000_000_000_000)
        var client = Client()
        #expect(bench.send(client.synchronize()) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .tokenExpired)
    }

    @Test("held packets of a flow that is cut are dropped")
    func held() throws {
        var bench = try bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        let hello = Messages.hello("good.example")
        #expect(bench.send(client.say(Array(hello[..<40]))) == nil)
        bench.apply(.ended(Self.session, .tokenExpired))
        #expect(bench.verdicts.last == .drop)
        #expect(bench.send(client.say(Array(hello[40...]))) == .accept(.refused))
    }

    @Test("other sessions' flows go on, and those of nobody")
    func others() throws {
        var bench = try bench(policy: Bench.allowsGoodExample)
        let other = SessionNumber(rawValue: 2)
        bench.apply(.opened(other, Self.customer("other")))
        var client = Client()
        settle(&bench, &client)
        bench.apply(.ended(other, .sessionClosed))
        #expect(bench.effects.cuts.isEmpty)
        #expect(bench.send(client.say([23, 3, 3])) == .accept(.allowed))
    }

    @Test("a renewed token keeps its flows where policy still allows them, and cuts the others")
    func renewal() throws {
        var bench = try bench()
        var client = Client()
        settle(&bench, &client)
        bench.apply(.renewed(Self.session, Self.customer("acme", expires: .max)))
        #expect(bench.effects.cuts.isEmpty)
        #expect(bench.send(client.say([23, 3, 3])) == .accept(.allowed))
        bench.apply(.renewed(Self.session, Self.customer("blocked")))
        #expect(bench.effects.cuts == [client.flow])
        #expect(bench.effects.outcomes.last?.decision.reason == .policyChanged)
    }

    @Test("a policy that allows a flow no longer cuts it; one that does lets it be")
    func policyChange() throws {
        var bench = try Bench()
        var client = Client()
        settle(&bench, &client)
        try bench.adopt(revision: "1") { input in
            // Asked again for what was said, not for the flow's beginning alone.
            let allow = input.stage == .connect || input.host == "good.example" && input.protocol?.alpn == ["h2"]
            return PolicyDecision(allow: allow, reason: allow ? .allowed : .policy)
        }
        let isBegun = bench.isReconsidering
        #expect(isBegun)
        bench.reconsider()
        let isDone = !bench.isReconsidering
        #expect(isDone)
        #expect(bench.effects.cuts.isEmpty)
        try bench.adopt(revision: "2") { input in
            let allow = input.stage == .connect
            return PolicyDecision(allow: allow, reason: allow ? .allowed : .policy, policyReason: "no more")
        }
        bench.reconsider()
        #expect(bench.effects.cuts == [client.flow])
        #expect(bench.effects.outcomes.last?.decision.reason == .policyChanged)
        #expect(bench.effects.outcomes.last?.decision.policyReason == "no more")
        #expect(bench.send(client.say([23, 3, 3])) == .accept(.refused))
    }

    @Test("a packet that comes before its flow's turn is decided by the new policy")
    func outOfTurn() throws {
        var bench = try Bench()
        var client = Client()
        settle(&bench, &client)
        try bench.adopt(revision: "1") { _ in PolicyDecision(allow: false, reason: .policy) }
        #expect(bench.send(client.say([23, 3, 3])) == .accept(.refused))
        #expect(bench.effects.cuts == [client.flow])
    }

    @Test("the same policy and agents with other interfaces decide nothing anew")
    func sameSnapshot() throws {
        var bench = try Bench()
        var client = Client()
        settle(&bench, &client)
        try bench.adopt(revision: "000000000000")
        let isIdle = !bench.isReconsidering
        #expect(isIdle)
    }

    @Test("an agent that is no longer configured loses its flows, and others keep theirs at another position")
    func agentRemoved() throws {
        var bench = try Bench()
        var client = Client()
        settle(&bench, &client)
        try bench.adopt([Bench.box, Bench.bot], revision: "1")
        bench.reconsider()
        #expect(bench.effects.cuts.isEmpty)
        #expect(bench.send(client.say([23, 3, 3])) == .accept(.allowed))
        try bench.adopt([Bench.box], revision: "2")
        bench.reconsider()
        #expect(bench.effects.cuts == [client.flow])
    }

    @Test("both ends of a forwarded flow are asked where they stand, so that the refusal resets them")
    func forwarded() throws {
        var bench = try Bench()
        var client = Client()
        client.flow = FiveTuple(
            source: Bench.guest, sourcePort: 40_000, destination: Bench.server, destinationPort: 443, transport: .tcp)
        _ = bench.send(client.synchronize(), hook: .forward)
        _ = bench.send(client.say(Messages.hello("good.example")), hook: .forward)
        try bench.adopt(revision: "1") { _ in PolicyDecision(allow: false, reason: .policy) }
        bench.reconsider()
        let packets = try bench.effects.injected.map { try Packet(parsing: $0.span.bytes) }
        #expect(packets.map(\.flow) == [client.flow, client.flow.reversed])
        #expect(packets.allSatisfy { $0.tcp?.flags == .ack })
        let distance = try #require(packets.first?.tcp?.sequence.distance(from: client.sequence))
        #expect(abs(distance) > 1 << 30)
    }

    @Test("a full table refuses a new flow rather than lose sight of one that the kernel passes")
    func fullTable() throws {
        var limits = EnforcementLimits()
        limits.flowCount = 4
        var bench = try Bench(limits: limits)
        for port in 0..<4 {
            var client = Client()
            client.flow = FiveTuple(
                source: Bench.client, sourcePort: UInt16(40_000 + port), destination: Bench.server,
                destinationPort: 443, transport: .tcp)
            settle(&bench, &client)
        }
        var late = Client()
        late.flow = FiveTuple(
            source: Bench.client, sourcePort: 50_000, destination: Bench.server, destinationPort: 443, transport: .tcp)
        #expect(bench.send(late.synchronize()) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .tableFull)
        bench.acknowledged.count = nil
        late = Client()
        late.flow = FiveTuple(
            source: Bench.client, sourcePort: 50_001, destination: Bench.server, destinationPort: 443, transport: .tcp)
        #expect(bench.send(late.synchronize()) == .accept(.undecided), "a flow without a socket makes room")
    }

    @Test("whoever has the addresses and ports of a flow that has ended is not cut in its place")
    func successor() throws {
        for (inode, cgroup, isCut) in [(UInt32(1), UInt64(7), true), (0, 7, true), (0, 9, false), (2, 9, false)] {
            var bench = try bench()
            var client = Client()
            settle(&bench, &client)
            for key in bench.engine.resolver.owners.keys {
                bench.engine.resolver.owners[key] = SocketOwner(
                    cgroup: CgroupID(rawValue: cgroup), cookie: SocketCookie(rawValue: 9), uid: 0, inode: inode)
            }
            let count = bench.effects.outcomes.count
            bench.apply(.ended(Self.session, .sessionClosed))
            #expect(bench.effects.cuts == (isCut ? [client.flow] : []))
            #expect(bench.effects.outcomes.count == count + (isCut ? 1 : 0))
        }
    }

    @Test("a flow whose socket is not found is cut all the same: it may be hidden")
    func hidden() throws {
        var bench = try bench()
        var client = Client()
        settle(&bench, &client)
        bench.engine.resolver.owners = [:]
        bench.apply(.ended(Self.session, .sessionClosed))
        #expect(bench.effects.cuts == [client.flow])
    }

    @Test("a datagram of another socket is not taken for the sender whose flow was cut")
    func otherDatagramSocket() throws {
        var bench = try bench(policy: Bench.allowsGoodExample)
        let question = Client.datagram(Messages.query("good.example"), to: 53)
        #expect(bench.send(question) == .acceptCopy(.undecided, question))
        bench.apply(.ended(Self.session, .tokenExpired))
        #expect(bench.send(question) == .accept(.refused))
        bench.apply(.forgotten(Self.session))
        #expect(bench.send(question) == .acceptCopy(.undecided, question), "the socket is of no session now")
    }
}

extension Bench {
    var isReconsidering: Bool { engine.isReconsidering }

    mutating func apply(_ change: SessionChange) {
        engine.apply(change, clock: clock, effects: &effects)
    }

    /// Decides every flow anew, two at a time.
    mutating func reconsider() {
        while engine.reconsider(atMost: 2, clock: clock, effects: &effects) {}
    }
}
