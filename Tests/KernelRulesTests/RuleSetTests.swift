import Glibc
import Netlink
import NetworkLab
import PacketHeaders
import Testing

@testable import KernelRules

/// The rules as a whole: into the kernel, compared, and out of it again without a trace.
@Suite("RuleSet", .enabled(if: NetworkNamespace.isAvailable, "needs root and network namespaces"), .serialized)
struct RuleSetTests {
    @Test("is taken by nft as a whole, with every kind of agent")
    func syntax() throws {
        try NetworkNamespace.alone { try Self.checkSyntax(.xtables) }
    }

    @Test(
        "is taken by nft as a whole, with the kernel's own queue statement",
        .enabled(if: hasNativeQueue, "needs a kernel with nft_queue"))
    func nativeSyntax() throws {
        try NetworkNamespace.alone { try Self.checkSyntax(.native) }
    }

    private static let hasNativeQueue = (try? NetworkNamespace.alone { try RuleSet.probe() == .native }) ?? false

    private static func checkSyntax(_ backend: QueueBackend) throws {
        try withCgroups(everything(RuleLab.parameters())) { rules in
            var variants = [rules.parameters, rules.parameters]
            variants[1].answersRefusals = false
            variants[1].queueCount = 1
            for parameters in variants {
                let script = RuleSet(parameters).render(backend)
                let statements = script.split(separator: "\n").filter { !$0.contains("#") }
                #expect(!statements.contains { $0.contains(#/@[A-Z]/#) })
                let outcome = try Self.nft(script, "-c")
                #expect(outcome.status == 0, "\(outcome.errors)")
            }
        }
    }

    @Test("remove leaves nothing: rules, settings, marks, files and cgroups are as before")
    func leavesNothing() throws {
        try RuleLabFreeHost.with { before in
            let rules = RuleSet(RuleLab.parameters(), stateDirectory: "/tmp/netl-state-\(getpid())")
            defer { rmdir(rules.stateDirectory) }
            try Program.run("nft", "add", "table", "inet", "other")
            try Program.run("nft", "add", "chain", "inet", "other", "c", "{ type filter hook output priority 0 ; }")
            try Program.run("nft", "add", "rule", "inet", "other", "c", "ct", "mark", "set", "0x01000002")
            let ruleset = try Program.run("nft", "list", "ruleset")
            try before.set("nf_conntrack_checksum", "0")
            try before.set("nf_conntrack_tcp_be_liberal", "1")
            try rules.apply()
            #expect(try before.get("nf_conntrack_checksum") == "1")
            #expect(try before.get("nf_conntrack_tcp_be_liberal") == "0")
            try rules.apply()
            // A connection with a mark of ours and one of somebody else's in it.
            let listener = try LabSocket(.udp, .v4)
            try listener.bind(IPAddress(v4: 0x7F00_0001), 9)
            let client = try LabSocket(.udp, .v4)
            client.send([1], to: IPAddress(v4: 0x7F00_0001), 9)
            #expect(try Program.run("conntrack", "-L").contains("mark=16777218 "))
            #expect(try rules.check() == [])

            try rules.remove()
            #expect(try Program.run("nft", "list", "ruleset") == ruleset)
            #expect(try before.get("nf_conntrack_checksum") == "0")
            #expect(try before.get("nf_conntrack_tcp_be_liberal") == "1")
            let connections = try Program.run("conntrack", "-L")
            #expect(connections.contains("mark=2 "))
            #expect(!connections.contains("mark=16777218 "))
            let hierarchy = try CgroupHierarchy.find()
            #expect(hierarchy.identifier(of: "/" + rules.parameters.slice) == nil)
            #expect(try Program.run("ls", rules.stateDirectory).isEmpty)
            // Twice is once.
            try rules.remove()
            #expect(try Program.run("nft", "list", "ruleset") == ruleset)
        }
    }

    @Test("apply on top of itself keeps the daemon's sign of life and its queues")
    func applyAgain() throws {
        try RuleLab.with { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent()
            try lab.connect(agent, port: 443)
            let alive = try Program.run("nft", "list", "set", "inet", "sallyport", "alive")
            #expect(alive.contains("tcp") && alive.contains("udp"))
            try lab.rules.apply()
            let after = try Program.run("nft", "list", "set", "inet", "sallyport", "alive")
            #expect(after.contains("tcp") && after.contains("udp"))
            _ = try agent.perform("send(b'x')")
            let data = try lab.next()
            #expect(data.payload == [0x78])
            #expect(try lab.rules.check() == [])
            _ = server.localPort
        }
    }

    @Test("put back are rules whose table is gone, and no others")
    func putBack() throws {
        try RuleLab.with { lab, hosts in
            let backend = try #require(lab.rules.appliedBackend)
            #expect(try !lab.rules.putBack(backend, isAttended: true))
            try Program.run("nft", "delete", "table", "inet", "sallyport")
            #expect(try lab.rules.putBack(backend, isAttended: false))
            #expect(try lab.rules.check() == [])
            #expect(try !Program.run("nft", "list", "set", "inet", "sallyport", "alive").contains("elements"))
            try Program.run("nft", "delete", "table", "inet", "sallyport")
            // Nobody renews it: the daemon attends the queues already.
            #expect(try lab.rules.putBack(backend, isAttended: true))
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            try lab.connect(try lab.agent(), port: 443)
            _ = server.localPort
        }
    }

    @Test("apply brings another configuration's rules up to date")
    func reconfigure() throws {
        try RuleLab.with { lab, hosts in
            var parameters = lab.rules.parameters
            parameters.uids = [65534]
            parameters.queueCount = 2
            let next = RuleSet(parameters, stateDirectory: lab.rules.stateDirectory)
            #expect(try next.check() != [])
            try next.apply()
            #expect(try next.check() == [])
            #expect(try lab.rules.check() != [])
            try lab.rules.apply()
            #expect(try lab.rules.check() == [])
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let free = try lab.agent(user: 65534, confined: false)
            #expect(try free.perform("connect('\(lab.server)', 443)") == "ok")
            _ = server.localPort
        }
    }

    @Test(
        "check sees what others have changed",
        arguments: [
            "nft delete table inet sallyport", "nft flush ruleset", "nft flush chain inet sallyport confined",
            "nft insert rule inet sallyport output accept", "nft flush chain inet sallyport queue_8800",
            "nft insert rule inet sallyport queue_8801 accept",
            "nft add element inet sallyport confined_uids '{ 1 }'", "nft add chain inet sallyport extra",
            "nft add chain inet sallyport extra '{ type filter hook output priority 0; policy drop; }'",
            "echo 0 > /proc/sys/net/netfilter/nf_conntrack_checksum",
            "echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal",
        ])
    func tampering(_ command: String) throws {
        try RuleLab.with { lab, hosts in
            #expect(try lab.rules.check() == [])
            try Program.run("sh", "-c", command)
            #expect(try lab.rules.check() != [])
            // And apply mends it.
            try lab.rules.apply()
            #expect(try lab.rules.check() == [])
            try lab.renew()
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let agent = try lab.agent()
            try lab.connect(agent, port: 443)
            _ = server.localPort
        }
    }

    @Test("the rules follow a slice that was made anew")
    func newSlice() throws {
        try RuleLab.with { lab, hosts in
            let directory = lab.hierarchy.directory(of: "/" + lab.rules.parameters.slice)
            // An id is never given twice, so the rules name a cgroup that is gone.
            #expect(rmdir(directory) == 0)
            #expect(mkdir(directory, 0o755) == 0)
            let problems = try lab.rules.check()
            #expect(problems.contains { $0.hasPrefix("a confined cgroup was made anew") })
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            let free = try lab.agent()
            #expect(try free.perform("connect('\(lab.server)', 443)") == "ok")
            try lab.rules.apply()
            #expect(try lab.rules.check() == [])
            let agent = try lab.agent()
            try lab.connect(agent, port: 443)
            _ = server.localPort
        }
    }

    @Test("a queue chain that lost its target lets nothing through")
    func emptyQueueChain() throws {
        try RuleLab.with { lab, hosts in
            let server = try lab.listen(.tcp, port: 443, on: hosts)
            try Program.run("nft", "flush", "chain", "inet", "sallyport", "queue_8800")
            let agent = try lab.agent()
            try agent.begin("(s.settimeout(0.01), connect('\(lab.server)', 443))[1]")
            #expect(try agent.end() == "timeout")
            server.makeNonblocking()
            #expect(throws: LabError.self) { _ = try server.accept() }
        }
    }

    private static func everything(_ parameters: KernelRulesParameters) -> KernelRulesParameters {
        var parameters = parameters
        parameters.cgroups = [parameters.slice + "-other/bot"]
        parameters.uids = [1001, 1002]
        parameters.interfaces = ["veth-bot", "tap0"]
        parameters.sources = [IPPrefix("198.18.5.0/24"), IPPrefix("fd00:5::/64"), IPPrefix("198.18.6.1")].compactMap {
            $0
        }
        parameters.queueCount = 4
        return parameters
    }

    /// Runs `body` while the cgroups that the parameters name exist.
    private static func withCgroups(_ parameters: KernelRulesParameters, _ body: (RuleSet) throws -> Void) throws {
        let mountPoint = try CgroupHierarchy.find().mountPoint
        let slice = try LabCgroup("/" + parameters.slice, mountPoint: mountPoint)
        let parent = try LabCgroup("/" + parameters.slice + "-other", mountPoint: mountPoint)
        let child = try LabCgroup("/" + parameters.slice + "-other/bot", mountPoint: mountPoint)
        try body(RuleSet(parameters))
        _ = (slice.path, parent.path, child.path)
    }

    /// nft(8) where it sees the cgroups.
    private static func nft(_ script: String, _ option: String) throws -> (
        status: Int32, output: String, errors: String
    ) {
        try Program.start(
            [
                "unshare", "--mount", "--propagation", "private", "sh", "-c",
                "mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec nft \(option) -f -",
            ], input: script)
    }
}

/// A namespace whose connection tracking settings a test may change.
private struct RuleLabFreeHost {
    static func with(_ body: (RuleLabFreeHost) throws -> Void) throws {
        try NetworkNamespace.alone { try body(RuleLabFreeHost()) }
    }

    func set(_ name: String, _ value: String) throws {
        try Program.run("sh", "-c", "echo \(value) > /proc/sys/net/netfilter/\(name)")
    }

    func get(_ name: String) throws -> String {
        try Program.run("cat", "/proc/sys/net/netfilter/\(name)").filter { !$0.isWhitespace }
    }
}
