public import PacketHeaders

/// Names a session within one run of the daemon; never given twice. 0 names none.
public struct SessionNumber: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    /// 1...4294967295; 0 for no session.
    public let rawValue: UInt32

    /// Wraps a number.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// No session.
    public static var none: SessionNumber { SessionNumber(rawValue: 0) }
}

/// What ties flows to a session: something that the kernel vouches for, or that a process of the agent chose.
public enum SessionBinding: Hashable, Sendable {
    /// A cgroup v2 directory below one of the agent's, and what is below it: one worker for one customer.
    case cgroup(CgroupID, path: String)
    /// One socket of the agent.
    case socket(SocketCookie)
    /// Local ports, leased: what sockets of the agent send from them. TCP and UDP, every address.
    case ports(ClosedRange<UInt16>)
    /// A local address, leased: what sockets of the agent, or a forwarded agent, send from it.
    case source(IPAddress)
}

/// In whose name something was bound: the session whose cgroup its caller was in, or nobody's.
///
/// A cgroup that is bound to a session is a world of its own. What was bound outside it (a socket, ports, an address) says
/// nothing of the sockets in it, and the other way round: so a worker that takes another one's port is never taken for it.
public struct SessionScope: Hashable, Sendable {
    /// The agent's id.
    public let agent: String
    /// The session of the nearest bound cgroup; `.none` outside all of them.
    public let within: SessionNumber

    /// A scope from its parts.
    public init(agent: String, within: SessionNumber = .none) {
        self.agent = agent
        self.within = within
    }
}
