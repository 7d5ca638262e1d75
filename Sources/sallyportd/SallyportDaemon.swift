// sallyportd: the daemon, a composition root.
//
// It reads the configuration, opens what the modules need and joins them: a thread for each queue (`QueueWorker`), a thread
// that proves to the kernel's rules that the queues are attended (`Heartbeat`), one that keeps the rules in place
// (`RulesKeeper`), one that ends sessions in time (`SessionKeeper`), one that keeps issuers' keys fresh, one that writes the
// log, and the control socket. Signals come to the main thread: SIGHUP reloads,
// SIGTERM and SIGINT end. When anything that decides fails, the heartbeat stops, and within two seconds the rules refuse
// whatever is undecided.

import ArgumentParser
import Configuration
import Control
import Glibc
import KeySets
import Policy
import Tokens

/// The daemon's command line.
@main
struct SallyportDaemon: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sallyportd", abstract: "Decides the flows of this host's confined agents.",
        discussion: "Exit status: 0 after a stop that was asked for, 1 after a failure, 2 for bad usage or bad input.",
        version: "sallyportd " + SallyportVersion.current)

    @Option(name: .customLong("config"), help: "The configuration file.")
    var path = DaemonSetup.defaultPath

    @Flag(help: "Read the configuration, the issuers' key files and the policy, say what is wrong with them, and exit.")
    var check = false

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let failure as DaemonFailure {
            for line in failure.lines { complain(line) }
            Glibc.exit(failure.status)
        } catch {
            let code = exitCode(for: error)
            if code == .success {
                print(fullMessage(for: error))
                Glibc.exit(0)
            }
            complain(message(for: error) + " (see sallyportd --help)")
            Glibc.exit(2)
        }
    }

    mutating func run() throws {
        let setup = try DaemonSetup(path: path)
        guard !check else {
            // A running daemon goes on without them, and refuses their issuers' tokens.
            let issuers = setup.configuration.customers + setup.configuration.agentTokens.issuers
            let problems = issuers.compactMap { KeySetStore.problem($0) }
            guard problems.isEmpty else { throw DaemonFailure.badInput(problems) }
            print("\(path): configuration and policy are good (policy revision \(setup.engine.revision))")
            return
        }
        try Daemon(setup).run()
    }

    private static func complain(_ line: String) {
        let bytes = Array("sallyportd: \(line)\n".utf8)
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }
}

/// Why the daemon does not run, each line as `what: why (what to do)`.
struct DaemonFailure: Error {
    /// 1 for a failure, 2 for bad input.
    let status: Int32
    /// The lines for standard error.
    let lines: [String]

    /// What the operator gave cannot be used.
    static func badInput(_ lines: [String]) -> DaemonFailure { DaemonFailure(status: 2, lines: lines) }
}
