public import Configuration
public import Control
import Glibc
import JOSE
import KernelRules
import Netlink

/// One look at the whole host.
public struct Examination: Sendable {
    private let configuration: Configuration
    private let parameters: KernelRulesParameters
    private let confined: ConfinedSet
    private let hasSystemd = access("/run/systemd/system", F_OK) == 0

    /// A look with `configuration`.
    public init(_ configuration: Configuration) {
        self.configuration = configuration
        parameters = KernelRulesParameters(configuration)
        confined = ConfinedSet(configuration)
    }

    /// Whether the calling process is itself confined: then it sees and can do too little.
    public var isConfinedItself: Bool {
        CgroupHierarchy.path(ofProcess: getpid()).map { confined.holds($0) } ?? false
    }

    /// Everything that was found. Takes some seconds at most where the daemon does not answer.
    /// - Parameters:
    ///   - status: what the daemon answers to `GET /v1/status`.
    ///   - agents: what it answers to `GET /v1/agents`; nil where it does not.
    ///   - refusals: asks for `GET /v1/decisions?verdict=deny`, the JSON lines; nil where it does not answer.
    public func report(
        status: Result<StatusReport, ControlError>, agents: [AgentReport]?, refusals: () -> [UInt8]?
    ) -> DiagnosisReport {
        let cgroups = Self.attempt { () throws(NetlinkError) in try CgroupHierarchy.find() }
        let probes: Result<[FlowProbe.Result], NetlinkError> = cgroups.flatMap { found in
            Self.attempt { () throws(NetlinkError) in try FlowProbe.run(slice: "/" + parameters.slice, found) }
        }
        let tried = (try? probes.get()) ?? []
        let rules = RuleSet(parameters, stateDirectory: configuration.stateDirectory)
        let problems = Self.attempt { () throws(KernelRulesError) in try rules.check() }
        var daemon = DaemonFacts.read(status, agents: agents)
        daemon.hasSystemd = hasSystemd
        if hasSystemd {
            for unit in ["sallyport-firewall.service", "sallyportd.service"] {
                daemon.units[unit] = Systemctl.property("UnitFileState", of: unit)
            }
        }
        let host = HostFacts.read(configuration, hasSystemd: hasSystemd)
        let log = (try? status.get())?.log
        return DiagnosisReport(
            RulesCheck.table(problems)
                + RulesCheck.otherTables(ForeignRulesReader.read(), parameters)
                + DaemonChecks.findings(daemon, configuration)
                + ProbeChecks.findings(probes, recorded: Self.recorded(tried, refusals))
                + processes(cgroups)
                + HostChecks.findings(host, tried, log, configuration))
    }

    /// Agents' processes, and the containers among all of them.
    private func processes(_ cgroups: Result<CgroupHierarchy, NetlinkError>) -> [Finding] {
        var table = ProcessReader(isConfined: { confined.holds($0) }).table()
        table.schedules = ScheduleReader.read()
        let sockets = cgroups.flatMap { found in
            Self.attempt { () throws(NetlinkError) in try SocketReader.read(into: &table, found) }
        }
        if case .failure(let error) = sockets {
            table.unread[.heldSockets, default: []].append(
                "the kernel's list of sockets: \(error.description.withoutRemedy)")
        }
        let network = NetworkFacts.read(interfaces: parameters.interfaces, table, confined)
        return ProcessChecks.findings(table, confined) + NetworkChecks.findings(network, parameters)
    }

    /// The ports of our own flows that the daemon has recorded; nil where it does not answer. A record comes a moment after
    /// the refusal.
    private static func recorded(_ probes: [FlowProbe.Result], _ refusals: () -> [UInt8]?) -> Set<UInt16>? {
        let ports = Set(probes.map(\.port))
        var found: Set<UInt16> = []
        for _ in 0..<100 {
            guard let lines = refusals() else { return nil }
            found = ports.intersection(Self.ports(in: lines, to: Set(probes.map(\.address))))
            if found == ports { break }
            usleep(50_000)
        }
        return found
    }

    /// The ports of records about one of `addresses`.
    static func ports(in lines: [UInt8], to addresses: Set<String>) -> Set<UInt16> {
        Set(
            lines.split(separator: UInt8(ascii: "\n")).compactMap { line in
                guard let record = try? StrictJSON(parsing: Array(line)), let address = record["address"]?.string,
                    addresses.contains(address)
                else { return nil }
                return record["port"]?.integer.flatMap { UInt16(exactly: $0) }
            })
    }

    private static func attempt<Value, Failure>(
        _ body: () throws(Failure) -> Value
    ) -> Result<Value, Failure> {
        do throws(Failure) {
            return .success(try body())
        } catch {
            return .failure(error)
        }
    }
}
