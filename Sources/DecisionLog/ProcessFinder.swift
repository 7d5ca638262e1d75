import Glibc

/// Finds the process behind a socket. Asked on the log thread only; nil where it is not certain.
public protocol ProcessFinding: Sendable {
    /// The one process that holds the socket.
    /// - Parameters:
    ///   - cgroup: the socket's cgroup, from the root of the v2 hierarchy.
    ///   - inode: the socket's inode in sockfs.
    func process(inCgroup cgroup: String, holdingSocket inode: UInt32) -> ProcessFacts?
}

/// Looks through the open files of the cgroup's processes (`cgroup.procs`, `/proc/PID/fd`) for the socket. Reading them
/// needs CAP_SYS_PTRACE; without it, or where the process is gone or several hold the socket, there is no answer.
public struct CgroupProcessFinder: ProcessFinding {
    private let root: String

    /// A finder for the cgroup v2 hierarchy mounted at `root`, such as `/sys/fs/cgroup`.
    public init(root: String) {
        self.root = root
    }

    /// The one process of `cgroup` that has the socket open; at most `processLimit` processes and `fileLimit` files of
    /// each are looked at.
    public func process(inCgroup cgroup: String, holdingSocket inode: UInt32) -> ProcessFacts? {
        guard inode != 0, !cgroup.isEmpty else { return nil }
        let wanted = "socket:[\(inode)]"
        var found: Int32?
        for pid in processes(of: root + cgroup) where holds(pid, wanted) {
            guard found == nil else { return nil }
            found = pid
        }
        return found.map { ProcessFacts(pid: $0, executable: Self.target(of: "/proc/\($0)/exe")) }
    }

    private func processes(of directory: String) -> [Int32] {
        let descriptor = open(directory + "/cgroup.procs", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        // One read: eight bytes a process are enough for the limit, the kernel gives whole lines in ascending order.
        var buffer = [UInt8](repeating: 0, count: 8 * processLimit)
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return [] }
        return buffer[..<count].split(separator: 0x0A).prefix(processLimit).compactMap {
            Int32(String(decoding: $0, as: UTF8.self))
        }
    }

    private func holds(_ pid: Int32, _ wanted: String) -> Bool {
        let path = "/proc/\(pid)/fd"
        guard let directory = opendir(path) else { return false }
        defer { closedir(directory) }
        for _ in 0..<fileLimit {
            guard let entry = readdir(directory) else { return false }
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if Self.target(of: path + "/" + name) == wanted { return true }
        }
        return false
    }

    private static func target(of link: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters in
                characters.baseAddress.map { readlink(link, $0, characters.count) } ?? -1
            }
        }
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }
}

private let processLimit = 64
private let fileLimit = 512
