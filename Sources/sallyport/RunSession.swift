import Confinement
import Glibc

/// The session of a command that is run for a customer: opened by a child process, because the process that will be the
/// command must stay without other threads.
struct RunSession {
    /// The control socket.
    let socket: String
    let agent: String
    let customerToken: String
    /// The file of the agent's token.
    let agentToken: String?

    /// Opens the session for this process's own cgroup. Returns its id.
    func open(program: String) throws(ConfinementError) -> String {
        var words = [
            program, "session", "open", "--socket", socket, "--agent", agent, "--cgroup", "self", "--customer-token",
            "-",
        ]
        if let agentToken { words += ["--agent-token", agentToken] }
        let (status, output) = try run(words, input: Array((customerToken + "\n").utf8))
        guard status == 0, output.utf8.count == 33 else {
            throw ConfinementError(
                "no session for the customer", "see above", "the command was not started; give it a good token")
        }
        return String(output.dropLast())
    }

    private static func failure(_ what: String, _ code: Int32) -> ConfinementError {
        ConfinementError(what, String(cString: strerror(code)), "the command was not started; try again")
    }

    private func run(_ words: [String], input: [UInt8]) throws(ConfinementError) -> (status: Int32, output: String) {
        var (into, out): ([Int32], [Int32]) = ([-1, -1], [-1, -1])
        guard pipe(&into) == 0, pipe(&out) == 0 else { throw Self.failure("cannot make a pipe", errno) }
        for end in into + out { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { for end in [into[1], out[0]] where end >= 0 { close(end) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, into[0], 0)
        posix_spawn_file_actions_adddup2(&actions, out[1], 1)
        var vector: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for pointer in vector { free(pointer) } }
        var child: pid_t = 0
        let spawned = posix_spawn(&child, words[0], &actions, nil, &vector, environ)
        close(into[0])
        close(out[1])
        guard spawned == 0 else { throw Self.failure("cannot start \(words[0])", spawned) }
        // A token fits into a pipe.
        _ = write(into[1], input, input.count)
        close(into[1])
        into[1] = -1
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 256)
        while true {
            let count = read(out[0], &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            output += chunk[..<count]
        }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        return (status & 0x7F == 0 ? (status >> 8) & 0xFF : 1, String(decoding: output, as: UTF8.self))
    }
}
