import Glibc
import Identity
import Netlink

/// The rules of one configuration, in the kernel and out of it.
public struct RuleSet: Sendable {
    /// What the rules depend on.
    public let parameters: KernelRulesParameters
    /// The directory of what must be remembered until `remove`.
    public let stateDirectory: String
    /// The text that is filled in.
    var template = RuleTemplate.source

    /// Rules for `parameters`. `stateDirectory` is `/run/sallyport` on a host.
    public init(_ parameters: KernelRulesParameters, stateDirectory: String = "/run/sallyport") {
        self.parameters = parameters
        self.stateDirectory = stateDirectory
    }

    /// The rules as text, as they would be loaded.
    public func render(_ backend: QueueBackend) -> String {
        RuleTemplate.render(parameters, backend: backend, template: template) + "\n"
            + RuleTemplate.setCommands(parameters)
    }

    /// Which way to the queues this kernel has, found out by trying.
    public static func probe() throws(KernelRulesError) -> QueueBackend {
        let trial = "add table inet sallyport_probe\nadd chain inet sallyport_probe c\n"
        let native = try Command.run(
            ["nft", "-c", "-f", "-"], input: trial + "add rule inet sallyport_probe c queue to 65535\n")
        if native.status == 0 { return .native }
        let plain = try Command.run(["nft", "-c", "-f", "-"], input: trial)
        guard plain.status == 0 else {
            throw KernelRulesError(
                "nftables: the kernel takes no table: \(firstLine(plain.errors)) (run as root; modprobe nf_tables)")
        }
        return .xtables
    }

    /// Puts the rules into the kernel, or brings those that are there up to date, in one transaction.
    ///
    /// Before the rules come what they name and rely on: the slice's cgroup and the settings of connection tracking. With
    /// the xt target a second transaction fills queue chains that are new; until then they hand nothing over.
    @discardableResult
    public func apply() throws(KernelRulesError) -> QueueBackend {
        let backend = try Self.probe()
        try apply(backend, onto: try existingChains())
        return backend
    }

    /// Puts the rules back where somebody has deleted the whole table, by the way that `apply` found before. Nothing is confined
    /// until then: nothing else is looked at first.
    /// - Parameter isAttended: whether a daemon attends the queues: the rules then do not wait for its next sign of life.
    /// - Returns: false where the table is there.
    public func putBack(_ backend: QueueBackend, isAttended: Bool) throws(KernelRulesError) -> Bool {
        do throws(NetlinkError) {
            var tables = try NFTables.open()
            guard try !tables.holdsTable(KernelRulesParameters.tableName) else { return false }
        } catch {
            throw KernelRulesError("\(error)")
        }
        try apply(backend, onto: nil, isAttended: isAttended)
        return true
    }

    private func apply(
        _ backend: QueueBackend, onto existing: Set<String>?, isAttended: Bool = false
    ) throws(KernelRulesError) {
        try makeStateDirectory()
        try makeSlice()
        let script = try updateScript(backend, existing: existing)
        var outcome = try load(isAttended ? script + RuleTemplate.attend : script)
        if outcome.status != 0, existing != nil {
            // The table is of another version: it is replaced as a whole, still in one transaction.
            outcome = try load("delete table inet sallyport\n" + render(backend))
        }
        guard outcome.status == 0 else {
            throw KernelRulesError(
                "nft: the rules were not taken: \(Self.firstLine(outcome.errors)) (the rules before them are still in force)"
            )
        }
        if backend == .xtables { try fillQueueChains() }
        try save(backend)
        // Connection tracking's settings appear with its first rule.
        try sysctls.apply()
    }

    /// Whether the kernel has a table of ours, whatever is in it.
    public func isLoaded() throws(KernelRulesError) -> Bool {
        try existingChains() != nil
    }

    /// By which way the rules of this configuration were last put into the kernel; nil where others were, or none.
    public var appliedBackend: QueueBackend? { TextFile.read(appliedPath).flatMap { backend(of: $0) } }

    private func backend(of applied: String) -> QueueBackend? {
        QueueBackend.allCases.first { applied.hasSuffix(render($0)) }
    }

    /// Takes the rules out of the kernel, and puts back every setting that `apply` changed. Where nothing of ours is there,
    /// nothing happens.
    public func remove() throws(KernelRulesError) {
        if try existingChains() != nil {
            let outcome = try Command.run(["nft", "delete", "table", "inet", KernelRulesParameters.tableName])
            guard outcome.status == 0 else {
                throw KernelRulesError(
                    "nft: the table was not deleted: \(Self.firstLine(outcome.errors)) (run as root)")
            }
        }
        do throws(NetlinkError) {
            try Conntrack.clearMarks(mask: parameters.markMask)
        } catch {
            throw KernelRulesError("\(error)")
        }
        sysctls.restore()
        removeSlice()
        unlink(appliedPath)
        unlink(listingPath)
    }

    /// What differs between the kernel and what should be there: one line each, none if all is well.
    ///
    /// The kernel's rules are compared with what they were right after `apply`, and the rules that were applied then with
    /// those of this configuration.
    public func check() throws(KernelRulesError) -> [String] {
        guard try existingChains() != nil else {
            return ["table inet sallyport is not loaded: nothing is confined (sallyport rules apply)"]
        }
        guard let applied = TextFile.read(appliedPath), let listing = TextFile.read(listingPath) else {
            return ["the rules were not applied from here: \(appliedPath) is missing (sallyport rules apply)"]
        }
        var problems = sysctls.problems()
        if let backend = backend(of: applied) {
            if appliedText(backend) != applied {
                problems.append(
                    "a confined cgroup was made anew: the rules name the one before (sallyport rules apply)")
            }
            for queue in try backend == .xtables ? queuesWithoutTarget() : [] {
                problems.append("queue \(queue) has lost its rule: its flows are dropped (sallyport rules apply)")
            }
        } else {
            problems.append("the rules are those of another configuration or version (sallyport rules apply)")
        }
        let actual = try self.listing()
        if Self.comparable(actual) != Self.comparable(listing) {
            problems.append(
                "table inet sallyport was changed: \(Self.difference(actual, listing)) (sallyport rules apply)")
        }
        return problems
    }

    // MARK: - Loading

    /// nft(8) looks for cgroups under /sys/fs/cgroup only: where cgroup v2 is elsewhere, it gets a mount namespace in which
    /// it is there.
    private func load(_ script: String) throws(KernelRulesError) -> Command.Outcome {
        let hierarchy = try hierarchy()
        guard hierarchy.mountPoint != Self.usualMountPoint else {
            return try Command.run(["nft", "-f", "-"], input: script)
        }
        return try Command.run(
            [
                "unshare", "--mount", "--propagation", "private", "sh", "-c",
                "mount -t cgroup2 cgroup2 \(Self.usualMountPoint) && exec nft -f -",
            ], input: script)
    }

    /// Where nft(8) and libnftables look for cgroups.
    static let usualMountPoint = "/sys/fs/cgroup"

    func hierarchy() throws(KernelRulesError) -> CgroupHierarchy {
        do throws(NetlinkError) {
            return try CgroupHierarchy.find()
        } catch {
            throw KernelRulesError("\(error)")
        }
    }

    /// The script that turns the table that is there into the one that should be. The set `alive` stays as it is, so that an
    /// update does not interrupt a running daemon, and so do queue chains that already have their target. Chains that are
    /// none of ours go.
    private func updateScript(_ backend: QueueBackend, existing: Set<String>?) throws(KernelRulesError) -> String {
        guard let existing else { return render(backend) }
        var kept: Set<String> = []
        if backend == .xtables {
            kept = Set(parameters.queues.map { "queue_\($0)" })
                .subtracting(try queuesWithoutTarget().map { "queue_\($0)" })
        }
        let flushed = existing.subtracting(kept).sorted()
        var script = flushed.map { "flush chain inet sallyport \($0)\n" }.joined()
        // Flushed before, so that none refers to another.
        let ours = Set(RuleTemplate.chainNames(template: template)).union(parameters.queues.map { "queue_\($0)" })
        script += existing.subtracting(ours).sorted().map { "delete chain inet sallyport \($0)\n" }.joined()
        for set in RuleTemplate.configurationSets { script += "flush set inet sallyport \(set)\n" }
        return script + render(backend)
    }

    /// The queues whose chain does not hold the xt target, and it alone.
    private func queuesWithoutTarget() throws(KernelRulesError) -> [UInt16] {
        var queues: [UInt16] = []
        for queue in parameters.queues {
            do throws(NetlinkError) {
                let isThere = try NFTables.holdsQueueTarget(
                    chain: "queue_\(queue)", queue: queue, table: KernelRulesParameters.tableName)
                if !isThere { queues.append(queue) }
            } catch {
                throw KernelRulesError("\(error)")
            }
        }
        return queues
    }

    /// The chains of our table, nil where there is no table.
    private func existingChains() throws(KernelRulesError) -> Set<String>? {
        let outcome = try Command.run(["nft", "-s", "list", "table", "inet", KernelRulesParameters.tableName])
        guard outcome.status == 0 else {
            if outcome.errors.contains("No such file or directory") { return nil }
            throw KernelRulesError("nft: the rules cannot be read: \(Self.firstLine(outcome.errors)) (run as root)")
        }
        return Set(
            outcome.output.split(separator: "\n").compactMap { line in
                let words = line.split(whereSeparator: \.isWhitespace)
                return words.count == 3 && words[0] == "chain" ? String(words[1]) : nil
            })
    }

    private func fillQueueChains() throws(KernelRulesError) {
        let empty = try queuesWithoutTarget()
        guard !empty.isEmpty else { return }
        do throws(NetlinkError) {
            try NFTables.addQueueTargets(
                empty.map { (chain: "queue_\($0)", queue: $0) }, table: KernelRulesParameters.tableName)
        } catch {
            throw KernelRulesError("\(error)")
        }
    }

    // MARK: - What the rules rely on

    private var sysctls: Sysctls { Sysctls(savePath: stateDirectory + "/sysctl.saved") }

    private func makeStateDirectory() throws(KernelRulesError) {
        guard mkdir(stateDirectory, 0o755) == 0 || errno == EEXIST else {
            throw KernelRulesError("\(stateDirectory): cannot be made: \(Command.text(errno)) (run as root)")
        }
    }

    /// The slice must exist before the rule that names it. On a systemd host it is systemd's to make.
    private func makeSlice() throws(KernelRulesError) {
        let hierarchy = try hierarchy()
        if hierarchy.identifier(of: "/" + parameters.slice) == nil, access("/run/systemd/system", F_OK) == 0,
            parameters.slice.hasSuffix(".slice"), !parameters.slice.contains("/")
        {
            _ = try Command.run(["systemctl", "start", parameters.slice])
        }
        for path in [parameters.slice] + parameters.cgroups {
            var prefix = hierarchy.mountPoint
            for component in path.split(separator: "/") {
                prefix += "/" + component
                if mkdir(prefix, 0o755) == 0 {
                    _ = TextFile.append(madePath, prefix + "\n")
                } else if errno != EEXIST {
                    throw KernelRulesError(
                        "cgroup \(prefix): cannot be made: \(Command.text(errno)) (run as root, with cgroup v2 writable)"
                    )
                }
            }
        }
    }

    /// Removes the cgroups that `makeSlice` made, deepest first; one that is in use stays.
    private func removeSlice() {
        let made = (TextFile.read(madePath) ?? "").split(separator: "\n").map(String.init)
        for path in Set(made).sorted(by: { $0.utf8.count > $1.utf8.count }) { rmdir(path) }
        unlink(madePath)
    }

    private var madePath: String { stateDirectory + "/cgroups.made" }

    // MARK: - Comparing

    private var appliedPath: String { stateDirectory + "/rules.nft" }
    private var listingPath: String { stateDirectory + "/rules.listing" }

    /// The rules with what else they depend on: a slice that was made anew has another id under the same name.
    private func appliedText(_ backend: QueueBackend) -> String {
        cgroupLines + render(backend)
    }

    /// The guard of these rules, likewise.
    var guardText: String {
        cgroupLines + RuleTemplate.fill(RuleTemplate.guardSource, parameters) + "\n"
            + RuleTemplate.setCommands(
                parameters, table: KernelRulesParameters.guardTableName, sets: RuleTemplate.senderSets)
    }

    private var cgroupLines: String {
        let hierarchy = try? CgroupHierarchy.find()
        return ([parameters.slice] + parameters.cgroups).map { path in
            "# cgroup /\(path) \(hierarchy?.identifier(of: "/" + path)?.rawValue ?? 0)\n"
        }.joined()
    }

    private func save(_ backend: QueueBackend) throws(KernelRulesError) {
        for (path, text) in [(appliedPath, appliedText(backend)), (listingPath, try listing())] {
            guard TextFile.write(path, text) else {
                throw KernelRulesError(
                    "\(path): cannot be written: \(Command.text(errno)) (make its directory writable)")
            }
        }
    }

    /// The kernel's rules, without counters.
    private func listing() throws(KernelRulesError) -> String {
        let outcome = try Command.run(["nft", "-s", "list", "table", "inet", KernelRulesParameters.tableName])
        guard outcome.status == 0 else {
            throw KernelRulesError("nft: the rules cannot be read: \(Self.firstLine(outcome.errors)) (run as root)")
        }
        return outcome.output
    }

    /// The lines of a listing that say what the rules do: without the elements that the daemon renews.
    private static func comparable(_ listing: String) -> [Substring] {
        var lines: [Substring] = []
        var isInAlive = false
        for line in listing.split(separator: "\n") {
            let text = line.drop(while: \.isWhitespace)
            if text.hasPrefix("set alive ") { isInAlive = true }
            if text == "}" { isInAlive = false }
            if isInAlive && isElement(text) { continue }
            lines.append(text)
        }
        return lines
    }

    private static func isElement(_ text: Substring) -> Bool {
        !(text.hasPrefix("set") || text.hasPrefix("type") || text.hasPrefix("flags") || text.hasPrefix("timeout")
            || text.hasPrefix("}"))
    }

    private static func difference(_ actual: String, _ expected: String) -> String {
        let (left, right) = (comparable(actual), comparable(expected))
        if let missing = right.first(where: { !left.contains($0) }) { return "missing: \(missing)" }
        if let extra = left.first(where: { !right.contains($0) }) { return "not ours: \(extra)" }
        return "the order of rules"
    }

    static func firstLine(_ text: String) -> String {
        text.split(separator: "\n").first.map(String.init) ?? "no reason was given"
    }
}
