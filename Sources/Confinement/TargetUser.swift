import Glibc

/// The user that an agent's program runs as; never uid 0.
public struct TargetUser: Equatable, Sendable {
    /// The login name.
    public let name: String
    /// Never 0.
    public let uid: UInt32
    /// The primary group.
    public let gid: UInt32
    /// The supplementary groups, the primary one among them.
    public let groups: [UInt32]
    /// The home directory.
    public let home: String
    /// The login shell.
    public let shell: String

    /// A user from its parts.
    /// - Throws: for uid 0.
    public init(
        name: String, uid: UInt32, gid: UInt32, groups: [UInt32], home: String, shell: String
    ) throws(ConfinementError) {
        guard uid != 0 else {
            throw ConfinementError(
                "user \(name)", "it is root, and an agent never is: root can leave any cgroup",
                "name a user of the agent's own with --user", exitStatus: 2)
        }
        self.name = name
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home
        self.shell = shell
    }

    /// The user of the host by the name or the number `text`.
    /// - Throws: where there is none, and for uid 0.
    public static func named(_ text: String) throws(ConfinementError) -> TargetUser {
        let number = UInt32(text)
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        // 1 MiB is far above any password entry.
        var buffer = [CChar](repeating: 0, count: 1 << 20)
        var status: Int32
        if let number {
            status = getpwuid_r(number, &entry, &buffer, buffer.count, &found)
        } else {
            status = getpwnam_r(text, &entry, &buffer, buffer.count, &found)
        }
        guard status == 0, found != nil, let name = entry.pw_name else {
            let why = status == 0 ? "there is no such user on this host" : String(cString: strerror(status))
            throw ConfinementError("user \(text)", why, "create it (adduser --system), or name another", exitStatus: 2)
        }
        // NGROUPS_MAX of linux/limits.h.
        var count: Int32 = 65_536
        var groups = [gid_t](repeating: 0, count: Int(count))
        guard getgrouplist(name, entry.pw_gid, &groups, &count) >= 0 else {
            throw ConfinementError("user \(text)", "it is in more than 65536 groups", "name another", exitStatus: 2)
        }
        return try TargetUser(
            name: String(cString: name), uid: entry.pw_uid, gid: entry.pw_gid, groups: Array(groups.prefix(Int(count))),
            home: entry.pw_dir.map { String(cString: $0) } ?? "/",
            shell: entry.pw_shell.map { String(cString: $0) } ?? "/bin/sh")
    }

    /// `environment` as this user's: the names of the user, and nothing that leads to the operator's session or to the
    /// service manager.
    public func environment(from environment: [String: String]) -> [String: String] {
        var result = environment.filter { name, _ in
            !Self.sessionVariables.contains(name) && !name.hasPrefix("SUDO_")
        }
        result["USER"] = self.name
        result["LOGNAME"] = self.name
        result["HOME"] = home
        result["SHELL"] = shell
        return result
    }

    private static let sessionVariables: Set<String> = [
        "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS", "GPG_AGENT_INFO", "LISTEN_FDNAMES", "LISTEN_FDS",
        "LISTEN_PID", "MAIL", "NOTIFY_SOCKET", "SSH_AGENT_PID", "SSH_AUTH_SOCK", "USERNAME", "WATCHDOG_PID",
        "WATCHDOG_USEC", "XAUTHORITY", "XDG_RUNTIME_DIR", "XDG_SESSION_ID",
    ]
}
