import Glibc

/// A program that runs for us, its output and its complaints in pipes of ours.
struct Subprocess: ~Copyable {
    /// Where its standard output is read.
    let output: Int32
    private let complaints: Int32
    private let pid: pid_t

    private init(pid: pid_t, output: Int32, complaints: Int32) {
        self.pid = pid
        self.output = output
        self.complaints = complaints
    }

    deinit {
        close(output)
        close(complaints)
    }

    /// Starts `arguments[0]`, found by `PATH`, without standard input.
    static func start(_ arguments: [String]) throws(JournalError) -> Subprocess {
        let program = arguments.first ?? ""
        var out: [Int32] = [-1, -1]
        var err: [Int32] = [-1, -1]
        guard pipe(&out) == 0 else { throw .cannotRun(program: program, errorNumber: errno) }
        guard pipe(&err) == 0 else {
            let number = errno
            for descriptor in out { close(descriptor) }
            throw .cannotRun(program: program, errorNumber: number)
        }
        for descriptor in out + err { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, out[1], 1)
        posix_spawn_file_actions_adddup2(&actions, err[1], 2)
        var pid = pid_t()
        var pointers = arguments.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        pointers.append(nil)
        let status = posix_spawnp(&pid, program, &actions, nil, pointers, environ)
        close(out[1])
        close(err[1])
        guard status == 0 else {
            close(out[0])
            close(err[0])
            throw .cannotRun(program: program, errorNumber: status)
        }
        return Subprocess(pid: pid, output: out[0], complaints: err[0])
    }

    /// Ends the program, which only reads, whatever signals our caller has blocked.
    mutating func end() {
        kill(pid, SIGKILL)
        reap()
    }

    /// Waits for its end.
    /// - Returns: its exit status (128 and the signal's number for a signal) and the first lines of its complaints.
    mutating func wait() -> (status: Int32, complaint: String) {
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while text.count < 4096 {
            let count = read(complaints, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            text += buffer[..<count]
        }
        let raw = reap()
        let status = raw & 0x7F == 0 ? raw >> 8 & 0xFF : 128 + (raw & 0x7F)
        while text.last == 0x0A { text.removeLast() }
        return (status, JournalText.escape(String(decoding: text, as: UTF8.self), as: .sentence, limit: 400))
    }

    @discardableResult
    private func reap() -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        return status
    }
}

/// Cuts a stream into lines.
struct LineBuffer {
    /// Whether the lines ended because their reader was gone.
    private(set) var isAbandoned = false

    private var bytes: [UInt8] = []
    private var start = 0

    /// The next line without its newline; nil at the end of the stream, or once nobody reads `consumer` any more.
    /// - Parameter consumer: where the lines go; nil where their reader cannot go away.
    /// - Throws: `JournalError.unreadable` for a line longer than `lineLimit` or a failed read.
    mutating func next(from descriptor: Int32, consumer: Int32? = nil) throws(JournalError) -> [UInt8]? {
        var searched = start
        while true {
            if let end = bytes[searched...].firstIndex(of: 0x0A) {
                defer { start = end + 1 }
                return Array(bytes[start..<end])
            }
            searched = bytes.count
            if start > 0 {
                bytes.removeFirst(start)
                searched -= start
                start = 0
            }
            guard bytes.count < lineLimit else { throw .unreadable("a line of more than \(lineLimit) bytes") }
            let count = bytes.count
            if let consumer, !Self.wait(for: descriptor, whileReading: consumer) {
                isAbandoned = true
                return nil
            }
            let added = fill(from: descriptor)
            if added < 0 { throw .unreadable(String(cString: strerror(errno))) }
            if added == 0 {
                guard count > 0 else { return nil }
                defer { bytes = [] }
                return bytes
            }
        }
    }

    /// Waits until `descriptor` can be read; false where the reader of `consumer` is gone (poll(2), POLLERR).
    private static func wait(for descriptor: Int32, whileReading consumer: Int32) -> Bool {
        var descriptors = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: consumer, events: 0, revents: 0),
        ]
        while poll(&descriptors, 2, -1) < 0, errno == EINTR {}
        return descriptors[1].revents == 0
    }

    private mutating func fill(from descriptor: Int32) -> Int {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            if count > 0 { bytes += chunk[..<count] }
            return count
        }
    }
}

/// An entry is bounded by what journald takes; 64 MiB is more than any of ours.
private let lineLimit = 64 << 20
