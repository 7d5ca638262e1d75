/// Which agent a flow's kernel facts name, or why none.
public enum Identification: Hashable, Sendable {
    /// This agent.
    case agent(AgentIndex)
    /// Nobody; the flow is refused with `no_identity`.
    case nobody(NoIdentity)

    /// The agent, where there is one.
    public var agent: AgentIndex? {
        switch self {
        case .agent(let index): index
        case .nobody: nil
        }
    }
}

/// Why no agent is known for a flow.
public enum NoIdentity: Hashable, Sendable {
    /// No selector of any agent matches.
    case noMatch
    /// The kernel names no cgroup for the socket, or one whose directory is gone and was never seen before. The uid alone
    /// is not believed then: a process may change it.
    case cgroupUnknown
    /// The kernel knows no socket behind the packet.
    case noSocket
    /// Two facts of the flow name two agents.
    case conflict(IdentityFact, AgentIndex, IdentityFact, AgentIndex)
}

/// One kind of fact that can name an agent.
public enum IdentityFact: String, Hashable, Sendable {
    /// The socket's cgroup path.
    case cgroup
    /// A systemd unit in the socket's cgroup path.
    case unit
    /// The uid of the socket's creator.
    case uid
    /// The interface through which forwarded traffic entered.
    case interface
    /// The source address of forwarded traffic.
    case source
}
