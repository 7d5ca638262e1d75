import CAllocationCounter
import Identity
import PacketHeaders
import Policy
import Testing

@testable import Enforcement

@Suite struct EnforcementEngineTests {
    @Test("passes an allowed hello with our copy, and settles once the server has it")
    func allowedHello() throws {
        var bench = try Bench()
        var client = Client()
        #expect(bench.send(client.synchronize()) == .accept(.undecided))
        let hello = client.say(Messages.hello("good.example"))
        #expect(bench.send(hello) == .acceptCopy(.undecided, hello))
        #expect(bench.effects.outcomes.map(\.decision.reason) == [.allowed])
        #expect(bench.effects.outcomes.first?.input.protocol?.alpn == ["h2"])
        let early = client.segment(Messages.secondFlight)
        #expect(bench.send(early) == .acceptCopy(.undecided, early), "the server has not acknowledged the hello")
        bench.acknowledged.count = UInt64(Messages.hello("good.example").count)
        #expect(bench.send(client.say(Messages.secondFlight)) == .accept(.allowed))
        #expect(bench.send(client.say([23, 3, 3])) == .accept(.allowed))
    }

    /// A server's first record, with this random and what follows it.
    private static func serverHello(_ random: [UInt8]) -> [UInt8] {
        [22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3] + random + [UInt8](repeating: 0, count: 52)
    }

    @Test(
        "where a guest may be asked for a second ClientHello, what shows that none follows must not come again as one")
    func shownAgain() throws {
        let retry: [UInt8] = [
            0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91,
            0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
        ]
        let plain = Array(retry.dropLast()) + [0]
        for (answer, isSettled) in [
            (Self.serverHello(plain), true), (Self.serverHello(retry), false),
            (Array(Self.serverHello(plain)[..<40]), false),
            ([21, 3, 3, 0, 2, 2, 40], false),
        ] {
            var bench = try Bench()
            var client = Self.guest()
            _ = bench.send(client.synchronize(), hook: .forward)
            _ = bench.send(client.say(Messages.hello("good.example")), hook: .forward)
            var server = Client(flow: client.flow.reversed)
            server.acknowledgment = client.sequence
            #expect(bench.send(server.segment(answer), hook: .forward) == .accept(.undecided))
            let flight = client.segment([23, 3, 3, 0, 3, 1, 2, 3])
            #expect(bench.send(flight, hook: .forward) == .acceptCopy(isSettled ? .allowed : .undecided, flight))
            guard !isSettled else { continue }
            // The server never saw it.
            #expect(bench.send(client.say(Messages.hello("bad.example")), hook: .forward) == .accept(.refused))
            #expect(bench.effects.outcomes.last?.decision.reason == .reassembly)
        }
    }

    @Test("drops what waits ahead of a hole once the flow is settled: no packet stays in the queue for ever")
    func heldAtTheEnd() throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        _ = bench.send(client.say(Messages.hello("good.example")))
        bench.acknowledged.count = UInt64(Messages.hello("good.example").count)
        #expect(bench.send(client.segment([23, 3, 3], at: 50)) == nil, "held")
        let count = bench.verdicts.count
        let last = client.say(Messages.secondFlight)
        #expect(bench.send(last) == .acceptCopy(.allowed, last))
        #expect(bench.verdicts[count...] == [.acceptCopy(.allowed, last), .drop])
        #expect(bench.send(client.segment([23, 3, 3], at: 35)) == .accept(.allowed))
    }

    @Test("refuses a hello with another name, resets the server and says why")
    func refusedHello() throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        let first = client.sequence
        #expect(bench.send(client.say(Messages.hello("bad.example"))) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .policy)
        #expect(bench.effects.outcomes.last?.input.host == "bad.example")
        let reset = try #require(bench.effects.injected.first)
        let packet = try Packet(parsing: reset.span.bytes)
        #expect(packet.flow == client.flow)
        #expect(packet.tcp?.flags == [.rst, .ack])
        #expect(packet.tcp?.sequence == first)
        #expect(bench.send(client.say([1])) == .accept(.refused))
        #expect(bench.effects.outcomes.count == 1)
    }

    @Test(
        "gives the same answer for a hello cut anywhere, in either order",
        arguments: ["good.example", "bad.example"], [1, 5, 44, 60, 90, 140])
    func cuts(host: String, cut: Int) throws {
        for isReversed in [false, true] {
            var bench = try Bench()
            var client = Client()
            _ = bench.send(client.synchronize())
            let hello = Messages.hello(host)
            let cut = min(cut, hello.count - 1)
            let first = client.segment(Array(hello[..<cut]))
            let second = client.segment(Array(hello[cut...]), at: cut)
            let (early, late) = isReversed ? (second, first) : (first, second)
            #expect(bench.send(early) == nil, "held")
            let verdict = bench.send(late)
            if host == "good.example" {
                #expect(verdict == .acceptCopy(.undecided, late))
                #expect(bench.verdicts.contains(.acceptCopy(.undecided, early)))
            } else {
                #expect(verdict == .accept(.refused))
                #expect(!bench.verdicts.contains(.acceptCopy(.undecided, early)))
            }
        }
    }

    @Test("holds two packets of an incomplete hello and defers more, none passing")
    func dribble() throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        for byte in Messages.hello("good.example").dropLast() { _ = bench.send(client.say([byte])) }
        #expect(bench.verdicts.dropFirst().allSatisfy { $0 == .drop })
        bench.clock.monotonic += 6_000_000_000
        bench.engine.expire(clock: bench.clock, effects: &bench.effects)
        #expect(bench.effects.outcomes.last?.decision.reason == .heldTooLong)
        #expect(bench.send(client.say([0])) == .accept(.refused))
    }

    @Test("refuses a byte that comes twice with two values, before and after the verdict")
    func conflicts() throws {
        var before = try Bench()
        var client = Client()
        _ = before.send(client.synchronize())
        let hello = Messages.hello("good.example")
        _ = before.send(client.segment(Array(hello[..<50])))
        var other = hello
        other[40] ^= 1
        #expect(before.send(client.segment(Array(other[30...]), at: 30)) == .accept(.refused))
        #expect(before.effects.outcomes.last?.decision.reason == .reassembly)

        var after = try Bench()
        _ = after.send(Client().segment([], flags: .syn))
        _ = after.send(client.segment(hello))
        #expect(after.send(client.segment(hello)) == .acceptCopy(.undecided, client.segment(hello)))
        #expect(after.send(client.segment(other)) == .accept(.refused))
        #expect(after.effects.outcomes.last?.decision.reason == .reassembly)
    }

    @Test("lets nothing out again that the server has, whatever it now says")
    func stale() throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        let hello = Messages.hello("good.example")
        _ = bench.send(client.segment(hello))
        bench.acknowledged.count = UInt64(hello.count)
        let other = client.segment(Messages.hello("evil.example"))
        #expect(bench.send(other) == .acceptCopy(.undecided, client.segment([])), "only its header")
        #expect(bench.effects.outcomes.count == 1)
    }

    @Test("refuses a chunked body whose sizes come again with other values")
    func chunkFraming() throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        _ = bench.send(client.say(Messages.request("good.example", "Transfer-Encoding: chunked\r\n")))
        let content = String(repeating: "x", count: 100)
        let chunk = client.segment(Array("64\r\n\(content)\r\n".utf8))
        #expect(bench.send(chunk) == .acceptCopy(.undecided, chunk))
        #expect(bench.send(chunk) == .acceptCopy(.undecided, chunk), "as it was")
        let content2 = client.segment(Array("64\r\n\(String(repeating: "y", count: 100))\r\n".utf8))
        #expect(bench.send(content2) == .acceptCopy(.undecided, content2), "content is the client's affair")
        let smuggled = "0\r\n\r\nGET / HTTP/1.1\r\nHost: bad.example\r\n\r\n"
        #expect(bench.send(client.segment(Array(smuggled.utf8))) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .reassembly)
    }

    @Test("refuses a second hello that names another server")
    func secondHello() throws {
        var bench = try Bench { input in
            PolicyDecision(allow: true, reason: .allowed)
        }
        var client = Client()
        _ = bench.send(client.synchronize())
        _ = bench.send(client.say(Messages.hello("good.example")))
        var same = client
        #expect(bench.send(same.say([20, 3, 3, 0, 1, 1] + Messages.hello("other.example"))) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .parseError)
    }

    @Test(
        "refuses what it does not understand",
        arguments: [
            ("SSH-2.0-OpenSSH_9.2\r\n", Reason.policy), ("hello there\r\n", .unknownProtocol),
            ("GET / HTTP/1.1\r\nHost: good.example\r\nHost: good.example\r\n\r\n", .parseError),
            ("CONNECT bad.example:443 HTTP/1.1\r\nHost: bad.example:443\r\n\r\n", .policy),
            ("GET / HTTP/1.0\r\n\r\n", .noName),
        ])
    func notUnderstood(text: String, reason: Reason) throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        #expect(bench.send(client.say(Array(text.utf8))) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == reason)
    }

    @Test("decides each request of a connection; a body passes unread but its end does not hide a request")
    func requests() throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        let first = client.say(Messages.request("good.example", "Content-Length: 5\r\n"))
        #expect(bench.send(first) == .acceptCopy(.undecided, first))
        #expect(bench.send(client.say(Array("GET /".utf8))) == .accept(.undecided), "five bytes of body")
        let second = client.say(Messages.request("good.example"))
        #expect(bench.send(second) == .acceptCopy(.undecided, second))
        #expect(
            bench.effects.outcomes.map(\.input.request?.url) == Array(repeating: "http://good.example/v1?x=1", count: 2)
        )
        let pipelined = Messages.request("good.example") + Messages.request("bad.example")
        #expect(bench.send(client.say(pipelined)) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.input.host == "bad.example")
    }

    @Test("drops data in the SYN, re-queues batches that it must judge, drops truncated packets")
    func refusedForms() throws {
        var bench = try Bench()
        var client = Client()
        #expect(bench.send(client.segment([1, 2], flags: .syn)) == .drop)
        _ = bench.send(client.synchronize())
        #expect(bench.send(client.segment(Messages.hello("good.example")), isBatch: true) == .requeue(200))
        #expect(bench.effects.outcomes.isEmpty)
        #expect(bench.send(client.segment([1]), isTruncated: true) == .drop)
    }

    @Test("keeps the order of a stream whose batches are taken apart")
    func segmentOrder() throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        let hello = Messages.hello("good.example")
        let (first, second) = (client.segment(Array(hello[..<80])), client.segment(Array(hello[80...]), at: 80))
        #expect(bench.send(first, isBatch: true) == .requeue(200))
        #expect(bench.send(second) == .requeue(200), "it would overtake")
        #expect(bench.send(first, queue: 200) == nil, "held")
        #expect(bench.send(second, queue: 200) == .acceptCopy(.undecided, second))
        #expect(bench.effects.outcomes.map(\.decision.reason) == [.allowed])
    }

    @Test("takes what is too far ahead of a hole for lost, and refuses nobody for it")
    func farAhead() throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        let hello = Messages.hello("good.example")
        #expect(bench.send(client.segment([1], at: 1 << 20)) == .drop)
        for number in 0..<100 { _ = bench.send(client.segment([1], at: 1000 + number * 2)) }
        #expect(bench.effects.outcomes.isEmpty)
        let whole = client.segment(hello)
        #expect(bench.send(whole) == .acceptCopy(.undecided, whole))
    }

    @Test("names nobody for a socket that the kernel does not know, and refuses")
    func noIdentity() throws {
        var bench = try Bench()
        var client = Client()
        client.flow = FiveTuple(
            source: Bench.client, sourcePort: 1, destination: IPAddress(v4: 1), destinationPort: 443, transport: .tcp)
        #expect(bench.send(client.synchronize()) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .noIdentity)
    }

    @Test("refuses a flow that it did not see begin, unless not a byte of it was acknowledged")
    func midstream() throws {
        var bench = try Bench()
        var client = Client()
        let hello = client.say(Messages.hello("good.example"))
        #expect(bench.send(hello) == .acceptCopy(.undecided, hello))
        bench.acknowledged.count = 2
        client.flow = client.flow.withSourcePort(5)
        #expect(bench.send(client.say([1])) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .preexisting)
    }

    @Test("takes acknowledgments of a forwarded flow from the server's packets, and believes no impossible one")
    func forwarded() throws {
        var bench = try Bench()
        var client = Client()
        client.flow = FiveTuple(
            source: Bench.guest, sourcePort: 7, destination: Bench.server, destinationPort: 443, transport: .tcp)
        #expect(bench.send(client.synchronize(), hook: .forward) == .accept(.undecided))
        var server = Client()
        server.flow = client.flow.reversed
        server.acknowledgment = client.sequence.advanced(by: 4000)
        #expect(bench.send(server.segment([]), hook: .forward) == .accept(.undecided))
        _ = bench.send(client.say(Messages.hello("good.example")), hook: .forward)
        let flight = client.segment(Messages.secondFlight)
        #expect(bench.send(flight, hook: .forward) == .acceptCopy(.undecided, flight))
        server.acknowledgment = client.sequence
        #expect(bench.send(server.segment([]), hook: .forward) == .accept(.undecided))
        #expect(bench.send(client.say(Messages.secondFlight), hook: .forward) == .acceptCopy(.undecided, client.last))
        server.acknowledgment = client.sequence
        #expect(bench.send(server.segment([]), hook: .forward) == .accept(.undecided))
        #expect(bench.send(client.say([23, 3, 3]), hook: .forward) == .accept(.allowed))
    }

    private static func guest(_ port: UInt16 = 7) -> Client {
        Client(
            flow: FiveTuple(
                source: Bench.guest, sourcePort: port, destination: Bench.server, destinationPort: 443, transport: .tcp)
        )
    }

    @Test("a guest's SYN within a connection that stands moves nothing: the server reads on where it stands")
    func synchronizeWithin() throws {
        var bench = try Bench()
        var client = Self.guest()
        _ = bench.send(client.synchronize(), hook: .forward)
        bench.engine.resolver.tracked[client.flow] = TrackedFlow(isStanding: true, isOpenedBySource: true)
        let allowed = Messages.hello("good.example") + Messages.secondFlight
        var before = client
        before.sequence = client.sequence.advanced(by: -allowed.count - 1)
        #expect(bench.send(before.synchronize(), hook: .forward) == .accept(.undecided))
        // Left of where the server stands: it drops this, and acknowledges what it has.
        _ = bench.send(before.say(allowed), hook: .forward)
        #expect(bench.effects.outcomes.allSatisfy { $0.input.stage == .connect })
        #expect(bench.send(client.say(Messages.hello("bad.example")), hook: .forward) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.input.host == "bad.example")
    }

    @Test("a server that begins anew what it has forgotten has the agent begin anew")
    func beginsAnew() throws {
        var bench = try Bench()
        var client = Self.guest()
        _ = bench.send(client.synchronize(), hook: .forward)
        var server = Client(flow: client.flow.reversed)
        server.acknowledgment = client.sequence.advanced(by: 77)
        #expect(bench.send(server.segment([], flags: [.syn, .ack]), hook: .forward) == .drop)
        #expect(bench.effects.injected.count == 1, "a reset to the server")
        #expect(bench.engine.flowCount == 0)
    }

    @Test("a connection that begins where an allowed one did is another one", arguments: [PacketHook.output, .forward])
    func sameInitialSequence(_ hook: PacketHook) throws {
        var bench = try Bench()
        var client = hook == .output ? Client() : Self.guest()
        let begun = client
        _ = bench.send(client.synchronize(), hook: hook)
        var server = Client(flow: client.flow.reversed)
        for part in [Messages.hello("good.example"), Messages.secondFlight, [23, 3, 3]] {
            _ = bench.send(client.say(part), hook: hook)
            bench.acknowledged.count = UInt64(client.sequence.distance(from: begun.sequence) - 1)
            server.acknowledgment = client.sequence
            if hook == .forward { _ = bench.send(server.segment([]), hook: hook) }
        }
        #expect(bench.send(client.say([23, 3, 3]), hook: hook) == .accept(.allowed))
        client = begun
        #expect(bench.send(client.synchronize(), hook: hook) == .accept(.undecided))
        bench.acknowledged.count = 0
        #expect(bench.send(client.say(Messages.hello("bad.example")), hook: hook) == .accept(.refused))
    }

    @Test("what is held for a flow that another one replaces does not stay in the queue")
    func replacedWhileHeld() throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        #expect(bench.send(client.say([22])) == nil)
        client.sequence = client.sequence.advanced(by: 100_000)
        let count = bench.verdicts.count
        #expect(bench.send(client.synchronize()) == .accept(.undecided))
        #expect(bench.verdicts[count...] == [.drop, .accept(.undecided)])
    }

    @Test("the packets of one agent that are held at once have a bound")
    func heldPerAgent() throws {
        var limits = EnforcementLimits()
        limits.heldCountPerAgent = 3
        var bench = try Bench(limits: limits)
        var held = 0
        for port in 0..<6 {
            var client = Client()
            client.flow = FiveTuple(
                source: Bench.client, sourcePort: UInt16(40_000 + port), destination: Bench.server,
                destinationPort: 443, transport: .tcp)
            _ = bench.send(client.synchronize())
            switch bench.send(client.say([22])) {
            case nil: held += 1
            case let verdict: #expect(verdict == .drop)
            }
        }
        #expect(held == 3)
        var guest = Self.guest()
        _ = bench.send(guest.synchronize(), hook: .forward)
        #expect(bench.send(guest.say([22]), hook: .forward) == nil, "another agent has its own")
        bench.clock.monotonic += 6_000_000_000
        bench.engine.expire(clock: bench.clock, effects: &bench.effects)
        var late = Client()
        late.flow = FiveTuple(
            source: Bench.client, sourcePort: 50_000, destination: Bench.server, destinationPort: 443, transport: .tcp)
        _ = bench.send(late.synchronize())
        #expect(bench.send(late.say([22])) == nil)
    }

    @Test("a guest's segment that belongs to nothing is refused, with payload or without")
    func strayOfGuest() throws {
        var bench = try Bench()
        #expect(bench.send(Self.guest().segment([], flags: .ack), hook: .forward) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .preexisting)
        var client = Self.guest(8)
        _ = bench.send(client.synchronize(), hook: .forward)
        #expect(bench.send(client.segment([], flags: .ack), hook: .forward) == .accept(.undecided))
    }

    @Test("an agent that answers a connection of its own opens none from outside")
    func answersItself() throws {
        let prefix = try #require(IPPrefix("198.18.0.1"))
        let rule = ListenRule(agent: "box", port: 7, transport: .tcp, sources: [prefix])
        var bench = try Bench(listen: [rule])
        var client = Self.guest()
        _ = bench.send(client.synchronize(), hook: .forward)
        #expect(bench.send(client.segment([], flags: [.syn, .ack]), hook: .forward) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.isInbound == true)
    }

    @Test("answers an outsider only where listen: says so")
    func inbound() throws {
        let prefix = try #require(IPPrefix("198.18.0.1"))
        let rule = ListenRule(agent: "bot", port: 40_000, transport: .tcp, sources: [prefix])
        for (listen, verdict) in [([rule], Verdict.accept(.allowed)), ([], .accept(.refused))] {
            var bench = try Bench(listen: listen)
            #expect(bench.send(Client().segment([], flags: [.syn, .ack])) == verdict)
            #expect(bench.effects.outcomes.last?.isInbound == true)
        }
    }

    @Test("knows a guest that is listed under listen: by the interface towards it")
    func inboundToInterface() throws {
        let anyone = try #require(IPPrefix("0.0.0.0/0"))
        let rule = ListenRule(agent: "tap", port: 443, transport: .tcp, sources: [anyone])
        for (interface, verdict) in [(UInt32(9), Verdict.accept(.allowed)), (4, .accept(.refused))] {
            var bench = try Bench(listen: [rule])
            var outsider = Client()
            #expect(bench.send(outsider.synchronize(), hook: .forward, outputInterface: interface) == verdict)
        }
    }

    @Test("allocates nothing for a packet that needs no new decision")
    func allocations() throws {
        var bench = try Bench()
        var client = Client()
        _ = bench.send(client.synchronize())
        _ = bench.send(client.say(Messages.hello("good.example")))
        bench.acknowledged.count = 100_000
        _ = bench.send(client.say(Messages.secondFlight))
        let packet = client.segment([23, 3, 3, 0, 9])
        bench.effects.verdicts.reserveCapacity(5000)
        let facts = PacketFacts(
            reference: PacketReference(queue: 1, id: 1), hook: .output, inputInterface: 0, outputInterface: 4, uid: nil,
            checksumNotReady: false, isSegmentBatch: false, isTruncated: false, segmentQueue: 2)
        bench.engine.handle(facts, packet.span.bytes, clock: bench.clock, effects: &bench.effects)
        let before = allocation_count()
        for _ in 0..<1000 {
            bench.engine.handle(facts, packet.span.bytes, clock: bench.clock, effects: &bench.effects)
        }
        #expect(allocation_count() - before == 0)
        #expect(bench.effects.verdicts.last?.1 == .accept(.allowed))
    }
}

extension FiveTuple {
    func withSourcePort(_ port: UInt16) -> FiveTuple {
        FiveTuple(
            source: source, sourcePort: port, destination: destination, destinationPort: destinationPort,
            transport: transport)
    }
}
