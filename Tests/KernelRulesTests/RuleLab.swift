import Glibc
import Netlink
import NetworkLab
import PacketHeaders
import Synchronization
import Testing

@testable import KernelRules

/// The rules in the kernel of an agent's host, with the test in place of the daemon: it attends the queues, looks at what
/// the rules hand over, and answers. The agent is a Python process in the confined slice.
///
/// `removing` takes lines out of the rules, so that a test shows that it fails without them. Where nothing is taken out the
/// daemon's own table stands behind them, which may be in no packet's way.
final class RuleLab {
    let rules: RuleSet
    let hierarchy: CgroupHierarchy
    let family: AddressFamily
    private let cgroup: LabCgroup
    private let attends: Bool
    private let guardTable = GuardTable()
    private var queues: QueueSocket
    private var verdicts: VerdictBatch
    private var tables: NFTables
    private var backlog: [Packet] = []

    /// A packet that the rules handed over.
    struct Packet {
        let facts: QueuedPacketFacts
        let bytes: [UInt8]

        /// The bytes behind the network header (no test sends IPv6 extension headers).
        var transport: ArraySlice<UInt8> { bytes[0] >> 4 == 4 ? bytes[(Int(bytes[0] & 15) * 4)...] : bytes[40...] }
        /// TCP's flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
        var flags: UInt8 { transport[transport.startIndex + 13] }
        var payload: [UInt8] { Array(transport.dropFirst(Int(transport[transport.startIndex + 12] >> 4) * 4)) }
        var lifetime: UInt8 { bytes[0] >> 4 == 4 ? bytes[8] : bytes[7] }
    }

    /// Marks under the default mask.
    static let confined: UInt32 = 0x0100_0000
    static let allowed: UInt32 = 0x0200_0000
    static let refused: UInt32 = 0x0400_0000
    static let inject: UInt32 = 0x0800_0000

    private static let count = Atomic(0)

    /// Runs `body` on a host with the rules; everything is gone afterwards.
    static func with(
        _ family: AddressFamily = .v4, removing: [String] = [], attended: Bool = true, guarded: Bool = true,
        _ adapt: (inout KernelRulesParameters) -> Void = { _ in },
        _ body: (RuleLab, borrowing TwoHosts) throws -> Void
    ) throws {
        try TwoHosts.with { hosts in
            let lab = try RuleLab(family, removing: removing, attended: attended, adapt)
            defer { try? lab.rules.remove() }
            if guarded, removing.isEmpty { try lab.guardTable.hold(lab.rules) }
            try body(lab, hosts)
        }
    }

    /// Parameters with a slice of this test's own.
    static func parameters() -> KernelRulesParameters {
        let number = count.add(1, ordering: .relaxed).newValue
        return KernelRulesParameters(slice: "netl-\(getpid())-\(number).slice")
    }

    private init(
        _ family: AddressFamily, removing: [String], attended: Bool, _ adapt: (inout KernelRulesParameters) -> Void
    ) throws {
        self.family = family
        attends = attended
        var parameters = Self.parameters()
        adapt(&parameters)
        hierarchy = try CgroupHierarchy.find()
        cgroup = try LabCgroup("/" + parameters.slice, mountPoint: hierarchy.mountPoint)
        var rules = RuleSet(parameters, stateDirectory: "/tmp/" + parameters.slice)
        for line in removing { rules.template = try Self.without(line, rules.template) }
        self.rules = rules
        try rules.apply()
        queues = try QueueSocket.open(
            parameters.queues.map {
                QueueParameters(
                    number: $0, takesSegmentBatches: $0 < parameters.queueBase + parameters.queueCount,
                    maximumLength: 1024)
            })
        verdicts = queues.makeVerdictBatch()
        tables = try NFTables.open()
        try renew()
    }

    deinit {
        rmdir(rules.stateDirectory)
    }

    /// The template without the one line that contains `text`.
    static func without(_ text: String, _ template: String) throws -> String {
        let lines = template.split(separator: "\n", omittingEmptySubsequences: false)
        let kept = lines.filter { !$0.contains(text) }
        guard kept.count == lines.count - 1 else { throw LabError("not one line of the rules says: \(text)") }
        return kept.joined(separator: "\n")
    }

    /// The server's address.
    var server: IPAddress { family == .v4 ? IPAddress(v4: 0xC612_0001) : IPAddress(v6: 0xFD00_0018_0000_0000, 1) }
    /// The agent's address.
    var agentAddress: IPAddress {
        family == .v4 ? IPAddress(v4: 0xC612_0002) : IPAddress(v6: 0xFD00_0018_0000_0000, 2)
    }

    /// A server's socket that listens on `port`.
    func listen(_ transport: TransportProtocol, port: UInt16, on hosts: borrowing TwoHosts) throws -> LabSocket {
        try hosts.onServer {
            let socket = try LabSocket(transport, family)
            try socket.bind(server, port, backlog: transport == .tcp ? 8 : nil)
            return socket
        }
    }

    /// A process in the slice, or outside of it with a user of its own.
    func agent(user: UInt32? = nil, confined: Bool = true) throws -> Agent {
        try Agent(family, cgroup: confined ? cgroup.directory : nil, user: user)
    }

    // MARK: - In place of the daemon

    /// The daemon's sign of life.
    func renew() throws {
        if attends { try tables.renew([6, 17], set: "alive", table: "sallyport") }
    }

    /// The next packet that the rules hand over; fails after ten seconds.
    func next() throws -> Packet {
        for _ in 0..<100 where backlog.isEmpty {
            try renew()
            try take(timeoutMilliseconds: 100)
        }
        guard !backlog.isEmpty else { throw LabError("no packet comes") }
        return backlog.removeFirst()
    }

    /// Whether the queues are empty now.
    func isQuiet() throws -> Bool {
        try take(timeoutMilliseconds: 0)
        return backlog.isEmpty
    }

    private func take(timeoutMilliseconds: Int32) throws {
        let count = try queues.receive(timeoutMilliseconds: timeoutMilliseconds)
        for index in 0..<count {
            let packet = queues.packet(at: index)
            var bytes: [UInt8] = []
            for offset in 0..<packet.payload.byteCount {
                bytes.append(packet.payload.unsafeLoad(fromByteOffset: offset, as: UInt8.self))
            }
            backlog.append(Packet(facts: packet.facts, bytes: bytes))
        }
    }

    /// Lets a packet pass; `bits` of the mark are the verdict.
    func accept(_ packet: Packet, _ bits: UInt32 = 0) {
        verdicts.accept(
            queue: packet.facts.queue, id: packet.facts.id, mark: bits == 0 ? nil : packet.facts.mark | bits)
        verdicts.flush()
    }

    /// Drops a packet.
    func drop(_ packet: Packet) {
        verdicts.drop(queue: packet.facts.queue, id: packet.facts.id)
        verdicts.flush()
    }

    /// Makes the agent connect and passes its SYN.
    func connect(_ agent: borrowing Agent, port: UInt16) throws {
        try agent.begin("connect('\(server)', \(port))")
        accept(try next())
        let answer = try agent.end()
        #expect(answer == "ok")
    }

    // MARK: - What the kernel says

    /// The packets that a named counter has counted.
    func counter(_ name: String) throws -> Int {
        let text = try Program.run("nft", "list", "counter", "inet", "sallyport", name)
        let words = text.split(whereSeparator: \.isWhitespace)
        guard let index = words.firstIndex(of: "packets"), let count = Int(words[index + 1]) else {
            throw LabError("counter \(name): \(text)")
        }
        return count
    }

    /// The marks of the connections to a port, our bits only.
    func connectionMarks(port: UInt16) throws -> [UInt32] {
        let text = try Program.run("conntrack", "-L", "-f", family == .v4 ? "ipv4" : "ipv6")
        return text.split(separator: "\n").compactMap { line in
            guard line.contains(" dport=\(port) "),
                let word = line.split(separator: " ").first(where: { $0.hasPrefix("mark=") })
            else { return nil }
            return UInt32(word.dropFirst(5)).map { $0 & 0x0F00_0000 }
        }
    }

    /// Waits until `condition` holds; fails after ten seconds' worth of trying.
    func wait(_ what: String, _ condition: () throws -> Bool) throws {
        for _ in 0..<2000 {
            if try condition() { return }
            try renew()
        }
        throw LabError("\(what): never")
    }
}

/// A Python process that does one thing at a time and says how it went: `ok`, a value, or the name of an errno.
struct Agent: ~Copyable {
    private let process: LabProcess

    init(_ family: AddressFamily, cgroup: String?, user: UInt32?) throws {
        let process = try LabProcess.python(Self.script, family == .v4 ? "4" : "6", cgroup: cgroup, user: user)
        let greeting = try process.hear()
        guard greeting == "ready" else { throw LabError("the agent says: \(greeting)") }
        self.process = process
    }

    /// Begins something; `end` waits for it.
    func begin(_ expression: String) throws {
        try process.say(expression)
    }

    /// The result of what was begun.
    func end() throws -> String {
        try process.hear()
    }

    /// Does something and returns its result.
    func perform(_ expression: String) throws -> String {
        try begin(expression)
        return try end()
    }

    private static let script = """
        import socket, os, sys, errno, struct
        family = socket.AF_INET if sys.argv[1] == "4" else socket.AF_INET6
        s = socket.socket(family, socket.SOCK_STREAM)
        u = socket.socket(family, socket.SOCK_DGRAM)
        for each in (s, u): each.settimeout(10)
        def connect(address, port): s.connect((address, port)); return "ok"
        def option(level, name, value): s.setsockopt(level, name, value); return "ok"
        def send(data, flags=0): return str(s.send(data, flags))
        def receive(): return s.recv(65536).hex()
        def datagram(data, address, port): return str(u.sendto(data, (address, port)))
        def connected_datagram(data, address, port): u.connect((address, port)); return str(u.send(data))
        def answer(): return u.recvfrom(65536)[0].hex()
        def listen(address, port):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port)); s.listen(8); return "ok"
        def local_port(): return str(s.getsockname()[1])
        def raw(address, packet):
            r = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
            r.sendto(bytes.fromhex(packet), (address, 0)); return "ok"
        def icmp(address, type, code, quoted):
            message = bytes((type, code, 0, 0)) + bytes(4) + bytes.fromhex(quoted)
            total = sum(struct.unpack("!%dH" % (len(message) // 2), message))
            total = (total & 65535) + (total >> 16)
            message = message[:2] + struct.pack("!H", ~total & 65535) + message[4:]
            protocol = socket.IPPROTO_ICMP if sys.argv[1] == "4" else socket.IPPROTO_ICMPV6
            socket.socket(family, socket.SOCK_RAW, protocol).sendto(message, (address, 0)); return "ok"
        print("ready")
        for line in sys.stdin:
            try: print(eval(line))
            except TimeoutError: print("timeout")
            except OSError as e: print(errno.errorcode.get(e.errno, str(e)))
            except Exception as e: print("fault: " + repr(e))
        """
}
