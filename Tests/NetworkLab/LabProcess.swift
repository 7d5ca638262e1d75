import Glibc

/// A program that a test talks to line by line, in the namespaces of the thread that started it and, where asked, in a
/// cgroup of its own. Killed with the value.
public struct LabProcess: ~Copyable {
    /// The process id.
    public let identifier: Int32
    private let conversation: Int32

    /// Starts a program whose standard input and output are the test's; in `cgroup`, a directory, from its first
    /// instruction on.
    public init(_ arguments: [String], cgroup: String? = nil) throws {
        var command = arguments
        if let cgroup { command = ["sh", "-c", "echo 0 > \"$0\"/cgroup.procs && exec \"$@\"", cgroup] + command }
        var pair: [Int32] = [0, 0]
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &pair) == 0 else { throw LabError("socketpair", errno) }
        let (own, child) = (pair[0], pair[1])
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, child, 0)
        posix_spawn_file_actions_adddup2(&actions, child, 1)
        var pointers: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        pointers.append(nil)
        var process: pid_t = 0
        let status = posix_spawnp(&process, command[0], &actions, nil, pointers, environ)
        for pointer in pointers { free(pointer) }
        posix_spawn_file_actions_destroy(&actions)
        close(child)
        guard status == 0 else {
            close(own)
            throw LabError(command[0], status)
        }
        identifier = process
        conversation = own
    }

    /// Starts a Python script, as `user` where one is given; its first argument is `sys.argv[1]`.
    public static func python(_ script: String, _ arguments: String..., cgroup: String? = nil, user: UInt32? = nil)
        throws -> LabProcess
    {
        // The interpreter may lie where the user may not go, so it changes the user itself.
        let change = user.map { "import os, socket; os.setgroups([]); os.setgid(\($0)); os.setuid(\($0))\n" } ?? ""
        return try LabProcess(["/usr/bin/python3", "-u", "-c", change + script] + arguments, cgroup: cgroup)
    }

    deinit {
        close(conversation)
        if identifier > 0 {
            kill(identifier, SIGKILL)
            while waitpid(identifier, nil, 0) < 0, errno == EINTR {}
        }
    }

    /// Writes a line to the program.
    public func say(_ line: String) throws {
        let bytes = Array((line + "\n").utf8)
        guard write(conversation, bytes, bytes.count) == bytes.count else { throw LabError("write to program", errno) }
    }

    /// The next line that the program writes; fails after ten seconds and at its end.
    public func hear() throws -> String {
        var line: [UInt8] = []
        while true {
            var entry = pollfd(fd: conversation, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 10_000) > 0 else { throw LabError("the program says nothing") }
            var byte: UInt8 = 0
            guard read(conversation, &byte, 1) == 1 else {
                throw LabError("the program has ended: " + String(decoding: line, as: UTF8.self))
            }
            if byte == 0x0A { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
    }

    /// Closes nothing, waits for the program's own end, and returns its exit status.
    public func status() -> Int32 {
        var info = siginfo_t()
        // WNOWAIT leaves the process for `deinit`.
        guard waitid(P_PID, id_t(identifier), &info, WEXITED | WNOWAIT) == 0 else { return -1 }
        return info._sifields._sigchld.si_status
    }
}

/// A cgroup of a test; removed with the value.
public struct LabCgroup: ~Copyable {
    /// The path from the hierarchy's root.
    public let path: String
    /// The directory.
    public let directory: String

    /// Makes a cgroup below `mountPoint`.
    public init(_ path: String, mountPoint: String) throws {
        self.path = path
        directory = mountPoint + path
        guard mkdir(directory, 0o755) == 0 || errno == EEXIST else { throw LabError(directory, errno) }
    }

    deinit {
        rmdir(directory)
    }
}
