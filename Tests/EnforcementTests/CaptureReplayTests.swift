import Identity
import PacketHeaders
import Policy
import Testing

@testable import Enforcement

@Suite struct CaptureReplayTests {
    /// A pcap file of raw IP packets, a millisecond apart.
    static func file(_ packets: [[UInt8]]) -> [UInt8] {
        func word(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        var file: [UInt8] = [
            0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 101, 0, 0, 0,
        ]
        for (index, packet) in packets.enumerated() {
            file += word(1_800_000_000) + word(index * 1000) + word(packet.count) + word(packet.count) + packet
        }
        return file
    }

    static func outcomes(_ packets: [[UInt8]], resolvers: [IPAddress]? = nil) -> [Outcome] {
        var replay = CaptureReplay(
            agent: "bot", labels: ["team": "x"], policy: ClosurePolicy(Bench.allowsGoodExample), resolvers: resolvers)
        var outcomes: [Outcome] = []
        replay.read(file(packets).span.bytes) { outcomes.append($0) }
        #expect(replay.fileError == nil)
        return outcomes
    }

    /// A connection with both sides, up to the client's `parts`.
    static func connection(_ parts: [UInt8]..., port: UInt16 = 443) -> [[UInt8]] {
        var client = Client()
        client.flow = FiveTuple(
            source: Bench.client, sourcePort: 40_000, destination: Bench.server, destinationPort: port, transport: .tcp)
        var packets = [client.synchronize()]
        var server = Client()
        server.flow = client.flow.reversed
        for part in [[]] + parts {
            if !part.isEmpty { packets.append(client.say(part)) }
            server.acknowledgment = client.sequence
            packets.append(server.segment([], flags: part.isEmpty ? [.syn, .ack] : .ack))
        }
        return packets
    }

    @Test("takes every flow for the customer that is named, and for nobody's without one")
    func customer() {
        for customer in [nil, Customer(id: "acme")] {
            var replay = CaptureReplay(
                agent: "bot", labels: [:], policy: ClosurePolicy(Bench.allowsGoodExample), resolvers: nil,
                customer: customer)
            var named: [String?] = []
            let packets = Self.connection(Messages.hello("good.example"), Messages.secondFlight, [23, 3, 3, 0, 0])
            replay.read(Self.file(packets).span.bytes) { named.append($0.input.customer?.id) }
            #expect(named == [customer?.id])
        }
    }

    @Test("gives the decisions of the daemon's engine, as the agent that is named")
    func decisions() {
        let good = Self.outcomes(
            Self.connection(Messages.hello("good.example"), Messages.secondFlight, [23, 3, 3, 0, 0]))
        #expect(good.map(\.decision.allow) == [true])
        #expect(good.first?.input.agent.id == "bot")
        #expect(good.first?.input.agent.labels == ["team": "x"])
        #expect(good.first?.input.uid == nil)
        #expect(good.first?.input.time == 1_800_000_000_002_000_000)
        let bad = Self.outcomes(Self.connection(Messages.hello("bad.example"), [1], [2]))
        #expect(bad.map(\.input.host) == ["bad.example"], "once: the kernel refuses the rest")
        #expect(bad.map(\.decision.reason) == [.policy])
    }

    @Test("takes the servers of DNS in the capture for resolvers, unless others are named")
    func resolvers() {
        let question = [Client.datagram(Messages.query("good.example"), to: 53)]
        #expect(Self.outcomes(question).map(\.input.stage) == [.resolve])
        #expect(Self.outcomes(question, resolvers: []).map(\.decision.reason) == [.unknownProtocol])
    }

    @Test("names lead where the answers in the file say; without an answer they are not compared")
    func names() {
        let question = Client.datagram(Messages.query("good.example"), to: 53)
        func answer(_ address: [UInt8]) -> [UInt8] {
            Client.datagram(
                NamesTests.answer("good.example", [NamesTests.record(1, address)]), from: Bench.server, sourcePort: 53,
                at: Bench.client, to: 40_000)
        }
        let flow = Self.connection(Messages.hello("good.example"), Messages.secondFlight)
        for (packets, isWatched, expected) in [
            ([question, answer([198, 18, 0, 1])] + flow, true, true),
            ([question, answer([198, 18, 0, 99])] + flow, true, false),
            ([question] + flow, true, nil), ([question, answer([198, 18, 0, 1])] + flow, false, nil),
            // Nobody asked.
            ([answer([198, 18, 0, 1]), question] + flow, true, false),
        ] as [([[UInt8]], Bool, Bool?)] {
            var replay = CaptureReplay(
                agent: "bot", labels: [:], policy: ClosurePolicy(Bench.allowsGoodExample), resolvers: [Bench.server],
                names: NameWatch(isOn: isWatched))
            var matches: [Bool?] = []
            replay.read(Self.file(packets).span.bytes) { outcome in
                if outcome.input.stage == .hello { matches.append(outcome.input.addressMatchesHost) }
            }
            #expect(matches == [expected])
            #expect(replay.comparesNames == (expected != nil))
        }
    }

    @Test("lets time run out at the end, and tells of flows that it did not see begin")
    func ends() {
        let hello = Messages.hello("good.example")
        #expect(Self.outcomes(Self.connection(Array(hello.dropLast()))).map(\.decision.reason) == [.heldTooLong])
        let midstream = Array(Self.connection(hello).dropFirst(2))
        #expect(Self.outcomes(midstream).map(\.decision.reason) == [.preexisting])
    }

    @Test("tells where a file ends early, after the decisions before")
    func truncated() {
        var replay = CaptureReplay(
            agent: "bot", labels: [:], policy: ClosurePolicy(Bench.allowsGoodExample), resolvers: nil)
        var count = 0
        let file = Self.file(Self.connection(Messages.hello("good.example")))
        replay.read(Array(file.dropLast(3)).span.bytes) { _ in count += 1 }
        #expect(count == 1)
        #expect(replay.fileError != nil)
    }
}
