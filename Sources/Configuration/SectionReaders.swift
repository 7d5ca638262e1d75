import Identity
import PacketHeaders

/// Reads `listen:`.
enum ListenReader {
    /// The rules that are right; everything wrong is reported.
    static func read(_ reader: YAMLReader, agents: [Agent]) -> [ListenRule] {
        reader.list(of: "rules").compactMap { element in
            let values = element.mapping(["agent", "port", "transport", "source"])
            guard element.isMapping else { return nil }
            for key in ["agent", "port", "source"] where values[key] == nil {
                element.report("the key \(key) is missing (a rule says which agent, which port and from where)")
            }
            guard let agentReader = values["agent"], let agent = agentReader.text("an agent's id"),
                let port = values["port"]?.integer(1...65_535), let sources = values["source"]
            else { return nil }
            guard agents.contains(where: { $0.id == agent }) else {
                let remedy =
                    Spelling.closest(to: agent, in: agents.map(\.id)).map { "did you mean \($0)?" }
                    ?? "list it under agents"
                agentReader.report("there is no agent \(agent.quoted) (\(remedy))")
                return nil
            }
            let prefixes = sources.oneOrMore(of: "address prefixes").compactMap { $0.prefix() }
            let transport = values["transport"].map { $0.choice(Transport.self) } ?? .tcp
            guard let transport, !prefixes.isEmpty else {
                if sources.isEmptyList {
                    sources.report("an empty list lets nobody in (list prefixes, or remove the rule)")
                }
                return nil
            }
            return ListenRule(agent: agent, port: UInt16(port), transport: transport.number, sources: prefixes)
        }
    }

    private enum Transport: String, CaseIterable {
        case tcp
        case udp

        var number: TransportProtocol {
            switch self {
            case .tcp: .tcp
            case .udp: .udp
            }
        }
    }
}

extension Configuration.Queues {
    mutating func read(_ reader: YAMLReader) {
        let values = reader.mapping(["base", "count", "length"])
        let newCount = values["count"].map { $0.integer(1...64) } ?? count
        let newBase = values["base"].map { $0.integer(0...65_535) } ?? Int(base)
        if let value = values["length"]?.integer(64...1_048_576) { length = UInt32(value) }
        guard let newCount, let newBase else { return }
        // Each thread has two queues, and queue numbers end at 65535.
        guard newBase + 2 * newCount <= 65_536 else {
            reader.report(
                "\(newCount) threads need the queues \(newBase) to \(newBase + 2 * newCount - 1), and 65535 is the last "
                    + "(lower base or count)")
            return
        }
        base = UInt16(newBase)
        count = newCount
    }
}

extension MarkBits {
    mutating func read(_ reader: YAMLReader) {
        guard let mask = reader.mapping(["mask"])["mask"], let value = mask.integer(1...Int(UInt32.max)) else { return }
        guard let bits = MarkBits(mask: UInt32(value)) else {
            mask.report("0x\(String(value, radix: 16)) is not four neighbouring bits (such as 0x0f000000)")
            return
        }
        self = bits
    }
}

extension Configuration.PolicySettings {
    mutating func read(_ reader: YAMLReader) {
        let values = reader.mapping(["directory", "package"])
        if let path = values["directory"]?.path() { directory = path }
        guard let value = values["package"], let name = value.text("a Rego package") else { return }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        let isPackage = parts.allSatisfy { part in
            guard let first = part.utf8.first, first != UInt8(ascii: "_") else { return false }
            return part.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"):
                    true
                case UInt8(ascii: "0")...UInt8(ascii: "9"): byte != first || part.utf8.count > 1
                default: false
                }
            } && !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
        }
        guard isPackage else {
            value.report("\(name.quoted) is no Rego package (such as sallyport.egress)")
            return
        }
        guard parts.first != "data" else {
            value.report("write the package without data. (\(name.dropFirst(5)))")
            return
        }
        package = name
    }
}

extension Configuration.Limits {
    mutating func read(_ reader: YAMLReader) {
        let values = reader.mapping(["flows", "held_milliseconds", "hello_bytes"])
        if let value = values["flows"]?.integer(1_024...16_777_216) { flows = value }
        if let value = values["held_milliseconds"]?.integer(100...60_000) { heldMilliseconds = value }
        if let value = values["hello_bytes"]?.integer(4_096...1_048_576) { helloBytes = value }
    }
}

extension Configuration.LogSettings {
    mutating func read(_ reader: YAMLReader) {
        let values = reader.mapping(["socket", "ring", "discard"])
        if let path = values["socket"]?.path(limit: unixPathLimit) { socket = path }
        if let value = values["ring"]?.integer(1_024...4_194_304) { ring = value }
        if let value = values["discard"]?.boolean() { discard = value }
    }
}
