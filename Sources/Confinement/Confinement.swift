// Confinement: `sallyport run`, from the operator's process to the agent's program.
//
// A process confines itself and then becomes the agent's program, in place: no process stays behind, so signals, the
// terminal and the exit code are the program's own. On a systemd host it first becomes `systemd-run --scope`, which puts it
// into a transient scope below the agent's slice and executes it again (`SystemdScope`); elsewhere it makes the cgroup
// itself (`CgroupHierarchy`). Then `Confinement` takes its steps in order (`ConfinementStep`), checks what the kernel says
// of the result (`ProcessState`) and executes the program. What fails ends the process: there is no half-confined agent.
//
// The rules of table inet sallyport confine the cgroup; this module keeps the agent in it, and away from everything that
// sends packets by another way or has somebody outside send them. It is no sandbox for files. Imports `CConfinement` only.

import CConfinement
import Glibc

/// How one program is confined.
public struct Confinement: Equatable, Sendable {
    /// The cgroup, from the root of the hierarchy, in which the process must be already.
    public var cgroup: String
    /// Whom the program runs as.
    public var user: TargetUser
    /// Directories that become empty and unwritable: the configuration and the policy.
    public var hiddenDirectories: [String] = ["/etc/sallyport"]
    /// What of `/run` the program sees in addition to journald's sockets, such as `/run/postgresql`.
    public var exposedPaths: [String] = []
    /// The directory of the control socket, through which the program opens sessions for its customers. The socket decides by
    /// what the kernel says of its peers; the other files there are root's alone.
    public var controlDirectory = "/run/sallyport"

    /// A confinement to `cgroup` as `user`, with the default directories hidden.
    public init(cgroup: String, user: TargetUser) {
        self.cgroup = cgroup
        self.user = user
    }

    /// Takes `steps` on the calling process, in the order of `ConfinementStep`. Returns what the host's kernel could not
    /// do and the agent goes without, for people to read.
    /// - Throws: at the first step that fails; the process must end then.
    public func apply(_ steps: [ConfinementStep] = ConfinementStep.allCases) throws(ConfinementError) -> [String] {
        var remarks: [String] = []
        let directory = Self.workingDirectory()
        for step in ConfinementStep.allCases where steps.contains(step) {
            if let remark = try step.take(self) { remarks.append(remark) }
        }
        // The descriptor of the old working directory may lead to what has been hidden; a path does not.
        guard chdir(directory) == 0 || chdir(user.home) == 0 || chdir("/") == 0 else {
            throw ConfinementError(failed: "enter a working directory", errno)
        }
        return remarks
    }

    /// Becomes `command`, found by `PATH`, with `environment` as its whole environment. Returns only by throwing.
    public static func execute(_ command: [String], environment: [String: String]) throws(ConfinementError) -> Never {
        guard let program = command.first else {
            throw ConfinementError("no command", "there is nothing to run", "give it after --")
        }
        clearenv()
        for (name, value) in environment { setenv(name, value, 1) }
        var arguments = command.map { strdup($0) }
        arguments.append(nil)
        execvp(program, arguments)
        let code = errno
        for argument in arguments { free(argument) }
        throw ConfinementError(
            program, String(cString: strerror(code)), "check the name, its permissions and PATH",
            exitStatus: code == ENOENT ? 127 : 126)
    }

    private static func workingDirectory() -> String {
        guard let path = getcwd(nil, 0) else { return "/" }
        defer { free(path) }
        return String(cString: path)
    }
}
