import Identity
import PacketHeaders

/// Gathers the sockets that could have sent a UDP datagram, or that take one, and says whether they agree on whose it is.
struct UDPCandidates {
    let flow: FiveTuple
    private let uid: UInt32?
    private let atAddress: Bool
    private var found: SocketOwner?
    private var isAmbiguous = false

    /// No candidate yet for a datagram of `flow`.
    /// - Parameters:
    ///   - uid: the uid of the socket that sent it, where the kernel has said it.
    ///   - atAddress: whether the socket must be bound to the flow's source address, or to none.
    init(flow: FiveTuple, uid: UInt32?, atAddress: Bool) {
        self.flow = flow
        self.uid = uid
        self.atAddress = atAddress
    }

    /// The owner, where there is one candidate, or where all lie in one cgroup; then without what they differ in.
    var owner: SocketOwner? { isAmbiguous ? nil : found }

    /// Adds a socket, where it may be the one: bound to the port, and of a family that has the address. A connected socket sends
    /// elsewhere too when it is told an address, so its own peer is no reason to leave it out.
    mutating func add(_ socket: SocketDiagnosisMessage) {
        guard socket.flow.sourcePort == flow.sourcePort, mayUse(socket) else { return }
        let owner = socket.owner
        if let uid, let other = owner.uid, uid != other { return }
        guard let known = found else {
            found = owner
            return
        }
        isAmbiguous = isAmbiguous || known.cgroup != owner.cgroup
        found = SocketOwner(
            cgroup: owner.cgroup, cookie: nil, uid: known.uid == owner.uid ? owner.uid : nil, inode: 0)
    }

    private func mayUse(_ socket: SocketDiagnosisMessage) -> Bool {
        let local = socket.flow.source
        if local == flow.source { return true }
        let isAnywhere = local.high == 0 && local.low == 0
        guard isAnywhere || !atAddress else { return false }
        // An IPv6 socket sends IPv4 too, unless it is for IPv6 alone; never the other way round.
        return flow.source.family == .v4 ? !socket.isIPv6Only : socket.isIPv6
    }
}
