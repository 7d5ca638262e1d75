import CConfinement
import Glibc

/// A view of the host in a mount namespace of the process's own.
///
/// - Every cgroup file system is read-only: nobody moves.
/// - `/run` is a new, almost empty file system: the sockets there belong to programs outside every agent, some of which
///   resolve names (systemd-resolved over varlink and D-Bus, nscd, avahi) or start processes (systemd, container engines).
///   Masking them one by one would not do: a service that restarts makes its socket anew, and the kernel drops a mount whose
///   target is removed. journald's sockets stay, and so do the directory of our control socket, which knows whom it talks to,
///   and the file behind `/etc/resolv.conf`, as a copy.
/// - The configuration and the policy are hidden.
struct PrivateMounts: Equatable, Sendable {
    /// Directories that become empty.
    var hidden: [String]
    /// What of `/run` stays visible besides `alwaysVisible`.
    var exposed: [String]
    /// The directory of the control socket, which is visible where it is one of `/run`.
    var control: String

    /// Makes the namespace and everything in it.
    func establish() throws(ConfinementError) {
        for path in exposed { try Self.requireExposable(path) }
        guard confinement_unshare_mounts() == 0 else {
            throw ConfinementError(failed: "make a mount namespace", errno)
        }
        try Self.freezeCgroups()
        for directory in hidden { try Self.hide(directory) }
        try replaceRun()
    }

    private static func freezeCgroups() throws(ConfinementError) {
        for mount in try MountTable.current().mounts where mount.holdsCgroups && !mount.isReadOnly {
            guard confinement_make_read_only(mount.path) == 0 else {
                throw ConfinementError(failed: "make \(mount.path) read-only", errno)
            }
        }
        for mount in try MountTable.current().mounts where mount.holdsCgroups && !mount.isReadOnly {
            throw ConfinementError(
                "cannot make the cgroups read-only", "\(mount.path) is mounted twice, one above the other",
                "unmount one of the two")
        }
    }

    private static func hide(_ directory: String) throws(ConfinementError) {
        guard confinement_mount_tmpfs(directory, "mode=0555,size=4k,nr_inodes=2") == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return }
            throw ConfinementError(failed: "hide \(directory)", errno)
        }
        guard confinement_make_read_only(directory) == 0 else {
            throw ConfinementError(failed: "hide \(directory)", errno)
        }
    }

    private func replaceRun() throws(ConfinementError) {
        let resolver = Self.resolverFile()
        var places: [(path: String, descriptor: Int32)] = []
        defer { for place in places { close(place.descriptor) } }
        let ours = control.hasPrefix("/run/") ? [control] : []
        for path in Self.alwaysVisible + ours + exposed {
            let descriptor = confinement_open_place(path)
            if descriptor >= 0 {
                places.append((path, descriptor))
            } else if exposed.contains(path) {
                throw ConfinementError(failed: "expose \(path)", errno)
            }
        }
        guard confinement_mount_tmpfs("/run", "mode=0755,size=1m,nr_inodes=256") == 0 else {
            throw ConfinementError(failed: "replace /run", errno)
        }
        for place in places {
            try Self.makeTarget(place.path, likeThatOf: place.descriptor)
            guard confinement_bind("/proc/self/fd/\(place.descriptor)", place.path) == 0 else {
                throw ConfinementError(failed: "expose \(place.path)", errno)
            }
        }
        if let resolver {
            try Self.makeDirectories(above: resolver.path)
            try TextFile.write(resolver.text, to: resolver.path, flags: O_CREAT | O_EXCL)
        }
    }

    /// The file behind `/etc/resolv.conf` and its text, where it is one of `/run`.
    private static func resolverFile() -> (path: String, text: String)? {
        guard let resolved = realpath("/etc/resolv.conf", nil) else { return nil }
        defer { free(resolved) }
        let path = String(cString: resolved)
        guard path.hasPrefix("/run/"), let text = try? TextFile.read(path, limit: 65_536) else { return nil }
        return (path, text)
    }

    private static func makeTarget(_ path: String, likeThatOf descriptor: Int32) throws(ConfinementError) {
        try makeDirectories(above: path)
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw ConfinementError(failed: "look at \(path)", errno) }
        if status.st_mode & S_IFMT == S_IFDIR {
            guard mkdir(path, 0o755) == 0 || errno == EEXIST else {
                throw ConfinementError(failed: "make \(path)", errno)
            }
        } else {
            try TextFile.write("", to: path, flags: O_CREAT)
        }
    }

    private static func makeDirectories(above path: String) throws(ConfinementError) {
        var directory = ""
        for name in path.split(separator: "/").dropLast() {
            directory += "/" + name
            guard mkdir(directory, 0o755) == 0 || errno == EEXIST else {
                throw ConfinementError(failed: "make \(directory)", errno)
            }
        }
    }

    /// Only plain absolute paths below `/run`, and none that would bring back what must be gone.
    static func requireExposable(_ path: String) throws(ConfinementError) {
        let names = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        guard path.hasPrefix("/run/"), names.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }) else {
            throw ConfinementError(
                "cannot expose \(path)", "it is no plain path below /run",
                "everything else of the host's files is visible anyway", exitStatus: 2)
        }
        let top = String(names.dropFirst().first ?? "")
        guard !neverVisible.contains(top) else {
            throw ConfinementError(
                "cannot expose \(path)", "through it the agent could have others open connections for it",
                "let the agent use the network, where policy decides", exitStatus: 2)
        }
    }

    private static let alwaysVisible = ["/run/systemd/journal"]

    /// Entries of `/run` whose owners act on behalf of whoever connects.
    private static let neverVisible: Set<String> = [
        "avahi-daemon", "containerd", "crio", "dbus", "docker", "docker.sock", "libvirt", "lxd", "netns", "nscd",
        "podman",
        "sallyport", "snapd.socket", "systemd", "tailscale", "user",
    ]
}
