/// What the kernel says of one process.
struct ProcessFacts: Hashable, Sendable {
    /// Its id.
    var pid: Int32
    /// Its name (`comm`).
    var name: String
    /// Its cgroup, from the root of the v2 hierarchy.
    var cgroup: String
    /// Real, effective, saved and file system uid, as this process sees them.
    var uids: [UInt32]
    /// Its groups, the supplementary ones among them.
    var groups: Set<UInt32> = []
    /// Effective, permitted, inheritable and ambient capabilities together.
    var capabilities: UInt64 = 0
    /// The capabilities that a program with uid 0 would give it.
    var boundingSet: UInt64 = 0
    /// Whether it can gain nothing by executing a program.
    var hasNoNewPrivileges = false
    /// Whether it has a system call filter.
    var isFiltered = false
    /// Whether its user namespace is this one: elsewhere capabilities mean nothing here.
    var isInOurUserNamespace = true
    /// The inode of its network namespace; nil where it could not be read.
    var network: UInt64?
    /// Whether a cgroup file system is writable where it is.
    var hasWritableCgroups = false
    /// Sockets by their inodes.
    var sockets: Set<UInt64> = []
    /// Sockets of services that it may connect to, of those in `ServiceSocket`.
    var reachable: [ServiceSocket] = []
    /// The same of container engines, by their paths as it sees them.
    var engines: [String] = []

    /// What counts for most questions.
    var effectiveUID: UInt32 { uids.count > 1 ? uids[1] : 0 }
    /// Whether one of its uids is root's.
    var isRoot: Bool { uids.contains(0) }
}

/// The processes of the host, and what could not be read of them.
struct ProcessTable: Sendable {
    /// Every process, without kernel threads.
    var processes: [ProcessFacts] = []
    /// What of confined processes could not be read, in words, by the check that would have needed it.
    var unread: [Check: [String]] = [:]
    /// The inode of our own network namespace.
    var ownNetwork: UInt64?
    /// What of cron, at and lingering user managers waits for a user, by uid: it starts outside of every agent's cgroup.
    var schedules: [UInt32: [String]] = [:]
    /// Sockets that capture or make packets by themselves (`/proc/net/packet`, `raw`, `raw6`), their inodes and kinds.
    var packetSockets: [UInt64: String] = [:]
    /// The cgroup in which a TCP or UDP socket was made, by its inode; empty where the cgroup is gone.
    var socketCgroups: [UInt64: String] = [:]
    /// The uid of the socket's creator.
    var socketUIDs: [UInt64: UInt32] = [:]
    /// Whether the kernel has vsock, without which nobody reaches the hypervisor.
    var hasVsock = false
}

/// A socket of a service that acts for whoever connects.
struct ServiceSocket: Hashable, Sendable {
    /// Where it is.
    let path: String
    /// What can be had there.
    let service: String

    /// Services that resolve names.
    static let resolvers = [
        ServiceSocket(path: "/run/systemd/resolve/io.systemd.Resolve", service: "systemd-resolved over varlink"),
        ServiceSocket(path: "/run/dbus/system_bus_socket", service: "systemd-resolved over D-Bus"),
        ServiceSocket(path: "/run/nscd/socket", service: "nscd"),
        ServiceSocket(path: "/run/avahi-daemon/socket", service: "avahi"),
    ]

    /// Container engines and the like, below `/run`.
    static let engines = [
        "/run/docker.sock", "/run/docker/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
        "/run/crio/crio.sock", "/run/libvirt/libvirt-sock", "/run/incus/unix.socket", "/run/snapd.socket",
    ]

    /// Names by which an engine's socket is known where it is mounted elsewhere.
    static let engineNames: Set<String> = ["docker.sock", "containerd.sock", "podman.sock", "crio.sock"]
}
