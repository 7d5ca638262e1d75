// Sessions: whose sessions are open, what they are bound to, and when they end.
//
// `SessionRegistry` is the one account of it: a value without clocks, locks or threads that says of each request whether it
// may be, and what the queue threads are to be told (`SessionChange`). `SessionJournal` is its memory over a restart: a
// file of lines, appended before a request is answered. Whoever calls has verified the token (`Tokens`) and knows the caller
// by what the kernel says of it. Imports Enforcement for the changes, Identity, Policy and Tokens for what they are about.
//
// The life of a session: a verified token opens it for one agent; bindings tie it to what the kernel vouches for; another
// token of the same customer renews it; it ends with its token, by request, with its cgroup or with its agent. What was
// bound stays closed afterwards as long as it is remembered, so that what comes late is refused as `session_closed` and not
// taken for the agent's own.

public import Identity
public import PacketHeaders

/// A moment on the two clocks that decide when a session ends, in nanoseconds.
public struct SessionTime: Hashable, Sendable {
    /// Since the Unix epoch.
    public let wall: UInt64
    /// Since the machine started, sleep included (CLOCK_BOOTTIME): nobody sets it back.
    public let boot: UInt64

    /// A moment from both clocks.
    public init(wall: UInt64, boot: UInt64) {
        self.wall = wall
        self.boot = boot
    }
}

/// Who asks, by what the kernel says.
public enum SessionCaller: Hashable, Sendable {
    /// Somebody outside all confinement who may do everything.
    case `operator`
    /// A process of this agent, in this cgroup.
    case agent(String, cgroup: CgroupID?, path: String)
}

/// What a session is to be bound to, as it was asked for.
public enum RequestedBinding: Hashable, Sendable {
    /// A cgroup by its path from the root of the v2 hierarchy, and its id.
    case cgroup(path: String, CgroupID)
    /// A cgroup that was made for a process of the caller's, which is in it by now.
    case enclosed(path: String, CgroupID)
    /// A socket by its cookie.
    case socket(SocketCookie)
    /// Local ports.
    case ports(ClosedRange<UInt16>)
    /// A local address.
    case source(IPAddress)

    /// The path of the cgroup that it is about.
    public var cgroup: String? {
        switch self {
        case .cgroup(let path, _), .enclosed(let path, _): path
        case .socket, .ports, .source: nil
        }
    }
}

/// Why a request about sessions is refused.
public enum SessionError: Error, Equatable, Sendable, CustomStringConvertible {
    /// No session of that id, or none that the caller may know of.
    case unknown
    /// The session has ended.
    case ended
    /// The caller may not do this: why.
    case forbidden(String)
    /// What is asked for is another's already.
    case conflict(String)
    /// The token was used up: why.
    case replayed(String)
    /// A bound was reached.
    case tooMany(String)
    /// The request makes no sense: why.
    case invalid(String)

    /// What is wrong, and what to do.
    public var description: String {
        switch self {
        case .unknown: "there is no such session (sallyport session list)"
        case .ended: "the session has ended (open another one with a new token)"
        case .forbidden(let text), .conflict(let text), .replayed(let text), .tooMany(let text), .invalid(let text):
            text
        }
    }
}

/// The bounds of what is kept.
public struct SessionLimits: Sendable {
    /// Open sessions at once.
    public var sessions = 65_536
    /// Open sessions of one agent.
    public var sessionsOfAgent = 32_768
    /// Bindings of one session.
    public var bindings = 16_384
    /// Ended sessions of one agent that are remembered.
    public var endedOfAgent = 4096

    /// The defaults.
    public init() {}
}
