import PacketHeaders

/// Agents by source prefix; the longest prefix wins. One hash look-up for each prefix length in use, no allocation.
struct SourceIndex: Sendable {
    private var agents: [IPPrefix: AgentIndex] = [:]
    /// The prefix lengths in use, longest first.
    private var lengths4: [Int] = []
    private var lengths6: [Int] = []

    /// Makes `prefix` name `agent`; the agent that already has it is returned and kept.
    mutating func insert(_ prefix: IPPrefix, _ agent: AgentIndex) -> AgentIndex? {
        if let other = agents[prefix] { return other == agent ? nil : other }
        agents[prefix] = agent
        switch prefix.address.family {
        case .v4: Self.add(prefix.length, to: &lengths4)
        case .v6: Self.add(prefix.length, to: &lengths6)
        }
        return nil
    }

    /// The agent of the longest prefix that holds `address`.
    func agent(of address: IPAddress) -> AgentIndex? {
        for length in address.family == .v4 ? lengths4 : lengths6 {
            if let agent = agents[IPPrefix(containing: address, length: length)] { return agent }
        }
        return nil
    }

    private static func add(_ length: Int, to lengths: inout [Int]) {
        guard !lengths.contains(length) else { return }
        lengths.append(length)
        lengths.sort(by: >)
    }
}
