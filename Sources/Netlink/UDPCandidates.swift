import Identity
import PacketHeaders

/// Gathers the sockets that could have sent a UDP datagram and says whether they agree on whose it is.
struct UDPCandidates {
    private let flow: FiveTuple
    private var found: SocketOwner?
    private var isAmbiguous = false

    /// No candidate yet for a datagram of `flow`.
    init(flow: FiveTuple) {
        self.flow = flow
    }

    /// The owner, where there is one candidate, or where all lie in one cgroup; then without what they differ in.
    var owner: SocketOwner? { isAmbiguous ? nil : found }

    /// Adds a socket, where it could have sent the datagram: bound to the port, and to the address or to none. A connected
    /// socket sends elsewhere too when it is told an address, so its own peer is no reason to leave it out.
    mutating func add(_ socket: SocketDiagnosisMessage) {
        guard socket.flow.sourcePort == flow.sourcePort, isLocal(socket) else { return }
        let owner = socket.owner
        guard let known = found else {
            found = owner
            return
        }
        isAmbiguous = isAmbiguous || known.cgroup != owner.cgroup
        found = SocketOwner(
            cgroup: owner.cgroup, cookie: nil, uid: known.uid == owner.uid ? owner.uid : nil, inode: 0)
    }

    private func isLocal(_ socket: SocketDiagnosisMessage) -> Bool {
        let local = socket.flow.source
        if local == flow.source { return true }
        guard local.high == 0, local.low == 0 else { return false }
        // An IPv6 socket without an address sends IPv4 too, unless it is for IPv6 alone; never the other way round.
        return flow.source.family == .v4 ? !socket.isIPv6Only : socket.isIPv6
    }
}
