import CUnixSocket
import Control
import Glibc
import Identity
import KernelRules
import Netlink
import Sessions

/// One process of an agent that is to have a cgroup of its own, for a customer. Sockets that it has opened before stay where
/// they were opened.
struct AgentProcess {
    let pid: Int32
    let agent: String
    /// The confined slice.
    let slice: String
    let hierarchy: CgroupHierarchy

    /// Makes the cgroup, on a systemd host a scope in the agent's slice, elsewhere one below the process's own, and moves the
    /// process there.
    /// - Throws: where it is no process of the agent's, or of the caller's own cgroup, or cannot be moved.
    func enclose(
        for session: String, _ caller: SessionCaller, in agents: AgentTable
    ) async throws(ProblemDocument) -> RequestedBinding {
        // Holds on to the process: its pid cannot be another's meanwhile.
        let pidfd = unix_pidfd_open(pid)
        guard pidfd >= 0 else { throw refusal(404, "there is no process \(pid)") }
        defer { close(pidfd) }
        guard let before = path, let index = agents.index(of: agent), agents.agent(ofCgroup: before) == .agent(index)
        else { throw refusal(403, "process \(pid) is none of agent \(agent)") }
        if case .agent(_, _, let own) = caller {
            guard before == own || before.hasPrefix(own + "/") else {
                throw refusal(403, "process \(pid) is neither in the caller's cgroup nor below it")
            }
        }
        let name = "session-" + session.prefix(16)
        if access("/run/systemd/system", F_OK) == 0 { try moveToScope(name) } else { try move(to: before + "/" + name) }
        // systemd moves it in its own time.
        for _ in 0..<500 {
            if let now = path, now != before, now.contains(name), isAlive(pidfd), let id = hierarchy.identifier(of: now)
            {
                return .enclosed(path: now, id)
            }
            guard isAlive(pidfd) else { break }
            try? await Task.sleep(for: .milliseconds(10))
        }
        throw refusal(503, "process \(pid) could not be moved into a cgroup of its own")
    }

    private var path: String? { CgroupHierarchy.path(ofProcess: pid) }

    /// A pidfd becomes readable when its process ends (pidfd_open(2)).
    private func isAlive(_ pidfd: Int32) -> Bool {
        var wait = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        return poll(&wait, 1, 0) == 0
    }

    private func move(to path: String) throws(ProblemDocument) {
        let directory = hierarchy.directory(of: path)
        guard mkdir(directory, 0o755) == 0 || errno == EEXIST else {
            throw refusal(503, "\(directory) cannot be made: \(String(cString: strerror(errno)))")
        }
        let number = TextFile.write("\(pid)\n", to: directory + "/cgroup.procs")
        guard number == 0 else {
            rmdir(directory)
            throw refusal(503, "process \(pid) cannot be moved into \(directory): \(String(cString: strerror(number)))")
        }
    }

    /// `StartTransientUnit` (org.freedesktop.systemd1(5)): scopes are systemd's to make.
    private func moveToScope(_ name: String) throws(ProblemDocument) {
        let outcome: Command.Outcome
        do throws(KernelRulesError) {
            outcome = try Command.run([
                "busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", name + ".scope", "fail",
                "4",
                "Slice", "s", SystemdName.slice(ofAgent: agent, in: slice), "PIDs", "au", "1", String(pid),
                "CollectMode", "s", "inactive-or-failed", "Description", "s", "Session of agent \(agent)", "0",
            ])
        } catch {
            throw refusal(503, error.description)
        }
        guard outcome.status == 0 else {
            throw refusal(503, "systemd made no scope for process \(pid): \(outcome.errors.prefix(256))")
        }
    }

    private func refusal(_ status: Int, _ detail: String) -> ProblemDocument {
        ProblemDocument(status: status, title: status == 503 ? "Not moved" : "Not for this caller", detail: detail)
    }
}
