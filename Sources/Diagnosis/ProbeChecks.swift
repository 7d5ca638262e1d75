import Netlink

/// What a flow of our own came to.
enum ProbeChecks {
    /// - Parameter recorded: the ports of the flows that the daemon has a record of; nil where it was not to be asked.
    static func findings(_ results: Result<[FlowProbe.Result], NetlinkError>, recorded: Set<UInt16>?) -> [Finding] {
        switch results {
        case .failure(let error):
            let reason = error.description.withoutRemedy
            return [Check.flowRefused, .flowPassed, .flowDecided].map {
                .unknown($0, "a flow of our own", "it could not be tried: \(reason)", remedy: "sallyport rules apply")
            }
        case .success(let results) where results.isEmpty:
            return [
                .unknown(
                    .flowRefused, "a flow of our own", "loopback has no address", remedy: "ip link set lo up")
            ]
        case .success(let results):
            return results.flatMap { findings($0, recorded) } + ipv6(results)
        }
    }

    private static func findings(_ result: FlowProbe.Result, _ recorded: Set<UInt16>?) -> [Finding] {
        let subject = "\(result.family), to our own port \(result.port)"
        let rules = "sallyport rules check; nft list ruleset"
        var findings: [Finding] = []
        switch (result.unconfined, result.hasArrived || result.confined == .connected, result.confined) {
        case (_, true, _):
            findings.append(
                .hole(
                    .flowRefused, subject, "a connection from a confined cgroup arrived",
                    remedy: "sallyport rules apply"))
        // What arrives from nowhere says nothing of who was refused why.
        case (.refused, _, _), (.unanswered, _, _), (.failed, _, _):
            findings.append(
                .unknown(
                    .flowRefused, subject, "refused from a confined cgroup, but from outside of it too", remedy: rules))
        case (_, false, .refused):
            findings.append(.ok(.flowRefused, subject, "refused at once from a confined cgroup"))
        case (_, false, .unanswered):
            findings.append(
                .ok(.flowRefused, subject, "nothing arrived from a confined cgroup, and nothing was answered"))
        case (_, false, .failed(let reason)):
            findings.append(
                .unknown(
                    .flowRefused, subject, "the probe could not be run: \(reason)", remedy: "sallyport rules apply"))
        case (_, false, .connected): break
        }
        switch result.unconfined {
        case .connected: findings.append(.ok(.flowPassed, subject, "passes from outside"))
        case .refused, .unanswered, .failed:
            findings.append(
                .hole(.flowPassed, subject, "does not pass from outside of every agent's cgroup either", remedy: rules))
        }
        switch recorded?.contains(result.port) {
        case true?: findings.append(.ok(.flowDecided, subject, "the daemon decided it, as nobody's"))
        case false?:
            findings.append(
                .hole(
                    .flowDecided, subject, "the daemon has no record of it",
                    remedy: "sallyport status; systemctl restart sallyportd"))
        case nil:
            findings.append(
                .unknown(
                    .flowDecided, subject, "the daemon does not say what it decided",
                    remedy: "systemctl status sallyportd"))
        }
        return findings
    }

    /// The rules are of both families; here is whether they hold for the second one.
    private static func ipv6(_ results: [FlowProbe.Result]) -> [Finding] {
        guard let result = results.first(where: { $0.family == "IPv6" }) else {
            return [.ok(.ipv6, "this network", "has no IPv6")]
        }
        let subject = "flows over IPv6"
        if result.hasArrived || result.confined == .connected {
            return [.hole(.ipv6, subject, "arrive from a confined cgroup", remedy: "sallyport rules apply")]
        }
        return [.ok(.ipv6, subject, "are confined by the same rules; ours did not arrive")]
    }
}
