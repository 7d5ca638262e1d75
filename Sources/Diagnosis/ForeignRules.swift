/// What a rule of another table does that could undo what ours do. Everything else, `accept` and `drop` among it, ends
/// that table's own chain and no other: each base chain of a hook is asked in its turn (nft(8), "Verdict statements").
enum RuleEffect: Hashable, Sendable {
    /// Connection tracking is left out (`notrack`).
    case untracks
    /// Bits of the packet mark are set, cleared or flipped.
    case changesPacketMark(UInt32)
    /// Bits of the connection mark are.
    case changesConnectionMark(UInt32)
    /// Packets are handed to these queues.
    case queues(ClosedRange<UInt16>)
    /// The destination becomes another one (`dnat`, `redirect`).
    case translates
    /// Later packets of the flow skip the forward hook (`flow add`).
    case offloads
    /// A copy goes elsewhere (`dup`, TEE).
    case copies
    /// The packet leaves by another device at once (`fwd`).
    case forwards
}

/// One rule of another table.
struct ForeignRule: Hashable, Sendable {
    /// What it does.
    var effects: [RuleEffect] = []
    /// The chains of its table that it goes on in.
    var targets: [String] = []
    /// Whose packets it takes out of its base chain, nothing else being asked: `cgroup sallyport.slice`, `uid 1001`.
    var exempts: Set<String> = []
    /// The command that takes it away.
    var deletion = ""
}

/// One chain of another table.
struct ForeignChain: Hashable, Sendable {
    /// Family and name: `ip nat`.
    var table: String
    /// Its name.
    var name: String
    /// The hook of a base chain, such as `output`.
    var hook: String?
    /// The priority of a base chain.
    var priority = 0
    /// The command that puts a rule before its others, up to the rule itself.
    var insertion = ""
    /// Whether its rules are those of iptables(8), in that spelling.
    var isOfIptables = false
    /// In their order.
    var rules: [ForeignRule] = []
}

/// The rules of others that could be read.
struct ForeignRules: Hashable, Sendable {
    /// Every chain of every table but ours.
    var chains: [ForeignChain] = []
    /// What could not be read, and why.
    var unread: [String] = []
}

extension ForeignRules {
    /// The base chains, each with the rules that a packet may meet from it on and whose packets never come so far.
    func reachable() -> [(chain: ForeignChain, rules: [(rule: ForeignRule, exempted: Set<String>)])] {
        chains.filter { $0.hook != nil }.map { base in
            var exempted: Set<String> = []
            var rules: [(rule: ForeignRule, exempted: Set<String>)] = []
            for rule in base.rules {
                exempted.formUnion(rule.exempts)
                var visited: Set<String> = []
                rules += follow(rule, in: base, &visited).map { ($0, exempted) }
            }
            return (base, rules)
        }
    }

    private func follow(_ rule: ForeignRule, in base: ForeignChain, _ visited: inout Set<String>) -> [ForeignRule] {
        var found = [rule]
        for target in rule.targets where visited.insert(target).inserted {
            let called = chains.first {
                $0.table == base.table && $0.name == target && $0.isOfIptables == base.isOfIptables
            }
            for rule in called?.rules ?? [] { found += follow(rule, in: base, &visited) }
        }
        return found
    }
}
