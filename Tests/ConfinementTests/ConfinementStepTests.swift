import Glibc
import Testing

@testable import Confinement

/// Each step stops what it is there for on the kernel that runs, and nothing else does: without the step the same attempt
/// is no longer refused in the same way.
@Suite(.enabled(if: ConfinedProcess.isPossible, "needs root and cgroup v2"))
struct ConfinementStepTests {
    private let confined = ConfinedProcess()

    /// Root with every capability, as far as the other steps are concerned.
    private static let privileged: [ConfinementStep] = [.boundingSet, .user, .capabilities]

    @Test(
        "refuses what reaches the wire by another way (B61)",
        arguments: ["packet", "packet-type", "raw4", "raw6", "vsock", "alg", "netlink-diag", "io-uring"])
    func refusesOtherWays(attempt: String) throws {
        #expect(try confined.attempt(attempt) == "EPERM")
        #expect(try confined.attempt(attempt, omitting: Self.privileged) == "EPERM")
        #expect(try confined.attempt(attempt, omitting: Self.privileged + [.systemCalls]) != "EPERM")
    }

    @Test(
        "refuses new namespaces, where the agent would have every capability (B58)",
        arguments: ["user-namespace", "net-namespace", "clone-user-namespace", "join-namespace", "mount"])
    func refusesNamespaces(attempt: String) throws {
        #expect(try confined.attempt(attempt) == "EPERM")
        #expect(try confined.attempt(attempt, omitting: Self.privileged) == "EPERM")
        #expect(
            try confined.attempt(attempt, omitting: Self.privileged + [.systemCalls, .isolation]) != "EPERM")
    }

    @Test("sends clone3, whose flags no filter sees, back to clone (B58)")
    func refusesClone3() throws {
        #expect(try confined.attempt("clone3") == "ENOSYS")
        #expect(try confined.attempt("clone3", omitting: [.systemCalls]) == "EINVAL")
    }

    #if arch(x86_64)
        @Test("ends a process that speaks another architecture's numbers", arguments: ["x32", "int80"])
        func killsOtherArchitectures(attempt: String) throws {
            #expect(try confined.attempt(attempt) == "SIGSYS")
            #expect(try confined.attempt(attempt, omitting: [.systemCalls]) != "SIGSYS")
        }
    #endif

    @Test("does not let the agent type into the operator's terminal")
    func refusesTyping() throws {
        #expect(try confined.attempt("type-into-terminal") == "EPERM")
        #expect(try confined.attempt("type-into-terminal", omitting: [.systemCalls]) == "ENOTTY")
    }

    @Test(
        "leaves ordinary sockets and processes alone",
        arguments: ["tcp6", "udp4", "socketpair", "netlink-route", "fork"])
    func passes(attempt: String) throws {
        #expect(try confined.attempt(attempt) == "ok")
    }

    @Test("cannot set a packet mark, ours among them (B62)")
    func refusesMark() throws {
        #expect(try confined.attempt("mark") == "EPERM")
        #expect(try confined.attempt("mark", omitting: Self.privileged) == "ok")
    }

    @Test("leaves no capability, no uid 0 and no way back (B58)")
    func hasNoPrivileges() throws {
        let status = try confined.run(["grep", "-E", "^(Uid|Gid|Cap|NoNewPrivs|Seccomp:)", "/proc/self/status"]).output
        let fields = status.split(separator: "\n").map { $0.split(separator: "\t").map(String.init) }
        let expected = [
            ["Uid:"] + Array(repeating: "65534", count: 4), ["Gid:"] + Array(repeating: "65534", count: 4),
            ["CapInh:", "0000000000000000"], ["CapPrm:", "0000000000000000"], ["CapEff:", "0000000000000000"],
            ["CapBnd:", "0000000000000000"], ["CapAmb:", "0000000000000000"], ["NoNewPrivs:", "1"], ["Seccomp:", "2"],
        ]
        #expect(fields == expected)
        #expect(try confined.run(["id", "-G"]).output == "65534")
        #expect(try confined.attempt("become-root") == "EPERM")
    }

    @Test("gains nothing from a program that is setuid root (B58)")
    func ignoresSetuid() throws {
        let program = "/var/tmp\(confined.cgroup)-id"
        #expect(try ConfinedProcess.run(["install", "-m", "4755", "/usr/bin/id", program]).status == 0)
        defer { unlink(program) }
        #expect(try confined.run([program, "-u"]).output == "65534")
        #expect(
            try confined.run([program, "-u"], omitting: [.noNewPrivileges, .systemCalls, .isolation]).output == "0")
    }

    @Test(
        "refuses to start with a step missing",
        arguments: [
            ConfinementStep.boundingSet, .capabilities, .user, .noNewPrivileges, .systemCalls,
        ])
    func verifies(step: ConfinementStep) throws {
        // The launcher leaves the verification out with anything else, so it is asked here for the whole.
        var text = try TextFile.read("/proc/self/status")
        text.replace(/(Uid|Gid):.*/) { "\($0.output.1):\t7\t7\t7\t7" }
        text.replace(/(Cap...):.*/) { "\($0.output.1):\t0000000000000000" }
        text.replace(/NoNewPrivs:.*/, with: "NoNewPrivs:\t1")
        text.replace(/Seccomp:.*/, with: "Seccomp:\t2")
        try ProcessState(parsing: text)?.requireConfined(to: 7)
        switch step {
        case .boundingSet: text.replace(/CapBnd:.*/, with: "CapBnd:\t0000000000000400")
        case .capabilities: text.replace(/CapInh:.*/, with: "CapInh:\t0000000000000400")
        case .user: text.replace(/Uid:.*/, with: "Uid:\t7\t7\t0\t7")
        case .noNewPrivileges: text.replace(/NoNewPrivs:.*/, with: "NoNewPrivs:\t0")
        default: text.replace(/Seccomp:.*/, with: "Seccomp:\t0")
        }
        let state = try #require(ProcessState(parsing: text))
        #expect(throws: ConfinementError.self) { try state.requireConfined(to: 7) }
    }

    @Test("is in the agent's cgroup, and refuses to start elsewhere")
    func isInCgroup() throws {
        #expect(try confined.run(["grep", "^0::", "/proc/self/cgroup"]).output == "0::\(confined.cgroup)")
        let hierarchy = try CgroupHierarchy.current()
        #expect(throws: ConfinementError.self) { try hierarchy.requireProcess(in: confined.cgroup) }
        #expect(throws: Never.self) { try hierarchy.requireProcess(in: try hierarchy.pathOfProcess()) }
    }

    @Test("cannot leave its cgroup nor make another one, not even as root (B81)")
    func cannotMove() throws {
        let mount = try CgroupHierarchy.current().mountPoint
        #expect(try confined.attempt("write", mount + "/cgroup.procs", omitting: Self.privileged) == "EROFS")
        #expect(try confined.attempt("mkdir", mount + confined.cgroup + "/x", omitting: Self.privileged) == "EROFS")
        #expect(try confined.attempt("write", mount + "/cgroup.procs") == "EACCES")
        #expect(try confined.attempt("write", mount + "/cgroup.procs", omitting: Self.privileged + [.mounts]) == "ok")
    }

    @Test("does not see the sockets in /run, however often they are made anew (B51)")
    func hidesRun() throws {
        let directory = "/run\(confined.cgroup)"
        #expect(mkdir(directory, 0o755) == 0)
        defer { rmdir(directory) }
        let socket = directory + "/io.resolver"
        let listener = try UnixListener(path: socket)
        defer {
            listener.close()
            unlink(socket)
        }
        #expect(try confined.attempt("connect-unix", socket) == "ENOENT")
        #expect(try confined.attempt("connect-unix", socket, omitting: [.mounts]) == "ok")
    }

    @Test("does not see the configuration")
    func hidesConfiguration() throws {
        let directory = "/var/tmp\(confined.cgroup)-configuration"
        let file = directory + "/policy.rego"
        #expect(mkdir(directory, 0o755) == 0)
        defer {
            unlink(file)
            rmdir(directory)
        }
        try TextFile.write("secret", to: file, flags: O_CREAT)
        let options = ["--hide", directory]
        #expect(try confined.attempt("read", file, options: options) == "ENOENT")
        #expect(try confined.attempt("mkdir", directory + "/x", omitting: Self.privileged, options: options) == "EROFS")
        #expect(try confined.attempt("read", file, omitting: [.mounts], options: options) == "ok")
    }

    @Test("inherits no descriptor but the standard ones")
    func closesDescriptors() throws {
        // The shell keeps descriptor 9 over the program that it becomes.
        func descriptors(_ omitting: [ConfinementStep]) throws -> String {
            let words = confined.launch(["ls", "/proc/self/fd"], omitting: omitting)
            return try ConfinedProcess.run(["sh", "-c", "exec 9</etc/passwd; exec \"$@\"", "sh"] + words).output
        }
        #expect(try descriptors([]) == "0\n1\n2\n3")
        #expect(try descriptors([.descriptors]).contains("\n9"))
    }

    @Test("refuses a network socket and a directory as a standard stream")
    func refusesStreams() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        let refused = try confined.run(["true"], input: descriptor)
        #expect(refused.status == 2)
        #expect(refused.errors.hasPrefix("standard input: it is a network socket"))
        #expect(try confined.run(["true"], omitting: [.standardStreams], input: descriptor).status == 0)

        let directory = open("/run", O_RDONLY | O_CLOEXEC)
        defer { close(directory) }
        #expect(try confined.run(["true"], input: directory).errors.hasPrefix("standard input: it is a directory"))
    }

    @Test("starts with an empty keyring")
    func leavesKeyring() throws {
        #expect(try confined.attempt("keyring") == "EPERM")
    }

    @Test(
        "cannot reach into processes of the same user outside (B58, B65)",
        arguments: ["attach", "open-memory", "read-memory"])
    func cannotTrace(attempt: String) throws {
        let outsider = String(try confined.outsider())
        let refused = try confined.attempt(attempt, outsider)
        #expect(refused == (attempt == "open-memory" ? "EACCES" : "EPERM"))
        #expect(try confined.attempt(attempt, outsider, omitting: [.isolation]) == "ok")
    }
}

/// A Unix stream socket that somebody listens on.
private struct UnixListener {
    private let descriptor: Int32

    init(path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(status == 0)
        try #require(listen(descriptor, 8) == 0)
        try #require(chmod(path, 0o777) == 0)
    }

    func close() {
        _ = Glibc.close(descriptor)
    }
}
