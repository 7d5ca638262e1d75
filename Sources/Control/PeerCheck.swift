import Glibc

/// Who is confined, as far as the control socket cares.
public struct ConfinedPeers: Hashable, Sendable {
    /// Cgroup paths from the root of the v2 hierarchy; their descendants are confined too.
    public var cgroups: [String]
    /// Uids whose sockets are confined.
    public var uids: Set<UInt32>
    /// The group whose members are operators beside root; nil where there is none.
    public var operators: UInt32?

    /// Confined peers from their parts.
    public init(cgroups: [String], uids: Set<UInt32>, operators: UInt32? = nil) {
        self.cgroups = cgroups
        self.uids = uids
        self.operators = operators
    }
}

/// Who asks.
public enum ControlCaller: Hashable, Sendable {
    /// Root, or a member of the operators' group, outside all confinement.
    case `operator`
    /// A process in a confined cgroup, or of a confined uid: its cgroup and the uid that connected.
    case confined(cgroup: String, uid: UInt32)
}

/// What the kernel said of the process that connected, at the moment it did (`SO_PEERCRED`).
struct PeerCredentials: Hashable, Sendable {
    /// 0 for a process that our pid namespace does not see.
    var pid: Int32
    var uid: UInt32
    var gid: UInt32
}

/// Why a peer may not ask.
enum PeerRefusal: Error, Equatable {
    case notAnOperator
    case otherNamespace(String)
    case unknown(String)

    var detail: String {
        switch self {
        case .notAnOperator: "the caller is neither root nor in the group of operators"
        case .otherNamespace(let kind): "the caller is in another \(kind) namespace than sallyportd"
        case .unknown(let what): "the caller cannot be identified: \(what)"
        }
    }
}

/// Decides from `/proc` whether a peer is an operator or confined. What cannot be read is a refusal.
///
/// Where the kernel has `SO_PEERPIDFD` (6.5) the pid cannot be another process's meanwhile: the pidfd says at the end that
/// it still is the one that connected. On older kernels the process must be the same one, by its start time, before and
/// after its facts were read, must have begun before the connection was taken and must have the uid that connected.
struct PeerCheck: Sendable {
    private let proc: String

    /// A check that reads the process file system at `proc`.
    init(proc: String = "/proc") {
        self.proc = proc
    }

    /// - Parameters:
    ///   - pidfd: a pidfd of the peer, owned by the caller; nil where the kernel has none.
    /// - Throws: why the peer is refused.
    func identify(
        _ peer: PeerCredentials, pidfd: Int32?, by confinement: ConfinedPeers
    ) throws(PeerRefusal) -> ControlCaller {
        guard peer.pid > 0 else { throw .otherNamespace("pid") }
        let before = try startTime(of: peer.pid)
        let groups = try verifyNamespaces(of: peer)
        let cgroup = try cgroup(of: peer.pid)
        guard try startTime(of: peer.pid) == before else { throw .unknown("it ended") }
        if let pidfd {
            guard try processID(of: pidfd) == peer.pid else { throw .unknown("it ended") }
        } else {
            guard before <= clockTicks() else { throw .unknown("it began after its connection") }
        }
        if confinement.uids.contains(peer.uid) || confinement.cgroups.contains(where: { Self.isInside(cgroup, $0) }) {
            return .confined(cgroup: cgroup, uid: peer.uid)
        }
        if peer.uid == 0 { return .operator }
        guard let group = confinement.operators, peer.gid == group || groups.contains(String(group)) else {
            throw .notAnOperator
        }
        return .operator
    }

    /// Whether `path` is `directory` or below it.
    static func isInside(_ path: String, _ directory: String) -> Bool {
        path == directory || path.hasPrefix(directory.hasSuffix("/") ? directory : directory + "/")
    }

    /// Returns the supplementary groups, as numbers in text.
    private func verifyNamespaces(of peer: PeerCredentials) throws(PeerRefusal) -> [String] {
        let status = try lines(of: "\(peer.pid)/status")
        // `Uid:` real, effective, saved, file system: one of them is the one that connected.
        guard let uids = field("Uid:", of: status), uids.contains(String(peer.uid)) else {
            throw .unknown("its uid is no longer \(peer.uid)")
        }
        // `NSpid:` has one number for each nested pid namespace, ours first (proc(5)).
        guard let pids = field("NSpid:", of: status) else {
            throw .unknown("the kernel does not say its pid namespace")
        }
        guard pids.count == 1 else { throw .otherNamespace("pid") }
        guard try lines(of: "\(peer.pid)/uid_map") == lines(of: "self/uid_map") else { throw .otherNamespace("user") }
        // The links say it with certainty; only CAP_SYS_PTRACE may read them.
        for (name, kind) in [("user", "user"), ("pid", "pid")] {
            guard let theirs = target(of: "\(peer.pid)/ns/\(name)") else { continue }
            guard theirs == target(of: "self/ns/\(name)") else { throw .otherNamespace(kind) }
        }
        return field("Groups:", of: status) ?? []
    }

    private func cgroup(of pid: Int32) throws(PeerRefusal) -> String {
        // `0::PATH` is the v2 hierarchy's line (cgroups(7)).
        for line in try lines(of: "\(pid)/cgroup") where line.hasPrefix("0::/") {
            let path = String(line.dropFirst(3))
            guard !path.hasPrefix("/..") else { throw .otherNamespace("cgroup") }
            return path
        }
        throw .unknown("it has no cgroup")
    }

    /// Field 22 of `/proc/PID/stat`, in clock ticks since the boot; the name before it may contain anything but ends at
    /// the last parenthesis.
    private func startTime(of pid: Int32) throws(PeerRefusal) -> UInt64 {
        let text = try lines(of: "\(pid)/stat").joined(separator: "\n")
        guard let end = text.lastIndex(of: ")") else { throw .unknown("its start time cannot be read") }
        let fields = text[end...].split(separator: " ")
        guard fields.count > 20, let ticks = UInt64(fields[20]) else {
            throw .unknown("its start time cannot be read")
        }
        return ticks
    }

    private func processID(of pidfd: Int32) throws(PeerRefusal) -> Int32 {
        // `Pid:` of the descriptor's information: -1 once the process has ended (pidfd_open(2)).
        guard let text = field("Pid:", of: try lines(of: "self/fdinfo/\(pidfd)"))?.first, let pid = Int32(text) else {
            throw .unknown("the kernel does not say its pid")
        }
        return pid
    }

    private func clockTicks() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_BOOTTIME, &now)
        let rate = UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
        return UInt64(now.tv_sec) &* rate &+ UInt64(now.tv_nsec) &* rate / 1_000_000_000
    }

    private func field(_ name: String, of lines: [Substring]) -> [String]? {
        lines.first { $0.hasPrefix(name) }.map { line in
            line.dropFirst(name.count).split(whereSeparator: { $0 == "\t" || $0 == " " }).map { String($0) }
        }
    }

    private func lines(of file: String) throws(PeerRefusal) -> [Substring] {
        let descriptor = open(proc + "/" + file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .unknown("/proc/\(file): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 16_384)
        let count = read(descriptor, &bytes, bytes.count)
        guard count >= 0 else { throw .unknown("/proc/\(file): \(String(cString: strerror(errno)))") }
        return String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n")
    }

    private func target(of link: String) -> String? {
        var bytes = [CChar](repeating: 0, count: 256)
        let count = readlink(proc + "/" + link, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }
}
