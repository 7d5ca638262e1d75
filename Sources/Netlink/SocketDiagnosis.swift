import CNetfilter
import Glibc
public import Identity
public import PacketHeaders

/// Asks the kernel whose socket a packet left by, over NETLINK_SOCK_DIAG. For one thread; it sees the sockets of the network
/// namespace in which it was opened, and allocates nothing but the path of a cgroup met for the first time.
///
/// A TCP flow names one socket. A UDP datagram does not: any socket bound to its port may have sent it, connected or not,
/// one of several with `SO_REUSEPORT` included, and the kernel's look-up would name the one that *receives*. So every
/// socket that could have sent it is looked at, and where they lie in different cgroups the answer is nobody.
public struct SocketDiagnosis: ~Copyable, SocketOwnerResolving {
    /// Look-ups that failed for another reason than that there is no such socket. Each was answered with nil.
    public private(set) var failures: UInt64 = 0
    private let descriptor: NetlinkDescriptor
    private let cgroups: CgroupHierarchy
    private var conntrack: ConntrackSocket
    private var request = MessageBuffer(capacity: 128)
    private let answer: UnsafeMutableRawPointer
    private var sequence: UInt32 = 0
    private var paths: [CgroupID: String] = [:]

    /// Opens the socket.
    /// - Throws: where the kernel has no sock_diag for IP sockets (`CONFIG_INET_DIAG`).
    public static func open(cgroups: CgroupHierarchy) throws(NetlinkError) -> SocketDiagnosis {
        SocketDiagnosis(
            descriptor: try NetlinkDescriptor.open(family: NETLINK_SOCK_DIAG, what: "socket diagnosis"),
            cgroups: cgroups, conntrack: try ConntrackSocket.open())
    }

    private init(descriptor: NetlinkDescriptor, cgroups: CgroupHierarchy, conntrack: consuming ConntrackSocket) {
        self.descriptor = descriptor
        self.cgroups = cgroups
        self.conntrack = conntrack
        answer = .allocate(byteCount: Self.answerByteCount, alignment: 16)
        paths.reserveCapacity(Self.pathCapacity)
    }

    deinit {
        answer.deallocate()
    }

    /// The owner of the local socket on `flow` (source is the local side); nil where there is none, where the socket only
    /// waits out its time, or where a UDP datagram could come from sockets of different cgroups. A connection that is
    /// being accepted has its listener's owner. A TCP listener itself is never the answer: see `listener`.
    public mutating func owner(of flow: FiveTuple, uid: UInt32?) -> SocketOwner? {
        guard flow.transport == .tcp else { return flow.transport == .udp ? sender(of: flow, uid: uid) : nil }
        guard let socket = lookUp(flow, extensions: 0) else { return nil }
        switch socket.state {
        case TCPState.timeWait, TCPState.listen: return nil
        case TCPState.synReceived where socket.cgroup == nil:
            return listener(at: flow.source, port: flow.sourcePort, transport: .tcp)
        default: return socket.owner
        }
    }

    /// The owner of the socket that takes connections or datagrams at a local address; nil where there is none.
    public mutating func listener(at address: IPAddress, port: UInt16, transport: TransportProtocol) -> SocketOwner? {
        let anywhere = address.family == .v4 ? IPAddress(v4: 0) : IPAddress(v6: 0, 0)
        let flow = FiveTuple(
            source: address, sourcePort: port, destination: anywhere, destinationPort: 0, transport: transport)
        if transport == .udp { return holder(of: flow) }
        guard let socket = lookUp(flow, extensions: 0), socket.state == TCPState.listen else { return nil }
        return socket.owner
    }

    /// The cgroup's path from the root of the v2 hierarchy. Remembered after the first look-up, so that the sockets of a
    /// removed cgroup keep their agent; nil where it was never seen alive.
    public mutating func path(of cgroup: CgroupID) -> String? {
        if let known = paths[cgroup] { return known }
        guard let path = cgroups.path(of: cgroup) else { return nil }
        // Ids are never given twice, so forgetting costs a look-up and nothing else.
        if paths.count >= Self.pathCapacity { paths.removeAll(keepingCapacity: true) }
        paths[cgroup] = path
        return path
    }

    /// What connection tracking knows of a flow that has not ended.
    public mutating func tracked(_ flow: FiveTuple) -> TrackedFlow? { conntrack.tracked(flow) }

    /// How many payload bytes of the local TCP socket on `flow` its peer has acknowledged; nil where there is no such
    /// socket. Exact for a socket that connected; for one that was accepted it may be one too low, never too high.
    public mutating func bytesAcknowledged(on flow: FiveTuple) -> UInt64? {
        guard flow.transport == .tcp,
            let socket = lookUp(flow, extensions: 1 << UInt8(INET_DIAG_INFO - 1)),
            let count = socket.bytesAcknowledged
        else { return nil }
        // tcpi_bytes_acked counts sequence numbers: the SYN of a socket that connected, and a FIN once it is acknowledged.
        let overhead: UInt64 = socket.state == TCPState.finWait2 || socket.state == TCPState.timeWait ? 2 : 1
        return count > overhead ? count - overhead : 0
    }

    /// Aborts the local TCP or UDP socket on `flow` (`SOCK_DESTROY`): its process gets ECONNABORTED, the peer a reset. A UDP
    /// socket that is not connected to the flow's other end stays: others may be served by it.
    /// - Returns: false where there is no such socket or the kernel cannot (`CONFIG_INET_DIAG_DESTROY`).
    public mutating func destroy(_ flow: FiveTuple) -> Bool {
        guard flow.transport == .tcp || isOnlyConnected(flow) else { return false }
        write(Self.question(flow, extensions: 0), type: UInt16(SOCK_DESTROY), flags: NLM_F_ACK)
        guard descriptor.send(request.start, request.count) == 0 else { return false }
        while true {
            let byteCount = receive()
            guard byteCount > 0 else { return false }
            var messages = MessageReader(RawSpan(_unsafeStart: answer, byteCount: byteCount))
            if let header = messages.next(), header.nlmsg_seq == sequence {
                return header.nlmsg_type == UInt16(NLMSG_ERROR) && messages.errorNumber == 0
            }
        }
    }

    /// Whether one UDP socket alone has the flow's local port, and is connected to its other end.
    private mutating func isOnlyConnected(_ flow: FiveTuple) -> Bool {
        var count = 0
        var isConnected = false
        for family in [AF_INET, AF_INET6] {
            forEach(.udp, family: family, localPort: flow.sourcePort) { socket in
                guard socket.flow.sourcePort == flow.sourcePort else { return }
                count += 1
                isConnected = socket.flow == flow
            }
        }
        return count == 1 && isConnected
    }

    /// Every TCP or UDP socket of the namespace that may still be sent something, listeners apart, in both families, with its
    /// owner. For finding flows that were opened before enforcement began; allocates.
    /// - Parameter all: whether listeners, and connections whose other end has ended, are among them.
    public mutating func sockets(
        _ transport: TransportProtocol, all: Bool = false
    ) -> [(flow: FiveTuple, owner: SocketOwner)] {
        var found: [(flow: FiveTuple, owner: SocketOwner)] = []
        let idle = [TCPState.listen, TCPState.closeWait, TCPState.lastAck, TCPState.closing]
        for family in [AF_INET, AF_INET6] {
            forEach(transport, family: family, localPort: 0) { socket in
                guard socket.state != TCPState.timeWait, all || transport == .udp || !idle.contains(socket.state) else {
                    return
                }
                found.append((socket.flow, socket.owner))
            }
        }
        return found
    }

    /// The one owner of every UDP socket that could have sent on `flow`; nil where there is none, where there are several
    /// that disagree, or where not every socket could be looked at. A socket sends from other addresses than its own when it is
    /// told to (`IP_PKTINFO`).
    private mutating func sender(of flow: FiveTuple, uid: UInt32?) -> SocketOwner? {
        owner(among: UDPCandidates(flow: flow, uid: uid, atAddress: false))
    }

    /// The one owner of every UDP socket that takes what is sent to the source of `flow`.
    private mutating func holder(of flow: FiveTuple) -> SocketOwner? {
        owner(among: UDPCandidates(flow: flow, uid: nil, atAddress: true))
    }

    private mutating func owner(among candidates: UDPCandidates) -> SocketOwner? {
        var candidates = candidates
        let flow = candidates.flow
        let failuresBefore = failures
        if flow.source.family == .v4 {
            forEach(.udp, family: AF_INET, localPort: flow.sourcePort) { candidates.add($0) }
        }
        forEach(.udp, family: AF_INET6, localPort: flow.sourcePort) { candidates.add($0) }
        return failures == failuresBefore ? candidates.owner : nil
    }

    private mutating func lookUp(_ flow: FiveTuple, extensions: UInt8) -> SocketDiagnosisMessage? {
        write(Self.question(flow, extensions: extensions), type: UInt16(SOCK_DIAG_BY_FAMILY), flags: 0)
        guard descriptor.send(request.start, request.count) == 0 else {
            failures += 1
            return nil
        }
        while true {
            let byteCount = receive()
            guard byteCount > 0 else {
                failures += 1
                return nil
            }
            var messages = MessageReader(RawSpan(_unsafeStart: answer, byteCount: byteCount))
            guard let header = messages.next(), header.nlmsg_seq == sequence else { continue }
            if header.nlmsg_type == UInt16(NLMSG_ERROR) {
                if messages.errorNumber != ENOENT { failures += 1 }
                return nil
            }
            guard let socket = SocketDiagnosisMessage(messages.body, transport: flow.transport) else {
                failures += 1
                return nil
            }
            // The kernel's own look-up falls back to a listener; anything else must be the flow that was asked for.
            return socket.state == TCPState.listen || socket.flow == flow ? socket : nil
        }
    }

    /// Calls `body` with each socket of a dump.
    private mutating func forEach(
        _ transport: TransportProtocol, family: Int32, localPort: UInt16, _ body: (SocketDiagnosisMessage) -> Void
    ) {
        var question = inet_diag_req_v2()
        question.sdiag_family = UInt8(family)
        question.sdiag_protocol = transport.rawValue
        question.idiag_states = .max
        question.id.idiag_sport = localPort.bigEndian
        write(question, type: UInt16(SOCK_DIAG_BY_FAMILY), flags: NLM_F_DUMP)
        guard descriptor.send(request.start, request.count) == 0 else {
            failures += 1
            return
        }
        while true {
            let byteCount = receive()
            guard byteCount > 0 else {
                failures += 1
                return
            }
            var messages = MessageReader(RawSpan(_unsafeStart: answer, byteCount: byteCount))
            while let header = messages.next() {
                guard header.nlmsg_seq == sequence else { continue }
                switch header.nlmsg_type {
                case UInt16(NLMSG_DONE): return
                case UInt16(NLMSG_ERROR):
                    if messages.errorNumber != ENOENT { failures += 1 }
                    return
                default:
                    guard let socket = SocketDiagnosisMessage(messages.body, transport: transport) else {
                        failures += 1
                        continue
                    }
                    body(socket)
                }
            }
        }
    }

    private mutating func write(_ question: inet_diag_req_v2, type: UInt16, flags: Int32) {
        sequence &+= 1
        request.removeAll()
        let message = request.begin(type: type, flags: flags, sequence: sequence)
        request.append(question)
        request.end(message: message)
    }

    /// The kernel answers while it is asked, so that an answer is there at once; 0 where it is not.
    private func receive() -> Int {
        let byteCount = descriptor.receive(answer, Self.answerByteCount, flags: Int32(MSG_DONTWAIT))
        return byteCount > Self.answerByteCount ? 0 : max(byteCount, 0)
    }

    private static func question(_ flow: FiveTuple, extensions: UInt8) -> inet_diag_req_v2 {
        var question = inet_diag_req_v2()
        question.sdiag_family = UInt8(flow.source.family == .v4 ? AF_INET : AF_INET6)
        question.sdiag_protocol = flow.transport.rawValue
        question.idiag_ext = extensions
        question.idiag_states = .max
        question.id.idiag_sport = flow.sourcePort.bigEndian
        question.id.idiag_dport = flow.destinationPort.bigEndian
        question.id.idiag_src = SocketDiagnosisMessage.words(flow.source)
        question.id.idiag_dst = SocketDiagnosisMessage.words(flow.destination)
        question.id.idiag_cookie = (.max, .max)  // INET_DIAG_NOCOOKIE
        return question
    }

    /// The kernel fills at most 32 KiB of a dump at once (net/netlink/af_netlink.c).
    private static let answerByteCount = 64 << 10
    /// How many paths are remembered.
    private static let pathCapacity = 8192
}
