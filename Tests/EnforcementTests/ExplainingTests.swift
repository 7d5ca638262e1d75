import Octets
import PacketHeaders
import Policy
import Testing
import WireProtocols

@testable import Enforcement

@Suite("refusals in the protocol's words")
struct ExplainingTests {
    /// What was sent to the agent: packets with a payload.
    private func words(_ bench: borrowing Bench) throws -> [(packet: Packet, payload: [UInt8])] {
        try bench.effects.injected.compactMap { bytes in
            let packet = try Packet(parsing: bytes.span.bytes)
            return packet.payload.isEmpty ? nil : (packet, array(bytes.span.bytes.extracting(packet.payload)))
        }
    }

    @Test("an alert stands where the agent expects the server's next byte, and ends the stream; the server is reset")
    func alert() throws {
        var bench = try Bench(deny: .explain)
        var client = Client()
        _ = bench.send(client.synchronize())
        let verdict = bench.send(client.say(Messages.hello("bad.example")))
        #expect(verdict == .accept(.refused))
        let said = try words(bench)
        #expect(said.map(\.payload) == [RefusalMessage.tlsAlert()])
        let header = try #require(said.first?.packet.tcp)
        #expect(said.first?.packet.flow == client.flow.reversed)
        #expect(header.sequence == client.acknowledgment && header.acknowledgment == client.sequence)
        #expect(header.flags == [.ack, .psh, .fin])
        let bytes = try #require(bench.effects.injected.last)
        let last = try Packet(parsing: bytes.span.bytes)
        #expect(last.flow == client.flow && last.tcp?.flags == [.rst, .ack])
        #expect(bench.effects.outcomes.last?.id == "id-0")
    }

    @Test("with reset and drop nothing is said", arguments: [DenyMode.reset, .drop])
    func silent(mode: DenyMode) throws {
        var bench = try Bench(deny: mode)
        var client = Client()
        _ = bench.send(client.synchronize())
        _ = bench.send(client.say(Messages.hello("bad.example")))
        _ = bench.send(Client.datagram(Messages.query("bad.example"), to: 53))
        let said = try words(bench)
        #expect(said.isEmpty)
        #expect(bench.effects.outcomes.allSatisfy { $0.id == nil })
    }

    @Test("a request behind one that nothing was answered to gets no words; one behind an answer does")
    func pipelined() throws {
        for isAnswered in [false, true] {
            var bench = try Bench(deny: .explain)
            var client = Client()
            _ = bench.send(client.synchronize())
            _ = bench.send(client.say(Messages.request("good.example")))
            if isAnswered { client.acknowledgment = client.acknowledgment.advanced(by: 100) }
            _ = bench.send(client.say(Messages.request("bad.example")))
            let said = try words(bench)
            #expect(said.count == (isAnswered ? 1 : 0))
            if let payload = said.first?.payload {
                #expect(String(decoding: payload, as: UTF8.self).hasPrefix("HTTP/1.1 403 "))
            }
        }
    }

    @Test("the first request of HTTP/2 gets a response on its stream; one behind another gets none")
    func http2() throws {
        var bench = try Bench(deny: .explain)
        var client = StreamTests.connect(&bench)
        _ = bench.send(client.say(Messages.http2Beginning))
        _ = bench.send(client.say(Messages.http2Request("bad.example", stream: 5)))
        let said = try words(bench).map(\.payload)
        try #require(said.count == 1)
        // Type, flags and stream of each frame, with its payload.
        var rest = said[0][...]
        var frames: [(kind: [UInt8], payload: [UInt8])] = []
        while rest.count >= 9 {
            let header = Array(rest.prefix(9))
            let length = Int(header[1]) << 8 | Int(header[2])
            frames.append(([header[3], header[4], header[8]], Array(rest.dropFirst(9).prefix(length))))
            rest = rest.dropFirst(9 + length)
        }
        #expect(rest.isEmpty)
        #expect(frames.map(\.kind) == [[4, 0, 0], [1, 4, 5], [0, 1, 5], [7, 0, 0]])
        #expect(frames[1].payload.starts(with: [8, 3] + Array("403".utf8)))
        #expect(String(decoding: frames[2].payload, as: UTF8.self).contains(#""host":"bad.example""#))
        #expect(frames[3].payload == [0, 0, 0, 5, 0, 0, 0, 0])

        bench = try Bench(deny: .explain)
        client = StreamTests.connect(&bench)
        _ = bench.send(client.say(Messages.http2Beginning + Messages.http2Request("good.example", stream: 1)))
        client.acknowledgment = client.acknowledgment.advanced(by: 100)
        _ = bench.send(client.say(Messages.http2Request("bad.example", stream: 3)))
        let none = try words(bench)
        #expect(none.isEmpty)
        #expect(bench.effects.outcomes.map(\.decision.allow) == [true, false])
    }

    @Test("a refused question is dropped and answered in the resolver's name")
    func question() throws {
        var bench = try Bench(deny: .explain)
        let query = Messages.query("bad.example")
        let verdict = bench.send(Client.datagram(query, to: 53))
        #expect(verdict == .drop)
        let said = try words(bench)
        let payload = try #require(said.first?.payload)
        let message = try DNSMessage(parsing: payload.span.bytes)
        #expect(message.isResponse && message.responseCode == 5 && message.id == 0xABCD)
        #expect(said.first?.packet.flow.sourcePort == 53)
    }

    @Test(
        "the canary of encrypted DNS does not exist, whatever policy and the configuration say, over UDP and TCP",
        arguments: [DenyMode.explain, .reset, .drop])
    func canary(mode: DenyMode) throws {
        var bench = try Bench(deny: mode, policy: { _ in PolicyDecision(allow: true, reason: .allowed) })
        let verdict = bench.send(Client.datagram(Messages.query("USE-application-dns.net"), to: 53))
        #expect(verdict == .drop)
        var client = StreamTests.connect(&bench, port: 53)
        _ = bench.send(client.say(Messages.streamQuery("use-application-dns.net")))
        let said = try words(bench).map(\.payload)
        try #require(said.count == 2)
        for payload in [said[0], Array(said[1].dropFirst(2))] {
            let message = try DNSMessage(parsing: payload.span.bytes)
            #expect(message.isResponse && message.responseCode == 3 && message.answers.isEmpty)
        }
        _ = bench.send(Client.datagram(Messages.query("a.use-application-dns.net"), to: 53))
        #expect(bench.effects.outcomes.map(\.decision.allow) == [false, false, true])
    }

    @Test("what cannot be read as a question is refused as before")
    func noQuestion() throws {
        var bench = try Bench(deny: .explain)
        let verdict = bench.send(Client.datagram(Array("no question".utf8), to: 53))
        #expect(verdict == .accept(.refusedAlone))
    }
}
