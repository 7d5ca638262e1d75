import Glibc
import Identity
import NetworkLab
import PacketHeaders
import Testing

@testable import Netlink

/// On the real kernel.
@Suite(
    "ConntrackSocket", .enabled(if: NetworkNamespace.isAvailable, "needs root and network namespaces"), .serialized)
struct ConntrackSocketTests {
    static func flow(_ address: IPAddress, _ port: UInt16, _ transport: TransportProtocol) -> FiveTuple {
        FiveTuple(
            source: address, sourcePort: port, destination: address, destinationPort: 443, transport: transport)
    }

    /// Connections are tracked where a rule asks for their state.
    static func track() throws {
        for command in ["iptables", "ip6tables"] {
            let outcome = try Program.start([
                command, "-w", "-A", "OUTPUT", "-m", "conntrack", "--ctstate", "INVALID", "-j", "ACCEPT",
            ])
            guard outcome.status == 0 else { throw LabError(outcome.errors) }
        }
    }

    @Test(
        "changes the mark of one connection under a mask, and knows when it has ended",
        arguments: [SocketDiagnosisTests.v4, SocketDiagnosisTests.v6])
    func marks(_ address: IPAddress) throws {
        try NetworkNamespace.alone {
            try Self.track()
            var conntrack = try ConntrackSocket.open()
            let family = address.family
            let listener = try LabSocket(.tcp, family)
            try listener.bind(address, 443, backlog: 2)
            let client = try LabSocket(.tcp, family)
            _ = client.connect(address, 443)
            let flow = Self.flow(address, client.localPort, .tcp)
            let tracked = conntrack.tracked(flow)
            #expect(tracked == TrackedFlow(isStanding: true, isOpenedBySource: true))
            let answer = conntrack.tracked(flow.reversed)
            #expect(answer == TrackedFlow(isStanding: true, isOpenedBySource: false))
            let isSet = conntrack.setMark(of: flow, 0x0500_0000, mask: 0x0F00_0000)
            #expect(isSet)
            let isSetAgain = conntrack.setMark(of: flow, 0x0000_0001, mask: 0x0000_0001)
            #expect(isSetAgain)
            let table = try Program.run("conntrack", "-L", "-f", family == .v4 ? "ipv4" : "ipv6", "-p", "tcp")
            #expect(table.contains("mark=\(0x0500_0001)"))
            let other = conntrack.setMark(of: Self.flow(address, 1, .tcp), 1, mask: 1)
            #expect(!other)
            let otherTracked = conntrack.tracked(Self.flow(address, 1, .tcp))
            #expect(otherTracked == nil)
            var diagnosis = try SocketDiagnosis.open(cgroups: CgroupHierarchy.find())
            let isDestroyed = diagnosis.destroy(flow)
            #expect(isDestroyed)
            let trackedStill = conntrack.tracked(flow)
            #expect(trackedStill == nil)
            #expect(conntrack.failureCount == 0)
        }
    }

    @Test("ends a UDP socket that has one peer, and none that may serve others")
    func datagrams() throws {
        try NetworkNamespace.alone {
            let address = SocketDiagnosisTests.v4
            var diagnosis = try SocketDiagnosis.open(cgroups: CgroupHierarchy.find())
            let free = try LabSocket(.udp, .v4)
            try free.bind(address, 5000)
            let isFreeDestroyed = diagnosis.destroy(Self.flow(address, 5000, .udp))
            #expect(!isFreeDestroyed)
            let bound = try LabSocket(.udp, .v4)
            try bound.bind(address, 5001)
            _ = bound.connect(address, 443)
            let isDestroyed = diagnosis.destroy(Self.flow(address, 5001, .udp))
            #expect(isDestroyed)
        }
    }
}
