import Glibc
import Netlink
import NetworkLab
import PacketHeaders
import Testing

@testable import KernelRules

/// A guest behind the host, confined by its interface or by its source addresses, on the real kernel.
@Suite("Forward rules", .enabled(if: NetworkNamespace.isAvailable, "needs root and network namespaces"), .serialized)
struct ForwardRulesTests {
    static let families = [AddressFamily.v4, .v6]

    static func guest(_ family: AddressFamily) -> IPAddress {
        family == .v4 ? IPAddress(v4: 0xC612_0502) : IPAddress(v6: 0xFD00_0005_0000_0000, 2)
    }

    /// Runs `body` with a process in the guest.
    static func with(
        _ family: AddressFamily, bySource: Bool = false, attended: Bool = true, queueCount: UInt16 = 1,
        removing: [String] = [], _ body: (RuleLab, borrowing TwoHosts, borrowing Agent) throws -> Void
    ) throws {
        try RuleLab.with(family, removing: removing, attended: attended) {
            if bySource {
                $0.sources = [IPPrefix("198.18.5.0/24"), IPPrefix("fd00:5::/64")].compactMap { $0 }
            } else {
                $0.interfaces = ["vh"]
            }
            $0.queueCount = queueCount
        } _: { lab, hosts in
            try hosts.withGuest { guest in
                let agent = try guest.run { try Agent(family, cgroup: nil, user: nil) }
                try body(lab, hosts, agent)
            }
        }
    }

    @Test("both directions are queued until the verdict, and pass after it", arguments: families, [false, true])
    func bothDirections(_ family: AddressFamily, _ bySource: Bool) throws {
        try Self.with(family, bySource: bySource) { lab, hosts, agent in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            try agent.begin("connect('\(lab.server)', 443)")
            let syn = try lab.next()
            #expect(syn.facts.hook == 2)
            #expect(syn.flags == 2)
            #expect(syn.facts.inputInterface != 0)
            #expect(syn.facts.uid == nil)
            lab.accept(syn)
            let answer = try lab.next()
            #expect(answer.flags == 18)
            lab.accept(answer)
            #expect(try agent.end() == "ok")
            let connection = try server.accept()
            _ = try agent.perform("send(b'hello')")
            let hello = try lab.next()
            #expect(hello.payload == Array("hello".utf8))
            lab.accept(hello)
            let first = connection.receive()
            #expect(first == Array("hello".utf8))
            // The server's acknowledgment, which tells the daemon that the judged bytes have arrived.
            let acknowledgment = try lab.next()
            #expect(acknowledgment.flags == 16)
            #expect(acknowledgment.payload.isEmpty)
            lab.accept(acknowledgment, RuleLab.allowed)
            try lab.wait("the mark") {
                try lab.connectionMarks(port: 443) == [RuleLab.confined | RuleLab.allowed]
            }
            _ = try agent.perform("send(b'more')")
            let second = connection.receive()
            #expect(second == Array("more".utf8))
            connection.send(Array("answer".utf8))
            #expect(try agent.perform("receive()") == "616e73776572")
            #expect(try lab.isQuiet())
        }
    }

    @Test("without a daemon the guest is refused at once, the host's own traffic passes", arguments: families)
    func unattended(_ family: AddressFamily) throws {
        try Self.with(family, attended: false) { lab, hosts, agent in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            #expect(try agent.perform("connect('\(lab.server)', 443)") == "ECONNREFUSED")
            let own = try LabSocket(.tcp, family)
            let status = own.connect(lab.server, 443)
            #expect(status == 0)
            _ = server.localPort
        }
    }

    @Test(
        "what was decided of a flow that the host opened to a guest stays",
        arguments: [[], ["        oifname @confined_interfaces return"]])
    func openedByHost(removing: [String]) throws {
        try Self.with(.v4, removing: removing) { lab, hosts, agent in
            let port = try #require(UInt16(try agent.perform("u.bind(('0.0.0.0', 8053)) or '8053'")))
            let host = try LabSocket(.udp, .v4)
            host.send([0x61], to: Self.guest(.v4), port)
            #expect(try agent.perform("u.sendto(*u.recvfrom(9))") == "1")
            let answer = try lab.next()
            #expect(answer.facts.hook == 1)
            lab.accept(answer, RuleLab.allowed)
            let marks = [RuleLab.confined | RuleLab.allowed]
            try lab.wait("the mark") { try lab.connectionMarks(port: port) == marks }
            host.send([0x62], to: Self.guest(.v4), port)
            #expect(try lab.connectionMarks(port: port) == (removing.isEmpty ? marks : [0]))
        }
    }

    @Test("a refused flow is reset in the guest, and datagrams are answered with an ICMP error", arguments: families)
    func refuses(_ family: AddressFamily) throws {
        try Self.with(family) { lab, hosts, agent in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            try agent.begin("connect('\(lab.server)', 443)")
            lab.accept(try lab.next(), RuleLab.refused)
            #expect(try agent.end() == "ECONNREFUSED")
            try agent.begin("[connected_datagram(b'query', '\(lab.server)', 53), answer()]")
            lab.accept(try lab.next(), RuleLab.refused)
            #expect(try agent.end() == (family == .v4 ? "EHOSTUNREACH" : "EACCES"))
            _ = server.localPort
        }
    }

    @Test(
        "what belongs to no flow is the daemon's to decide without payload too; a reset is dropped", arguments: families
    )
    func ofNothing(_ family: AddressFamily) throws {
        try Self.with(family) { lab, _, agent in
            var segment = Segment(from: Self.guest(family), to: lab.server, port: 443, flags: 16)
            #expect(try agent.perform("raw('\(lab.server)', '\(segment.hex)')") == "ok")
            let packet = try lab.next()
            #expect(packet.flags == 16)
            lab.drop(packet)
            segment.flags = 4
            let before = try lab.counter("invalid")
            #expect(try agent.perform("raw('\(lab.server)', '\(segment.hex)')") == "ok")
            #expect(try lab.counter("invalid") == before + 1)
            #expect(try lab.isQuiet())
        }
    }

    @Test("a wrong checksum is dropped", arguments: families)
    func checksum(_ family: AddressFamily) throws {
        try Self.with(family) { lab, _, agent in
            var segment = Segment(from: Self.guest(family), to: lab.server, port: 443, flags: 2)
            segment.checksumError = 1
            #expect(try agent.perform("raw('\(lab.server)', '\(segment.hex)')") == "ok")
            try lab.wait("the counter") { try lab.counter("invalid") == 1 }
            #expect(try lab.isQuiet())
            // The same segment with its right checksum is queued; with the setting off, the wrong one would be.
            segment.checksumError = 0
            #expect(try agent.perform("raw('\(lab.server)', '\(segment.hex)')") == "ok")
            lab.drop(try lab.next())
            try Program.run("sh", "-c", "echo 0 > /proc/sys/net/netfilter/nf_conntrack_checksum")
            segment.checksumError = 1
            segment.sourcePort += 1
            #expect(try agent.perform("raw('\(lab.server)', '\(segment.hex)')") == "ok")
            lab.drop(try lab.next())
        }
    }

    @Test("a guest's ICMP error about an undecided flow carries nothing out", arguments: families)
    func guestErrors(_ family: AddressFamily) throws {
        try Self.with(family) { lab, hosts, agent in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let port = try Self.connect(lab, agent)
            // The server's segment, quoted with a secret behind it.
            var quoted = Segment(from: lab.server, to: Self.guest(family), port: port, flags: 16)
            quoted.sourcePort = 443
            quoted.payload = Array("secret".utf8)
            let before = try lab.counter("refused")
            let (type, code) = family == .v4 ? (3, 3) : (1, 4)
            #expect(try agent.perform("icmp('\(lab.server)', \(type), \(code), '\(quoted.hex)')") == "ok")
            try lab.wait("the refusal") { try lab.counter("refused") > before }
            _ = server.localPort
        }
    }

    @Test("an outsider's ICMP error about a flow leaves its verdict alone", arguments: families)
    func outsiderErrors(_ family: AddressFamily) throws {
        try Self.with(family) { lab, hosts, agent in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let port = try Self.connect(lab, agent, answer: RuleLab.allowed)
            _ = try server.accept()
            var quoted = Segment(from: Self.guest(family), to: lab.server, port: 443, flags: 16)
            quoted.sourcePort = port
            let outsider = try hosts.onServer { try Agent(family, cgroup: nil, user: nil) }
            let (type, code) = family == .v4 ? (3, 13) : (1, 1)
            let before = try lab.counter("passed")
            #expect(
                try outsider.perform("icmp('\(Self.guest(family))', \(type), \(code), '\(quoted.hex)')") == "ok")
            try lab.wait("the error") { try lab.counter("passed") > before }
            #expect(try lab.connectionMarks(port: 443) == [RuleLab.confined | RuleLab.allowed])
        }
    }

    /// Connects the guest to port 443; `answer` is the verdict on the server's SYN and ACK. Returns the guest's port.
    private static func connect(_ lab: RuleLab, _ agent: borrowing Agent, answer: UInt32 = 0) throws -> UInt16 {
        try agent.begin("connect('\(lab.server)', 443)")
        let syn = try lab.next()
        lab.accept(syn)
        lab.accept(try lab.next(), answer)
        #expect(try agent.end() == "ok")
        return syn.transport.prefix(2).reduce(0) { $0 << 8 | UInt16($1) }
    }

    @Test("an outsider's connection to a guest is the daemon's to decide", arguments: families)
    func inbound(_ family: AddressFamily) throws {
        try Self.with(family) { lab, hosts, agent in
            #expect(try agent.perform("listen('\(Self.guest(family))', 8080)") == "ok")
            let client = try hosts.onServer {
                let client = try LabSocket(.tcp, family)
                client.makeNonblocking()
                _ = client.connect(Self.guest(family), 8080)
                return client
            }
            let syn = try lab.next()
            #expect(syn.flags == 2)
            #expect(syn.facts.hook == 2)
            lab.accept(syn, RuleLab.refused)
            try lab.wait("the refusal") { client.connect(Self.guest(family), 8080) == ECONNREFUSED }
        }
    }

    @Test("with several queues both directions of a flow come to the same one", arguments: families)
    func symmetric(_ family: AddressFamily) throws {
        try Self.with(family, queueCount: 3) { lab, hosts, agent in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            var used: Set<UInt16> = []
            for _ in 0..<24 {
                try agent.begin(
                    "(globals().update(s=socket.socket(family)), s.settimeout(10), connect('\(lab.server)', 443))[2]")
                let syn = try lab.next()
                lab.accept(syn)
                let answer = try lab.next()
                #expect(answer.facts.queue == syn.facts.queue)
                lab.accept(answer, RuleLab.allowed)
                #expect(try agent.end() == "ok")
                used.insert(syn.facts.queue)
                _ = try server.accept()
            }
            #expect(used == [8800, 8801, 8802])
        }
    }

    @Test("what the link itself needs passes to the host")
    func neighbours() throws {
        try Self.with(.v6, attended: false) { lab, _, agent in
            #expect(try agent.perform("u.bind(('::', 9)) or 'ok'") == "ok")
            let before = try lab.counter("refused")
            try Program.run("ip", "-6", "neigh", "del", "fd00:5::2", "lladdr", "02:00:00:00:05:02", "dev", "vh")
            let own = try LabSocket(.udp, .v6)
            own.send([1], to: Self.guest(.v6), 9)
            try lab.wait("the neighbour") {
                try Program.run("ip", "-6", "neigh", "show", "fd00:5::2", "dev", "vh").contains("REACHABLE")
            }
            #expect(try agent.perform("answer()") == "01")
            #expect(try lab.counter("refused") == before)
        }
    }
}
