import ArgumentParser
import Configuration
import Glibc
import PolicySources
import Rego

/// `sallyport policy`: a policy before it is put in force.
struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Checks, tests and asks a policy, without putting it in force.",
        discussion: """
            `systemctl reload sallyportd` puts the policy of the configuration in force. eval and test print and exit as \
            `opa eval` and `opa test` do.
            """,
        subcommands: [
            PolicyCheckCommand.self, PolicyTestCommand.self, PolicyEvalCommand.self, PolicyDecideCommand.self,
        ])
}

/// Where the policy lies that a command is about.
struct PolicyPaths: ParsableArguments {
    @Argument(
        help: "Policy directories, and .rego, .json and .yaml files. (default: policy.directory of the configuration)")
    var paths: [String] = []

    @OptionGroup var configuration: ConfigurationOptions

    /// The paths, or the directory of the configuration.
    func resolved() throws -> [String] { try paths.isEmpty ? [configuration.load().policy.directory] : paths }

    /// The files at the paths; of directories those that the daemon reads, and tests.
    func load() throws -> PolicyFiles {
        let paths = try resolved()
        do throws(PolicyLoadError) {
            return try PolicyFiles(paths, layout: .bundle)
        } catch {
            throw CommandFailure.badInput(error.description)
        }
    }
}

/// How the commands on policies print.
enum PolicyFormat: String, ExpressibleByArgument, CaseIterable {
    case pretty
    case json
}

/// The schemas that modules are checked against.
struct SchemaOptions: ParsableArguments {
    @Option(
        name: [.customShort("s"), .long],
        help: "A JSON Schema of input, or a directory of schemas that annotations name.")
    var schema: String?

    /// Sets the schemas of a compilation: `input`'s, and what annotations may name.
    func apply(to options: inout CompileOptions) throws {
        guard let schema else { return }
        do throws(PolicyLoadError) {
            let schemas = try PolicySchemas.read(schema)
            options.schemas = schemas
            options.inputSchema = schemas["input"]
        } catch {
            throw CommandFailure.badInput(error.description)
        }
    }
}

/// A file that a command is given, or standard input.
enum InputFile {
    private static let maximumBytes = 64 << 20

    /// The bytes of `path`, `-` for standard input.
    static func contents(of path: String) throws -> [UInt8] {
        let name = name(of: path)
        let descriptor = path == "-" ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreadable(name) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= maximumBytes {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw unreadable(name) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
        throw CommandFailure.badInput("\(name): too large: more than \(maximumBytes >> 20) MiB (give one input)")
    }

    /// How errors name it.
    static func name(of path: String) -> String { path == "-" ? "standard input" : path }

    private static func unreadable(_ name: String) -> CommandFailure {
        .badInput("\(name): cannot be read: \(String(cString: strerror(errno))) (check the path and its rights)")
    }
}

extension Console {
    /// Prints a line of standard error as it is but for what could move a terminal's cursor.
    static func note(_ text: String) {
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let bytes = Array((TerminalText.safe(line) + "\n").utf8)
            _ = write(STDERR_FILENO, bytes, bytes.count)
        }
    }
}

/// Text of a policy on a terminal.
enum TerminalText {
    /// The text with control characters but tabs spelled out.
    static func safe(_ text: some StringProtocol) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x09: result.unicodeScalars.append(scalar)
            case 0..<0x20, 0x7F...0x9F, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069:
                result += "\\u{" + String(scalar.value, radix: 16) + "}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// The same of a text of several lines.
    static func lines(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { safe($0) }.joined(separator: "\n")
    }
}

/// The clock of a question to a policy.
enum WallClock {
    /// Nanoseconds since the Unix epoch.
    static var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
