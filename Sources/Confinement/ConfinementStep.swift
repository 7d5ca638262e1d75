import CConfinement
import Glibc

/// One step of confining a process. The order is that of the cases: what needs a capability comes before the capabilities
/// go, and the filter, which refuses some of the others' system calls, comes last.
public enum ConfinementStep: String, CaseIterable, Sendable {
    /// The process is in the agent's cgroup.
    case cgroup
    /// Standard input, output and error are no network sockets and no directories: the first belong to whoever made them,
    /// outside every agent, and the second lead to what the next step hides.
    case standardStreams
    /// A private view of the host: cgroups read-only, `/run` without the sockets of those who act for others, our
    /// configuration hidden.
    case mounts
    /// No key of the operator's session.
    case keyring
    /// No descriptor of the operator's but the standard ones.
    case descriptors
    /// The bounding set is empty, and uid 0 would mean nothing.
    case boundingSet
    /// Another user, with that user's groups and nobody else's.
    case user
    /// No capability in any set.
    case capabilities
    /// No program gives more than the process has.
    case noNewPrivileges
    /// Processes outside cannot be traced, nor written to through `/proc`.
    case isolation
    /// No packet, raw and vsock sockets, no io_uring, no new namespaces.
    case systemCalls
    /// The kernel says that all of it is so.
    case verification

    /// Takes the step. Returns what the kernel cannot do and the agent goes without.
    func take(_ confinement: Confinement) throws(ConfinementError) -> String? {
        switch self {
        case .cgroup:
            try CgroupHierarchy.current().requireProcess(in: confinement.cgroup)
        case .standardStreams:
            for descriptor: Int32 in 0...2 { try Self.requireHarmless(descriptor) }
        case .mounts:
            try PrivateMounts(
                hidden: confinement.hiddenDirectories, exposed: confinement.exposedPaths,
                control: confinement.controlDirectory
            ).establish()
        case .keyring:
            try Self.check("leave the operator's keyring", confinement_join_empty_keyring())
        case .descriptors:
            try Self.check("close descriptors", confinement_close_from(3))
        case .boundingSet:
            try Self.check("empty the bounding set of capabilities", confinement_drop_bounding_set())
        case .user:
            let user = confinement.user
            try Self.check(
                "become user \(user.name)",
                confinement_become(user.uid, user.gid, user.groups, Int32(user.groups.count)))
        case .capabilities:
            try Self.check("drop all capabilities", confinement_clear_capabilities())
        case .noNewPrivileges:
            try Self.check("set no_new_privs", confinement_set_no_new_privileges())
        case .isolation:
            return try Self.isolate()
        case .systemCalls:
            try Self.check("install the system call filter", confinement_install_filter())
        case .verification:
            try ProcessState.current().requireConfined(to: confinement.user.uid)
        }
        return nil
    }

    private static func check(_ what: String, _ status: Int32) throws(ConfinementError) {
        guard status >= 0 else { throw ConfinementError(failed: what, errno) }
    }

    private static func requireHarmless(_ descriptor: Int32) throws(ConfinementError) {
        let names = ["standard input", "standard output", "standard error"]
        let name = names[Int(descriptor)]
        switch confinement_socket_family(descriptor) {
        case -1, AF_UNIX: break
        case let family:
            throw ConfinementError(
                name, "it is a network socket (address family \(family)), which no rule would confine",
                "start the agent with a pipe, a file or a terminal instead", exitStatus: 2)
        }
        var status = stat()
        if fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
            throw ConfinementError(name, "it is a directory", "start the agent with a file instead", exitStatus: 2)
        }
    }

    private static func isolate() throws(ConfinementError) -> String? {
        guard confinement_isolate() < 0 else { return nil }
        switch errno {
        case ENOSYS, EOPNOTSUPP:
            return
                "this kernel has no Landlock (5.19 or later, in lsm=): the agent can trace other processes of its user; "
                + "give it a user of its own"
        case let code: throw ConfinementError(failed: "separate the agent from processes outside", code)
        }
    }
}
