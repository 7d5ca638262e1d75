import Glibc

/// Runs a program of the system, gives it text and takes what it prints.
public enum Command {
    /// What a program did.
    public struct Outcome: Sendable {
        /// The exit status; 128 and more for a signal.
        public let status: Int32
        /// What it wrote to standard output.
        public let output: String
        /// What it wrote to standard error.
        public let errors: String
    }

    /// Runs `arguments[0]`, found in the fixed system path, with `input` on its standard input, and waits for it.
    public static func run(_ arguments: [String], input: String = "") throws(KernelRulesError) -> Outcome {
        let program = arguments.first ?? ""
        guard let path = searchPath.map({ $0 + "/" + program }).first(where: { access($0, X_OK) == 0 }) else {
            throw KernelRulesError(
                "\(program): not found in \(searchPath.joined(separator: ":")) (apt-get install nftables util-linux)")
        }
        var pipes: [(read: Int32, write: Int32)] = []
        defer { for pipe in pipes { for end in [pipe.read, pipe.write] where end >= 0 { close(end) } } }
        for _ in 0..<3 {
            var ends: [Int32] = [-1, -1]
            guard pipe(&ends) == 0 else { throw KernelRulesError("pipe: \(text(errno)) (raise LimitNOFILE=)") }
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
            pipes.append((ends[0], ends[1]))
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, pipes[0].read, 0)
        posix_spawn_file_actions_adddup2(&actions, pipes[1].write, 1)
        posix_spawn_file_actions_adddup2(&actions, pipes[2].write, 2)
        var vector: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        vector.append(nil)
        defer { for pointer in vector { free(pointer) } }
        let environment: [UnsafeMutablePointer<CChar>?] = [
            strdup("LC_ALL=C"), strdup("PATH=/usr/sbin:/usr/bin:/sbin:/bin"), nil,
        ]
        defer { for pointer in environment { free(pointer) } }
        var child: pid_t = 0
        let spawned = posix_spawn(&child, path, &actions, nil, vector, environment)
        guard spawned == 0 else { throw KernelRulesError("\(program): cannot be started: \(text(spawned))") }
        for end in [pipes[0].read, pipes[1].write, pipes[2].write] { close(end) }
        pipes[0].read = -1
        pipes[1].write = -1
        pipes[2].write = -1
        let (output, errors) = exchange(Array(input.utf8), &pipes)
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        let exit = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
        return Outcome(
            status: exit, output: String(decoding: output, as: UTF8.self),
            errors: String(decoding: errors, as: UTF8.self))
    }

    /// Writes the input and reads both outputs as they come, so that no pipe can fill up and stop both sides.
    private static func exchange(_ input: [UInt8], _ pipes: inout [(read: Int32, write: Int32)]) -> ([UInt8], [UInt8]) {
        var written = 0
        var results: [[UInt8]] = [[], []]
        var buffer = [UInt8](repeating: 0, count: 65_536)
        if input.isEmpty {
            close(pipes[0].write)
            pipes[0].write = -1
        }
        while pipes[1].read >= 0 || pipes[2].read >= 0 {
            var polled = [
                pollfd(fd: pipes[0].write, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: pipes[1].read, events: Int16(POLLIN), revents: 0),
                pollfd(fd: pipes[2].read, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&polled, 3, -1) > 0 else { continue }
            if polled[0].revents != 0 {
                // At most what a pipe takes at once after POLLOUT.
                let count = input[written...].withUnsafeBytes {
                    write(pipes[0].write, $0.baseAddress, min($0.count, 4096))
                }
                written += max(count, 0)
                if count < 0 || written == input.count {
                    close(pipes[0].write)
                    pipes[0].write = -1
                }
            }
            for (position, pipe) in [1, 2].enumerated() where polled[pipe].revents != 0 {
                let count = read(pipes[pipe].read, &buffer, buffer.count)
                if count > 0 {
                    results[position] += buffer[..<count]
                } else if count == 0 || errno != EINTR {
                    close(pipes[pipe].read)
                    pipes[pipe].read = -1
                }
            }
        }
        return (results[0], results[1])
    }

    static func text(_ number: Int32) -> String { String(cString: strerror(number)) }

    private static let searchPath = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
}

/// The rules or their settings could not be read or changed.
public struct KernelRulesError: Error, Equatable, CustomStringConvertible {
    /// What failed, why, and what to do: one line.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}
