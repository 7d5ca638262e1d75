import Confinement
import Glibc
import Netlink

/// Reads processes from `/proc` (proc(5)).
struct ProcessReader {
    /// Whether a process is looked at closely; the others give what `status` and `cgroup` say.
    let isConfined: (ProcessFacts) -> Bool
    /// Whether D-Bus leads to systemd-resolved: it runs, or is started on demand.
    private let hasBusResolver =
        access("/run/systemd/resolve", F_OK) == 0
        || access("/usr/share/dbus-1/system-services/org.freedesktop.resolve1.service", F_OK) == 0

    /// Every process that is there, with its sockets and what else belongs to them.
    func table() -> ProcessTable {
        var table = ProcessTable()
        table.ownNetwork = Self.namespace("self", "net")
        table.hasVsock = TextFile.read("/proc/thread-self/net/protocols")?.contains("AF_VSOCK") ?? false
        let ownUserNamespace = Self.namespace("self", "user")
        for pid in Self.numbers(in: "/proc") {
            guard let status = TextFile.read("/proc/\(pid)/status"),
                let cgroup = Netlink.CgroupHierarchy.path(ofProcess: Int32(pid))
            else { continue }
            guard var facts = Self.facts(pid: Int32(pid), status: status, cgroup: cgroup) else { continue }
            facts.isInOurUserNamespace = Self.namespace(String(pid), "user") == ownUserNamespace
            facts.network = Self.namespace(String(pid), "net")
            if isConfined(facts) {
                let missing = look(closelyAt: &facts)
                // One that has ended meanwhile is none.
                guard access("/proc/\(pid)/mountinfo", F_OK) == 0 else { continue }
                for check in missing { table.unread[check, default: []].append("process \(pid) (\(facts.name))") }
            }
            table.processes.append(facts)
        }
        table.packetSockets = Self.packetSockets()
        return table
    }

    /// The facts in `/proc/PID/status`; nil for a zombie or a kernel thread, which have no memory.
    static func facts(pid: Int32, status: String, cgroup: String) -> ProcessFacts? {
        guard status.contains("\nVmSize:"), let state = ProcessState(parsing: status) else { return nil }
        func words(_ name: String) -> [Substring] {
            status.split(separator: "\n").first { $0.hasPrefix(name) }?.dropFirst(name.count)
                .split(whereSeparator: { $0 == "\t" || $0 == " " }) ?? []
        }
        var facts = ProcessFacts(
            pid: pid, name: words("Name:").joined(separator: " "), cgroup: cgroup, uids: state.uids)
        facts.groups = Set(state.gids).union(words("Groups:").compactMap { UInt32($0) })
        for (name, set) in state.capabilities where name != "CapBnd" { facts.capabilities |= set }
        facts.boundingSet = state.capabilities["CapBnd"] ?? 0
        facts.hasNoNewPrivileges = state.noNewPrivileges
        facts.isFiltered = state.seccompMode != 0
        return facts
    }

    /// Returns the checks whose facts could not be read.
    private func look(closelyAt facts: inout ProcessFacts) -> [Check] {
        var missing: [Check] = facts.network == nil ? [.networkNamespaces] : []
        let directory = "/proc/\(facts.pid)"
        var engines = ServiceSocket.engines
        if let mounts = TextFile.read(directory + "/mountinfo") {
            let view = MountView(mounts)
            facts.hasWritableCgroups = view.hasWritableCgroups
            engines += view.engineSockets
        } else {
            missing += [.cgroupEscape, .engineSockets]
        }
        if let descriptors = opendir(directory + "/fd") {
            closedir(descriptors)
        } else {
            missing += [.heldSockets, .packetSockets]
        }
        for descriptor in Self.numbers(in: directory + "/fd") {
            guard let link = Self.link("\(directory)/fd/\(descriptor)"), link.hasPrefix("socket:["),
                let inode = UInt64(link.dropFirst(8).dropLast())
            else { continue }
            facts.sockets.insert(inode)
        }
        let visitor = Visitor(root: directory + "/root", facts)
        facts.reachable = ServiceSocket.resolvers.filter { socket in
            (hasBusResolver || !socket.path.hasPrefix("/run/dbus")) && visitor.canConnect(to: socket.path)
        }
        engines += facts.uids.flatMap { ["/run/user/\($0)/podman/podman.sock", "/run/user/\($0)/docker.sock"] }
        facts.engines = Set(engines).filter { visitor.canConnect(to: $0) }.sorted()
        return missing
    }

    /// The socket's number is the last column but two of `raw`, the last of `packet`.
    private static func packetSockets() -> [UInt64: String] {
        var found: [UInt64: String] = [:]
        for (file, column, kind) in [
            ("packet", 8, "packet socket"), ("raw", 9, "raw socket"), ("raw6", 9, "raw socket"),
        ] {
            for line in TextFile.read("/proc/thread-self/net/\(file)")?.split(separator: "\n").dropFirst() ?? [] {
                let fields = line.split(separator: " ")
                if fields.count > column, let inode = UInt64(fields[column]) { found[inode] = kind }
            }
        }
        return found
    }

    /// The inode of a namespace: the link reads `net:[4026531840]`.
    static func namespace(_ process: String, _ kind: String) -> UInt64? {
        link("/proc/\(process)/ns/\(kind)").flatMap { text in
            text.firstIndex(of: "[").flatMap { UInt64(text[text.index(after: $0)...].dropLast()) }
        }
    }

    static func link(_ path: String) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4096) { buffer in
            let count = buffer.baseAddress.map { readlink(path, $0, 4096) } ?? -1
            return count > 0 ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
        }
    }

    /// The entries of a directory that are numbers, in order.
    static func numbers(in directory: String) -> [Int] {
        names(in: directory).compactMap { Int($0) }.sorted()
    }

    static func names(in directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}

/// What of `/proc/PID/mountinfo` matters here.
struct MountView {
    /// Whether a cgroup file system is mounted writable.
    private(set) var hasWritableCgroups = false
    /// Where sockets of container engines are mounted by themselves.
    private(set) var engineSockets: [String] = []

    /// Reads the table.
    init(_ text: String) {
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), dash >= 6, dash + 1 < fields.count else { continue }
            let isCgroup = fields[dash + 1] == "cgroup2" || fields[dash + 1] == "cgroup"
            if isCgroup, fields[5].split(separator: ",").contains("rw") { hasWritableCgroups = true }
            let source = fields[3].split(separator: "/").last.map { String($0) } ?? ""
            if ServiceSocket.engineNames.contains(source) { engineSockets.append(String(fields[4])) }
        }
    }
}

/// Whether a process may connect to a socket of its own view of the files.
private struct Visitor {
    private let root: String
    private let uid: UInt32
    private let groups: Set<UInt32>

    init(root: String, _ facts: ProcessFacts) {
        self.root = root
        uid = facts.effectiveUID
        groups = facts.groups
    }

    func canConnect(to path: String) -> Bool {
        var directory = root
        for name in path.split(separator: "/").dropLast() {
            directory += "/" + name
            guard may(1, directory, S_IFDIR) else { return false }
        }
        return may(2, root + path, S_IFSOCK)
    }

    /// Whether the file is there, of this kind, and may be executed (1) or written (2).
    private func may(_ right: mode_t, _ path: String, _ kind: mode_t) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == kind else { return false }
        if uid == 0 { return true }
        if status.st_uid == uid { return status.st_mode & (right << 6) != 0 }
        if groups.contains(status.st_gid) { return status.st_mode & (right << 3) != 0 }
        return status.st_mode & right != 0
    }
}
