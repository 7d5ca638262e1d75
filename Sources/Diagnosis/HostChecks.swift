import Configuration
import Control
import DecisionLog
import KernelRules

/// The kernel, the clock, the journal, and what the configuration itself gives up.
enum HostChecks {
    /// Every finding about them.
    static func findings(
        _ facts: HostFacts, _ probes: [FlowProbe.Result], _ log: LogCounters?, _ configuration: Configuration
    ) -> [Finding] {
        kernel(facts, probes) + connections(facts) + clock(facts, configuration) + journal(facts, log, configuration)
            + names(configuration)
    }

    private static func kernel(_ facts: HostFacts, _ probes: [FlowProbe.Result]) -> [Finding] {
        var findings: [Finding] = []
        let subject = "Linux \(facts.release)"
        var queue = ""
        switch facts.backend {
        case .success(.native): queue = "nft_queue"
        case .success(.xtables): queue = "xt_NFQUEUE"
        case .failure(let error):
            findings.append(
                .hole(
                    .kernel, subject, error.description.withoutRemedy,
                    remedy: "apt-get install nftables; modprobe nf_tables"))
        }
        if !facts.hasQueues {
            findings.append(.hole(.kernel, subject, "it has no queues", remedy: "modprobe nfnetlink_queue"))
        }
        if facts.connections == nil {
            findings.append(.hole(.kernel, subject, "it does not track connections", remedy: "modprobe nf_conntrack"))
        }
        let tried = probes.compactMap(\.canDestroy)
        if tried.contains(false) {
            findings.append(
                .hole(
                    .kernel, subject, "it destroys no sockets: flows whose permission ends are refused, but not cut",
                    remedy: "use a kernel with CONFIG_INET_DIAG_DESTROY=y, such as Debian's"))
        } else if tried.isEmpty {
            findings.append(
                .unknown(
                    .kernel, subject,
                    "whether it destroys sockets (SOCK_DESTROY): no flow of our own passed to try it on",
                    remedy: "sallyport rules check"))
        }
        guard findings.isEmpty else { return findings }
        return [.ok(.kernel, subject, "\(queue), connection tracking, SOCK_DESTROY")]
    }

    private static func connections(_ facts: HostFacts) -> [Finding] {
        guard let (count, limit) = facts.connections, limit > 0 else { return [] }
        let subject = "\(count) of \(limit) connections"
        guard count < limit - limit / 10 else {
            return [
                .hole(
                    .connections, subject, "more than nine tenths are taken",
                    remedy: "sysctl -w net.netfilter.nf_conntrack_max=\(limit * 2)")
            ]
        }
        return [.ok(.connections, subject, "there is room")]
    }

    private static func clock(_ facts: HostFacts, _ configuration: Configuration) -> [Finding] {
        let remedy = "timedatectl set-ntp true; timedatectl timesync-status"
        switch facts.isSynchronised {
        case true?: return [.ok(.clock, "the kernel's clock", "synchronised")]
        case nil: return [.unknown(.clock, "the kernel's clock", "adjtimex(2) does not say", remedy: remedy)]
        case false? where configuration.customers.isEmpty:
            return [.ok(.clock, "the kernel's clock", "not synchronised; no token of a customer depends on it")]
        case false?:
            return [.hole(.clock, "the kernel's clock", "nothing synchronises it", remedy: remedy)]
        }
    }

    private static func journal(_ facts: HostFacts, _ log: LogCounters?, _ configuration: Configuration) -> [Finding] {
        var findings: [Finding] = []
        if configuration.log.discard {
            findings.append(
                .hole(
                    .journal, "records", "log.discard throws them away",
                    remedy: "remove log.discard, then restart sallyportd"))
        }
        if let reason = facts.journalFailure {
            findings.append(
                .hole(
                    .journal, configuration.log.socket, "nobody takes records there: \(reason)",
                    remedy: "systemctl start systemd-journald.socket systemd-journald"))
        }
        if let error = log?.journalError {
            findings.append(
                .hole(
                    .journal, "records", "the daemon cannot write them: \(error)",
                    remedy: "systemctl status systemd-journald"))
        }
        if let lost = log?.lost, lost > 0 {
            findings.append(
                .hole(
                    .journal, "records", "\(lost) were lost since the daemon's start",
                    remedy: "journalctl -u systemd-journald; raise log.ring; systemctl restart sallyportd"))
        }
        if !facts.isJournalKept {
            findings.append(
                .hole(
                    .journal, "journald", "keeps records in memory only: they end with the boot",
                    remedy: "mkdir -p /var/log/journal; systemd-tmpfiles --create --prefix /var/log/journal; "
                        + "journalctl --flush"))
        }
        if let limit = facts.rateLimit, limit != "0" {
            findings.append(
                .hole(
                    .journal, "sallyportd.service", "journald may drop its records (LogRateLimitIntervalUSec=\(limit))",
                    remedy: "systemctl edit sallyportd: [Service] LogRateLimitIntervalSec=0"))
        }
        guard findings.isEmpty else { return findings }
        let limit = facts.rateLimit == nil ? "" : ", without a rate limit"
        return [.ok(.journal, configuration.log.socket, "takes records and keeps them\(limit)")]
    }

    /// What is lost where nobody watches names (docs/configuration.md, "Names and addresses").
    private static func names(_ configuration: Configuration) -> [Finding] {
        guard !configuration.watchesNames else {
            return [.ok(.names, "names", "answers and bindings say where names lead")]
        }
        let lost =
            "policy is not told where names lead, and answers with keys of Encrypted ClientHello reach agents"
        return [
            configuration.dns.isWatched
                ? .hole(
                    .names, "names", "neither resolvers nor bindings are listed: \(lost)",
                    remedy: "list resolvers: or bindings:, then systemctl reload sallyportd")
                : .hole(.names, "dns: off", lost, remedy: "remove dns: off, then systemctl reload sallyportd")
        ]
    }
}
