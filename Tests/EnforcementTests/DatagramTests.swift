import CAllocationCounter
import Identity
import PacketHeaders
import Policy
import QUICPacketBuilding
import Testing
import WireProtocols

@testable import Enforcement

@Suite struct DatagramTests {
    /// An Initial with the part of a ClientHello for `host` that lies in `range`.
    static func initial(
        _ host: String, _ range: Range<Int>? = nil, version: QUICVersion = .v1, id: UInt8 = 1, number: UInt32 = 0
    ) -> [UInt8] {
        let hello = Messages.clientHello(host, padding: 900)
        let range = range ?? 0..<hello.count
        var builder = QUICPacketBuilder(version: version)
        builder.destination = Array(repeating: id, count: 8)
        builder.packetNumber = number
        return builder.packet(QUICPacketBuilder.crypto(Array(hello[range]), at: range.lowerBound))
    }

    /// A protected packet, or what looks like one.
    static let short: [UInt8] = [0x41] + Array(repeating: 0x5A, count: 60)

    // MARK: DNS

    @Test("decides each question; a refusal is of that question alone")
    func questions() throws {
        var bench = try Bench()
        let good = Client.datagram(Messages.query("Good.Example"), to: 53)
        let bad = Client.datagram(Messages.query("bad.example", type: 28), to: 53)
        #expect(bench.send(good) == .acceptCopy(.undecided, good))
        #expect(bench.send(bad) == .accept(.refusedAlone))
        #expect(bench.send(good) == .acceptCopy(.undecided, good))
        #expect(bench.effects.outcomes.map(\.input.stage) == [.resolve, .resolve, .resolve])
        #expect(
            bench.effects.outcomes.prefix(2).map(\.input.question) == [
                QuestionFacts(name: "good.example", type: "A"), QuestionFacts(name: "bad.example", type: "AAAA"),
            ])
        #expect(bench.effects.outcomes.map(\.input.hostSource) == Array(repeating: .dnsQuestion, count: 3))
        #expect(bench.effects.outcomes.map(\.decision.reason) == [.allowed, .policy, .allowed])
    }

    @Test(
        "refuses at a resolver's port what is no single question",
        arguments: [
            (Array("a tunnel over the resolver's port".utf8), Reason.parseError),
            (Messages.query("good.example", questions: 2), .parseError),
            (Messages.query("good.example") + [0], .parseError),
            (Messages.query("good.example", flags: 0x81), .unknownProtocol),
            (Messages.query("good.example", flags: 0x29), .unknownProtocol),
            (initial("good.example"), .parseError),
        ] as [([UInt8], Reason)])
    func noQuestion(payload: [UInt8], reason: Reason) throws {
        var bench = try Bench()
        #expect(bench.send(Client.datagram(payload, to: 53)) == .accept(.refusedAlone))
        #expect(bench.effects.outcomes.map(\.decision.reason) == [reason])
    }

    @Test("refuses questions to anybody else, and every UDP that is not read")
    func others() throws {
        for payload in [Messages.query("good.example"), [1, 2, 3, 4], Self.short, Array("d1:ad2:id20:".utf8)] {
            var bench = try Bench { _ in PolicyDecision(allow: true, reason: .allowed) }
            #expect(bench.send(Client.datagram(payload, to: 443)) != .accept(.undecided))
            let isHeld = payload == Self.short
            #expect(isHeld || bench.effects.outcomes.last?.decision.reason == .unknownProtocol)
            #expect(bench.effects.outcomes.last?.decision.allow != true)
        }
    }

    @Test("listen: makes an answer of what the other end began, and of nothing else")
    func listening() throws {
        let rule = ListenRule(
            agent: "bot", port: 40_000, transport: .udp, sources: [try #require(IPPrefix("198.18.0.1"))])
        let said = Client.datagram([1, 2, 3, 4], to: 7000)
        let flow = try Packet(parsing: said.span.bytes).flow
        var bench = try Bench(listen: [rule])
        #expect(bench.send(said) == .accept(.refused), "the agent began")
        bench = try Bench(listen: [rule])
        bench.engine.resolver.tracked[flow.reversed] = TrackedFlow(isStanding: false, isOpenedBySource: false)
        #expect(bench.send(said) == .accept(.refused), "the agent began, and is known for it")
        bench = try Bench(listen: [rule])
        bench.engine.resolver.tracked[flow.reversed] = TrackedFlow(isStanding: false, isOpenedBySource: true)
        #expect(bench.send(said) == .accept(.undecided))
        #expect(bench.send(said) == .accept(.undecided))
        bench.engine.resolver.owners = [:]
        #expect(bench.send(said) == .accept(.refused), "somebody else's socket by now")

        bench = try Bench(listen: [rule])
        bench.engine.resolver.tracked[flow.reversed] = TrackedFlow(isStanding: false, isOpenedBySource: true)
        _ = bench.send(said)
        try bench.adopt(revision: "2")
        bench.reconsider()
        #expect(bench.send(said) == .accept(.refused), "listed no more")
    }

    // MARK: QUIC

    @Test("a version of Google's QUIC without long headers is refused on a flow that is QUIC")
    func googleVersions() throws {
        for datagram in [
            [0x09, 1, 2, 3, 4, 5, 6, 7, 8] + Array("Q043".utf8) + Self.short,
            [0x01] + Array("Q039".utf8) + Self.short,
        ] {
            var bench = try Bench()
            _ = bench.send(Client.datagram(Self.initial("good.example"), to: 443))
            #expect(bench.send(Client.datagram(datagram, to: 443)) == .accept(.refused))
            #expect(bench.effects.outcomes.last?.decision.reason == .quicVersion)
        }
    }

    @Test("what looks like the rest of another agent's connection is its sender's: another socket, another interface")
    func otherSenderOfRest() throws {
        let other = Agent(id: "other", labels: [:], selectors: [.cgroup(path: "/other")])
        var bench = try Bench(agents: [Bench.bot, other])
        let hello = Client.datagram(Self.initial("good.example"), to: 443)
        let rest = Client.datagram(Self.short, to: 443)
        #expect(bench.send(hello) == .acceptCopy(.undecided, hello))
        #expect(bench.send(rest) == .acceptCopy(.undecided, rest))
        for key in bench.engine.resolver.owners.keys {
            bench.engine.resolver.owners[key] = SocketOwner(
                cgroup: CgroupID(rawValue: 8), cookie: SocketCookie(rawValue: 2), uid: 1002, inode: 2)
        }
        bench.engine.resolver.paths[CgroupID(rawValue: 8)] = "/other"
        bench.clock.monotonic += 1_000_000
        #expect(bench.send(rest) != .acceptCopy(.undecided, rest))
        #expect(bench.engine.view(of: FlowSelection(limit: 9)).flows.map(\.agent) != ["bot"])

        // Two guests, one of which writes the other's address.
        var guests = try Bench()
        let first = Client.datagram(Self.initial("good.example"), from: Bench.guest, to: 443)
        let next = Client.datagram(Self.short, from: Bench.guest, to: 443)
        #expect(guests.send(first, hook: .forward) == .acceptCopy(.undecided, first))
        #expect(guests.send(next, hook: .forward) == .acceptCopy(.undecided, next))
        #expect(guests.send(next, hook: .forward, inputInterface: 9) == .accept(.refused))
        #expect(guests.effects.outcomes.last?.decision.reason == .noIdentity)
    }

    @Test("one agent and no customer: the kernel is not asked about each datagram of a connection")
    func soleSender() throws {
        var bench = try Bench(agents: [Bench.bot])
        let hello = Client.datagram(Self.initial("good.example"), to: 443)
        let rest = Client.datagram(Self.short, to: 443)
        #expect(bench.send(hello) == .acceptCopy(.undecided, hello))
        bench.engine.resolver.owners = [:]
        #expect(bench.send(rest) == .acceptCopy(.undecided, rest))
    }

    @Test(
        "decides QUIC by its name, and what follows passes with our copy", arguments: [QUICVersion.v1, .v2, .draft29])
    func quic(version: QUICVersion) throws {
        var bench = try Bench()
        let hello = Client.datagram(Self.initial("good.example", version: version), to: 443)
        #expect(bench.send(hello) == .acceptCopy(.undecided, hello))
        let short = Client.datagram(Self.short, to: 443)
        #expect(bench.send(short) == .acceptCopy(.undecided, short))
        let outcome = try #require(bench.effects.outcomes.last)
        #expect(outcome.input.protocol?.name == "quic")
        #expect(outcome.input.host == "good.example")
        #expect(outcome.input.protocol?.alpn == ["h2"])
        #expect(bench.effects.outcomes.count == 1)

        var refusing = try Bench()
        let bad = Client.datagram(Self.initial("bad.example", version: version), to: 443)
        #expect(refusing.send(bad) == .accept(.refused))
        #expect(refusing.send(short) == .accept(.refused))
        #expect(refusing.effects.outcomes.map(\.decision.reason) == [.policy])
        #expect(refusing.effects.injected.isEmpty)
    }

    @Test("holds the datagrams of a ClientHello until it is whole, in either order", arguments: [false, true])
    func parts(isReversed: Bool) throws {
        for host in ["good.example", "bad.example"] {
            var bench = try Bench()
            let first = Client.datagram(Self.initial(host, 0..<500), to: 443)
            let whole = Messages.clientHello(host, padding: 900).count
            let second = Client.datagram(Self.initial(host, 500..<whole, number: 1), to: 443)
            let (early, late) = isReversed ? (second, first) : (first, second)
            #expect(bench.send(early) == nil, "held")
            if host == "good.example" {
                #expect(bench.send(late) == .acceptCopy(.undecided, late))
                #expect(bench.verdicts.first == .acceptCopy(.undecided, early), "in their order")
            } else {
                #expect(bench.send(late) == .accept(.refused))
                #expect(bench.verdicts.contains(.drop))
            }
        }
    }

    @Test("holds no more than its bound, and refuses a ClientHello that does not end")
    func endless() throws {
        var bench = try Bench()
        var held = 0
        for number in 0..<20 {
            let part = Self.initial("good.example", number * 10..<number * 10 + 10, number: UInt32(number))
            if bench.send(Client.datagram(part, to: 443)) == nil { held += 1 }
        }
        #expect(held == EnforcementLimits().heldDatagramCount)
        bench.clock.monotonic += 6_000_000_000
        bench.engine.expire(clock: bench.clock, effects: &bench.effects)
        #expect(bench.effects.outcomes.map(\.decision.reason) == [.heldTooLong])
        #expect(bench.effects.injected.isEmpty, "no TCP reset for UDP")
        #expect(bench.send(Client.datagram(Self.short, to: 443)) == .accept(.refused))
    }

    @Test("judges each connection of a five-tuple, and drops noise between them")
    func secondConnection() throws {
        var bench = try Bench()
        _ = bench.send(Client.datagram(Self.initial("good.example"), to: 443))
        var noise = Self.initial("good.example", id: 7)
        noise[noise.count - 1] ^= 1
        #expect(bench.send(Client.datagram(noise, to: 443)) == .drop)
        #expect(bench.engine.counters.noise == 1)
        #expect(bench.send(Client.datagram(Self.initial("bad.example", id: 9), to: 443)) == .accept(.refused))
        #expect(bench.effects.outcomes.map(\.decision.reason) == [.allowed, .policy])
    }

    @Test("passes no packet that it could not open, however much noise came before")
    func exhausted() throws {
        var bench = try Bench()
        _ = bench.send(Client.datagram(Self.initial("good.example"), to: 443))
        for id in 10..<90 {
            var noise = Self.initial("good.example", id: UInt8(id))
            noise[noise.count - 1] ^= 1
            _ = bench.send(Client.datagram(noise, to: 443))
        }
        #expect(bench.send(Client.datagram(Self.initial("bad.example", id: 9), to: 443)) == .drop)
    }

    @Test("refuses a packet of another destination behind the first one of a datagram")
    func coalesced() throws {
        var bench = try Bench()
        _ = bench.send(Client.datagram(Self.initial("good.example"), to: 443))
        var handshake: [UInt8] = [0xE0, 0, 0, 0, 1, 8] + Array(repeating: 1, count: 8) + [0, 20]
        handshake += Array(repeating: 3, count: 20)
        let both = handshake + Self.initial("bad.example", id: 9)
        #expect(bench.send(Client.datagram(both, to: 443)) == .drop)
    }

    @Test(
        "refuses versions that it cannot read, at first and later", arguments: [0x0A1A_2A3A, 0x5130_3436, 0xFACE_B002])
    func versions(number: UInt32) throws {
        var unknown = Self.initial("good.example")
        for index in 0..<4 { unknown[1 + index] = UInt8(truncatingIfNeeded: number >> UInt32(24 - 8 * index)) }
        var bench = try Bench()
        #expect(bench.send(Client.datagram(unknown, to: 443)) == .accept(.refused))
        #expect(bench.effects.outcomes.map(\.decision.reason) == [.quicVersion])
        var later = try Bench()
        _ = later.send(Client.datagram(Self.initial("good.example"), to: 443))
        #expect(later.send(Client.datagram(unknown, to: 443)) == .accept(.refused))
        #expect(later.effects.outcomes.map(\.decision.reason) == [.allowed, .quicVersion])
    }

    @Test("a new connection from a socket of another agent is that agent's")
    func otherSender() throws {
        var bench = try Bench { input in
            PolicyDecision(allow: input.agent.id == "bot", reason: input.agent.id == "bot" ? .allowed : .policy)
        }
        _ = bench.send(Client.datagram(Self.initial("good.example"), to: 443))
        let key = FiveTuple(
            source: Bench.client, sourcePort: 0, destination: Bench.server, destinationPort: 0, transport: .udp)
        bench.engine.resolver.owners[key] = SocketOwner(
            cgroup: CgroupID(rawValue: 8), cookie: nil, uid: 1002, inode: 2)
        #expect(bench.send(Client.datagram(Self.initial("good.example", id: 5), to: 443)) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .noIdentity)
    }

    @Test("lets answers through to a forwarded agent, until the flow is refused")
    func forwarded() throws {
        for (host, expected) in [("good.example", Verdict.accept(.undecided)), ("bad.example", .accept(.refused))] {
            var bench = try Bench()
            let hello = Client.datagram(Self.initial(host), from: Bench.guest, to: 443)
            _ = bench.send(hello, hook: .forward)
            let answer = Client.datagram(Self.short, from: Bench.server, sourcePort: 443, at: Bench.guest, to: 40_000)
            #expect(bench.send(answer, hook: .forward) == expected)
        }
    }

    @Test("allocates nothing for a protected packet of an allowed connection")
    func allocations() throws {
        var bench = try Bench()
        _ = bench.send(Client.datagram(Self.initial("good.example"), to: 443))
        let packet = Client.datagram(Self.short, to: 443)
        var effects = CountingEffects()
        let facts = PacketFacts(
            reference: PacketReference(queue: 1, id: 1), hook: .output, inputInterface: 0, outputInterface: 4, uid: nil,
            checksumNotReady: false, isSegmentBatch: false, isTruncated: false, segmentQueue: 2)
        bench.engine.handle(facts, packet.span.bytes, clock: bench.clock, effects: &effects)
        let before = allocation_count()
        for _ in 0..<1000 { bench.engine.handle(facts, packet.span.bytes, clock: bench.clock, effects: &effects) }
        #expect(allocation_count() - before == 0)
        #expect(effects.copies == 1001)
    }
}

/// Counts what goes on with our copy.
struct CountingEffects: EnforcementEffects {
    var copies = 0

    mutating func accept(_ packet: PacketReference, mark: VerdictMark) {}
    mutating func accept(_ packet: PacketReference, mark: VerdictMark, bytes: RawSpan) { copies += 1 }
    mutating func drop(_ packet: PacketReference) {}
    mutating func requeue(_ packet: PacketReference, to queue: UInt16) {}
    mutating func inject(_ bytes: RawSpan) {}
    mutating func cut(_ flow: FiveTuple, isForwarded: Bool) {}
    mutating func makeDecisionID(nanoseconds _: UInt64) -> String { "" }
    mutating func report(_ outcome: Outcome) {}
    mutating func monotonicNow() -> UInt64 { 0 }
}

extension Client {
    /// A UDP datagram, by default from the client to the server, without a checksum.
    static func datagram(
        _ payload: [UInt8], from source: IPAddress = Bench.client, sourcePort: UInt16 = 40_000,
        at destination: IPAddress = Bench.server, to port: UInt16
    ) -> [UInt8] {
        func number(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }
        func octets(_ address: IPAddress) -> [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: address.low >> UInt64(24 - 8 * $0)) }
        }
        let network = [0x45, 0] + number(28 + payload.count) + [0, 0, 0, 0, 64, 17, 0, 0]
        let ports = number(Int(sourcePort)) + number(Int(port)) + number(8 + payload.count) + [0, 0]
        return network + octets(source) + octets(destination) + ports + payload
    }
}
