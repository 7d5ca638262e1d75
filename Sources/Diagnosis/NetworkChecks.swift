import KernelRules
import PacketHeaders

/// Containers and virtual machines: whether what they send crosses the forward hook.
enum NetworkChecks {
    /// Every finding about them.
    static func findings(_ facts: NetworkFacts, _ parameters: KernelRulesParameters) -> [Finding] {
        let isForwarding = !(parameters.interfaces.isEmpty && parameters.sources.isEmpty)
        return programs(facts, parameters) + containers(facts, parameters, isForwarding)
    }

    private static func programs(_ facts: NetworkFacts, _ parameters: KernelRulesParameters) -> [Finding] {
        guard !parameters.interfaces.isEmpty else {
            return [.ok(.devicePrograms, "interfaces of agents", "none is listed")]
        }
        var findings: [Finding] = facts.unread.filter { $0.hasPrefix("filters") }.map { reason in
            .unknown(.devicePrograms, "interfaces of agents", reason.withoutRemedy, remedy: "apt-get install iproute2")
        }
        for interface in parameters.interfaces {
            guard let programs = facts.programs[interface] else { continue }
            findings.append(
                .unknown(
                    .devicePrograms, "interface \(interface)",
                    "\(programs.joined(separator: ", ")): what it does with packets cannot be told from here",
                    remedy: "bpftool net list dev \(interface); tc filter show dev \(interface) ingress"))
        }
        guard findings.isEmpty else { return findings }
        return [.ok(.devicePrograms, "interfaces of agents", "no XDP program and no filter of tc there")]
    }

    private static func containers(
        _ facts: NetworkFacts, _ parameters: KernelRulesParameters, _ isForwarding: Bool
    ) -> [Finding] {
        guard isForwarding else {
            return [.ok(.containers, "containers", "none is an agent by the configuration (no interface, no source)")]
        }
        var findings: [Finding] = []
        for interface in parameters.interfaces {
            if facts.missingInterfaces.contains(interface) {
                findings.append(
                    .unknown(
                        .containers, "interface \(interface)", "it is not there: nothing comes in by it",
                        remedy: "correct the name in the configuration, or start what makes it"))
            }
            guard let bridge = facts.masters[interface], !parameters.interfaces.contains(bridge) else { continue }
            findings.append(
                .hole(
                    .containers, "interface \(interface)",
                    "it is a port of \(bridge): what it forwards comes in by \(bridge)",
                    remedy: "list \(bridge) instead of \(interface), then sallyport rules apply"))
        }
        for bridge in facts.bridges where !facts.filtersBridges && bridge.ports.count > 1 {
            let isListed =
                parameters.interfaces.contains(bridge.name)
                || bridge.ports.contains { parameters.interfaces.contains($0) }
                || bridge.addresses.contains { address in parameters.sources.contains { $0.contains(address) } }
            guard isListed else { continue }
            findings.append(
                .hole(
                    .containers, "bridge \(bridge.name)",
                    "\(bridge.ports.joined(separator: ", ")) reach each other without the forward hook",
                    remedy: "modprobe br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1 "
                        + "net.bridge.bridge-nf-call-ip6tables=1"))
        }
        // Whether it is an agent's nobody has said: it could be.
        for process in facts.hostContainers {
            findings.append(
                .unknown(
                    .containers, "process \(process.pid) (\(process.name))",
                    "of a container with the host's own network, which no interface or source names",
                    remedy: "if it is an agent's: give it a network of its own, or list its cgroup \(process.cgroup)"))
        }
        for (process, device, kind) in facts.passingDevices {
            findings.append(
                .unknown(
                    .containers, "process \(process.pid) (\(process.name))",
                    "of a container whose \(device) is \(kind): what it sends never crosses the forward hook",
                    remedy: "if it is an agent's: connect it to a bridge instead"))
        }
        findings += facts.unread.filter { !$0.hasPrefix("filters") }.map { reason in
            .unknown(.containers, "containers", reason, remedy: "ip -d link, in each container")
        }
        guard findings.isEmpty else { return findings }
        return [.ok(.containers, "containers", "what listed interfaces and sources send crosses the forward hook")]
    }
}
