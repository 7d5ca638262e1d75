import ArgumentParser
import Glibc

/// The operator's command line.
@main
struct Sallyport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sallyport",
        abstract: "See and steer what agents may reach.",
        subcommands: [RunCommand.self])

    /// Runs the command and exits: 0 for yes, 1 for no, denied or failed checks, 2 for bad usage or bad input.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            let code = exitCode(for: error)
            var message = fullMessage(for: error)
            if message.hasPrefix("Error: ") { message = "sallyport: " + message.dropFirst("Error: ".count) }
            if !message.isEmpty {
                let bytes = Array((message + "\n").utf8)
                _ = write(code == .success ? STDOUT_FILENO : STDERR_FILENO, bytes, bytes.count)
            }
            Glibc.exit(code == .validationFailure ? 2 : code.rawValue)
        }
    }
}
