import CAllocationCounter
import PacketHeaders
import Policy
import Testing

@testable import Enforcement

/// What TCP flows may speak beside TLS and HTTP/1, alone and one in the other.
@Suite struct StreamTests {
    /// Allows every flow to begin, the name `good.example`, and these protocols where no name is known.
    static func bench(unnamed: Set<String> = []) throws -> Bench {
        try Bench { input in
            let isUnnamed = input.host == nil && unnamed.contains(input.protocol?.name ?? "")
            let allow = input.stage == .connect || input.host == "good.example" || isUnnamed
            return PolicyDecision(allow: allow, reason: allow ? .allowed : .policy, rule: "test")
        }
    }

    /// A connection that has begun, to port 53 if it is to a resolver.
    static func connect(_ bench: inout Bench, port: UInt16 = 443) -> Client {
        var client = Client()
        client.flow = FiveTuple(
            source: Bench.client, sourcePort: 40_000, destination: Bench.server, destinationPort: port, transport: .tcp)
        _ = bench.send(client.synchronize())
        return client
    }

    // MARK: HTTP/2

    @Test("decides each stream of HTTP/2 in the clear, and nothing leaves before the first")
    func http2() throws {
        var bench = try Self.bench()
        var client = Self.connect(&bench)
        let beginning = client.say(Messages.http2Beginning)
        #expect(bench.send(beginning) == nil, "held")
        let first = client.say(Messages.http2Request("good.example", stream: 1))
        #expect(bench.send(first) == .acceptCopy(.undecided, first))
        #expect(bench.verdicts.contains(.acceptCopy(.undecided, beginning)))
        let outcome = try #require(bench.effects.outcomes.last)
        #expect(outcome.input.stage == .request)
        #expect(outcome.input.hostSource == .h2Authority)
        #expect(outcome.input.request?.url == "http://good.example/pkg.Service/Call")
        #expect(outcome.input.protocol?.name == "h2c")
        let data = client.say(Messages.frame(0, flags: 1, stream: 1, [1, 2, 3]))
        #expect(bench.send(data) == .acceptCopy(.undecided, data))
        #expect(bench.send(client.say(Messages.http2Request("bad.example", stream: 3))) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.input.host == "bad.example")
    }

    @Test("puts a header block in CONTINUATION frames together, however the segments are cut")
    func continuation() throws {
        for host in ["good.example", "bad.example"] {
            var bench = try Self.bench()
            var client = Self.connect(&bench)
            let block = Messages.headerBlock(host)
            let bytes =
                Messages.http2Beginning + Messages.frame(1, stream: 1, Array(block[..<20]))
                + Messages.frame(9, stream: 1, Array(block[20..<40]))
                + Messages.frame(9, flags: 4, stream: 1, Array(block[40...]))
            for byte in bytes { _ = bench.send(client.say([byte])) }
            #expect(bench.effects.outcomes.map(\.input.host) == [host])
            #expect(bench.effects.outcomes.map(\.decision.allow) == [host == "good.example"])
        }
    }

    @Test("refuses a frame whose length comes again with another value")
    func http2Framing() throws {
        var bench = try Self.bench()
        var client = Self.connect(&bench)
        _ = bench.send(client.say(Messages.http2Beginning + Messages.http2Request("good.example", stream: 1)))
        let data = client.segment(Messages.frame(0, stream: 1, Array(repeating: 7, count: 200)))
        #expect(bench.send(data) == .acceptCopy(.undecided, data))
        let other = client.segment(Messages.frame(0, stream: 1, []) + Messages.http2Request("bad.example", stream: 3))
        #expect(bench.send(other) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .reassembly)
    }

    @Test(
        "lets the preface go where policy allows HTTP/2 whatever it names, and refuses one that names nothing for long")
    func http2Waiting() throws {
        var open = try Self.bench(unnamed: ["h2c"])
        var client = Self.connect(&open)
        let beginning = client.say(Messages.http2Beginning)
        #expect(open.send(beginning) == .acceptCopy(.undecided, beginning))
        #expect(open.send(client.say(Messages.http2Request("bad.example", stream: 1))) == .accept(.refused))

        var closed = try Self.bench()
        client = Self.connect(&closed)
        _ = closed.send(client.say(Messages.http2Beginning))
        closed.clock.monotonic += 6_000_000_000
        closed.engine.expire(clock: closed.clock, effects: &closed.effects)
        #expect(closed.effects.outcomes.map(\.decision.reason) == [.heldTooLong])
    }

    @Test("refuses a tunnel within HTTP/2")
    func http2Connect() throws {
        var bench = try Self.bench()
        var client = Self.connect(&bench)
        let block = Messages.literal(":method", "CONNECT") + Messages.literal(":authority", "good.example:443")
        let bytes = Messages.http2Beginning + Messages.frame(1, flags: 4, stream: 1, block)
        #expect(bench.send(client.say(bytes)) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == .unknownProtocol)
    }

    // MARK: Upgrades and tunnels

    @Test("an allowed request may become HTTP/2, whose streams are decided")
    func upgrade() throws {
        var bench = try Self.bench()
        var client = Self.connect(&bench)
        let fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        _ = bench.send(client.say(Messages.request("good.example", fields)))
        let beginning = client.say(Messages.http2Beginning)
        #expect(bench.send(beginning) == .acceptCopy(.undecided, beginning), "the first stream was asked for before")
        #expect(bench.send(client.say(Messages.http2Request("bad.example", stream: 3))) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.input.protocol?.layers == ["http", "h2c"])
    }

    @Test("an allowed request may become a WebSocket, and the kernel passes it")
    func webSocket() throws {
        var bench = try Self.bench()
        var client = Self.connect(&bench)
        let request = Messages.request("good.example", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
        let frame: [UInt8] = [0x81, 0x82, 1, 2, 3, 4, 0x41, 0x42]
        _ = bench.send(client.say(request))
        bench.acknowledged.count = UInt64(request.count)
        let first = client.say(frame)
        #expect(bench.send(first) == .acceptCopy(.undecided, first))
        bench.acknowledged.count = UInt64(request.count + frame.count)
        #expect(bench.send(client.say(frame)) == .accept(.allowed))
        #expect(bench.effects.outcomes.count == 1)
    }

    @Test(
        "a server that does not change the protocol gets no request unread",
        arguments: [
            "GET / HTTP/1.1\r\nHost: bad.example\r\n\r\n", "\nGET / HTTP/1.1\r\nHost: bad.example\r\n\r\n",
            "\u{1}\u{2}GET / HTTP/1.1\r\nHost: bad.example\r\n\r\n",
        ])
    func noUpgrade(text: String) throws {
        var bench = try Self.bench()
        var client = Self.connect(&bench)
        _ = bench.send(client.say(Messages.request("good.example", "Connection: Upgrade\r\nUpgrade: websocket\r\n")))
        #expect(bench.send(client.say(Array(text.utf8))) == .accept(.refused))
    }

    private static func tunnel(_ host: String) -> [UInt8] {
        Array("CONNECT \(host):443 HTTP/1.1\r\nHost: \(host):443\r\n\r\n".utf8)
    }

    @Test("decides CONNECT by its target, and the stream inside by what it says")
    func connect() throws {
        var bench = try Self.bench()
        var client = Self.connect(&bench)
        let request = client.say(Self.tunnel("good.example"))
        #expect(bench.send(request) == .acceptCopy(.undecided, request))
        #expect(bench.effects.outcomes.last?.input.request?.path == "good.example:443")
        let hello = client.say(Messages.hello("good.example"))
        #expect(bench.send(hello) == .acceptCopy(.undecided, hello))
        #expect(bench.effects.outcomes.last?.input.protocol?.layers == ["http", "tls"])
        #expect(bench.effects.outcomes.last?.input.stage == .hello)
    }

    @Test(
        "refuses a tunnel whose inside names another host or is not known",
        arguments: [
            (Messages.hello("bad.example"), Reason.parseError), (Messages.request("other.example"), .parseError),
            (Array("hello there\r\n".utf8), .unknownProtocol), (tunnel("other.example"), .parseError),
            (Messages.streamQuery("good.example"), .unknownProtocol),
        ] as [([UInt8], Reason)])
    func tunnelled(inside: [UInt8], reason: Reason) throws {
        var bench = try Bench { _ in PolicyDecision(allow: true, reason: .allowed) }
        var client = Self.connect(&bench)
        _ = bench.send(client.say(Self.tunnel("good.example")))
        #expect(bench.send(client.say(inside)) == .accept(.refused))
        #expect(bench.effects.outcomes.last?.decision.reason == reason)
    }

    @Test("what names nobody inside a tunnel is decided by the tunnel's target")
    func tunnelledSSH() throws {
        var bench = try Self.bench()
        var client = Self.connect(&bench)
        _ = bench.send(client.say(Self.tunnel("good.example")))
        let banner = client.say(Array("SSH-2.0-OpenSSH_9.2\r\n".utf8))
        #expect(bench.send(banner) == .acceptCopy(.undecided, banner))
        #expect(bench.effects.outcomes.last?.input.host == "good.example")
        #expect(bench.effects.outcomes.last?.input.protocol?.name == "ssh")
    }

    @Test("decides what a SOCKS proxy is asked for, and the stream inside")
    func socks() throws {
        for (host, isAllowed) in [("good.example", true), ("bad.example", false)] {
            var bench = try Self.bench(unnamed: ["socks"])
            var client = Self.connect(&bench)
            let methods = client.say([5, 1, 0])
            #expect(bench.send(methods) == .acceptCopy(.undecided, methods))
            let request = client.say([5, 1, 0, 3] + Messages.counted(host) + [1, 0xBB])
            #expect(bench.send(request) == (isAllowed ? .acceptCopy(.undecided, request) : .accept(.refused)))
            #expect(bench.effects.outcomes.last?.input.hostSource == .socks)
            #expect(bench.effects.outcomes.last?.input.request?.path == "\(host):443")
            guard isAllowed else { continue }
            #expect(bench.send(client.say(Messages.hello("bad.example"))) == .accept(.refused))
        }
    }

    // MARK: DNS

    @Test("decides each question of DNS over TCP, pipelined and cut anywhere")
    func dns() throws {
        for cut in [1, 2, 15, 40] {
            var bench = try Self.bench()
            var client = Self.connect(&bench, port: 53)
            let both = Messages.streamQuery("good.example") + Messages.streamQuery("good.example")
            #expect(bench.send(client.say(Array(both[..<cut]))) == nil, "held to its last byte")
            let rest = client.say(Array(both[cut...]))
            #expect(bench.send(rest) == .acceptCopy(.undecided, rest))
            #expect(bench.effects.outcomes.map(\.input.question?.name) == ["good.example", "good.example"])
            #expect(bench.send(client.say(Messages.streamQuery("bad.example"))) == .accept(.refused))
            #expect(bench.effects.outcomes.last?.input.stage == .resolve)
        }
    }

    @Test("refuses DNS to anybody but the resolvers, and to them everything else")
    func misdirected() throws {
        for (port, bytes) in [
            (UInt16(443), Messages.streamQuery("good.example")), (53, Messages.hello("good.example")),
        ] {
            var bench = try Bench { _ in PolicyDecision(allow: true, reason: .allowed) }
            var client = Self.connect(&bench, port: port)
            #expect(bench.send(client.say(bytes)) == .accept(.refused))
            #expect(bench.effects.outcomes.last?.decision.reason == .unknownProtocol)
        }
    }

    // MARK: Databases, mail and the rest

    @Test("decides PostgreSQL at its request for encryption and by the name after it")
    func postgresTLS() throws {
        for (host, isAllowed) in [("good.example", true), ("bad.example", false)] {
            var bench = try Self.bench(unnamed: ["postgres"])
            var client = Self.connect(&bench, port: 5432)
            let request = client.say(Messages.postgresEncryptionRequest)
            #expect(bench.send(request) == .acceptCopy(.undecided, request))
            let hello = client.say(Messages.hello(host))
            #expect(bench.send(hello) == (isAllowed ? .acceptCopy(.undecided, hello) : .accept(.refused)))
            #expect(bench.effects.outcomes.map(\.input.protocol?.layers) == [nil, ["postgres", "tls"]])
        }
    }

    @Test("decides a database login by user and database")
    func logins() throws {
        let logins: [(String, [UInt8])] = [
            ("postgres", Messages.postgresStartup(user: "app", database: "orders")),
            ("mysql", Messages.mysqlLogin(user: "app", schema: "orders")),
        ]
        for (name, login) in logins {
            for isAllowed in [true, false] {
                var bench = try Bench { input in
                    let allow = input.stage == .connect || input.database == DatabaseFacts(user: "app", name: "orders")
                    return PolicyDecision(allow: allow && (isAllowed || input.stage == .connect), reason: .policy)
                }
                var client = Self.connect(&bench, port: 5432)
                let packet = client.say(login)
                #expect(bench.send(packet) == (isAllowed ? .acceptCopy(.undecided, packet) : .accept(.refused)))
                #expect(bench.effects.outcomes.map(\.input.protocol?.name) == [name])
                #expect(bench.effects.outcomes.last?.input.database == DatabaseFacts(user: "app", name: "orders"))
            }
        }
    }

    @Test(
        "decides mail and directories by protocol, and by the name after STARTTLS",
        arguments: [
            ("smtp", [Array("EHLO x\r\n".utf8), Array("STARTTLS\r\n".utf8)]),
            ("imap", [Array("a1 CAPABILITY\r\n".utf8), Array("a2 STARTTLS\r\n".utf8)]),
            ("ldap", [Messages.ldapStartTLS]),
        ] as [(String, [[UInt8]])])
    func startTLS(name: String, commands: [[UInt8]]) throws {
        for (host, isAllowed) in [("good.example", true), ("bad.example", false)] {
            var bench = try Self.bench(unnamed: [name])
            var client = Self.connect(&bench, port: 25)
            for command in commands {
                let packet = client.say(command)
                #expect(bench.send(packet) == .acceptCopy(.undecided, packet))
            }
            let hello = client.say(Messages.hello(host))
            #expect(bench.send(hello) == (isAllowed ? .acceptCopy(.undecided, hello) : .accept(.refused)))
            #expect(bench.effects.outcomes.map(\.input.protocol?.layers) == [nil, [name, "tls"]])
        }
        var closed = try Self.bench()
        var client = Self.connect(&closed, port: 25)
        #expect(closed.send(client.say(commands[0])) == .accept(.refused))
        #expect(closed.effects.outcomes.map(\.decision.reason) == [.policy])
    }

    @Test(
        "decides by protocol and address what names nothing, and the kernel passes it once the server has it",
        arguments: [
            ("ssh", Array("SSH-2.0-OpenSSH_9.2\r\n".utf8)),
            ("redis", Array("*1\r\n$4\r\nPING\r\n".utf8)),
            ("mongodb", [40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xDD, 7, 0, 0, 0, 0, 0, 0]),
            ("mqtt", [0x10, 12, 0, 4, 0x4D, 0x51, 0x54, 0x54, 5, 2, 0, 60, 0, 0]),
            ("bittorrent", Array("\u{13}BitTorrent protocol".utf8)), ("unknown", Array("hello there\r\n".utf8)),
        ] as [(String, [UInt8])])
    func unnamed(name: String, bytes: [UInt8]) throws {
        var bench = try Self.bench(unnamed: [name])
        var client = Self.connect(&bench, port: 9999)
        let first = client.segment(bytes)
        #expect(bench.send(first) == .acceptCopy(.undecided, first))
        var other = bytes
        other[other.count - 1] ^= 1
        var changed = client
        #expect(bench.effects.outcomes.map(\.input.protocol?.name) == [name])
        bench.acknowledged.count = UInt64(bytes.count)
        _ = client.say(bytes)
        #expect(bench.send(client.say([1, 2, 3])) == .accept(.allowed))

        var comparing = try Self.bench(unnamed: [name])
        _ = comparing.send(Client().segment([], flags: .syn))
        changed = Self.connect(&comparing, port: 9999)
        _ = comparing.send(changed.segment(bytes))
        #expect(comparing.send(changed.segment(other)) == .accept(.refused), "what was judged may not change")

        var closed = try Self.bench()
        client = Self.connect(&closed, port: 9999)
        #expect(closed.send(client.say(bytes)) == .accept(.refused))
        #expect(closed.effects.outcomes.last?.decision.reason == (name == "unknown" ? .unknownProtocol : .policy))
    }

    @Test("allocates nothing for the body of an HTTP/2 stream")
    func allocations() throws {
        var bench = try Self.bench()
        var client = Self.connect(&bench)
        let start = Messages.http2Beginning + Messages.http2Request("good.example", stream: 1)
        _ = bench.send(client.say(start + [0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 1]))
        bench.acknowledged.count = UInt64(start.count + 9)
        var packets = (0..<200).map { _ in client.say(Array(repeating: 7, count: 100)) }
        var effects = CountingEffects()
        let facts = PacketFacts(
            reference: PacketReference(queue: 1, id: 1), hook: .output, inputInterface: 0, outputInterface: 4, uid: nil,
            checksumNotReady: false, isSegmentBatch: false, isTruncated: false, segmentQueue: 1)
        let first = packets.removeFirst()
        bench.engine.handle(facts, first.span.bytes, clock: bench.clock, effects: &effects)
        let before = allocation_count()
        for packet in packets { bench.engine.handle(facts, packet.span.bytes, clock: bench.clock, effects: &effects) }
        #expect(allocation_count() - before == 0)
    }
}
