// Identity: who opened a flow, from what the kernel knows.
//
// Agents come from the configuration; a packet is tied to one by its socket's cgroup, its socket's uid, or, for forwarded
// traffic, the interface or source address it came in by. Nothing that an agent writes into a packet is looked at. This
// module decides which agent a set of kernel facts names; it does no I/O: the facts come from `SocketOwnerResolving`,
// which `Netlink` implements over sock_diag and tests implement with a table. Imports `PacketHeaders` only.

public import PacketHeaders

/// One agent of the configuration.
public struct Agent: Hashable, Sendable {
    /// The name that policies, records and commands use: 1...64 bytes of `[A-Za-z0-9._-]`.
    public let id: String
    /// Free labels for policy, as `input.agent.labels`.
    public let labels: [String: String]
    /// What ties traffic to this agent; any one is enough.
    public let selectors: [AgentSelector]

    /// An agent from its parts; the configuration has validated them.
    public init(id: String, labels: [String: String], selectors: [AgentSelector]) {
        self.id = id
        self.labels = labels
        self.selectors = selectors
    }
}

/// One kernel fact that names an agent.
public enum AgentSelector: Hashable, Sendable {
    /// A cgroup v2 path from the hierarchy's root, such as `/sallyport.slice/sallyport-bot.slice`; descendants included.
    case cgroup(path: String)
    /// A systemd unit, wherever in the hierarchy systemd puts it; its cgroup's last components are this name.
    case unit(name: String)
    /// The uid of the socket's creator.
    case uid(UInt32)
    /// The interface through which forwarded traffic enters.
    case interface(name: String)
    /// The source prefix of forwarded traffic.
    case source(IPPrefix)
}

/// An inbound connection that an agent may accept.
public struct ListenRule: Hashable, Sendable {
    /// The listening agent's id.
    public let agent: String
    /// The local port.
    public let port: UInt16
    /// TCP or UDP.
    public let transport: TransportProtocol
    /// Who may connect.
    public let sources: [IPPrefix]

    /// A rule from its parts.
    public init(agent: String, port: UInt16, transport: TransportProtocol, sources: [IPPrefix]) {
        self.agent = agent
        self.port = port
        self.transport = transport
        self.sources = sources
    }
}

/// The position of an agent in its `AgentTable`.
public struct AgentIndex: RawRepresentable, Hashable, Sendable {
    /// 0 ..< the table's count.
    public let rawValue: UInt16

    /// Wraps a position.
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }
}

/// The kernel's id of a cgroup v2 directory: its 64-bit inode number, never reused (`linux/cgroup-defs.h`).
public struct CgroupID: RawRepresentable, Hashable, Sendable {
    /// The id as `INET_DIAG_CGROUP_ID` carries it.
    public let rawValue: UInt64

    /// Wraps an id.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }
}

/// The kernel's name for one socket, unique while the machine runs (`SO_COOKIE`).
public struct SocketCookie: RawRepresentable, Hashable, Sendable {
    /// The 64-bit cookie.
    public let rawValue: UInt64

    /// Wraps a cookie.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }
}

/// What the kernel says of the socket behind a packet.
public struct SocketOwner: Hashable, Sendable {
    /// The cgroup in which the socket was created; it outlives the process and even the directory.
    public let cgroup: CgroupID?
    /// The socket's cookie.
    public let cookie: SocketCookie?
    /// The uid of the socket's creator.
    public let uid: UInt32?
    /// The socket's inode in sockfs, 0 for an orphan.
    public let inode: UInt32

    /// Facts from the kernel.
    public init(cgroup: CgroupID?, cookie: SocketCookie?, uid: UInt32?, inode: UInt32) {
        self.cgroup = cgroup
        self.cookie = cookie
        self.uid = uid
        self.inode = inode
    }
}

/// A flow that connection tracking knows, and that has not ended.
public struct TrackedFlow: Hashable, Sendable {
    /// Whether it is a TCP connection whose SYN was answered.
    public var isStanding: Bool
    /// Whether the flow's source opened it, rather than the other end.
    public var isOpenedBySource: Bool

    /// A flow from its parts.
    public init(isStanding: Bool, isOpenedBySource: Bool) {
        self.isStanding = isStanding
        self.isOpenedBySource = isOpenedBySource
    }
}

/// Asks the kernel about sockets. Called on a queue thread, so an implementation never blocks on anything but the kernel.
public protocol SocketOwnerResolving: ~Copyable {
    /// The owner of the local socket that sent or receives on `flow` (source is the local side); nil where the kernel
    /// knows none.
    /// - Parameter uid: of UDP the uid of the socket that sent a datagram, where the kernel has said it with the datagram:
    ///   another's socket is not the one.
    mutating func owner(of flow: FiveTuple, uid: UInt32?) -> SocketOwner?
    /// The owner of the socket that takes connections or datagrams at a local address; nil where there is none.
    mutating func listener(at address: IPAddress, port: UInt16, transport: TransportProtocol) -> SocketOwner?
    /// The cgroup's path from the root of the v2 hierarchy; nil once the directory is gone.
    mutating func path(of cgroup: CgroupID) -> String?
    /// What connection tracking knows of a flow that has not ended; nil where it knows none.
    mutating func tracked(_ flow: FiveTuple) -> TrackedFlow?
    /// How many payload bytes of the local TCP socket on `flow` the peer has acknowledged (`tcpi_bytes_acked`); nil where
    /// the kernel knows no such socket.
    mutating func bytesAcknowledged(on flow: FiveTuple) -> UInt64?
}

extension SocketOwnerResolving where Self: ~Copyable {
    /// The owner of the local socket on `flow`, whatever its uid.
    public mutating func owner(of flow: FiveTuple) -> SocketOwner? { owner(of: flow, uid: nil) }
}
