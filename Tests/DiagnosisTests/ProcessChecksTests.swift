import Testing

@testable import Diagnosis

@Suite("ProcessChecks")
struct ProcessChecksTests {
    private static let confined = ConfinedSet(example)

    /// An agent as `sallyport run` starts it.
    private static func agent(_ change: (inout ProcessFacts) -> Void = { _ in }) -> ProcessFacts {
        var process = ProcessFacts(
            pid: 4242, name: "python3", cgroup: "/sallyport.slice/research/run-1.scope", uids: [1001, 1001, 1001, 1001])
        process.hasNoNewPrivileges = true
        process.isFiltered = true
        process.network = 7
        process.sockets = [900]
        change(&process)
        return process
    }

    private static func findings(
        _ processes: [ProcessFacts], _ change: (inout ProcessTable) -> Void = { _ in },
        confined: ConfinedSet = confined
    ) -> [Finding] {
        var table = ProcessTable(processes: processes)
        table.ownNetwork = 7
        table.hasVsock = true
        table.socketCgroups = [900: "/sallyport.slice/research"]
        change(&table)
        return ProcessChecks.findings(table, confined)
    }

    private static let checks: [Check] = [
        .agentsOutside, .root, .capabilities, .cgroupEscape, .engineSockets, .networkNamespaces, .heldSockets,
        .packetSockets, .vsock, .resolvers,
    ]

    @Test("finds nothing in an agent of sallyport run, nor where none runs, and tells each check")
    func well() {
        for processes in [[], [Self.agent()]] {
            let findings = Self.findings(processes)
            #expect(findings.allSatisfy { $0.state == .ok })
            #expect(Set(findings.map(\.check)) == Set(Self.checks))
        }
    }

    @Test(
        "finds what an agent may that it should not, names it, and finds nothing else",
        arguments: [
            Fault(.root, "uid 0") { $0.uids = [1001, 1001, 0, 1001] },
            Fault(.capabilities, "CAP_NET_RAW") { $0.capabilities = 1 << 13 },
            Fault(.capabilities, "CAP_NET_ADMIN") { $0.capabilities = 1 << 12 },
            Fault(.capabilities, "CAP_BPF") { $0.capabilities = 1 << 39 | 1 << 10 },
            Fault(.engineSockets, "/run/docker.sock") { $0.engines = ["/run/docker.sock"] },
            Fault(.resolvers, "varlink") { $0.reachable = [ServiceSocket.resolvers[0]] },
            Fault(.networkNamespaces, "another network") { $0.network = 8 },
            Fault(.heldSockets, "/user.slice") { $0.sockets = [900, 901] },
            Fault(.packetSockets, "packet socket") { $0.sockets = [77] },
            Fault(.vsock, "AF_VSOCK") { $0.isFiltered = false },
        ] as [Fault<ProcessFacts>])
    func holes(_ fault: Fault<ProcessFacts>) {
        let findings = Self.findings([Self.agent(fault.change)]) { table in
            table.packetSockets = [77: "packet socket"]
            table.socketCgroups[901] = "/user.slice/session-1.scope"
        }
        #expect(findings.filter { $0.state != .ok }.map(\.check) == [fault.check])
        let finding = findings.of(fault.check).first
        #expect(finding?.state == .hole)
        #expect(finding?.detail.contains(fault.word) == true)
        #expect(finding?.subject == "process 4242 (python3, agent research-bot)")
        #expect(finding?.remedy?.isEmpty == false)
    }

    @Test("lets ordinary capabilities pass, and those of another user namespace")
    func harmlessCapabilities() {
        let ordinary = Self.agent { $0.capabilities = 1 << 10 | 1 << 0 }
        let foreign = Self.agent {
            $0.capabilities = .max
            $0.isInOurUserNamespace = false
        }
        for process in [ordinary, foreign] {
            #expect(Self.findings([process]).states(.capabilities) == [.ok])
        }
    }

    @Test("counts the bounding set of uid 0, which a program gives it, unless it can gain nothing")
    func boundingSet() {
        func root(_ noNewPrivileges: Bool) -> ProcessFacts {
            Self.agent {
                $0.uids = [0, 0, 0, 0]
                $0.boundingSet = 1 << 21
                $0.hasNoNewPrivileges = noNewPrivileges
            }
        }
        #expect(Self.findings([root(false)]).states(.capabilities) == [.hole])
        #expect(Self.findings([root(true)]).states(.capabilities) == [.ok])
    }

    @Test("finds uid 0 that sees cgroups writable, and nobody else who does")
    func cgroupEscape() {
        let root = Self.agent {
            $0.uids = [0, 0, 0, 0]
            $0.hasWritableCgroups = true
        }
        #expect(Self.findings([root]).states(.cgroupEscape) == [.hole])
        #expect(Self.findings([Self.agent { $0.hasWritableCgroups = true }]).states(.cgroupEscape) == [.ok])
    }

    @Test("finds a process of an agent's user outside, unless its uid is confined or nobody's")
    func outside() {
        func other(_ uid: UInt32, _ cgroup: String = "/system.slice/cron.service") -> ProcessFacts {
            ProcessFacts(pid: 5000, name: "sh", cgroup: cgroup, uids: [uid, uid, uid, uid])
        }
        let finding = Self.findings([Self.agent(), other(1001)]).of(.agentsOutside)
        #expect(finding.map(\.state) == [.hole])
        #expect(finding[0].subject == "process 5000 (sh)")
        #expect(Self.findings([Self.agent(), other(1002)]).states(.agentsOutside) == [.ok])
        #expect(Self.findings([other(1001)]).states(.agentsOutside) == [.ok])
        #expect(Self.findings([Self.agent(), other(1500)]).states(.agentsOutside) == [.ok])
        #expect(Self.findings([Self.agent { $0.uids = [0, 0, 0, 0] }, other(0)]).states(.agentsOutside) == [.ok])
        let unit = other(33, "/system.slice/report-bot.service")
        #expect(
            Self.findings([unit]).of(.agentsOutside).map(\.detail).first?.contains("unit report-bot.service") == true)
    }

    @Test("finds cron, at and lingering managers of an agent's user, unless its uid is confined")
    func schedules() {
        let crontab: (inout ProcessTable) -> Void = { $0.schedules = [1001: ["crontab /var/spool/cron/crontabs/bot"]] }
        #expect(Self.findings([Self.agent()], crontab).states(.agentsOutside) == [.hole])
        #expect(Self.findings([], crontab).states(.agentsOutside) == [.ok])
        let confined: (inout ProcessTable) -> Void = { $0.schedules = [1500: ["crontab /var/spool/cron/crontabs/uid"]] }
        #expect(
            Self.findings([Self.agent { $0.uids = [1500, 1500, 1500, 1500] }], confined).states(.agentsOutside) == [.ok]
        )
    }

    @Test("does not know of another network where interfaces are confined")
    func networks() {
        var both = Self.confined
        both.isForwarding = true
        #expect(Self.findings([Self.agent { $0.network = 8 }], confined: both).states(.networkNamespaces) == [.unknown])
    }

    @Test("lets a socket of another confined cgroup or of a confined uid pass, and does not know of one that is gone")
    func sockets() {
        func states(_ cgroup: String, uid: UInt32) -> [Finding.State] {
            Self.findings([Self.agent { $0.sockets = [901] }]) { table in
                table.socketCgroups[901] = cgroup
                table.socketUIDs[901] = uid
            }.states(.heldSockets)
        }
        #expect(states("/user.slice", uid: 1001) == [.hole])
        #expect(states("/user.slice", uid: 1500) == [.ok])
        #expect(states("/sallyport.slice/other", uid: 1001) == [.ok])
        #expect(states("/sallyport.sliceX", uid: 1001) == [.hole])
        #expect(states("", uid: 1001) == [.unknown])
    }

    @Test("says of which process something could not be read, and does not call that in order")
    func unread() {
        let findings = Self.findings([Self.agent()]) { $0.unread = [.heldSockets: ["process 4242 (python3)"]] }
        #expect(findings.states(.heldSockets) == [.unknown])
        #expect(findings.states(.packetSockets) == [.ok])
    }

    @Test("needs no filter where the kernel has no vsock")
    func noVsock() {
        #expect(Self.findings([Self.agent { $0.isFiltered = false }]) { $0.hasVsock = false }.states(.vsock) == [.ok])
    }
}

@Suite("ProcessReader")
struct ProcessReaderTests {
    private static let status = """
        Name:\tmy agent
        State:\tS (sleeping)
        Uid:\t1001\t1001\t1001\t1001
        Gid:\t1002\t1002\t1002\t1002
        Groups:\t27 998 1002
        VmSize:\t   12345 kB
        CapInh:\t0000000000000000
        CapPrm:\t0000000000002000
        CapEff:\t0000000000000000
        CapBnd:\t000001ffffffffff
        CapAmb:\t0000000000000000
        NoNewPrivs:\t0
        Seccomp:\t2
        """

    @Test("reads the status of a process")
    func reads() throws {
        let facts = try #require(ProcessReader.facts(pid: 9, status: Self.status, cgroup: "/a"))
        #expect(facts.name == "my agent" && facts.effectiveUID == 1001 && !facts.isRoot)
        #expect(facts.groups == [27, 998, 1002])
        #expect(facts.capabilities == 1 << 13)
        #expect(facts.boundingSet == 0x1FF_FFFF_FFFF)
        #expect(facts.isFiltered && !facts.hasNoNewPrivileges)
    }

    @Test("leaves out kernel threads and zombies, which have no memory")
    func kernelThreads() {
        let without = Self.status.split(separator: "\n").filter { !$0.hasPrefix("VmSize") }.joined(separator: "\n")
        #expect(ProcessReader.facts(pid: 9, status: without, cgroup: "/") == nil)
    }

    @Test("finds writable cgroups and mounted sockets of engines among the mounts")
    func mounts() {
        let readOnly = "30 24 0:27 / /sys/fs/cgroup ro,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
        let socket = "99 24 0:24 /docker.sock /tmp/d.sock rw,nosuid - tmpfs tmpfs rw"
        #expect(MountView(readOnly).hasWritableCgroups == false)
        #expect(MountView(readOnly.replacing("cgroup ro", with: "cgroup rw")).hasWritableCgroups)
        #expect(MountView(readOnly + "\n" + socket).engineSockets == ["/tmp/d.sock"])
        #expect(MountView(readOnly).engineSockets.isEmpty)
    }
}
