import KernelRules

/// Our table, and what others do around it.
enum RulesCheck {
    /// What `RuleSet.check` says; nil where it could not look, with the reason.
    static func table(_ problems: Result<[String], KernelRulesError>) -> [Finding] {
        let subject = "table inet sallyport"
        switch problems {
        case .success(let lines) where lines.isEmpty:
            return [
                .ok(.rules, subject, "as it was applied for this configuration, and the settings that it relies on too")
            ]
        case .success(let lines):
            return lines.map { line in
                .hole(.rules, subject, line.withoutRemedy, remedy: "sallyport rules apply")
            }
        case .failure(let error):
            return [.unknown(.rules, subject, error.description.withoutRemedy, remedy: "sallyport rules check")]
        }
    }

    /// What rules of other tables undo.
    ///
    /// Our chains are at -150 to -148 of the hooks output, forward and input. A verdict of another table is no way past
    /// them: `accept` ends the chain that it is in, and packets of another queue come back to the next chain. What is: to
    /// change the marks in which verdicts are kept, between our chains or on the connection; to keep flows away from
    /// connection tracking, on which the rules look; to change the destination behind them; to let packets skip the hook.
    static func otherTables(_ rules: ForeignRules, _ parameters: KernelRulesParameters) -> [Finding] {
        let confined = ConfinedTraffic(parameters)
        var findings: [Finding] = rules.unread.map { reason in
            .unknown(.otherTables, "rules of others", reason, remedy: "nft list ruleset; iptables-save; ip6tables-save")
        }
        var told: Set<String> = []
        for (chain, reachable) in rules.reachable() {
            for (rule, exempted) in reachable {
                for effect in rule.effects {
                    guard let detail = confined.harm(of: effect, at: chain) else { continue }
                    let missing = confined.selectors.filter { !exempted.contains($0) }
                    guard !missing.isEmpty || !effect.isAvoidable, told.insert(rule.deletion).inserted else { continue }
                    let remedy =
                        effect.isAvoidable && !missing.isEmpty
                        ? missing.map { exemption($0, chain) }.joined(separator: "; ") : rule.deletion
                    findings.append(.hole(.otherTables, "\(chain.table) \(chain.name)", detail, remedy: remedy))
                }
            }
        }
        guard findings.isEmpty else { return findings }
        let count = rules.chains.filter { $0.hook != nil }.count
        return [.ok(.otherTables, "rules of others", "\(count) base chains, none undoes what ours decide")]
    }

    /// The command that takes confined traffic out of a chain before its other rules.
    private static func exemption(_ selector: String, _ chain: ForeignChain) -> String {
        let value = selector.split(separator: " ", maxSplits: 1).last.map { String($0) } ?? ""
        switch (selector.hasPrefix("uid "), chain.isOfIptables) {
        case (true, true): return "\(chain.insertion) -m owner --uid-owner \(value) -j ACCEPT"
        case (true, false): return "\(chain.insertion) meta skuid \(value) accept"
        case (false, true): return "\(chain.insertion) -m cgroup --path \(value) -j ACCEPT"
        case (false, false):
            let level = value.split(separator: "/").count
            return "\(chain.insertion) socket cgroupv2 level \(level) '\"\(value)\"' accept"
        }
    }
}

extension RuleEffect {
    /// Whether it is enough to take confined traffic out before: what it does is not in order for agents alone.
    fileprivate var isAvoidable: Bool {
        switch self {
        case .translates: true
        case .untracks, .changesPacketMark, .changesConnectionMark, .queues, .offloads, .copies, .forwards: false
        }
    }
}

/// What is confined, as far as rules of others matter to it.
private struct ConfinedTraffic {
    /// Local senders, in the words of `ForeignRule.exempts`.
    let selectors: [String]
    let markMask: UInt32
    let queues: Range<UInt16>
    let isForwarded: Bool

    init(_ parameters: KernelRulesParameters) {
        selectors =
            ([parameters.slice] + parameters.cgroups).map { "cgroup " + $0 } + parameters.uids.map { "uid \($0)" }
        markMask = parameters.markMask
        queues = parameters.queueBase..<parameters.queueBase + 2 * parameters.queueCount
        isForwarded = !(parameters.interfaces.isEmpty && parameters.sources.isEmpty)
    }

    /// What an effect in a base chain does to confined traffic; nil where it does nothing.
    func harm(of effect: RuleEffect, at chain: ForeignChain) -> String? {
        let hook = chain.hook ?? ""
        switch effect {
        case .untracks:
            // Behind connection tracking (-200) a packet has its connection, and keeps it.
            guard chain.priority < -200, hook == "output" || hook == "prerouting" else { return nil }
            return "notrack: flows that it matches have no connection, whose state and mark the rules look at"
        case .changesPacketMark(let bits):
            // Before ours the bits are cleared, behind them nobody reads them; chains of one priority have no order.
            guard bits & markMask != 0, -150 ... -148 ~= chain.priority, Self.ourHooks.contains(hook) else {
                return nil
            }
            return "changes our bits of the packet mark between the verdict and the chain that keeps it"
        case .changesConnectionMark(let bits):
            guard bits & markMask != 0, hook != "ingress", hook != "egress" else { return nil }
            return "changes our bits of the connection mark, in which verdicts are kept"
        case .queues(let numbers):
            guard numbers.overlaps(ClosedRange(queues)) else { return nil }
            return "hands packets to queues that are the daemon's"
        case .translates:
            guard hook == "output", chain.priority >= -150 else { return nil }
            return "changes the destination of local flows after it was decided on"
        case .offloads:
            guard isForwarded else { return nil }
            return "flow add: packets of forwarded flows skip the rules as soon as the connection is established"
        case .copies:
            guard chain.priority < -148, hook != "postrouting" else { return nil }
            return "sends copies of packets elsewhere before they are decided on"
        case .forwards:
            guard isForwarded, hook == "ingress" else { return nil }
            return "sends packets on to another device before the rules see them"
        }
    }

    private static let ourHooks: Set<String> = ["output", "forward", "input"]
}

extension String {
    /// A line of ours without its `(what to do)`, which a finding has beside it.
    var withoutRemedy: String {
        guard hasSuffix(")"), let open = range(ofLast: " (") else { return self }
        return String(self[..<open])
    }

    private func range(ofLast text: String) -> String.Index? {
        var index = endIndex
        while index > startIndex {
            index = self.index(before: index)
            if self[index...].hasPrefix(text) { return index }
        }
        return nil
    }
}
