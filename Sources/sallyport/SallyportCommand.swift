// sallyport: the operator's command line.
//
// A composition root: each command reads its arguments, asks the modules, prints, and says by its exit status whether the
// answer is yes (0) or no (1); 2 is bad usage or bad input. Data goes to standard output, as aligned text or with --json as
// JSON; errors go to standard error as one line: `sallyport: what: why (what to do)`.

import ArgumentParser
import Control
import Glibc

/// The root command.
@main
struct SallyportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sallyport",
        abstract: "Shows and checks what Sallyport enforces on the agents of this host.",
        discussion: """
            Exit status: 0 for yes, 1 for no, denied or a failed check, 2 for bad usage or bad input.
            See sallyport(8), and docs/journal.md for the fields of records.
            """,
        version: "sallyport " + SallyportVersion.current,
        subcommands: [
            RunCommand.self, SessionCommand.self, StatusCommand.self, DoctorCommand.self, AgentsCommand.self,
            FlowsCommand.self, NamesCommand.self, DecisionsCommand.self, ExplainCommand.self, RulesCommand.self,
            PolicyCommand.self,
            InspectCommand.self, ReplayCommand.self,
        ])

    /// Runs the command and exits. On the main thread, as the only thread: `run` changes what belongs to a thread alone.
    static func main() {
        // Output into a pipe that nobody reads any more ends the command, as it does every other filter.
        signal(SIGPIPE, SIG_DFL)
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            Glibc.exit(report(error))
        }
    }

    /// Says what went wrong and answers the exit status.
    private static func report(_ error: any Error) -> Int32 {
        if let failure = error as? CommandFailure {
            if !failure.message.isEmpty { Console.complain(failure.message) }
            return failure.status
        }
        let text = fullMessage(for: error)
        guard exitCode(for: error) != .success else {
            print(text)
            return 0
        }
        if let code = error as? ExitCode { return code.rawValue }
        guard exitCode(for: error) == .validationFailure else {
            Console.complain("\(error)")
            return 1
        }
        Console.complain(message(for: error) + " (see sallyport --help)")
        return 2
    }
}

/// The end of a command that did not answer yes.
struct CommandFailure: Error, CustomStringConvertible {
    /// 1 for no, 2 for bad usage or bad input.
    let status: Int32
    /// `what: why (what to do)`; empty where the output has said all.
    let message: String

    var description: String { message }

    /// The answer is no.
    static func no(_ message: String = "") -> CommandFailure { CommandFailure(status: 1, message: message) }
    /// What the operator gave cannot be used.
    static func badInput(_ message: String) -> CommandFailure { CommandFailure(status: 2, message: message) }
}
