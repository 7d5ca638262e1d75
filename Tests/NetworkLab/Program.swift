import Glibc

/// Programs run to their end, in the namespaces of the calling thread.
public enum Program {
    /// Runs a program that must succeed and returns what it wrote to standard output.
    @discardableResult
    public static func run(_ arguments: String..., input: String = "") throws -> String {
        let outcome = try start(arguments, input: input)
        guard outcome.status == 0 else {
            throw LabError("\(arguments.joined(separator: " ")): \(outcome.output)\(outcome.errors)")
        }
        return outcome.output
    }

    /// Runs a program and returns its exit status and what it wrote.
    public static func start(_ arguments: [String], input: String = "") throws -> (
        status: Int32, output: String, errors: String
    ) {
        let stdin = try temporary(input)
        let stdout = try temporary("")
        let stderr = try temporary("")
        defer {
            close(stdin)
            close(stdout)
            close(stderr)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, stdin, 0)
        posix_spawn_file_actions_adddup2(&actions, stdout, 1)
        posix_spawn_file_actions_adddup2(&actions, stderr, 2)
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        var process: pid_t = 0
        let status = posix_spawnp(&process, arguments[0], &actions, nil, pointers, environ)
        guard status == 0 else { throw LabError(arguments[0], status) }
        var result: Int32 = 0
        while waitpid(process, &result, 0) < 0, errno == EINTR {}
        let exit = result & 0x7F == 0 ? result >> 8 & 0xFF : 128 + (result & 0x7F)
        return (exit, text(of: stdout), text(of: stderr))
    }

    private static func temporary(_ content: String) throws -> Int32 {
        let path = "/tmp"
        let descriptor = open(path, O_RDWR | O_CLOEXEC | 0o20200000, 0o600)  // O_TMPFILE
        guard descriptor >= 0 else { throw LabError("\(path): temporary file", errno) }
        let bytes = Array(content.utf8)
        guard write(descriptor, bytes, bytes.count) == bytes.count, lseek(descriptor, 0, SEEK_SET) == 0 else {
            throw LabError("\(path): temporary file", errno)
        }
        return descriptor
    }

    private static func text(of descriptor: Int32) -> String {
        lseek(descriptor, 0, SEEK_SET)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk[..<count]
        }
    }
}
