import Flow
import Identity
public import PacketHeaders
public import Policy

/// Where a flow stands, for those who look on.
public enum FlowVerdict: String, Hashable, Sendable {
    /// It may begin; what it has said so far is not enough to decide.
    case undecided
    /// Allowed.
    case allowed
    /// Allowed piece by piece: each request, question or connection in it is a decision of its own.
    case requests
    /// Refused for good.
    case refused
}

/// One flow, as `sallyport flows` shows it.
public struct LiveFlow: Sendable {
    /// The flow, opener first.
    public let flow: FiveTuple
    /// The agent's id; empty where it is not configured any more.
    public let agent: String
    /// For whom the agent acts.
    public let customer: Customer?
    /// Where it stands.
    public let verdict: FlowVerdict
    /// Whether an outsider opened the flow.
    public let isInbound: Bool
    /// The host that it was last allowed for.
    public let host: String?
    /// The protocol that it was last allowed for.
    public let `protocol`: String?
    /// When this run of the daemon first saw it, in nanoseconds on the monotonic clock.
    public let since: UInt64
}

/// Which flows somebody wants to see.
public struct FlowSelection: Hashable, Sendable {
    /// The agent's id; nil for every agent.
    public var agent: String?
    /// The customer's id; nil for every customer and for none.
    public var customer: String?
    /// How many at most; the others are counted.
    public var limit: Int

    /// A selection from its parts.
    public init(agent: String? = nil, customer: String? = nil, limit: Int) {
        self.agent = agent
        self.customer = customer
        self.limit = limit
    }
}

/// How often policy's word, or the machine's own, was yes and no.
public struct DecisionCount: Hashable, Sendable {
    /// Decisions that allowed.
    public var allowed: UInt64 = 0
    /// Decisions that refused.
    public var refused: UInt64 = 0

    /// None yet.
    public init() {}

    /// Adds what another queue thread has counted.
    public static func += (sum: inout DecisionCount, other: DecisionCount) {
        sum.allowed &+= other.allowed
        sum.refused &+= other.refused
    }
}

/// What one queue thread has in its table and has decided, at one moment.
public struct EngineView: Sendable {
    /// The flows that were asked for, as far as they were wanted.
    public var flows: [LiveFlow] = []
    /// How many flows were asked for.
    public var matching = 0
    /// How many flows each agent has, by its id.
    public var liveFlows: [String: Int] = [:]
    /// What was decided about each agent since the engine was made, by its id; what had no agent under the empty one.
    public var decisions: [String: DecisionCount] = [:]

    /// Nothing.
    public init() {}
}

extension EnforcementEngine where Resolver: ~Copyable {
    /// What is in the table, and what was decided.
    public func view(of selection: FlowSelection) -> EngineView {
        var view = EngineView()
        view.decisions = decisions
        var counts: [UInt16: Int] = [:]
        var position = 0
        while let slot = flows.slot(from: position) {
            position = slot.position + 1
            let state = flows[slot]
            counts[state.agent, default: 0] += 1
            let agent = agent(at: state.agent).id
            let customer = sessions.customer(of: state.session)
            guard selection.agent == nil || selection.agent == agent,
                selection.customer == nil || selection.customer == customer?.id
            else { continue }
            view.matching += 1
            guard view.flows.count < selection.limit else { continue }
            let allowed = facts[slot]
            view.flows.append(
                LiveFlow(
                    flow: flows.key(of: slot), agent: agent, customer: customer, verdict: state.phase.verdict,
                    isInbound: state.isInbound, host: allowed?.host,
                    protocol: allowed?.protocol?.name ?? (state.isToResolver ? "dns" : nil), since: state.since))
        }
        for (position, count) in counts { view.liveFlows[agent(at: position).id, default: 0] += count }
        return view
    }

    /// Counts one decision.
    mutating func count(_ decision: PolicyDecision, of agent: Agent) {
        if decision.allow {
            counters.allowed &+= 1
            decisions[agent.id, default: DecisionCount()].allowed &+= 1
        } else {
            counters.refused &+= 1
            counters.refusedByReason[decision.reason, default: 0] &+= 1
            decisions[agent.id, default: DecisionCount()].refused &+= 1
        }
    }
}

extension FlowPhase {
    fileprivate var verdict: FlowVerdict {
        switch self {
        case .open, .reading: .undecided
        case .judged, .relayed, .allowed: .allowed
        case .requests: .requests
        case .refused: .refused
        }
    }
}
