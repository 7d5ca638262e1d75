import Glibc
import Netlink
import NetworkLab
import PacketHeaders
import Testing

@testable import KernelRules

/// What happens to packets of a confined process of the host itself, on the real kernel. The argument `removing` of the
/// paired tests takes a rule away: the promise must then be broken, or the rule protects nothing.
@Suite("Output rules", .enabled(if: NetworkNamespace.isAvailable, "needs root and network namespaces"), .serialized)
struct OutputRulesTests {
    static let families = [AddressFamily.v4, .v6]

    @Test("SYN and payload are queued, segments without payload are not, an allowed flow passes", arguments: families)
    func queued(_ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent()
            try agent.begin("connect('\(lab.server)', 443)")
            let syn = try lab.next()
            #expect(syn.flags == 2)
            #expect(syn.facts.hook == 3)
            #expect(syn.facts.queue == lab.rules.parameters.queueBase)
            #expect(syn.facts.mark == RuleLab.confined)
            lab.accept(syn)
            let connected = try agent.end()
            #expect(connected == "ok")
            let connection = try server.accept()
            // The handshake's ACK went by itself: the connection is there.
            #expect(try lab.isQuiet())
            _ = try agent.perform("send(b'hello')")
            let hello = try lab.next()
            #expect(hello.payload == Array("hello".utf8))
            #expect(try lab.connectionMarks(port: 443) == [RuleLab.confined])
            lab.accept(hello, RuleLab.allowed)
            let first = connection.receive()
            #expect(first == Array("hello".utf8))
            #expect(try lab.connectionMarks(port: 443) == [RuleLab.confined | RuleLab.allowed])
            _ = try agent.perform("send(b'more')")
            let second = connection.receive()
            #expect(second == Array("more".utf8))
            #expect(try lab.isQuiet())
            connection.send(Array("answer".utf8))
            #expect(try agent.perform("receive()") == "616e73776572")
            #expect(try lab.counter("passed") > 0)
        }
    }

    @Test("a verdict without a mark keeps the flow in the queue", arguments: families)
    func undecided(_ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, hosts in
            let server = try lab.listen(.tcp, port: 80, on: hosts)
            let agent = try lab.agent()
            try lab.connect(agent, port: 80)
            let connection = try server.accept()
            for word in ["one", "two"] {
                _ = try agent.perform("send(b'\(word)')")
                lab.accept(try lab.next())
                let received = connection.receive()
                #expect(received == Array(word.utf8))
            }
        }
    }

    @Test("a refused TCP flow is reset at once and stays refused", arguments: families)
    func refusesTCP(_ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent()
            try lab.connect(agent, port: 443)
            let connection = try server.accept()
            try agent.begin("[send(b'hello'), receive()]")
            lab.accept(try lab.next(), RuleLab.refused)
            #expect(try agent.end() == "ECONNRESET")
            #expect(try lab.connectionMarks(port: 443) == [RuleLab.confined | RuleLab.refused])
            connection.makeNonblocking()
            let nothing = connection.receive()
            #expect(nothing == nil)
            #expect(try lab.counter("refused") > 0)
        }
    }

    @Test("a refused SYN is a refused connection", arguments: families)
    func refusesSYN(_ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent()
            try agent.begin("connect('\(lab.server)', 443)")
            lab.accept(try lab.next(), RuleLab.refused)
            #expect(try agent.end() == "ECONNREFUSED")
            _ = server.localPort
        }
    }

    @Test("a refused datagram is answered with an ICMP error, each datagram is queued", arguments: families)
    func refusesUDP(_ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, hosts in
            let server = try lab.listen(.udp, port: 53, on: hosts)
            let agent = try lab.agent()
            for _ in 0..<2 {
                _ = try agent.perform("connected_datagram(b'query', '\(lab.server)', 53)")
                let query = try lab.next()
                #expect(query.facts.queue == lab.rules.parameters.queueBase + 1)
                lab.accept(query)
                let received = server.receive()
                #expect(received == Array("query".utf8))
            }
            try agent.begin("[connected_datagram(b'query', '\(lab.server)', 53), answer()]")
            lab.accept(try lab.next(), RuleLab.refused)
            // ICMP code 13 and ICMPv6 code 1, administratively prohibited (RFC 1812 §5.2.7.1, RFC 4443 §3.1).
            #expect(try agent.end() == (family == .v4 ? "EHOSTUNREACH" : "EACCES"))
            server.makeNonblocking()
            let nothing = server.receive()
            #expect(nothing == nil)
        }
    }

    @Test("other protocols are refused", arguments: families)
    func otherProtocols(_ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, _ in
            let agent = try lab.agent()
            let type = family == .v4 ? "socket.IPPROTO_ICMP" : "socket.IPPROTO_ICMPV6"
            let echo = family == .v4 ? "0800f7fe00000001" : "8000000000000001"
            let before = try lab.counter("refused")
            _ = try agent.perform(
                "socket.socket(family, socket.SOCK_RAW, \(type)).sendto(bytes.fromhex('\(echo)'), ('\(lab.server)', 0))"
            )
            #expect(try lab.counter("refused") == before + 1)
            #expect(try lab.isQuiet())
        }
    }

    @Test("without a daemon's sign of life everything undecided is refused at once", arguments: families)
    func unattended(_ family: AddressFamily) throws {
        try RuleLab.with(family, attended: false) { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent()
            #expect(try agent.perform("connect('\(lab.server)', 443)") == "ECONNREFUSED")
            #expect(try lab.counter("unattended") == 1)
            #expect(try lab.isQuiet())
            _ = server.localPort
        }
    }

    @Test("a deleted sign of life switches to refusal, a renewed one back")
    func heartbeat() throws {
        try RuleLab.with { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            try Program.run("nft", "delete", "element", "inet", "sallyport", "alive", "{ tcp, udp }")
            let refused = try lab.agent()
            #expect(try refused.perform("connect('\(lab.server)', 443)") == "ECONNREFUSED")
            try lab.renew()
            let agent = try lab.agent()
            try lab.connect(agent, port: 443)
            _ = server.localPort
        }
    }

    @Test("an allowed flow goes on without a daemon")
    func allowedGoesOn() throws {
        try RuleLab.with { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent()
            try lab.connect(agent, port: 443)
            let connection = try server.accept()
            _ = try agent.perform("send(b'hello')")
            lab.accept(try lab.next(), RuleLab.allowed)
            _ = connection.receive()
            try Program.run("nft", "delete", "element", "inet", "sallyport", "alive", "{ tcp, udp }")
            _ = try agent.perform("send(b'more')")
            let received = connection.receive()
            #expect(received == Array("more".utf8))
        }
    }

    @Test("the host's own traffic passes untouched, with and without a daemon", arguments: families)
    func host(_ family: AddressFamily) throws {
        try RuleLab.with(family, attended: false) { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent(user: 65534, confined: false)
            #expect(try agent.perform("connect('\(lab.server)', 443)") == "ok")
            let connection = try server.accept()
            _ = try agent.perform("send(b'hello')")
            let received = connection.receive()
            #expect(received == Array("hello".utf8))
            #expect(try lab.connectionMarks(port: 443) == [0])
            #expect(try lab.isQuiet())
        }
    }

    @Test(
        "nor is it taken for a flow that an agent had from the same address and port", arguments: families,
        [[], ["oifname != \"lo\" goto forget_flow"]])
    func others(_ family: AddressFamily, removing: [String]) throws {
        try RuleLab.with(family, removing: removing) { lab, hosts in
            let server = try lab.listen(.udp, port: 443, on: hosts)
            let agent = try lab.agent()
            let port = try #require(UInt16(try agent.perform("u.bind(('\(lab.agentAddress)', 8053)) or '8053'")))
            for verdict in [0, RuleLab.refused] {
                _ = try agent.perform("datagram(b'agent', '\(lab.server)', 443)")
                lab.accept(try lab.next(), verdict)
            }
            try lab.wait("the mark") {
                try lab.connectionMarks(port: 443) == [RuleLab.confined | RuleLab.refused]
            }
            #expect(try agent.perform("u.close() or 'ok'") == "ok")
            let host = try LabSocket(.udp, family)
            try host.bind(lab.agentAddress, port)
            host.send(Array("host".utf8), to: lab.server, 443)
            let received = [server.receive(), server.receive()]
            #expect(received == [Array("agent".utf8), Array("host".utf8)])
            let marks = removing.isEmpty ? [0] : [RuleLab.confined | RuleLab.refused]
            #expect(try lab.connectionMarks(port: 443) == marks)
            server.send(Array("answer".utf8), to: lab.agentAddress, port)
            host.makeNonblocking()
            let answer = host.receive()
            #expect((answer == Array("answer".utf8)) == removing.isEmpty)
            #expect(try lab.isQuiet())
        }
    }

    @Test("a listed uid is confined outside of the slice", arguments: families)
    func uid(_ family: AddressFamily) throws {
        try RuleLab.with(family) {
            $0.uids = [65534]
        } _: { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent(user: 65534, confined: false)
            try lab.connect(agent, port: 443)
            _ = server.localPort
        }
    }

    @Test("a listed cgroup outside of the slice is confined")
    func cgroup() throws {
        let hierarchy = try CgroupHierarchy.find()
        let parent = try LabCgroup("/netl-other-\(getpid())", mountPoint: hierarchy.mountPoint)
        let child = try LabCgroup(parent.path + "/bot", mountPoint: hierarchy.mountPoint)
        try RuleLab.with {
            $0.cgroups = [String(child.path.dropFirst())]
        } _: { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try Agent(.v4, cgroup: child.directory, user: nil)
            try lab.connect(agent, port: 443)
            let neighbour = try Agent(.v4, cgroup: parent.directory, user: nil)
            #expect(try neighbour.perform("connect('\(lab.server)', 443)") == "ok")
            _ = server.localPort
        }
    }

    @Test("a flow whose process is gone is still confined", arguments: [[], ["jump orphan"]])
    func orphan(removing: [String]) throws {
        try RuleLab.with(removing: removing) {
            $0.uids = [65534]
        } _: { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            func run() throws {
                let agent = try lab.agent(user: 65534, confined: false)
                try lab.connect(agent, port: 443)
                _ = try agent.perform("send(b'secret')")
                lab.drop(try lab.next())
            }
            try run()
            let connection = try server.accept()
            // The kernel sends the lost bytes again, without a process.
            if removing.isEmpty {
                var packet = try lab.next()
                // The last FIN may come alone.
                while packet.payload.isEmpty {
                    lab.accept(packet)
                    packet = try lab.next()
                }
                #expect(packet.payload == Array("secret".utf8))
                #expect(packet.facts.uid == nil)
            } else {
                let received = connection.receive()
                #expect(received == Array("secret".utf8))
            }
        }
    }
}
