import CAllocationCounter
import Glibc
import Identity
import NetworkLab
import PacketHeaders
import Testing

@testable import Netlink

/// On the real kernel, with sockets of this process and of a process in a cgroup of its own.
@Suite(
    "SocketDiagnosis", .enabled(if: NetworkNamespace.isAvailable, "needs root and network namespaces"), .serialized)
struct SocketDiagnosisTests {
    static let v4 = IPAddress(v4: 0x7F00_0001)
    static let v6 = IPAddress(v6: 0, 1)

    static func open() throws -> Diagnosis {
        Diagnosis(try SocketDiagnosis.open(cgroups: CgroupHierarchy.find()))
    }

    /// The test's macros copy what they look at, which the value itself forbids.
    final class Diagnosis {
        private var value: SocketDiagnosis

        init(_ value: consuming SocketDiagnosis) {
            self.value = value
        }

        var failures: UInt64 { value.failures }
        func owner(of flow: FiveTuple, uid: UInt32? = nil) -> SocketOwner? { value.owner(of: flow, uid: uid) }
        func path(of cgroup: CgroupID) -> String? { value.path(of: cgroup) }
        func bytesAcknowledged(on flow: FiveTuple) -> UInt64? { value.bytesAcknowledged(on: flow) }
        func destroy(_ flow: FiveTuple) -> Bool { value.destroy(flow) }
        func sockets(_ transport: TransportProtocol) -> [(flow: FiveTuple, owner: SocketOwner)] {
            value.sockets(transport)
        }
        func listener(at address: IPAddress, port: UInt16, transport: TransportProtocol) -> SocketOwner? {
            value.listener(at: address, port: port, transport: transport)
        }
    }

    /// The cgroup that this process is in.
    static func ownCgroup(_ hierarchy: CgroupHierarchy) throws -> (path: String, id: CgroupID) {
        let text = try #require(TextFile.read("/proc/self/cgroup"))
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("0::") })
        let path = String(line.dropFirst(3))
        return (path, try #require(hierarchy.identifier(of: path)))
    }

    static func flow(_ address: IPAddress, _ port: UInt16, to remote: UInt16, _ transport: TransportProtocol)
        -> FiveTuple
    {
        FiveTuple(
            source: address, sourcePort: port, destination: address, destinationPort: remote, transport: transport)
    }

    @Test("finds a connected TCP socket, its cgroup and its cookie", arguments: [v4, v6])
    func connectedTCP(_ address: IPAddress) throws {
        try NetworkNamespace.alone {
            let diagnosis = try Self.open()
            let listener = try LabSocket(.tcp, address.family)
            try listener.bind(address, 443, backlog: 1)
            let client = try LabSocket(.tcp, address.family)
            let status = client.connect(address, 443)
            #expect(status == 0)
            let owner = try #require(diagnosis.owner(of: Self.flow(address, client.localPort, to: 443, .tcp)))
            let own = try Self.ownCgroup(CgroupHierarchy.find())
            #expect(owner.cgroup == own.id)
            #expect(owner.cookie == SocketCookie(rawValue: client.cookie))
            #expect(owner.uid == 0)
            #expect(owner.inode != 0)
            #expect(diagnosis.path(of: own.id) == own.path)
            #expect(diagnosis.failures == 0)
        }
    }

    @Test("finds an IPv6 socket that speaks IPv4", arguments: [TransportProtocol.tcp, .udp])
    func mapped(_ transport: TransportProtocol) throws {
        try NetworkNamespace.alone {
            let diagnosis = try Self.open()
            let listener = try LabSocket(transport, .v4)
            try listener.bind(Self.v4, 443, backlog: transport == .tcp ? 1 : nil)
            let client = try LabSocket(transport, .v6)
            let status = client.connect(Self.v4, 443)
            #expect(status == 0)
            let owner = diagnosis.owner(of: Self.flow(Self.v4, client.localPort, to: 443, transport))
            #expect(owner?.cookie == SocketCookie(rawValue: client.cookie))
        }
    }

    @Test("finds a socket whose SYN is unanswered")
    func synSent() throws {
        try NetworkNamespace.alone {
            try Program.run("iptables", "-w", "-A", "OUTPUT", "-p", "tcp", "-j", "DROP")
            let diagnosis = try Self.open()
            let client = try LabSocket(.tcp, .v4)
            client.makeNonblocking()
            let status = client.connect(Self.v4, 443)
            #expect(status == EINPROGRESS)
            let owner = diagnosis.owner(of: Self.flow(Self.v4, client.localPort, to: 443, .tcp))
            #expect(owner?.cookie == SocketCookie(rawValue: client.cookie))
        }
    }

    @Test("a connection being accepted belongs to its listener; a listener alone is no sender")
    func listeners() throws {
        try NetworkNamespace.alone {
            // The client's ACK never arrives: the server's side stays a request.
            try Program.run(
                "iptables", "-w", "-A", "OUTPUT", "-p", "tcp", "--dport", "443", "--tcp-flags", "SYN,ACK", "ACK", "-j",
                "DROP")
            let diagnosis = try Self.open()
            let listener = try LabSocket(.tcp, .v4)
            try listener.bind(Self.v4, 443, backlog: 1)
            let cookie = SocketCookie(rawValue: listener.cookie)
            #expect(diagnosis.owner(of: Self.flow(Self.v4, 443, to: 5555, .tcp)) == nil)
            let client = try LabSocket(.tcp, .v4)
            client.makeNonblocking()
            _ = client.connect(Self.v4, 443)
            #expect(diagnosis.owner(of: Self.flow(Self.v4, 443, to: client.localPort, .tcp))?.cookie == cookie)
            #expect(diagnosis.listener(at: Self.v4, port: 443, transport: .tcp)?.cookie == cookie)
            #expect(diagnosis.listener(at: Self.v4, port: 444, transport: .tcp) == nil)
            #expect(diagnosis.failures == 0)
        }
    }

    @Test("finds an unconnected UDP socket by its port alone", arguments: [v4, v6])
    func unconnectedUDP(_ address: IPAddress) throws {
        try NetworkNamespace.alone {
            let diagnosis = try Self.open()
            let client = try LabSocket(.udp, address.family)
            client.send([1], to: address, 53)
            let owner = diagnosis.owner(of: Self.flow(address, client.localPort, to: 53, .udp))
            #expect(owner?.cookie == SocketCookie(rawValue: client.cookie))
            #expect(diagnosis.owner(of: Self.flow(address, 1, to: 53, .udp)) == nil)
            #expect(diagnosis.failures == 0)
        }
    }

    @Test("a UDP port shared by two cgroups is nobody's, shared within one cgroup it is the cgroup's")
    func sharedUDP() throws {
        let hierarchy = try CgroupHierarchy.find()
        let cgroup = try LabCgroup("/netl-shared-\(getpid())", mountPoint: hierarchy.mountPoint)
        try NetworkNamespace.alone {
            let diagnosis = try Self.open()
            let first = try LabSocket(.udp, .v4)
            try first.set(SOL_SOCKET, SO_REUSEPORT, 1)
            try first.bind(Self.v4, 5353)
            let flow = Self.flow(Self.v4, 5353, to: 53, .udp)
            let second = try LabSocket(.udp, .v6)
            try second.set(SOL_SOCKET, SO_REUSEPORT, 1)
            try second.bind(Self.v4, 5353)
            let own = try Self.ownCgroup(hierarchy)
            let shared = try #require(diagnosis.owner(of: flow))
            #expect(shared.cgroup == own.id)
            #expect(shared.cookie == nil)
            #expect(shared.uid == 0)
            let other = try LabProcess.python(
                """
                import socket
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", 5353))
                s.connect(("127.0.0.1", 99))
                print("bound")
                input()
                """, cgroup: cgroup.directory)
            let line = try other.hear()
            #expect(line == "bound")
            #expect(diagnosis.owner(of: flow) == nil)
            #expect(diagnosis.failures == 0)
        }
    }

    @Test("a socket at another address may send from this one too: the port is nobody's, unless the sender's uid tells")
    func sentFromElsewhere() throws {
        let hierarchy = try CgroupHierarchy.find()
        let cgroup = try LabCgroup("/netl-pktinfo-\(getpid())", mountPoint: hierarchy.mountPoint)
        try NetworkNamespace.alone {
            let diagnosis = try Self.open()
            let own = try LabSocket(.udp, .v4)
            try own.bind(Self.v4, 5353)
            let flow = Self.flow(Self.v4, 5353, to: 53, .udp)
            #expect(diagnosis.owner(of: flow) != nil)
            let other = try LabProcess.python(
                """
                import os, socket
                os.setuid(1234)
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.bind(("127.0.0.9", 5353))
                # Its address is chosen datagram by datagram (ip(7), IP_PKTINFO).
                s.sendmsg([b"x"], [(socket.SOL_IP, 8, bytes(4) + bytes([127, 0, 0, 1]) + bytes(4))], 0,
                          ("127.0.0.1", 5353))
                print("sent")
                input()
                """, cgroup: cgroup.directory)
            #expect(try other.hear() == "sent")
            #expect(diagnosis.owner(of: flow) == nil)
            #expect(diagnosis.owner(of: flow, uid: 0)?.cgroup == (try Self.ownCgroup(hierarchy).id))
            #expect(diagnosis.owner(of: flow, uid: 1234)?.cgroup != (try Self.ownCgroup(hierarchy).id))
            #expect(diagnosis.owner(of: flow, uid: 77) == nil)
            #expect(diagnosis.failures == 0)
        }
    }

    @Test("an orphaned socket keeps its cgroup, also when the directory is gone, and its path is remembered")
    func orphan() throws {
        let hierarchy = try CgroupHierarchy.find()
        let path = "/netl-orphan-\(getpid())"
        try TwoHosts.with { lab in
            let diagnosis = try Self.open()
            let server = IPAddress(v4: 0xC612_0001)
            let listener = try lab.onServer {
                let listener = try LabSocket(.tcp, .v4)
                try listener.set(SOL_SOCKET, SO_RCVBUF, 4096)
                try listener.bind(server, 443, backlog: 1)
                return listener
            }
            func run() throws -> (port: UInt16, id: CgroupID) {
                let cgroup = try LabCgroup(path, mountPoint: hierarchy.mountPoint)
                let id = try #require(hierarchy.identifier(of: path))
                // More than the server takes, so that the socket has bytes to send when its process is gone.
                let process = try LabProcess.python(
                    """
                    import socket
                    s = socket.create_connection(("198.18.0.1", 443))
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                    print(s.getsockname()[1])
                    input()
                    s.setblocking(False)
                    s.send(bytes(1 << 19))
                    s.close()
                    """, cgroup: cgroup.directory, user: 65534)
                let port = try #require(UInt16(try process.hear()))
                let flow = FiveTuple(
                    source: IPAddress(v4: 0xC612_0002), sourcePort: port, destination: server, destinationPort: 443,
                    transport: .tcp)
                let owner = try #require(diagnosis.owner(of: flow))
                #expect(owner.cgroup == id)
                #expect(owner.uid == 65534)
                #expect(diagnosis.path(of: id) == path)
                #expect(hierarchy.processes(in: path) == [process.identifier])
                try process.say("go")
                let status = process.status()
                #expect(status == 0)
                return (port, id)
            }
            let (port, id) = try run()
            #expect(hierarchy.identifier(of: path) == nil)
            #expect(hierarchy.path(of: id) == nil)
            let flow = FiveTuple(
                source: IPAddress(v4: 0xC612_0002), sourcePort: port, destination: server, destinationPort: 443,
                transport: .tcp)
            let owner = try #require(diagnosis.owner(of: flow))
            #expect(owner.cgroup == id)
            #expect(owner.inode == 0)
            #expect(owner.uid == 65534 || owner.uid == nil)
            #expect(diagnosis.path(of: id) == path)
            _ = listener.localPort
        }
    }

    @Test("counts the payload bytes that the peer has acknowledged")
    func acknowledged() throws {
        try NetworkNamespace.alone {
            let diagnosis = try Self.open()
            let listener = try LabSocket(.tcp, .v4)
            try listener.bind(Self.v4, 443, backlog: 1)
            let client = try LabSocket(.tcp, .v4)
            _ = client.connect(Self.v4, 443)
            let accepted = try listener.accept()
            let flow = Self.flow(Self.v4, client.localPort, to: 443, .tcp)
            #expect(diagnosis.bytesAcknowledged(on: flow) == 0)
            client.send([UInt8](repeating: 1, count: 517))
            let received = accepted.receive()
            #expect(received?.count == 517)
            // An answer carries the acknowledgement.
            accepted.send([1, 2, 3])
            _ = client.receive()
            #expect(diagnosis.bytesAcknowledged(on: flow) == 517)
            client.send([1])
            _ = accepted.receive()
            accepted.send([4])
            _ = client.receive()
            let back = try #require(diagnosis.bytesAcknowledged(on: flow.reversed))
            #expect((2...4).contains(back))
            #expect(diagnosis.bytesAcknowledged(on: Self.flow(Self.v4, 1, to: 2, .tcp)) == nil)
        }
    }

    @Test("aborts a socket")
    func destroys() throws {
        try NetworkNamespace.alone {
            let diagnosis = try Self.open()
            let listener = try LabSocket(.tcp, .v4)
            try listener.bind(Self.v4, 443, backlog: 1)
            let client = try LabSocket(.tcp, .v4)
            _ = client.connect(Self.v4, 443)
            let flow = Self.flow(Self.v4, client.localPort, to: 443, .tcp)
            #expect(diagnosis.destroy(flow))
            let sent = client.send([1])
            #expect(sent == -Int(ECONNABORTED) || sent == -Int(EPIPE))
            #expect(!diagnosis.destroy(flow))
        }
    }

    @Test("lists the sockets of both families")
    func lists() throws {
        try NetworkNamespace.alone {
            let diagnosis = try Self.open()
            let four = try LabSocket(.udp, .v4)
            _ = four.connect(Self.v4, 53)
            let six = try LabSocket(.udp, .v6)
            _ = six.connect(Self.v6, 53)
            let flows = Set(diagnosis.sockets(.udp).map(\.flow))
            #expect(
                flows == [
                    Self.flow(Self.v4, four.localPort, to: 53, .udp), Self.flow(Self.v6, six.localPort, to: 53, .udp),
                ])
        }
    }

    @Test("looks up without allocating")
    func allocatesNothing() throws {
        try NetworkNamespace.alone {
            let diagnosis = try Self.open()
            let listener = try LabSocket(.tcp, .v4)
            try listener.bind(Self.v4, 443, backlog: 1)
            let client = try LabSocket(.tcp, .v4)
            _ = client.connect(Self.v4, 443)
            let datagrams = try LabSocket(.udp, .v4)
            datagrams.send([1], to: Self.v4, 53)
            let tcp = Self.flow(Self.v4, client.localPort, to: 443, .tcp)
            let udp = Self.flow(Self.v4, datagrams.localPort, to: 53, .udp)
            func look() -> Int {
                var found = 0
                if let cgroup = diagnosis.owner(of: tcp)?.cgroup, diagnosis.path(of: cgroup) != nil { found += 1 }
                if diagnosis.owner(of: udp) != nil { found += 1 }
                if diagnosis.bytesAcknowledged(on: tcp) == 0 { found += 1 }
                return found
            }
            #expect(look() == 3)
            let before = allocation_count()
            let found = look()
            let after = allocation_count()
            #expect(found == 3)
            #expect(after - before == 0)
        }
    }
}
