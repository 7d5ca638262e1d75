/// The checks, in the order in which they are told.
public enum Check: String, Hashable, Sendable, Codable, CaseIterable {
    /// The table is as it should be, and so are the settings that it relies on.
    case rules
    /// No other table undoes it.
    case otherTables = "other_tables"
    /// No program at a device takes packets past it.
    case devicePrograms = "device_programs"
    /// Every queue is the running daemon's.
    case queues
    /// The daemon answers and decides.
    case daemon
    /// It has the configuration that is on the disk.
    case configuration
    /// Rules and daemon come back with the next boot.
    case boot
    /// A flow of our own from a confined cgroup does not arrive.
    case flowRefused = "flow_refused"
    /// The same flow from outside arrives.
    case flowPassed = "flow_passed"
    /// The daemon, and not the rules alone, has refused it.
    case flowDecided = "flow_decided"
    /// No process of an agent is outside every confined cgroup.
    case agentsOutside = "agents_outside"
    /// No confined process is uid 0.
    case root
    /// No confined process may make or change packets, or trace others.
    case capabilities
    /// No confined process can move to another cgroup.
    case cgroupEscape = "cgroup_escape"
    /// No confined process can have a container engine start something outside.
    case engineSockets = "engine_sockets"
    /// No confined process is in another network.
    case networkNamespaces = "network_namespaces"
    /// No confined process holds a socket of somebody else's.
    case heldSockets = "held_sockets"
    /// No confined process holds a packet or raw socket.
    case packetSockets = "packet_sockets"
    /// No confined process can talk to the hypervisor.
    case vsock
    /// No container reaches others without the forward hook.
    case containers
    /// No confined process can have a service of the host resolve names.
    case resolvers
    /// Names are tied to addresses.
    case names
    /// IPv6 is confined as IPv4 is.
    case ipv6
    /// The kernel has what is relied on.
    case kernel
    /// The table of connections has room.
    case connections
    /// The clock by which tokens expire is right.
    case clock
    /// Records are taken and kept.
    case journal

    /// Why a hole here matters.
    public var why: String {
        switch self {
        case .rules: "what the rules do not hold is not confined"
        case .otherTables: "a rule of somebody else's changes what ours have decided, or is never asked about"
        case .devicePrograms: "a program at the device may send packets on before the rules see them"
        case .queues: "nobody, or somebody else, decides what the rules hand over"
        case .daemon: "new flows of agents are refused by the rules alone, without a record, or wait"
        case .configuration: "what is enforced is not what the file says"
        case .boot: "after the next boot agents run unconfined, or cannot connect"
        case .flowRefused: "what a confined process opens reaches its destination"
        case .flowPassed: "what is not confined must never be touched"
        case .flowDecided: "refusals without a decision leave no record, and nothing that policy allows passes"
        case .agentsOutside: "no rule finds its flows: they pass undecided"
        case .root: "uid 0 can leave its cgroup and change the rules"
        case .capabilities: "with it the process makes packets, changes rules or takes over processes outside"
        case .cgroupEscape: "a process in another cgroup is not confined"
        case .engineSockets: "through it the agent starts containers that are not confined"
        case .networkNamespaces: "the rules see flows of this network only"
        case .heldSockets: "a socket belongs to the cgroup that made it: what the agent sends on it is not confined"
        case .packetSockets: "packets from it leave below the rules"
        case .vsock: "the hypervisor may carry what the agent says out, and no rule sees it"
        case .containers: "packets that do not cross the forward hook are not seen by the rules"
        case .resolvers: "a service of the host asks for the agent, and its questions are not confined"
        case .names: "an allowed name is allowed at every address that policy lets the agent connect to"
        case .ipv6: "what is refused over IPv4 would pass over IPv6"
        case .kernel: "what rules and daemon rely on is missing"
        case .connections: "a full table drops new flows of everybody"
        case .clock: "tokens of customers expire too late or too early"
        case .journal: "decisions leave no record"
        }
    }
}
