import Configuration
import Identity
import KernelRules

/// What the rules confine of the host's own processes.
struct ConfinedSet: Sendable {
    /// Cgroup paths; what is below them is confined too.
    var cgroups: [String]
    /// Uids.
    var uids: Set<UInt32>
    /// Whether interfaces or sources are confined: agents behind this host.
    var isForwarding: Bool
    /// Units of agents, which a drop-in has to put into the slice.
    var units: Set<String>
    private let agents: AgentTable?

    /// What `configuration` confines.
    init(_ configuration: Configuration) {
        let parameters = KernelRulesParameters(configuration)
        cgroups = ([parameters.slice] + parameters.cgroups).map { "/" + $0 }
        uids = Set(parameters.uids)
        isForwarding = !(parameters.interfaces.isEmpty && parameters.sources.isEmpty)
        units = Set(
            configuration.agents.flatMap(\.selectors).compactMap { selector in
                if case .unit(let name) = selector { name } else { nil }
            })
        agents = try? configuration.agentTable()
    }

    /// Whether a cgroup is confined.
    func holds(_ cgroup: String) -> Bool {
        cgroups.contains { cgroup == $0 || cgroup.hasPrefix($0 + "/") }
    }

    /// Whether a process is confined, by its cgroup or by its uid.
    func holds(_ process: ProcessFacts) -> Bool {
        holds(process.cgroup) || uids.contains(process.effectiveUID)
    }

    /// The agent that a process is, for people.
    func name(of process: ProcessFacts) -> String {
        let found = agents.flatMap { table in
            table.identify(cgroup: process.cgroup, uid: process.effectiveUID).agent.map { table[$0].id }
        }
        return "process \(process.pid) (\(process.name)\(found.map { ", agent " + $0 } ?? ""))"
    }
}
