import Glibc

/// The cgroup v2 hierarchy, wherever it is mounted.
public struct CgroupHierarchy: Equatable, Sendable {
    /// Such as `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside version 1.
    public let mountPoint: String

    /// The hierarchy mounted at `mountPoint`.
    public init(mountPoint: String) {
        self.mountPoint = mountPoint
    }

    /// The hierarchy of the host.
    public static func current() throws(ConfinementError) -> CgroupHierarchy {
        let mount = try MountTable.current().mounts.first { $0.fileSystem == "cgroup2" && $0.root == "/" }
        guard let mount else {
            throw ConfinementError(
                "cannot find the agents' cgroups", "no cgroup v2 hierarchy is mounted",
                "mount -t cgroup2 none /sys/fs/cgroup")
        }
        return CgroupHierarchy(mountPoint: mount.path)
    }

    /// The cgroup of the calling process, from the root of the hierarchy.
    public func pathOfProcess() throws(ConfinementError) -> String {
        let text = try TextFile.read("/proc/self/cgroup")
        // Version 2 has the hierarchy number 0 and no controllers (cgroups(7)).
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("0::/") }) else {
            throw ConfinementError(
                "cannot find the agents' cgroups", "this process is in no cgroup v2", "mount cgroup2 and try again")
        }
        return String(line.dropFirst(3))
    }

    /// Throws unless the calling process is in `path` or below it.
    public func requireProcess(in path: String) throws(ConfinementError) {
        let own = try pathOfProcess()
        guard own == path || own.hasPrefix(path + "/") else {
            throw ConfinementError(
                "cannot confine the agent", "the process is in the cgroup \(own) and not in \(path)",
                "check that systemd runs and that slice: of the configuration names the loaded slice")
        }
    }

    /// Makes the cgroup `path` where it does not exist, and moves the calling process into it.
    public func enter(_ path: String) throws(ConfinementError) {
        var directory = mountPoint
        for name in path.split(separator: "/") {
            directory += "/" + name
            guard mkdir(directory, 0o755) == 0 || errno == EEXIST else {
                throw ConfinementError(failed: "make the cgroup \(directory)", errno)
            }
        }
        // 0 is the writer itself.
        try TextFile.write("0\n", to: directory + "/cgroup.procs")
    }
}
