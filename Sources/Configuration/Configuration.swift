// Configuration: what `/etc/sallyport/sallyport.yaml` says.
//
// The file is YAML (Yams), read strictly: a key that is not known, a value of the wrong type, a duplicate, a prefix with
// host bits, two agents with one uid are errors, each with its line, its key and what to do; all of them are reported at
// once. What comes out is a plain value that the daemon, the rules and the command line share. Reading: `YAMLReader` (a
// cursor that knows its key path) and one `Configuration+<section>.swift` a part of the file. Imports `Identity`,
// `Tokens` and `PacketHeaders` for the values, Yams for the text; the only I/O is reading the file and looking up user names.

public import Identity
public import PacketHeaders
public import Tokens

/// The whole configuration; every default is that of an absent key.
public struct Configuration: Equatable, Sendable {
    /// `agents:`, in the order of the file.
    public var agents: [Agent] = []
    /// `slice:` The systemd slice, and so the cgroup, that is confined as a whole.
    public var slice = "sallyport.slice"
    /// `customers:` Who issues customers' tokens; without them there are no customers.
    public var customers: [TokenIssuer] = []
    /// `agent_tokens:`
    public var agentTokens = AgentTokens()
    /// `listen:` Inbound connections that agents may accept.
    public var listen: [ListenRule] = []
    /// `resolvers:` Where DNS may go; nowhere by default.
    public var resolvers: [IPAddress] = []
    /// `dns:` How names are bound to addresses.
    public var dns = NameSettings()
    /// `bindings:` Names that lead to addresses without an answer, in the order of the file.
    public var bindings: [NameBinding] = []
    /// `queues:`
    public var queues = Queues()
    /// `mark:`
    public var mark = MarkBits()
    /// `policy:`
    public var policy = PolicySettings()
    /// `limits:`
    public var limits = Limits()
    /// `log:`
    public var log = LogSettings()
    /// `control:`
    public var control = ControlSettings()
    /// `deny:` How a refused flow is answered.
    public var deny = DenyMode.explain

    /// A configuration of defaults, without agents.
    public init() {}

    /// The agents as a look-up table. Throws only for values that did not come from a checked file.
    public func agentTable() throws(AgentTableError) -> AgentTable {
        try AgentTable(agents, slice: slice)
    }

    /// Whether it is known which names lead to an address: answers are watched, or the configuration says it.
    public var watchesNames: Bool { dns.isWatched && !(resolvers.isEmpty && bindings.isEmpty) }

    /// The names of each address by `bindings:` and the hosts file, sorted.
    public var fixedNames: [IPAddress: [String]] {
        var names: [IPAddress: Set<String>] = [:]
        for binding in bindings {
            for address in binding.addresses { names[address, default: []].insert(binding.host) }
        }
        return names.mapValues { $0.sorted() }
    }

    /// Where the programs keep what must be remembered while they run: the directory of the control socket.
    public var stateDirectory: String {
        let parent = control.socket.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        return parent.count > 1 ? parent.joined(separator: "/") : "/"
    }

    /// The path of the configuration when none is given.
    public static let defaultPath = "/etc/sallyport/sallyport.yaml"

    /// `queues:` The NFQUEUE numbers.
    public struct Queues: Equatable, Sendable {
        /// The first queue number. TCP has `base ..< base + count`, UDP and re-queued segments the `count` after those.
        public var base: UInt16 = 8800
        /// How many queue threads: 1...64; by default one a processor, at most 4.
        public var count = 1
        /// How many packets the kernel holds in each queue: 64...1,048,576.
        public var length: UInt32 = 8192

        /// The defaults, with one thread.
        public init() {}

        /// The queue numbers of TCP, one a thread.
        public var tcp: Range<UInt16> { base..<base + UInt16(count) }
        /// The queue numbers of UDP and of TCP segments queued again, one a thread.
        public var udp: Range<UInt16> { base + UInt16(count)..<base + 2 * UInt16(count) }
    }

    /// `dns:`
    public struct NameSettings: Equatable, Sendable {
        /// Whether answers are watched; `dns: off` ends it.
        public var isWatched = true
        /// What a shorter time to live of an answer is taken for: 0...86,400 s.
        public var floorSeconds: UInt32 = 60
        /// How long a name leads to an address after its time to live, and after each flow to it: 0...86,400 s.
        public var graceSeconds: UInt32 = 900
        /// A file of the form of hosts(5) whose names count as `bindings:`; nil for none.
        public var hostsFile: String?

        /// The defaults.
        public init() {}
    }

    /// One entry of `bindings:`, or a line of the hosts file.
    public struct NameBinding: Equatable, Sendable {
        /// The name: lower case, no trailing dot.
        public var host: String
        /// Where it leads.
        public var addresses: [IPAddress]

        /// A binding from its parts.
        public init(host: String, addresses: [IPAddress]) {
            self.host = host
            self.addresses = addresses
        }
    }

    /// `policy:` Where the policy is.
    public struct PolicySettings: Equatable, Sendable {
        /// The directory with `*.rego` and data files.
        public var directory = "/etc/sallyport/policies"
        /// The package that defines `decision`, without `data.`.
        public var package = "sallyport.egress"

        /// The defaults.
        public init() {}
    }

    /// `limits:`
    public struct Limits: Equatable, Sendable {
        /// Flows in the tables of all queue threads together: 1,024...16,777,216.
        public var flows = 131_072
        /// How long a packet may be held for the rest of a ClientHello or request: 100...60,000 ms.
        public var heldMilliseconds = 5_000
        /// The longest ClientHello or request head, in bytes: 4,096...1,048,576.
        public var helloBytes = 65_536

        /// The defaults.
        public init() {}
    }

    /// `log:`
    public struct LogSettings: Equatable, Sendable {
        /// journald's native socket.
        public var socket = "/run/systemd/journal/socket"
        /// Records that wait for the writer at most: 1,024...4,194,304.
        public var ring = 65_536
        /// Whether records are thrown away instead of written: for measurements of the packet path alone.
        public var discard = false

        /// The defaults.
        public init() {}
    }

    /// `control:`
    public struct ControlSettings: Equatable, Sendable {
        /// The Unix socket of the control API.
        public var socket = "/run/sallyport/control.sock"

        /// The defaults.
        public init() {}
    }

    /// `deny:` How a refused flow is answered.
    public enum DenyMode: String, Equatable, Sendable, CaseIterable {
        /// In the words of the protocol: a TLS alert, a response of HTTP or DNS, an error of a database; else as `reset`.
        case explain
        /// TCP reset, else ICMP administratively prohibited.
        case reset
        /// Nothing is sent back.
        case drop
    }
}

/// `mark:` Our four neighbouring bits in the packet and connection marks; no other bit is ever read or written.
public struct MarkBits: Equatable, Sendable {
    /// All four bits.
    public let mask: UInt32

    /// The default, `0x0f000000`.
    public init() {
        mask = 0x0F00_0000
    }

    /// The bits of `mask`; nil unless it is four neighbouring bits.
    public init?(mask: UInt32) {
        let low = mask & (~mask &+ 1)
        guard mask.nonzeroBitCount == 4, mask == low &* 15 else { return nil }
        self.mask = mask
    }

    /// The connection is that of a confined socket or source.
    public var confined: UInt32 { mask & (~mask &+ 1) }
    /// It was allowed.
    public var allowed: UInt32 { confined << 1 }
    /// It was refused.
    public var refused: UInt32 { confined << 2 }
    /// The packet was made by the daemon.
    public var inject: UInt32 { confined << 3 }
}
