import ArgumentParser
import Configuration
import Confinement
import Glibc
import Identity
import KernelRules

/// `sallyport run`: a command, confined, as an agent.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run a command confined, as an agent.",
        discussion: """
            The command runs in the agent's cgroup, as USER, without capabilities, without raw and packet sockets, and \
            without a way out of the cgroup. It takes the place of this process: signals and the exit code are its own.
            """)

    @Option(name: .long, help: ArgumentHelp("The agent's id in the configuration.", valueName: "ID"))
    var agent: String

    @Option(
        name: .long,
        help: ArgumentHelp("Whom the command runs as, a name or a number; never root.", valueName: "USER"))
    var user: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A path below /run that the command may see, such as /run/postgresql; can be repeated.", valueName: "PATH"))
    var expose: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The token of the customer for whom the command acts, or - for a line of standard input. The command gets a "
                + "cgroup of its own, and a session that ends with its last process.", valueName: "FILE"))
    var customerToken: String?

    @Option(name: .long, help: ArgumentHelp("The agent's token, where the configuration wants one.", valueName: "FILE"))
    var agentToken: String?

    @Option(name: .long, help: ArgumentHelp("The configuration.", valueName: "FILE"))
    var config = Configuration.defaultPath

    @Argument(parsing: .postTerminator, help: "What to run, after --.")
    var command: [String] = []

    func run() throws {
        guard !command.isEmpty else { throw CommandFailure.badInput("run: no command (give it after --)") }
        guard geteuid() == 0 else {
            throw CommandFailure.badInput(
                "run: not root: confining a process takes root's rights (use sudo; --user says whom it becomes)")
        }
        let configuration: Configuration
        do {
            configuration = try Configuration.load(path: config)
        } catch {
            throw CommandFailure.badInput(error.description)
        }
        guard configuration.agents.contains(where: { $0.id == agent }) else {
            let known = configuration.agents.map(\.id).joined(separator: ", ")
            throw CommandFailure.badInput(
                "run: \(agent): no such agent in \(config) (\(known.isEmpty ? "none is listed there" : "it has \(known)"))"
            )
        }
        guard agentToken == nil || customerToken != nil else {
            throw CommandFailure.badInput("run: --agent-token without --customer-token (it opens a customer's session)")
        }
        guard let user else {
            let caller = getenv("SUDO_USER").map { String(cString: $0) } ?? "root"
            throw CommandFailure.badInput(
                "run: --user is missing: an agent never runs as root (add --user \(caller == "root" ? "bot" : caller))")
        }
        do {
            try become(user, configuration)
        } catch {
            throw CommandFailure(status: error.exitStatus, message: "run: \(error)")
        }
    }

    private func become(_ user: String, _ configuration: Configuration) throws(ConfinementError) -> Never {
        var confinement = Confinement(
            cgroup: SystemdName.path(ofAgent: agent, in: configuration.slice), user: try TargetUser.named(user))
        confinement.hiddenDirectories = ["/etc/sallyport", configuration.policy.directory]
        confinement.exposedPaths = expose
        confinement.controlDirectory = configuration.stateDirectory

        try enterCgroup(confinement.cgroup, slice: configuration.slice)
        try requireRules(configuration)
        var environment = Self.environment
        environment["SALLYPORT_SOCKET"] = configuration.control.socket
        if let token = try readToken() {
            environment["SALLYPORT_SESSION"] = try RunSession(
                socket: configuration.control.socket, agent: agent, customerToken: token, agentToken: agentToken
            ).open(program: try Self.ownPath())
        } else if !Self.isListening(configuration.control.socket) {
            Console.complain(
                "run: sallyportd does not answer on \(configuration.control.socket): whatever the command opens is refused "
                    + "meanwhile (systemctl start sallyportd)")
        }
        for remark in try confinement.apply() { Console.complain("run: \(remark)") }
        try Confinement.execute(command, environment: confinement.user.environment(from: environment))
    }

    private func readToken() throws(ConfinementError) -> String? {
        guard let customerToken else { return nil }
        do throws(TokenFileError) {
            return try TokenFile.load(customerToken)
        } catch {
            throw ConfinementError("--customer-token", error.text, TokenFileError.remedy, exitStatus: 2)
        }
    }

    /// In the cgroup that it will have, so that the rules are known to name this one and not one that is gone.
    private func requireRules(_ configuration: Configuration) throws(ConfinementError) {
        let rules = RuleSet(KernelRulesParameters(configuration), stateDirectory: configuration.stateDirectory)
        let problem: String?
        do throws(KernelRulesError) {
            problem = try rules.check().first
        } catch {
            problem = error.description
        }
        if let problem {
            throw ConfinementError(
                "the agent would not be confined", problem, "systemctl restart sallyport-firewall, then try again")
        }
    }

    /// Puts this process into the agent's cgroup. A service that is in the agent's slice is there already; on a systemd host
    /// this process otherwise becomes `systemd-run`, and then itself again in a scope; elsewhere the cgroup is ours to make.
    private func enterCgroup(_ cgroup: String, slice: String) throws(ConfinementError) {
        let hierarchy = try CgroupHierarchy.current()
        let current = try hierarchy.pathOfProcess()
        // A customer's command has a cgroup of its own.
        let own =
            customerToken == nil
            ? cgroup : cgroup + "/session-" + String(UInt64.random(in: .min ... .max), radix: 36)
        if current.hasPrefix(cgroup + "/") || current == own { return }
        guard SystemdScope.isAvailable else { return try hierarchy.enter(own) }
        guard getenv(Self.scopeVariable) == nil else {
            throw ConfinementError(
                "cannot confine the agent", "systemd put the process into \(current) and not below \(cgroup)",
                "check slice: in the configuration, and systemctl status sallyport.slice")
        }
        var environment = Self.environment
        environment[Self.scopeVariable] = "1"
        try Confinement.execute(
            SystemdScope.command(
                slice: SystemdName.slice(ofAgent: agent, in: slice), agent: agent,
                running: [try Self.ownPath()] + CommandLine.arguments.dropFirst()),
            environment: environment)
    }

    private static var environment: [String: String] {
        var result: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "="), text[..<equals] != scopeVariable {
                result[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            next += 1
        }
        return result
    }

    private static func ownPath() throws(ConfinementError) -> String {
        guard let path = realpath("/proc/self/exe", nil) else {
            throw ConfinementError("/proc/self/exe", String(cString: strerror(errno)), "mount /proc")
        }
        defer { free(path) }
        return String(cString: path)
    }

    private static func isListening(_ path: String) -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { field in
            guard path.utf8.count < field.count else { return false }
            field.copyBytes(from: path.utf8)
            return true
        }
        return fits
            && withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
                }
            }
    }

    private static let scopeVariable = "SALLYPORT_RUN_SCOPE"
}
