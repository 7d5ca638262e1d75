/// Agents' processes: where they are, and what they may.
enum ProcessChecks {
    /// Every finding about processes.
    static func findings(_ table: ProcessTable, _ confined: ConfinedSet) -> [Finding] {
        let inside = table.processes.filter { confined.holds($0) }
        var findings = outside(table, confined, inside)
        findings += each(.root, inside, confined, "none is uid 0") { process in
            process.isRoot
                ? (
                    "is uid 0",
                    "start it with sallyport run --user USER, or set User= and NoNewPrivileges=yes in its unit"
                )
                : nil
        }
        findings += each(.capabilities, inside, confined, "none may make packets, change rules or trace others") {
            process in
            guard process.isInOurUserNamespace else { return nil }
            // What uid 0 executes has the whole bounding set.
            let held = process.capabilities | (process.isRoot && !process.hasNoNewPrivileges ? process.boundingSet : 0)
            let names = dangerous.filter { held & 1 << $0.bit != 0 }.map(\.name)
            return names.isEmpty
                ? nil
                : (
                    "has \(names.joined(separator: ", "))",
                    "start it with sallyport run, or set CapabilityBoundingSet= and AmbientCapabilities= in its unit"
                )
        }
        findings += each(.cgroupEscape, inside, confined, "none can write to a cgroup") { process in
            process.isRoot && process.isInOurUserNamespace && process.hasWritableCgroups
                ? ("is uid 0 and sees cgroups writable", "start it with sallyport run, or set ProtectControlGroups=yes")
                : nil
        }
        findings += each(.engineSockets, inside, confined, "none reaches a container engine") { process in
            process.engines.isEmpty
                ? nil
                : (
                    "may connect to \(process.engines.joined(separator: ", "))",
                    "take its user out of the socket's group, or start it with sallyport run, which hides /run"
                )
        }
        findings += each(.resolvers, inside, confined, "none reaches a resolver but by the network") { process in
            process.reachable.isEmpty
                ? nil
                : (
                    "may ask \(process.reachable.map { "\($0.service) (\($0.path))" }.joined(separator: ", "))",
                    "start it with sallyport run, or set TemporaryFileSystem=/run in its unit"
                )
        }
        findings += networks(table, confined, inside)
        findings += sockets(table, confined, inside)
        findings += each(.vsock, inside, confined, "none can open AF_VSOCK") { process in
            table.hasVsock && !process.isFiltered
                ? (
                    "may open AF_VSOCK: it has no system call filter",
                    "start it with sallyport run, or set RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX in its unit"
                ) : nil
        }
        // What could not be looked at is not in order.
        for (check, processes) in table.unread {
            findings.removeAll { $0.check == check && $0.state == .ok }
            findings += processes.map {
                .unknown(check, $0, "it cannot be read", remedy: "run as root of the host itself")
            }
        }
        return findings
    }

    /// Of each confined process what `look` says: what is wrong and what to do. In order where it says nothing of any.
    private static func each(
        _ check: Check, _ processes: [ProcessFacts], _ confined: ConfinedSet, _ good: String,
        _ look: (ProcessFacts) -> (detail: String, remedy: String)?
    ) -> [Finding] {
        let findings = processes.compactMap { process in
            look(process).map { Finding.hole(check, confined.name(of: process), $0.detail, remedy: $0.remedy) }
        }
        return findings.isEmpty ? [.ok(check, subject(processes), good)] : findings
    }

    private static func subject(_ processes: [ProcessFacts]) -> String {
        processes.count == 1 ? "1 confined process" : "\(processes.count) confined processes"
    }

    /// Processes that ought to be confined: of a user that agents run as, or of an agent's unit. Where the rules name the uid
    /// itself, its processes are confined wherever they are.
    private static func outside(
        _ table: ProcessTable, _ confined: ConfinedSet, _ inside: [ProcessFacts]
    ) -> [Finding] {
        var findings: [Finding] = []
        let users = Set(inside.filter { confined.holds($0.cgroup) }.map(\.effectiveUID)).subtracting(confined.uids)
            .subtracting([0])
        for process in table.processes where !confined.holds(process) {
            let uid = process.effectiveUID
            if let unit = confined.units.first(where: { isOf(unit: $0, process.cgroup) }) {
                let remedy =
                    "systemctl edit \(unit): [Service] Slice= the agent's slice (docs/install.md), then restart it"
                findings.append(
                    .hole(
                        .agentsOutside, "process \(process.pid) (\(process.name))",
                        "of unit \(unit), in \(process.cgroup) and not in the slice", remedy: remedy))
            } else if users.contains(uid) {
                findings.append(
                    .hole(
                        .agentsOutside, "process \(process.pid) (\(process.name))",
                        "of uid \(uid), which agents run as, in \(process.cgroup), which is not confined",
                        remedy:
                            "kill \(process.pid), or list uid: [\(uid)] for the agent and systemctl reload sallyportd"))
            }
        }
        for (uid, schedules) in table.schedules.sorted(by: { $0.key < $1.key }) where users.contains(uid) {
            for schedule in schedules {
                findings.append(
                    .hole(
                        .agentsOutside, "uid \(uid)",
                        "\(schedule) starts programs for it outside of the agent's cgroup",
                        remedy: "remove it, or list uid: [\(uid)] for the agent and systemctl reload sallyportd"))
            }
        }
        guard findings.isEmpty else { return findings }
        let byUID =
            confined.uids.isEmpty
            ? ""
            : "; uid \(confined.uids.sorted().map(String.init).joined(separator: ", ")) "
                + "is confined by the rules wherever it runs"
        return [.ok(.agentsOutside, subject(inside), "no process of their users or units runs elsewhere" + byUID)]
    }

    private static func isOf(unit: String, _ cgroup: String) -> Bool {
        cgroup.split(separator: "/").contains { $0 == unit }
    }

    private static func networks(
        _ table: ProcessTable, _ confined: ConfinedSet, _ inside: [ProcessFacts]
    ) -> [Finding] {
        let elsewhere = inside.filter { $0.network != nil && $0.network != table.ownNetwork }
        let remedy = "list the interface or the source address that it is forwarded from for its agent"
        guard !elsewhere.isEmpty else {
            return [.ok(.networkNamespaces, subject(inside), "all are in the network of the rules")]
        }
        return elsewhere.map { process in
            confined.isForwarding
                ? .unknown(
                    .networkNamespaces, confined.name(of: process),
                    "is in another network: confined only if what it sends comes in by a listed interface or source",
                    remedy: remedy)
                : .hole(
                    .networkNamespaces, confined.name(of: process), "is in another network, and no interface is listed",
                    remedy: remedy)
        }
    }

    private static func sockets(
        _ table: ProcessTable, _ confined: ConfinedSet, _ inside: [ProcessFacts]
    ) -> [Finding] {
        var held: [Finding] = []
        var packets: [Finding] = []
        for process in inside {
            for inode in process.sockets.sorted() {
                if let kind = table.packetSockets[inode] {
                    packets.append(
                        .hole(
                            .packetSockets, confined.name(of: process), "holds a \(kind)",
                            remedy: "kill \(process.pid), and start it with sallyport run"))
                }
                guard let cgroup = table.socketCgroups[inode], !confined.holds(cgroup),
                    !confined.uids.contains(table.socketUIDs[inode] ?? 0)
                else { continue }
                guard !cgroup.isEmpty else {
                    held.append(
                        .unknown(
                            .heldSockets, confined.name(of: process),
                            "holds a socket (inode \(inode)) whose cgroup is gone: it may have been another's",
                            remedy: "start it anew"))
                    continue
                }
                held.append(
                    .hole(
                        .heldSockets, confined.name(of: process),
                        "holds a socket (inode \(inode)) that was made in \(cgroup)",
                        remedy: "kill \(process.pid), and start it without sockets of others"))
            }
        }
        return (held.isEmpty ? [.ok(.heldSockets, subject(inside), "none holds a TCP or UDP socket of others")] : held)
            + (packets.isEmpty ? [.ok(.packetSockets, subject(inside), "none holds a packet or raw socket")] : packets)
    }

    /// capabilities(7), linux/capability.h.
    private static let dangerous: [(bit: UInt64, name: String)] = [
        (1, "CAP_DAC_OVERRIDE"), (12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (16, "CAP_SYS_MODULE"),
        (17, "CAP_SYS_RAWIO"), (19, "CAP_SYS_PTRACE"), (21, "CAP_SYS_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF"),
    ]
}
