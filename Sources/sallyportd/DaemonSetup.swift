import Configuration
import Enforcement
import Glibc
import Identity
import PacketHeaders
import Policy
import PolicySources

/// What the daemon runs with, read and checked: at its start and at each reload.
struct DaemonSetup {
    /// Where the configuration was read.
    let path: String
    /// The configuration.
    let configuration: Configuration
    /// Its agents.
    let agents: AgentTable
    /// The compiled policy.
    let engine: any PolicyEngine

    /// The path of the configuration when none is given.
    static let defaultPath = Configuration.defaultPath

    /// Reads configuration and policy. Throws every problem that was found, as bad input.
    init(path: String) throws(DaemonFailure) {
        (configuration, agents) = try Self.readConfiguration(path)
        engine = try Self.readPolicy(configuration.policy)
        self.path = path
    }

    /// The configuration and its agents.
    static func readConfiguration(_ path: String) throws(DaemonFailure) -> (Configuration, AgentTable) {
        do {
            let configuration = try Configuration.load(path: path)
            return (configuration, try configuration.agentTable())
        } catch let error as ConfigurationError {
            throw .badInput(error.problems.map(\.description))
        } catch {
            throw .badInput(["\(path): \(error)"])
        }
    }

    /// The policy of a configuration.
    static func readPolicy(_ settings: Configuration.PolicySettings) throws(DaemonFailure) -> any PolicyEngine {
        do throws(PolicyLoadError) {
            return try LoadedPolicy.load(settings.directory, package: settings.package).engine
        } catch {
            throw .badInput(error.problems.map(\.description))
        }
    }

    /// Which names lead where by the configuration alone.
    private static func names(_ configuration: Configuration) -> NameWatch {
        NameWatch(isOn: configuration.watchesNames, fixed: configuration.fixedNames)
    }

    /// What the engine reads, with the interfaces of now.
    static func snapshot(
        _ configuration: Configuration, _ agents: AgentTable, _ engine: any PolicyEngine
    ) -> EnforcementSnapshot {
        var indexes: [String: UInt32] = [:]
        for name in agents.listedInterfaces {
            let index = if_nametoindex(name)
            if index != 0 { indexes[name] = index }
        }
        let deny: Enforcement.DenyMode =
            switch configuration.deny {
            case .explain: .explain
            case .reset: .reset
            case .drop: .drop
            }
        return EnforcementSnapshot(
            agents: agents.withInterfaces(indexes), policy: engine, resolvers: configuration.resolvers,
            listen: configuration.listen, deny: deny, names: names(configuration))
    }
}
