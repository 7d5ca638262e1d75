import PacketHeaders

/// Fills in the rules' template.
enum RuleTemplate {
    /// The rules of a configuration, as nft(8) reads them, for a fresh table.
    static func render(_ parameters: KernelRulesParameters, backend: QueueBackend, template: String = source) -> String
    {
        let chains = queueChains(parameters, backend: backend)
        return fill(template, parameters).replacingFirst(
            "table inet sallyport {\n", with: "table inet sallyport {\n" + chains)
    }

    /// A template with its placeholders filled in.
    static func fill(_ template: String, _ parameters: KernelRulesParameters) -> String {
        let values = values(parameters)
        var lines: [String] = []
        for line in template.split(separator: "\n", omittingEmptySubsequences: false) {
            let text = line.drop { $0 == " " }
            if text.hasPrefix("@each CGROUP@ ") {
                let indent = String(repeating: " ", count: line.count - text.count)
                for cgroup in parameters.cgroups {
                    var own = values
                    own["LEVEL"] = String(level(of: cgroup))
                    own["PATH"] = quoted(cgroup)
                    lines.append(fill(indent + text.dropFirst("@each CGROUP@ ".count), own))
                }
            } else {
                lines.append(fill(String(line), values))
            }
        }
        return lines.joined(separator: "\n")
    }

    /// The chains that the template has, in order; the queue chains apart.
    static func chainNames(template: String = source) -> [String] {
        template.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            return words.count == 3 && words[0] == "chain" && words[2] == "{" ? String(words[1]) : nil
        }
    }

    /// The counters that the template has.
    static func counterNames(template: String = source) -> [String] {
        template.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            return words.count == 4 && words[0] == "counter" && words[2] == "{" ? String(words[1]) : nil
        }
    }

    /// The sets that hold the configuration; `alive` is the daemon's.
    static let configurationSets = senderSets + ["resolvers4", "resolvers6"]

    /// Those of them that hold who is confined.
    static let senderSets = ["confined_uids", "confined_interfaces", "confined_sources4", "confined_sources6"]

    /// The template as it was compiled in.
    static var source: String { String(decoding: PackageResources.sallyport_nft, as: UTF8.self) }

    /// The template of the guard.
    static var guardSource: String { String(decoding: PackageResources.sallyport_guard_nft, as: UTF8.self) }

    /// The command that says that a daemon attends the queues.
    static let attend = "add element inet \(KernelRulesParameters.tableName) alive { tcp, udp }\n"

    /// The depth of a cgroup below the root of the hierarchy.
    static func level(of cgroup: String) -> Int {
        cgroup.split(separator: "/").count
    }

    private static func values(_ parameters: KernelRulesParameters) -> [String: String] {
        let keep = ~parameters.markMask
        let (confined, allowed, refused) = (parameters.confinedBit, parameters.allowedBit, parameters.refusedBit)
        return [
            "MASK": hex(parameters.markMask), "KEEP": hex(keep), "CONFINED": hex(confined), "ALLOWED": hex(allowed),
            "REFUSED": hex(refused), "NO_VERDICT": hex(~(allowed | refused)), "INJECT": hex(parameters.injectBit),
            "VERDICTS": hex(allowed | refused),
            "CONFINED_ALLOWED": hex(confined | allowed), "CONFINED_REFUSED": hex(confined | refused),
            "LEVEL": String(level(of: parameters.slice)), "SLICE": quoted(parameters.slice),
            "TCP_CHOICE": choice(from: parameters.queueBase, parameters),
            "UDP_CHOICE": choice(from: parameters.queueBase + parameters.queueCount, parameters),
            "DENY": parameters.answersRefusals
                ? "meta l4proto tcp reject with tcp reset\n        reject with icmpx admin-prohibited" : "drop",
        ]
    }

    /// The queue of a flow: a hash that is the same for both of its directions. `first` is the queue of thread 0.
    private static func choice(from first: UInt16, _ parameters: KernelRulesParameters) -> String {
        guard parameters.queueCount > 1 else { return "jump queue_\(first)" }
        let cases = (0..<parameters.queueCount).map { "\($0) : jump queue_\(first + $0)" }.joined(separator: ", ")
        return "symhash mod \(parameters.queueCount) vmap { \(cases) }"
    }

    /// The chains that hand packets over, one a queue. With the xt target they are empty here; netlink fills them.
    private static func queueChains(_ parameters: KernelRulesParameters, backend: QueueBackend) -> String {
        parameters.queues.map { queue in
            switch backend {
            case .native: "    chain queue_\(queue) {\n        queue to \(queue)\n    }\n\n"
            case .xtables: "    chain queue_\(queue) {\n    }\n\n"
            }
        }.joined()
    }

    /// The commands that fill sets of a table with the configuration.
    static func setCommands(
        _ parameters: KernelRulesParameters, table: String = KernelRulesParameters.tableName,
        sets: [String] = configurationSets
    ) -> String {
        let v4 = parameters.sources.filter { $0.address.family == .v4 }.map(\.description)
        let v6 = parameters.sources.filter { $0.address.family == .v6 }.map(\.description)
        let contents = [
            parameters.uids.map { String($0) }, parameters.interfaces.map(quoted), v4, v6,
            parameters.resolvers.filter { $0.family == .v4 }.map(\.description),
            parameters.resolvers.filter { $0.family == .v6 }.map(\.description),
        ]
        return zip(configurationSets, contents).map { name, values in
            values.isEmpty || !sets.contains(name)
                ? "" : "add element inet \(table) \(name) { \(values.joined(separator: ", ")) }\n"
        }.joined()
    }

    private static func fill(_ line: String, _ values: [String: String]) -> String {
        var result = line
        for (name, value) in values where result.contains("@\(name)@") {
            result = result.split(separator: "@\(name)@", omittingEmptySubsequences: false).joined(separator: value)
        }
        return result
    }

    private static func hex(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    private static func quoted(_ text: String) -> String { "\"\(text)\"" }
}

extension String {
    /// The text with the first occurrence of `part` replaced.
    fileprivate func replacingFirst(_ part: String, with other: String) -> String {
        guard let range = self.firstRange(of: part) else { return self }
        return replacingCharacters(in: range, with: other)
    }

    private func replacingCharacters(in range: Range<Index>, with other: String) -> String {
        self[..<range.lowerBound] + other + self[range.upperBound...]
    }
}
