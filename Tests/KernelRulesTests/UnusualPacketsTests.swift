import Glibc
import Netlink
import NetworkLab
import PacketHeaders
import Testing

@testable import KernelRules

/// Packets that no honest sender needs, from a confined process and through raw sockets, on the real kernel. Each case is
/// played with its rule and without it.
@Suite("Unusual packets", .enabled(if: NetworkNamespace.isAvailable, "needs root and network namespaces"), .serialized)
struct UnusualPacketsTests {
    static let families = [AddressFamily.v4, .v6]

    /// A packet and the rule that stops it.
    struct Case: CustomTestStringConvertible {
        let name: String
        let rule: String
        let counter: String
        let adapt: @Sendable (inout Segment) -> Void
        var testDescription: String { name }
    }

    static let cases = [
        Case(name: "SYN with payload", rule: "tcp flags & (syn | ack) == syn @ih,0,8", counter: "unusual") {
            $0.payload = [1]
        },
        Case(name: "urgent data", rule: "tcp flags & urg == urg", counter: "unusual") { $0.flags |= 32 },
        Case(name: "MD5 signature", rule: "tcp option 19 exists", counter: "unusual") {
            $0.options = [19, 18] + [UInt8](repeating: 7, count: 16) + [1, 1]
        },
        Case(name: "TCP authentication", rule: "tcp option 29 exists", counter: "unusual") {
            $0.options = [29, 16, 0, 0] + [UInt8](repeating: 7, count: 12)
        },
        Case(name: "SYN and FIN", rule: "ct state invalid counter name invalid drop", counter: "invalid") {
            $0.flags |= 1
        },
    ]

    @Test("is dropped, and queued where the rule is gone", arguments: cases, families)
    func dropped(_ packet: Case, _ family: AddressFamily) throws {
        for isRemoved in [false, true] {
            try RuleLab.with(family) { lab, _ in
                var rules = lab.rules
                if isRemoved {
                    // Two chains drop what is invalid; the first is the sender's.
                    rules.template = try Self.withoutFirst(packet.rule, rules.template)
                    try rules.apply()
                    try lab.renew()
                }
                let agent = try lab.agent()
                var segment = Segment(from: lab.agentAddress, to: lab.server, port: 443, flags: 2)
                packet.adapt(&segment)
                let before = try lab.counter(packet.counter)
                // The kernel tells a local sender of a packet that was dropped.
                let answer = try agent.perform("raw('\(lab.server)', '\(segment.hex)')")
                #expect(answer == (isRemoved ? "ok" : "EPERM"))
                if isRemoved {
                    _ = try lab.next()
                } else {
                    #expect(try lab.counter(packet.counter) == before + 1)
                    #expect(try lab.isQuiet())
                }
            }
        }
    }

    @Test("MPTCP is taken out of the SYN", arguments: families)
    func multipath(_ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, _ in
            let agent = try lab.agent()
            var segment = Segment(from: lab.agentAddress, to: lab.server, port: 443, flags: 2)
            // MP_CAPABLE, version 1 (RFC 8684 §3.1).
            segment.options = [30, 4, 0x01, 0x01]
            #expect(try agent.perform("raw('\(lab.server)', '\(segment.hex)')") == "ok")
            let syn = try lab.next()
            #expect(syn.flags == 2)
            #expect(Array(syn.transport.dropFirst(20)) == [1, 1, 1, 1])
        }
    }

    @Test("packets leave with the life of the host's own", arguments: families)
    func lifetime(_ family: AddressFamily) throws {
        for isRemoved in [false, true] {
            let rule = family == .v4 ? "ip ttl set 64" : "ip6 hoplimit set 64"
            try RuleLab.with(family, removing: isRemoved ? [rule] : []) { lab, _ in
                let agent = try lab.agent()
                let option = family == .v4 ? "socket.IPPROTO_IP, socket.IP_TTL" : "socket.IPPROTO_IPV6, 16"
                #expect(try agent.perform("option(\(option), 2)") == "ok")
                try agent.begin("connect('\(lab.server)', 443)")
                let syn = try lab.next()
                #expect(syn.lifetime == (isRemoved ? 2 : 64))
                lab.drop(syn)
            }
        }
    }

    @Test(
        "an agent's own marks are cleared, other bits stay",
        arguments: [RuleLab.allowed | 1, RuleLab.inject | 1, 0x0F00_0001], families)
    func marks(_ mark: UInt32, _ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent()
            #expect(try agent.perform("option(socket.SOL_SOCKET, socket.SO_MARK, \(mark))") == "ok")
            try agent.begin("connect('\(lab.server)', 443)")
            let syn = try lab.next()
            #expect(syn.facts.mark == RuleLab.confined | 1)
            lab.accept(syn)
            #expect(try agent.end() == "ok")
            _ = try agent.perform("send(b'x')")
            let data = try lab.next()
            #expect(data.facts.mark == RuleLab.confined | 1)
            #expect(try lab.connectionMarks(port: 443) == [RuleLab.confined])
            #expect(try lab.counter("foreign_mark") > 0)
            _ = server.localPort
        }
    }

    @Test("a mark of ours that was not cleared would pass the agent's packets by itself")
    func marksWithoutTheRule() throws {
        try RuleLab.with(removing: ["meta mark & @MASK@ != 0 jump own_or_foreign_mark"]) { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent()
            #expect(try agent.perform("option(socket.SOL_SOCKET, socket.SO_MARK, \(RuleLab.allowed))") == "ok")
            try lab.connect(agent, port: 443)
            let connection = try server.accept()
            _ = try agent.perform("send(b'x')")
            let received = connection.receive()
            #expect(received == [0x78])
        }
    }

    @Test("what the daemon injects passes, marked so by root alone and outside of the slice", arguments: families)
    func injection(_ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent()
            try lab.connect(agent, port: 443)
            let connection = try server.accept()
            // A reset in the agent's name, at the next sequence number that the server expects.
            _ = try agent.perform("send(b'x')")
            let data = try lab.next()
            let header = Array(data.transport)
            var reset = Segment(from: lab.agentAddress, to: lab.server, port: 443, flags: 4)
            reset.sourcePort = UInt16(header[0]) << 8 | UInt16(header[1])
            reset.sequence = header[4..<8].reduce(0) { $0 << 8 | UInt32($1) }
            var injector = try PacketInjector.open(mark: RuleLab.inject)
            injector.send(reset.bytes.span.bytes)
            #expect(injector.failureCount == 0)
            let ended = connection.receive()
            let number = errno
            #expect(ended == nil)
            #expect(number == ECONNRESET)
            #expect(try lab.counter("foreign_mark") == 0)
        }
    }

    private static func withoutFirst(_ text: String, _ template: String) throws -> String {
        var lines = template.split(separator: "\n", omittingEmptySubsequences: false)
        guard let index = lines.firstIndex(where: { $0.contains(text) }) else {
            throw LabError("no line of the rules says: \(text)")
        }
        lines.remove(at: index)
        return lines.joined(separator: "\n")
    }
}
