import Glibc
import Netlink
import NetworkLab
import PacketHeaders
import Testing

@testable import KernelRules

/// Outsiders who want in: to a confined process and to the rest of the host, on the real kernel.
@Suite("Inbound rules", .enabled(if: NetworkNamespace.isAvailable, "needs root and network namespaces"), .serialized)
struct InboundRulesTests {
    static let families = [AddressFamily.v4, .v6]

    @Test("a connection to a confined listener is the daemon's to decide", arguments: families)
    func asks(_ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, hosts in
            let agent = try lab.agent()
            #expect(try agent.perform("listen('\(lab.agentAddress)', 8080)") == "ok")
            let client = try hosts.onServer {
                let client = try LabSocket(.tcp, family)
                client.makeNonblocking()
                _ = client.connect(lab.agentAddress, 8080)
                return client
            }
            let syn = try lab.next()
            #expect(syn.facts.hook == 1)
            #expect(syn.flags == 2)
            lab.accept(syn, RuleLab.allowed)
            try lab.wait("the connection") { client.send([1]) == 1 }
            #expect(try lab.connectionMarks(port: 8080) == [RuleLab.confined | RuleLab.allowed])
        }
    }

    @Test("is refused at once without a daemon, and by a refusal", arguments: families)
    func refuses(_ family: AddressFamily) throws {
        for attended in [false, true] {
            try RuleLab.with(family, attended: attended) { lab, hosts in
                let agent = try lab.agent()
                #expect(try agent.perform("listen('\(lab.agentAddress)', 8080)") == "ok")
                let client = try hosts.onServer {
                    let client = try LabSocket(.tcp, family)
                    client.makeNonblocking()
                    _ = client.connect(lab.agentAddress, 8080)
                    return client
                }
                if attended { lab.accept(try lab.next(), RuleLab.refused) }
                try lab.wait("the refusal") { client.connect(lab.agentAddress, 8080) == ECONNREFUSED }
            }
        }
    }

    @Test("a datagram to a confined socket is the daemon's to decide", arguments: families)
    func datagrams(_ family: AddressFamily) throws {
        try RuleLab.with(family) { lab, hosts in
            let agent = try lab.agent()
            let port = try #require(UInt16(try agent.perform("u.bind(('\(lab.agentAddress)', 8053)) or '8053'")))
            let client = try hosts.onServer { try LabSocket(.udp, family) }
            client.send([0x61], to: lab.agentAddress, port)
            let first = try lab.next()
            #expect(first.facts.hook == 1)
            lab.accept(first, RuleLab.refused)
            client.send([0x62], to: lab.agentAddress, port)
            // A refused first packet leaves no connection behind: the second one is asked about anew.
            let second = try lab.next()
            #expect(second.bytes.last == 0x62)
            #expect(try lab.counter("refused") == 1)
            lab.accept(second, RuleLab.allowed)
            #expect(try agent.perform("answer()") == "62")
        }
    }

    @Test("connections to the host's own listeners pass, without a daemon too", arguments: families)
    func host(_ family: AddressFamily) throws {
        try RuleLab.with(family, attended: false) { lab, hosts in
            let listener = try LabSocket(.tcp, family)
            try listener.bind(lab.agentAddress, 22, backlog: 8)
            let client = try hosts.onServer {
                let client = try LabSocket(.tcp, family)
                let status = client.connect(lab.agentAddress, 22)
                #expect(status == 0)
                return client
            }
            let connection = try listener.accept()
            client.send([1])
            let received = connection.receive()
            #expect(received == [1])
            connection.send([2])
            let answer = client.receive()
            #expect(answer == [2])
            #expect(try lab.connectionMarks(port: 22) == [0])
        }
    }

    @Test(
        "over loopback an agent's flow is decided, the listener's side is not taken for the agent's",
        arguments: families)
    func loopback(_ family: AddressFamily) throws {
        let address = family == .v4 ? IPAddress(v4: 0x7F00_0001) : IPAddress(v6: 0, 1)
        try RuleLab.with(family) { lab, _ in
            let listener = try LabSocket(.tcp, family)
            try listener.bind(address, 8080, backlog: 8)
            let agent = try lab.agent()
            try agent.begin("connect('\(address)', 8080)")
            let syn = try lab.next()
            #expect(syn.facts.hook == 3)
            lab.accept(syn)
            #expect(try agent.end() == "ok")
            let connection = try listener.accept()
            connection.send([0x61])
            #expect(try agent.perform("receive()") == "61")
            _ = try agent.perform("send(b'b')")
            lab.accept(try lab.next(), RuleLab.allowed)
            let received = connection.receive()
            #expect(received == [0x62])
            #expect(try lab.isQuiet())
        }
    }
}
