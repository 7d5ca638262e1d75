import Identity
import PacketHeaders

/// Reads `agents:`.
enum AgentsReader {
    /// The agents that are right; everything wrong is reported.
    static func read(_ reader: YAMLReader, slice: String, host: Host) -> [Agent] {
        var agents: [Agent] = []
        var idLines: [String: Int] = [:]
        var owners = SelectorOwners()
        for element in reader.list(of: "agents") {
            let values = element.mapping(["id", "labels", "unit", "cgroup", "uid", "interface", "source"])
            guard let idReader = values["id"] else {
                if element.isMapping { element.report("the key id is missing (give the agent a name)") }
                continue
            }
            guard let id = readID(idReader) else { continue }
            if let line = idLines[id] {
                idReader.report("a second agent \(id), the first is in line \(line) (give each its own id)")
                continue
            }
            idLines[id] = idReader.line ?? 0
            _ = owners.claim(.cgroup(path: SystemdName.path(ofAgent: id, in: slice)), by: id, line: idReader.line)
            var selectors: [AgentSelector] = []
            for (key, parse) in Self.selectors {
                guard let values = values[key] else { continue }
                for value in values.oneOrMore(of: "values") {
                    guard let selector = parse(value, host) else { continue }
                    if let other = owners.claim(selector, by: id, line: value.line) {
                        value.report(
                            other.agent == id
                                ? "\(selector) is listed twice (remove one)"
                                : "\(selector) already names agent \(other.agent), line \(other.line) (it can name one only)"
                        )
                    } else {
                        selectors.append(selector)
                    }
                }
            }
            agents.append(Agent(id: id, labels: values["labels"].map(labels) ?? [:], selectors: selectors))
        }
        if agents.count > Int(UInt16.max) {
            reader.report("\(agents.count) agents (65535 are possible)")
            return []
        }
        return agents
    }

    private typealias Parse = (YAMLReader, Host) -> AgentSelector?

    private static var selectors: [(key: String, parse: Parse)] {
        [("cgroup", cgroup), ("unit", unit), ("uid", uid), ("interface", interface), ("source", source)]
    }

    private static func readID(_ reader: YAMLReader) -> String? {
        guard let id = reader.text("an agent's name") else { return nil }
        let isName = id.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard isName, (1...64).contains(id.utf8.count) else {
            reader.report("\(id.quoted) is no agent's name (1 to 64 of A-Z a-z 0-9 . _ -)")
            return nil
        }
        return id
    }

    private static func labels(_ reader: YAMLReader) -> [String: String] {
        var labels: [String: String] = [:]
        for (name, value) in reader.freeMapping(what: "a mapping of names to texts") {
            if let text = value.text("text") { labels[name] = text }
        }
        return labels
    }

    private static func cgroup(_ reader: YAMLReader, _: Host) -> AgentSelector? {
        guard let path = reader.path() else { return nil }
        let names = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        guard names.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }) else {
            reader.report(
                path == "/"
                    ? "the root cgroup is the whole host (name the cgroup of the agent)"
                    : "\(path.quoted) is no cgroup path (from the root of the v2 hierarchy, without empty parts, . or ..)"
            )
            return nil
        }
        return .cgroup(path: path)
    }

    private static func unit(_ reader: YAMLReader, _: Host) -> AgentSelector? {
        guard let name = reader.text("the name of a systemd unit") else { return nil }
        guard SystemdName.isUnit(name) else {
            reader.report(
                "\(name.quoted) is no unit that holds processes (such as bot.service, bot@1.service or bot.slice)")
            return nil
        }
        return .unit(name: name)
    }

    private static func uid(_ reader: YAMLReader, _ host: Host) -> AgentSelector? {
        guard let text = reader.scalar("a uid or the name of a user") else { return nil }
        let uid: UInt32
        if text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
            // 4294967295 is (uid_t)-1, which the kernel takes for "no uid".
            guard let number = UInt32(text), number != .max, String(number) == text else {
                reader.report("\(text.quoted) is no uid (0 to 4294967294)")
                return nil
            }
            uid = number
        } else {
            guard let number = host.uid(text) else {
                reader.report("there is no user \(text.quoted) on this host (create it first, or give its number)")
                return nil
            }
            uid = number
        }
        guard uid != 0 else {
            reader.report("uid 0 is root: this would confine the host itself (run the agent as a user of its own)")
            return nil
        }
        return .uid(uid)
    }

    private static func interface(_ reader: YAMLReader, _: Host) -> AgentSelector? {
        guard let name = reader.text("the name of an interface") else { return nil }
        // IFNAMSIZ is 16 with its NUL; the kernel refuses `/`, `:`, white space, `.` and `..` (dev_valid_name).
        let isName = name.utf8.allSatisfy {
            $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":")
        }
        guard isName, (1...15).contains(name.utf8.count), name != ".", name != ".." else {
            reader.report("\(name.quoted) is no interface name (1 to 15 bytes, no space, / or :)")
            return nil
        }
        guard name != "lo" else {
            reader.report("lo is the host's own loopback: this would confine the host itself")
            return nil
        }
        return .interface(name: name)
    }

    private static func source(_ reader: YAMLReader, _: Host) -> AgentSelector? {
        guard let prefix = reader.prefix() else { return nil }
        for own in Self.ownPrefixes where own.contains(prefix.address) || prefix.contains(own.address) {
            reader.report("\(prefix) holds the host's own addresses (\(own)): this would confine the host itself")
            return nil
        }
        return .source(prefix)
    }

    /// Loopback and the unspecified address: the host, never an agent behind it.
    private static let ownPrefixes = ["127.0.0.0/8", "::1/128", "0.0.0.0/32", "::/128"].compactMap { IPPrefix($0) }
}

/// Which agent has which selector, to find two that share one.
private struct SelectorOwners {
    private var owners: [AgentSelector: (agent: String, line: Int)] = [:]

    /// Notes the selector; the one who has it already is returned and kept.
    mutating func claim(_ selector: AgentSelector, by agent: String, line: Int?) -> (agent: String, line: Int)? {
        if let other = owners[selector] { return other }
        owners[selector] = (agent, line ?? 0)
        return nil
    }
}

extension YAMLReader {
    /// An address prefix without host bits.
    func prefix() -> IPPrefix? {
        guard let text = scalar("an address prefix") else { return nil }
        if let prefix = IPPrefix(text) { return prefix }
        let parts = text.split(separator: "/", maxSplits: 1)
        if parts.count == 2, let address = IPAddress(parts[0]), let length = Int(parts[1]),
            (0...address.bitWidth).contains(length)
        {
            report(
                "\(text.quoted) has bits behind its prefix length (write \(IPPrefix(containing: address, length: length)))"
            )
        } else {
            report("\(text.quoted) is no address prefix (such as 198.18.5.0/24 or fd00:5::/64)")
        }
        return nil
    }
}
