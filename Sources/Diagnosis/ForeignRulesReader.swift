import KernelRules
import Netlink

/// Reads the rules of others: nftables' own, those of iptables(8) within them, and those of its older kernel interface.
enum ForeignRulesReader {
    /// Every rule but ours, and what could not be read.
    static func read() -> ForeignRules {
        var rules = ForeignRules()
        var hasTargets = false
        do {
            let outcome = try Command.run(["nft", "-j", "list", "ruleset"])
            if outcome.status == 0 {
                (rules.chains, hasTargets) = try NFTListing.read(outcome.output)
            } else {
                rules.unread.append("nft: the rules cannot be read: \(outcome.errors)")
            }
        } catch {
            rules.unread.append("nft: the rules cannot be read: \(error)")
        }
        // What nft names but cannot spell, iptables-save does.
        if hasTargets { rules.add(variant: "nft") }
        let tables = ["ip_tables_names", "ip6_tables_names"].map {
            TextFile.read("/proc/thread-self/net/\($0)") ?? ""
        }
        if tables.contains(where: { !$0.isEmpty }) { rules.add(variant: "legacy") }
        return rules
    }
}

extension ForeignRules {
    fileprivate mutating func add(variant: String) {
        for (program, family) in [("iptables", "ip"), ("ip6tables", "ip6")] {
            let listing = "\(program)-\(variant)-save"
            do throws(KernelRulesError) {
                let outcome = try Command.run([listing])
                guard outcome.status == 0 else {
                    unread.append("\(listing) failed: \(outcome.errors)")
                    continue
                }
                chains += IptablesListing.read(
                    outcome.output, family: family, program: "\(program)-\(variant)")
            } catch {
                unread.append("rules of iptables: \(error.description.withoutRemedy)")
            }
        }
    }
}
