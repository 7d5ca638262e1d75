import Glibc
import Testing

@testable import Confinement

/// Starts programs through `confinement-launcher`, each in a cgroup of its own that goes with this value.
final class ConfinedProcess {
    /// The cgroup of the programs.
    let cgroup = "/sallyport-confinement-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    private var outsiders: [pid_t] = []

    /// Whether the host lets us: root, with cgroup v2.
    static var isPossible: Bool {
        geteuid() == 0 && (try? CgroupHierarchy.current()) != nil
    }

    /// What a program said and how it ended.
    struct Outcome: Equatable {
        var output: String
        var errors: String
        var status: Int32
    }

    /// The directory in which the build puts executables, with a slash.
    static let executables: String = {
        guard let path = realpath("/proc/self/exe", nil) else { return "./" }
        defer { free(path) }
        let text = String(cString: path)
        return String(text[...(text.lastIndex(of: "/") ?? text.startIndex)])
    }()

    /// The words that start `command` confined, but for the steps in `omitting`.
    func launch(_ command: [String], omitting: [ConfinementStep] = [], options: [String] = []) -> [String] {
        [Self.executables + "confinement-launcher", "--cgroup", cgroup, "--user", "nobody"]
            + omitting.flatMap { ["--omit", $0.rawValue] } + options + ["--"] + command
    }

    /// Runs `command` confined, but for the steps in `omitting`, with the descriptor `input` as its standard input.
    func run(
        _ command: [String], omitting: [ConfinementStep] = [], options: [String] = [], input: Int32? = nil
    ) throws -> Outcome {
        try Self.run(launch(command, omitting: omitting, options: options), input: input)
    }

    /// What the kernel says of one attempt of `confinement-probe`.
    func attempt(
        _ name: String, _ argument: String? = nil, omitting: [ConfinementStep] = [], options: [String] = []
    ) throws -> String {
        // From a place that every user can reach.
        let probe = "/var/tmp\(cgroup)-probe"
        if access(probe, X_OK) != 0 {
            let copied = try Self.run(["install", "-m", "755", Self.executables + "confinement-probe", probe])
            try #require(copied.status == 0, "\(copied.errors)")
        }
        let outcome = try run([probe, name] + (argument.map { [$0] } ?? []), omitting: omitting, options: options)
        try #require(outcome.status == 0, "\(outcome.errors)")
        return outcome.output
    }

    /// A process of the same user outside every confinement; ends with this value.
    func outsider() throws -> pid_t {
        let pipe = try Pipe()
        let process = try Self.spawn(
            launch(
                ["sh", "-c", "echo ready; exec sleep 600 >&-"],
                omitting: ConfinementStep.allCases.filter { $0 != .user && $0 != .capabilities }),
            input: nil, output: pipe.writing, errors: pipe.writing)
        outsiders.append(process)
        close(pipe.writing)
        // Wait until it is the other user's.
        var byte: UInt8 = 0
        try #require(read(pipe.reading, &byte, 1) == 1 && byte == UInt8(ascii: "r"))
        close(pipe.reading)
        return process
    }

    deinit {
        for process in outsiders {
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
        }
        unlink("/var/tmp\(cgroup)-probe")
        // The cgroup is busy until the kernel has buried the last process.
        guard let hierarchy = try? CgroupHierarchy.current() else { return }
        while rmdir(hierarchy.mountPoint + cgroup) != 0, errno == EBUSY { sched_yield() }
    }

    /// Runs `words`, found by `PATH`, and waits until it has ended.
    static func run(_ words: [String], input: Int32? = nil) throws -> Outcome {
        let output = try Pipe()
        let errors = try Pipe()
        let process = try spawn(words, input: input, output: output.writing, errors: errors.writing)
        close(output.writing)
        close(errors.writing)
        // What the programs here say fits into a pipe's buffer, so one stream can be read after the other.
        let outcome = (output.readAll(), errors.readAll())
        var status: Int32 = 0
        try #require(waitpid(process, &status, 0) == process)
        // As shells say it: 128 and the signal.
        let code = status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
        return Outcome(output: outcome.0, errors: outcome.1, status: code)
    }

    private static func spawn(_ words: [String], input: Int32?, output: Int32, errors: Int32) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, errors, 2)
        var arguments = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var process: pid_t = 0
        let status = posix_spawnp(&process, words[0], &actions, nil, &arguments, environ)
        try #require(status == 0, "\(words[0]): \(String(cString: strerror(status)))")
        return process
    }
}

/// A pair of sockets used as a pipe: unlike pipe(2), socketpair(2) can make them close on exec at once, so that no other
/// test's program inherits one.
struct Pipe {
    let reading: Int32
    let writing: Int32

    init() throws {
        var ends: [Int32] = [0, 0]
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        try #require(socketpair(AF_UNIX, type, 0, &ends) == 0)
        (reading, writing) = (ends[0], ends[1])
    }

    /// Everything until the last writer has closed, without the last newline.
    func readAll() -> String {
        defer { close(reading) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(reading, &chunk, chunk.count)
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }
}
