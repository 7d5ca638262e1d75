/// Reads what iptables-save(8) and ip6tables-save(8) print.
enum IptablesListing {
    /// The chains in `text`. `family` is `ip` or `ip6`; `program` is the iptables(8) that deletes these rules.
    static func read(_ text: String, family: String, program: String) -> [ForeignChain] {
        var chains: [ForeignChain] = []
        var table = ""
        for line in text.split(separator: "\n") {
            switch line.first {
            case "*": table = String(line.dropFirst())
            case ":":
                let name = String(line.dropFirst().prefix { $0 != " " })
                var chain = ForeignChain(table: family + " " + table, name: name)
                chain.isOfIptables = true
                chain.insertion = "\(program) -t \(table) -I \(name)"
                if builtIn.contains(name) {
                    chain.hook = name.lowercased()
                    chain.priority = priority(of: table, chain: name)
                }
                chains.append(chain)
            case "-":
                let words = line.split(separator: " ").map { String($0) }
                guard words.count > 2, words[0] == "-A",
                    let index = chains.firstIndex(where: { $0.table == family + " " + table && $0.name == words[1] })
                else { continue }
                chains[index].rules.append(rule(words, "\(program) -t \(table) -D \(line.dropFirst(3))"))
            default: continue
            }
        }
        return chains
    }

    private static func rule(_ words: [String], _ deletion: String) -> ForeignRule {
        var rule = ForeignRule()
        rule.deletion = deletion
        func value(_ name: String) -> String? {
            words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
        }
        guard let target = value("-j") ?? value("-g") else { return rule }
        switch target {
        case "NOTRACK": rule.effects = [.untracks]
        case "CT": rule.effects = words.contains("--notrack") ? [.untracks] : []
        case "DNAT", "REDIRECT": rule.effects = [.translates]
        case "TEE": rule.effects = [.copies]
        case "FLOWOFFLOAD": rule.effects = [.offloads]
        case "NFQUEUE":
            let ends = (value("--queue-balance") ?? value("--queue-num") ?? "0").split(separator: ":")
                .compactMap { UInt16($0) }
            if let low = ends.first, let high = ends.last, low <= high { rule.effects = [.queues(low...high)] }
        case "MARK": rule.effects = [.changesPacketMark(bits(value("--set-xmark")))]
        case "CONNMARK":
            let copied = bits(value("--nfmask"), mask: value("--ctmask"))
            if words.contains("--restore-mark") {
                rule.effects = [.changesPacketMark(copied)]
            } else {
                let isSave = words.contains("--save-mark")
                rule.effects = [.changesConnectionMark(isSave ? copied : bits(value("--set-xmark")))]
            }
        case "ACCEPT", "RETURN": rule.exempts = exemption(words)
        default: rule.targets = [target]
        }
        return rule
    }

    /// The bits that `VALUE/MASK` may change; all of them where it is not to be read.
    private static func bits(_ text: String?) -> UInt32 {
        let parts = (text ?? "").split(separator: "/")
        return parts.count == 2 ? bits(String(parts[0]), mask: String(parts[1])) : .max
    }

    private static func bits(_ value: String?, mask: String?) -> UInt32 {
        func number(_ text: String?) -> UInt32? {
            text.flatMap { $0.hasPrefix("0x") ? UInt32($0.dropFirst(2), radix: 16) : UInt32($0) }
        }
        guard let value = number(value), let mask = number(mask) else { return .max }
        return value | mask
    }

    /// `-A CHAIN -m cgroup --path P -j ACCEPT`, `-A CHAIN -m owner --uid-owner N -j RETURN`, and nothing more.
    private static func exemption(_ words: [String]) -> Set<String> {
        guard words.count == 8, words[2] == "-m", words[6] == "-j" else { return [] }
        switch (words[3], words[4]) {
        case ("cgroup", "--path"): return ["cgroup " + words[5].filter { $0 != "\"" }.drop { $0 == "/" }]
        case ("owner", "--uid-owner"): return ["uid " + words[5]]
        default: return []
        }
    }

    /// linux/netfilter_ipv4.h, `enum nf_ip_hook_priorities`.
    private static func priority(of table: String, chain: String) -> Int {
        switch table {
        case "raw": -300
        case "mangle": -150
        case "nat": chain == "PREROUTING" || chain == "OUTPUT" ? -100 : 100
        case "security": 50
        default: 0
        }
    }

    private static let builtIn: Set<String> = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]
}
