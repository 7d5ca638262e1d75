import Configuration
import DecisionLog
import JOSE
import KernelRules
import PacketHeaders
import Testing

@testable import Diagnosis

@Suite("HostChecks")
struct HostChecksTests {
    private static func facts(_ change: (inout HostFacts) -> Void = { _ in }) -> HostFacts {
        var facts = HostFacts()
        facts.release = "6.1.0-18-amd64"
        facts.connections = (100, 1000)
        facts.isSynchronised = true
        facts.rateLimit = "0"
        change(&facts)
        return facts
    }

    private static let probe = FlowProbe.Result(
        family: "IPv4", address: "127.0.0.1", port: 40001, unconfined: .connected, confined: .refused,
        hasArrived: false,
        canDestroy: true)

    private static func findings(
        _ facts: HostFacts = facts(), _ probes: [FlowProbe.Result] = [probe], _ log: LogCounters? = LogCounters(),
        _ configuration: Configuration = example
    ) -> [Finding] {
        HostChecks.findings(facts, probes, log, configuration)
    }

    @Test("finds nothing on a host that is as it should be")
    func well() {
        #expect(Self.findings().map(\.state) == [.ok, .ok, .ok, .ok, .ok])
        #expect(Self.findings().map(\.check) == [.kernel, .connections, .clock, .journal, .names])
    }

    @Test(
        "finds what the host lacks, and nothing else",
        arguments: [
            Fault(.kernel) { $0.hasQueues = false }, Fault(.kernel) { $0.connections = nil },
            Fault(.connections) { $0.connections = (900, 1000) },
            Fault(.journal) { $0.journalFailure = "Connection refused" },
            Fault(.journal) { $0.isJournalKept = false }, Fault(.journal) { $0.rateLimit = "30s" },
        ] as [Fault<HostFacts>])
    func holes(_ fault: Fault<HostFacts>) {
        let wrong = Self.findings(Self.facts(fault.change)).filter { $0.state != .ok }
        #expect(wrong.map(\.check) == [fault.check])
        #expect(wrong.map(\.state) == [.hole])
    }

    @Test("finds a kernel that destroys no sockets, and does not know where there was none to try it on")
    func destroys() {
        var probe = Self.probe
        probe.canDestroy = false
        #expect(Self.findings(Self.facts(), [probe]).states(.kernel) == [.hole])
        #expect(Self.findings(Self.facts(), []).states(.kernel) == [.unknown])
    }

    @Test("minds the clock where tokens depend on it")
    func clock() throws {
        let customers = configuration(
            """
            agents: [{ id: bot }]
            resolvers: [198.18.10.1]
            customers: { issuers: [{ issuer: "https://chat.test", audience: lab, keys: /etc/sallyport/keys.json }] }
            """)
        #expect(!customers.customers.isEmpty)
        let loose = Self.facts { $0.isSynchronised = false }
        #expect(Self.findings(loose, [Self.probe], LogCounters(), customers).states(.clock) == [.hole])
        #expect(Self.findings(loose).states(.clock) == [.ok])
        #expect(Self.findings(Self.facts { $0.isSynchronised = nil }).states(.clock) == [.unknown])
    }

    @Test("finds records that are lost, that cannot be written, and that are thrown away")
    func records() {
        var log = LogCounters()
        log.lostInSpool = 3
        #expect(Self.findings(Self.facts(), [Self.probe], log).states(.journal) == [.hole])
        log = LogCounters()
        log.journalError = "Connection refused"
        #expect(Self.findings(Self.facts(), [Self.probe], log).states(.journal) == [.hole])
        var discarding = example
        discarding.log.discard = true
        #expect(Self.findings(Self.facts(), [Self.probe], nil, discarding).states(.journal) == [.hole])
    }

    @Test("repeats what is lost without names")
    func names() {
        var off = example
        off.dns.isWatched = false
        let finding = Self.findings(Self.facts(), [Self.probe], nil, off).of(.names)
        #expect(finding.map(\.state) == [.hole])
        #expect(finding.first?.subject == "dns: off")
        off = example
        off.resolvers = []
        #expect(Self.findings(Self.facts(), [Self.probe], nil, off).states(.names) == [.hole])
    }
}

@Suite("NetworkChecks")
struct NetworkChecksTests {
    private static let parameters = KernelRulesParameters(forwarding)

    private static func findings(
        _ parameters: KernelRulesParameters = parameters, _ change: (inout NetworkFacts) -> Void
    ) -> [Finding] {
        var facts = NetworkFacts()
        change(&facts)
        return NetworkChecks.findings(facts, parameters)
    }

    private static let container = ProcessFacts(
        pid: 60, name: "app", cgroup: "/system.slice/docker-0123.scope", uids: [0, 0, 0, 0])

    @Test("finds nothing where everything listed crosses the forward hook")
    func well() {
        #expect(Self.findings { _ in }.map(\.state) == [.ok, .ok])
    }

    @Test("finds a listed bridge whose ports reach each other, unless the hook sees bridged packets")
    func bridges() {
        let listed = NetworkFacts.Bridge(name: "br0", ports: ["veth1", "veth2"])
        let bySource = NetworkFacts.Bridge(name: "br9", ports: ["a", "b"], addresses: [IPAddress(v4: 0xC612_0501)])
        let other = NetworkFacts.Bridge(name: "br9", ports: ["a", "b"], addresses: [IPAddress(v4: 0xC612_0901)])
        #expect(Self.findings { $0.bridges = [listed] }.states(.containers) == [.hole])
        #expect(Self.findings { $0.bridges = [bySource] }.states(.containers) == [.hole])
        #expect(Self.findings { $0.bridges = [other] }.states(.containers) == [.ok])
        #expect(Self.findings { $0.bridges = [.init(name: "br0", ports: ["veth1"])] }.states(.containers) == [.ok])
        let findings = Self.findings {
            $0.bridges = [listed]
            $0.filtersBridges = true
        }
        #expect(findings.states(.containers) == [.ok])
    }

    @Test("finds a listed port of a bridge that is not listed")
    func ports() {
        #expect(Self.findings { $0.masters = ["veth7": "docker0"] }.states(.containers) == [.hole])
        #expect(Self.findings { $0.masters = ["veth7": "br0"] }.states(.containers) == [.ok])
    }

    @Test("does not know of containers beside the hook, of interfaces that are gone, of programs at a device")
    func unknown() {
        #expect(Self.findings { $0.hostContainers = [Self.container] }.states(.containers) == [.unknown])
        #expect(
            Self.findings { $0.passingDevices = [(Self.container, "eth0", "macvlan")] }.states(.containers) == [
                .unknown
            ])
        #expect(Self.findings { $0.missingInterfaces = ["br0"] }.states(.containers) == [.unknown])
        #expect(Self.findings { $0.programs = ["br0": ["XDP"]] }.states(.devicePrograms) == [.unknown])
        #expect(Self.findings { $0.programs = ["eth9": ["XDP"]] }.states(.devicePrograms) == [.ok])
        #expect(Self.findings { $0.unread = ["filters of br0: no tc"] }.states(.devicePrograms) == [.unknown])
        #expect(Self.findings { $0.unread = ["devices: no ip"] }.states(.containers) == [.unknown])
    }

    @Test("is silent of containers where none is an agent by the configuration")
    func local() {
        let findings = Self.findings(KernelRulesParameters(example)) { facts in
            facts.hostContainers = [Self.container]
            facts.bridges = [.init(name: "docker0", ports: ["a", "b"])]
        }
        #expect(findings.map(\.state) == [.ok, .ok])
    }

    @Test("reads bridges, their ports and XDP programs from ip(8)")
    func links() throws {
        let text = """
            [{"ifname":"lo"},{"ifname":"br0","linkinfo":{"info_kind":"bridge"}},
            {"ifname":"a","master":"br0","linkinfo":{"info_kind":"veth","info_slave_data":{"isolated":true}}},
            {"ifname":"b","master":"br0","linkinfo":{"info_kind":"veth","info_slave_data":{"isolated":false}}},
            {"ifname":"c","master":"bond0"},{"ifname":"d","xdp":{"mode":1}}]
            """
        var facts = NetworkFacts()
        facts.read(try StrictJSON(parsing: Array(text.utf8)), addresses: [:])
        #expect(facts.bridges == [.init(name: "br0", ports: ["b"])])
        #expect(facts.masters == ["a": "br0", "b": "br0"])
        #expect(facts.programs == ["d": ["XDP"]])
    }

    @Test(
        "knows containers by their cgroups",
        arguments: [
            ("/system.slice/docker-0123.scope", "docker-0123.scope"), ("/docker/0123", "0123"),
            ("/kubepods.slice/kubepods-pod1.slice/cri-containerd-77.scope", "cri-containerd-77.scope"),
            ("/machine.slice/libpod-5.scope/container", "libpod-5.scope"), ("/system.slice/docker.service", nil),
            ("/user.slice/session-1.scope", nil),
        ] as [(String, String?)])
    func containers(_ cgroup: String, _ name: String?) {
        #expect(NetworkFacts.container(of: cgroup) == name)
    }
}
