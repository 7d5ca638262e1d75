public import PacketHeaders

/// The agents of one configuration and what names them: an immutable snapshot, shared by the queue threads.
///
/// How facts become an agent, for a local socket:
/// 1. the cgroup: the deepest ancestor directory that a selector names decides (`cgroup:`, `unit:`, and for every agent
///    without being listed its own slice, `SystemdName.path(ofAgent:in:)`). A unit is looked for below slices only;
/// 2. the uid of the socket's creator, where no cgroup names an agent;
/// 3. a cgroup and a uid that name two agents are a conflict: nobody. An agent that takes another one's uid (setuid, sudo)
///    stays what its cgroup says or becomes nobody, never the other one.
///
/// For forwarded traffic the interface and the longest source prefix, with the same rule: two answers are none.
///
/// Look-ups do not allocate.
public final class AgentTable: Sendable {
    /// The agents, in the order of the configuration.
    public let agents: [Agent]
    /// The confined slice, `sallyport.slice` by default.
    public let slice: String
    private let paths: PathIndex
    private let uids: [UInt32: AgentIndex]
    private let sources: SourceIndex
    private let interfaceNames: [String: AgentIndex]
    private let interfaces: [UInt32: AgentIndex]
    private let positions: [String: AgentIndex]

    /// A table of `agents`. Throws `.duplicateAgent` and `.sharedSelector` where two agents have the same name or the same
    /// selector, `.tooManyAgents` over 65,535.
    public convenience init(_ agents: [Agent], slice: String = "sallyport.slice") throws(AgentTableError) {
        try self.init(agents: agents, slice: slice, interfaceIndexes: [:])
    }

    private init(agents: [Agent], slice: String, interfaceIndexes: [String: UInt32]) throws(AgentTableError) {
        guard agents.count <= Int(UInt16.max) else { throw .tooManyAgents(agents.count) }
        var paths = PathIndex()
        var uids: [UInt32: AgentIndex] = [:]
        var sources = SourceIndex()
        var names: [String: AgentIndex] = [:]
        var positions: [String: AgentIndex] = [:]
        for (position, agent) in agents.enumerated() {
            let index = AgentIndex(rawValue: UInt16(position))
            guard positions.updateValue(index, forKey: agent.id) == nil else { throw .duplicateAgent(agent.id) }
            let own = AgentSelector.cgroup(path: SystemdName.path(ofAgent: agent.id, in: slice))
            for selector in [own] + agent.selectors {
                let other: AgentIndex?
                switch selector {
                case .cgroup(let path): other = paths.insert(path: path, index)
                case .unit(let name): other = paths.insert(unit: name, index)
                case .uid(let uid): other = uids.updateValue(index, forKey: uid)
                case .interface(let name): other = names.updateValue(index, forKey: name)
                case .source(let prefix): other = sources.insert(prefix, index)
                }
                if let other, other != index {
                    throw .sharedSelector(selector, agents[Int(other.rawValue)].id, agent.id)
                }
            }
        }
        self.agents = agents
        self.slice = slice
        self.paths = paths
        self.uids = uids
        self.sources = sources
        self.positions = positions
        interfaceNames = names
        var interfaces: [UInt32: AgentIndex] = [:]
        for (name, agent) in names {
            if let index = interfaceIndexes[name] { interfaces[index] = agent }
        }
        self.interfaces = interfaces
    }

    /// The same agents with the interfaces of now: kernel interface indexes by name, as the host has them. Interfaces come
    /// and go; whoever watches them makes a new table.
    public func withInterfaces(_ indexes: [String: UInt32]) -> AgentTable {
        // The agents were checked when this table was made.
        (try? AgentTable(agents: agents, slice: slice, interfaceIndexes: indexes)) ?? self
    }

    /// The interface names that the configuration lists, sorted.
    public var listedInterfaces: [String] { interfaceNames.keys.sorted() }

    /// The agent at a position of this table.
    public subscript(index: AgentIndex) -> Agent { agents[Int(index.rawValue)] }

    /// The position of the agent with this id.
    public func index(of id: String) -> AgentIndex? { positions[id] }

    /// The agent that a cgroup path from the root of the v2 hierarchy names.
    public func agent(ofCgroup path: String) -> Identification { paths.agent(of: path) }

    /// The agent that a uid names.
    public func agent(ofUID uid: UInt32) -> AgentIndex? { uids[uid] }

    /// The agent that a source address names: longest prefix.
    public func agent(ofSource address: IPAddress) -> AgentIndex? { sources.agent(of: address) }

    /// The agent that an interface, by its kernel index, names.
    public func agent(ofInterface index: UInt32) -> AgentIndex? { interfaces[index] }

    /// Whose a local socket is: by its cgroup path and its creator's uid.
    public func identify(cgroup path: String, uid: UInt32?) -> Identification {
        combine(agent(ofCgroup: path), uid: uid)
    }

    /// Whose a forwarded flow is: by the interface it came in by and its source address.
    public func identify(interface: UInt32?, source: IPAddress) -> Identification {
        let byInterface = interface.flatMap(agent(ofInterface:))
        let bySource = agent(ofSource: source)
        if let byInterface, let bySource, byInterface != bySource {
            return .nobody(.conflict(.interface, byInterface, .source, bySource))
        }
        return (byInterface ?? bySource).map { .agent($0) } ?? .nobody(.noMatch)
    }

    /// What a cgroup says, with what the uid says.
    func combine(_ byCgroup: Identification, uid: UInt32?) -> Identification {
        guard let byUID = uid.flatMap(agent(ofUID:)) else { return byCgroup }
        switch byCgroup {
        case .agent(let agent):
            return agent == byUID ? byCgroup : .nobody(.conflict(.cgroup, agent, .uid, byUID))
        case .nobody(.noMatch):
            return .agent(byUID)
        case .nobody:
            return byCgroup
        }
    }

    /// Why nobody is known, for records and people.
    public func describe(_ reason: NoIdentity) -> String {
        switch reason {
        case .noMatch: "no agent of the configuration matches"
        case .cgroupUnknown: "the socket's cgroup is gone or unknown"
        case .noSocket: "the kernel knows no socket for the packet"
        case .conflict(let fact, let agent, let otherFact, let otherAgent):
            "\(fact.rawValue) says agent \(self[agent].id), \(otherFact.rawValue) says agent \(self[otherAgent].id)"
        }
    }
}

/// Why agents make no table.
public enum AgentTableError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Two agents with this id.
    case duplicateAgent(String)
    /// One selector, two agents.
    case sharedSelector(AgentSelector, String, String)
    /// This many agents; 65,535 are possible.
    case tooManyAgents(Int)

    /// One line for people.
    public var description: String {
        switch self {
        case .duplicateAgent(let id): "two agents are called \(id) (give each its own id)"
        case .sharedSelector(let selector, let first, let second):
            "\(selector) names both \(first) and \(second) (a selector belongs to one agent)"
        case .tooManyAgents(let count): "\(count) agents (65535 are possible)"
        }
    }
}

extension AgentSelector: CustomStringConvertible {
    /// The selector as the configuration spells it.
    public var description: String {
        switch self {
        case .cgroup(let path): "cgroup \(path)"
        case .unit(let name): "unit \(name)"
        case .uid(let uid): "uid \(uid)"
        case .interface(let name): "interface \(name)"
        case .source(let prefix): "source \(prefix)"
        }
    }
}
