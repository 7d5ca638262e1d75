import JOSE
import KernelRules

/// Reads `nft -j list ruleset` (libnftables-json(5)).
enum NFTListing {
    /// The chains of every table but ours. Whether there is a target of iptables(8) among them, which nft(8) names only.
    /// - Throws: where the text is not what nft writes.
    static func read(_ text: String) throws(StrictJSON.Failure) -> (chains: [ForeignChain], hasTargets: Bool) {
        let document = try StrictJSON(parsing: Array(text.utf8))
        guard case .array(let items)? = document["nftables"] else { return ([], false) }
        var chains: [ForeignChain] = []
        var maps: [String: [String]] = [:]
        for item in items {
            if let map = item["map"], let name = map["name"]?.string, let table = table(of: map) {
                maps[table + " @" + name] = targets(in: map)
            }
            guard let chain = item["chain"], let table = table(of: chain), let name = chain["name"]?.string,
                !isOurs(table)
            else { continue }
            chains.append(
                ForeignChain(
                    table: table, name: name, hook: chain["hook"]?.string, priority: chain["prio"]?.integer ?? 0,
                    insertion: "nft insert rule \(table) \(name)"))
        }
        var hasTargets = false
        for item in items {
            guard let rule = item["rule"], let table = table(of: rule), !isOurs(table),
                let name = rule["chain"]?.string, case .array(let statements)? = rule["expr"],
                let index = chains.firstIndex(where: { $0.table == table && $0.name == name })
            else { continue }
            var read = ForeignRule()
            read.deletion = "nft delete rule \(table) \(name) handle \(rule["handle"]?.integer ?? 0)"
            read.effects = statements.flatMap { effects(of: $0) }
            read.targets = targets(in: rule) + references(in: rule).flatMap { maps[table + " " + $0] ?? [] }
            read.exempts = exemption(statements)
            chains[index].rules.append(read)
            hasTargets = hasTargets || statements.contains { $0["xt"]?["type"]?.string == "target" }
        }
        return (chains, hasTargets)
    }

    private static func isOurs(_ table: String) -> Bool {
        [KernelRulesParameters.tableName, KernelRulesParameters.guardTableName].contains { table == "inet " + $0 }
    }

    private static func table(of object: StrictJSON) -> String? {
        guard let family = object["family"]?.string, let name = object["table"]?.string else { return nil }
        return family + " " + name
    }

    private static func effects(of statement: StrictJSON) -> [RuleEffect] {
        guard case .object(let members) = statement, let member = members.first else { return [] }
        switch member.name {
        case "notrack": return [.untracks]
        case "dnat", "redirect": return [.translates]
        case "flow": return [.offloads]
        case "dup": return [.copies]
        case "fwd": return [.forwards]
        case "queue": return [.queues(queues(member.value["num"]))]
        case "mangle":
            guard let key = member.value["key"], let value = member.value["value"] else { return [] }
            if key["meta"]?["key"]?.string == "mark" { return [.changesPacketMark(~kept(of: key, by: value))] }
            if key["ct"]?["key"]?.string == "mark" { return [.changesConnectionMark(~kept(of: key, by: value))] }
            return []
        default: return []
        }
    }

    /// The bits of the mark `key` that are the same after it was set to `value`.
    private static func kept(of key: StrictJSON, by value: StrictJSON) -> UInt32 {
        if value == key { return .max }
        guard case .object(let members) = value, let member = members.first,
            case .array(let operands) = member.value, let first = operands.first
        else { return 0 }
        var bits = kept(of: key, by: first)
        for operand in operands.dropFirst() {
            guard let constant = operand.integer.flatMap({ UInt32(exactly: $0) }) else { return 0 }
            switch member.name {
            case "&": bits &= constant
            case "|", "^": bits &= ~constant
            default: return 0
            }
        }
        return bits
    }

    /// A number, a range, or an expression that may give any.
    private static func queues(_ number: StrictJSON?) -> ClosedRange<UInt16> {
        func queue(_ value: StrictJSON?) -> UInt16? { value?.integer.flatMap { UInt16(exactly: $0) } }
        guard let number else { return 0...0 }
        if let one = queue(number) { return one...one }
        if case .array(let ends)? = number["range"], let low = queue(ends.first), let high = queue(ends.last),
            low <= high
        {
            return low...high
        }
        return 0...UInt16.max
    }

    /// The targets of every jump and goto inside.
    private static func targets(in value: StrictJSON) -> [String] {
        switch value {
        case .array(let elements): elements.flatMap { targets(in: $0) }
        case .object(let members):
            members.flatMap { member in
                let target = member.name == "jump" || member.name == "goto" ? member.value["target"]?.string : nil
                return target.map { [$0] } ?? targets(in: member.value)
            }
        case .null, .boolean, .number, .string: []
        }
    }

    /// The names of maps inside, with their `@`.
    private static func references(in value: StrictJSON) -> [String] {
        switch value {
        case .array(let elements): elements.flatMap { references(in: $0) }
        case .object(let members): members.flatMap { references(in: $0.value) }
        case .string(let text): text.hasPrefix("@") ? [text] : []
        case .null, .boolean, .number: []
        }
    }

    /// Whom a rule of one match and `accept` or `return` takes out.
    private static func exemption(_ statements: [StrictJSON]) -> Set<String> {
        let parts = statements.filter { $0["counter"] == nil }
        guard parts.count == 2, let match = parts[0]["match"], match["op"]?.string == "==", let left = match["left"],
            let right = match["right"], case .object(let verdict) = parts[1],
            verdict.first?.name == "accept" || verdict.first?.name == "return"
        else { return [] }
        if left["socket"]?["key"]?.string == "cgroupv2", let path = right.string { return ["cgroup " + path] }
        guard left["meta"]?["key"]?.string == "skuid" else { return [] }
        if let uid = right.integer { return ["uid \(uid)"] }
        guard case .array(let uids)? = right["set"] else { return [] }
        return Set(uids.compactMap { $0.integer.map { "uid \($0)" } })
    }
}

extension StrictJSON {
    /// The value of a number that is whole.
    var integer: Int? { if case .number(let text) = self { Int(text) } else { nil } }
}
