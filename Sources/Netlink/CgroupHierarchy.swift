import CNetfilter
import Glibc
public import Identity

/// The cgroup v2 hierarchy, wherever it is mounted: `/sys/fs/cgroup`, `/sys/fs/cgroup/unified` beside version 1, or
/// another place inside a container. Paths are written from its root: `/sallyport.slice/bot.service`.
public struct CgroupHierarchy: Sendable {
    /// Where the hierarchy is mounted, without a trailing slash.
    public let mountPoint: String
    private let root: Directory

    /// The open directory that `open_by_handle_at(2)` looks ids up through.
    private final class Directory: Sendable {
        let descriptor: Int32

        init(descriptor: Int32) {
            self.descriptor = descriptor
        }

        deinit {
            close(descriptor)
        }
    }

    /// The hierarchy of this process's mount namespace (`/proc/self/mountinfo`).
    /// - Throws: where no cgroup v2 is mounted or its root cannot be opened.
    public static func find() throws(NetlinkError) -> CgroupHierarchy {
        guard let table = TextFile.read("/proc/thread-self/mountinfo") else {
            throw NetlinkError(what: "/proc/self/mountinfo", errorNumber: errno)
        }
        guard let mountPoint = mountPoint(in: table) else {
            throw NetlinkError(
                what: "cgroup v2", why: "is not mounted", remedy: "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        }
        return try CgroupHierarchy(mountPoint: mountPoint)
    }

    /// The hierarchy that is mounted at `mountPoint`.
    /// - Throws: where the directory cannot be opened.
    public init(mountPoint: String) throws(NetlinkError) {
        let descriptor = open(mountPoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw NetlinkError(what: mountPoint, errorNumber: errno) }
        self.mountPoint = mountPoint
        root = Directory(descriptor: descriptor)
    }

    /// The mount point of the first cgroup2 line of a mountinfo table (proc_pid_mountinfo(5)). A mount of the whole
    /// hierarchy goes before a mount of a part of it.
    static func mountPoint(in table: String) -> String? {
        var partial: String?
        for line in table.split(separator: "\n") {
            let halves = line.split(separator: " ")
            guard let separator = halves.firstIndex(of: "-"), separator + 1 < halves.count, separator >= 6,
                halves[separator + 1] == "cgroup2"
            else { continue }
            let mountPoint = unescaped(halves[4])
            if halves[3] == "/" { return mountPoint }
            partial = partial ?? mountPoint
        }
        return partial
    }

    /// The directory of a cgroup.
    public func directory(of path: String) -> String {
        path == "/" ? mountPoint : mountPoint + path
    }

    /// The id of the cgroup at `path`; nil where there is none. It is the directory's 64-bit inode number
    /// (fs/kernfs/inode.c), never given again while the machine runs.
    public func identifier(of path: String) -> CgroupID? {
        var status = stat()
        guard stat(directory(of: path), &status) == 0 else { return nil }
        return CgroupID(rawValue: UInt64(status.st_ino))
    }

    /// The path of a cgroup by its id; nil once the directory is gone, or where it lies outside of this mount.
    ///
    /// With CAP_DAC_READ_SEARCH one look-up by handle, without it a walk over the whole hierarchy.
    public func path(of cgroup: CgroupID) -> String? {
        let descriptor = open_kernfs_node(root.descriptor, cgroup.rawValue)
        guard descriptor >= 0 else {
            return errno == EPERM || errno == EOPNOTSUPP ? search(for: cgroup, below: "/") : nil
        }
        defer { close(descriptor) }
        let text = withUnsafeTemporaryAllocation(byteCount: 4097, alignment: 1) { buffer -> String? in
            guard let base = buffer.baseAddress else { return nil }
            let start = base.assumingMemoryBound(to: CChar.self)
            let count = readlink("/proc/thread-self/fd/\(descriptor)", start, 4096)
            guard count > 0 else { return nil }
            return String(decoding: UnsafeRawBufferPointer(start: base, count: count), as: UTF8.self)
        }
        guard let text, text.hasPrefix(mountPoint) else { return nil }
        let rest = text.dropFirst(mountPoint.count)
        if rest.isEmpty { return "/" }
        return rest.hasPrefix("/") && !rest.hasSuffix(Self.deletedSuffix) ? String(rest) : nil
    }

    /// The path of a process's cgroup; nil where there is no such process (`0::PATH` is the v2 hierarchy's line, cgroups(7)).
    public static func path(ofProcess pid: Int32) -> String? {
        let lines = TextFile.read("/proc/\(pid)/cgroup")?.split(separator: "\n") ?? []
        return lines.first { $0.hasPrefix("0::/") }.map { String($0.dropFirst(3)) }
    }

    /// The ids of the processes in the cgroup at `path`, without those in its children; empty where there is none.
    public func processes(in path: String) -> [Int32] {
        guard let text = TextFile.read(directory(of: path) + "/cgroup.procs") else { return [] }
        return text.split(separator: "\n").compactMap { Int32($0) }
    }

    /// The paths of the cgroups directly below the one at `path`, in no order.
    public func children(of path: String) -> [String] {
        guard let stream = opendir(directory(of: path)) else { return [] }
        defer { closedir(stream) }
        let prefix = path == "/" ? "/" : path + "/"
        var paths: [String] = []
        while let entry = readdir(stream) {
            guard entry.pointee.d_type == UInt8(DT_DIR) else { continue }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { paths.append(prefix + name) }
        }
        return paths
    }

    private func search(for cgroup: CgroupID, below path: String) -> String? {
        if identifier(of: path) == cgroup { return path }
        for child in children(of: path) {
            if let found = search(for: cgroup, below: child) { return found }
        }
        return nil
    }

    /// mountinfo writes blank, tab, newline and backslash as three octal digits.
    private static func unescaped(_ field: Substring) -> String {
        guard field.contains("\\") else { return String(field) }
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == 0x5C, digits.count == 3, let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8) {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// What readlink(2) appends for a directory that was removed while open.
    private static let deletedSuffix = " (deleted)"
}
