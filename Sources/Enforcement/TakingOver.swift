import Flow
import Identity
public import PacketHeaders
public import Policy

/// A connection that stands without this run of the daemon having decided it: the kernel passes it because an earlier run
/// allowed it, or it began while the rules were not in force.
public struct StandingConnection: Sendable {
    /// The flow, opener first.
    public let flow: FiveTuple
    /// Behind which interface its opener is, by the kernel's index; nil where it is this host or not known.
    public var sourceInterface: UInt32?
    /// Behind which interface its other end is.
    public var destinationInterface: UInt32?
    /// Whether its opener, and whether its other end, has an address of this host.
    public var isLocal: (source: Bool, destination: Bool)
    /// What the earlier run allowed it for; nil where that is not known any more.
    public var allowed: PolicyInput?
    /// Whether it is a TCP connection on which the opener has said nothing yet.
    public var hasSaidNothing = false

    /// A connection of which nothing but its addresses is known.
    public init(flow: FiveTuple) {
        self.flow = flow
        isLocal = (false, false)
    }
}

extension EnforcementEngine where Resolver: ~Copyable {
    /// Takes over a connection of an earlier run: names its agent and its session anew by what the kernel says now, and
    /// decides it anew by what it was allowed for. What cannot be attributed any more, or is allowed no longer, is cut.
    /// - Parameter isSamePolicy: whether the policy in force is the one that allowed it. Where it is another one, a
    ///   connection of which it is not known what it was allowed for is cut.
    public mutating func takeOver<Effects: EnforcementEffects & ~Copyable>(
        _ connection: StandingConnection, isSamePolicy: Bool, clock: ClockReading, effects: inout Effects
    ) {
        let flow = connection.flow
        guard flows.find(flow) == nil else { return }
        var state = FlowState()
        state.phase = .allowed
        guard let identity = identify(connection, &state) else {
            // Nobody's socket is found: the flow is over, or its socket is hidden. It may not go on where nobody could end it.
            effects.cut(flow, isForwarded: false)
            return
        }
        guard let agent = identity.identification.agent else {
            refuseTakeover(connection, state, .preexisting, describe(identity), clock: clock, effects: &effects)
            return
        }
        state.agent = agent.rawValue
        state.uid = identity.uid ?? .max
        state.cgroup = identity.cgroup?.rawValue ?? 0
        state.inode = identity.inode
        if !state.isInbound { state.listener = listener(of: connection) }
        if state.isInbound {
            guard isListed(agent, flow) else {
                refuseTakeover(
                    connection, state, .policyChanged, "no entry under listen: names the flow any more", clock: clock,
                    effects: &effects)
                return
            }
        } else {
            switch identity.session {
            case .none: break
            case .unclear(let text):
                refuseTakeover(connection, state, .noSession, text, clock: clock, effects: &effects)
                return
            case .session(let session):
                state.session = session
                if let reason = sessions.refusal(of: session, at: clock.wall) {
                    refuseTakeover(connection, state, reason, Self.endText(reason), clock: clock, effects: &effects)
                    return
                }
            }
        }
        state.isUnexplained = connection.allowed == nil && !state.isInbound
        guard let slot = flows.insert(flow, state, group: state.agent, mayEvictDecided: false, evicting: { _ in })
        else {
            counters.full &+= 1
            refuseTakeover(
                connection, state, .tableFull, "the flow table has no room for it", clock: clock, effects: &effects)
            return
        }
        facts.forget(slot)
        flows[slot].generation = generation
        flows[slot].since = clock.monotonic
        flows.setOwner(slot, state.session.rawValue)
        flows.move(slot, to: .decided)
        if let allowed = connection.allowed {
            facts.keep(allowed, for: slot)
            reconsider(slot, otherwise: .policyChanged, clock: clock, effects: &effects)
        } else if !isSamePolicy {
            reconsider(slot, otherwise: .policyChanged, clock: clock, effects: &effects)
        }
    }

    /// Decides a flow of a local agent that no thread knows and that has no verdict: it may have begun while the rules were not
    /// in force. One that has said nothing yet goes on where it may begin at all, since its first bytes are decided; others
    /// are cut.
    public mutating func judgeStray<Effects: EnforcementEffects & ~Copyable>(
        _ connection: StandingConnection, clock: ClockReading, effects: inout Effects
    ) {
        let flow = connection.flow
        // Each question to a resolver is decided on its own.
        guard flows.find(flow) == nil, flows.find(flow.reversed) == nil, !isResolver(flow) else { return }
        var state = FlowState()
        guard let identity = identify(connection, &state) else { return }
        state.agent = identity.identification.agent?.rawValue ?? .max
        state.uid = identity.uid ?? .max
        state.cgroup = identity.cgroup?.rawValue ?? 0
        state.inode = identity.inode
        var decision = PolicyDecision(
            allow: false, reason: .preexisting, policyReason: "the flow began while the rules were not in force")
        let isAccepted =
            resolver.listener(at: flow.source, port: flow.sourcePort, transport: flow.transport) != nil
        if identity.identification.agent != nil, connection.hasSaidNothing, !isAccepted {
            state.listener = listener(of: connection)
            decision = session.decide(makeInput(.connect, flow, state, clock: clock))
        }
        guard !decision.allow else { return }
        refuseTakeover(connection, state, decision, clock: clock, effects: &effects)
    }

    /// Calls `body` with each connection that the kernel passes and what it was allowed for.
    public func forEachAllowed(clock: ClockReading, _ body: (FiveTuple, PolicyInput) -> Void) {
        var position = 0
        while let slot = flows.slot(from: position) {
            position = slot.position + 1
            let state = flows[slot]
            guard state.phase == .allowed, !state.isInbound, !state.isUnexplained else { continue }
            let tuple = flows.key(of: slot)
            var input = makeInput(.connect, tuple, state, clock: clock)
            facts[slot]?.complete(&input)
            input.customer = nil
            body(tuple, input)
        }
    }

    /// Whose the connection is; nil where nobody can send on it any more.
    private mutating func identify(_ connection: StandingConnection, _ state: inout FlowState) -> PacketIdentity? {
        let flow = connection.flow
        if connection.isLocal.source, let owner = resolver.owner(of: flow) {
            let own = nameOwner(owner, flow)
            // Of a flow within the host the other end may be the agent's.
            if own.identification.agent != nil || !connection.isLocal.destination { return own }
        }
        if connection.isLocal.destination, let owner = resolver.owner(of: flow.reversed) {
            state.isInbound = true
            return nameOwner(owner, flow.reversed)
        }
        if connection.isLocal.source { return nil }
        state.isForwarded = true
        let opener = snapshot.agents.identify(interface: connection.sourceInterface, source: flow.source)
        if let agent = opener.agent {
            var identity = PacketIdentity(identification: opener, uid: nil, cgroup: nil, path: nil)
            identity.session = sessions.index.session(ofForwarded: snapshot.agents[agent].id, source: flow.source)
            return identity
        }
        let other = snapshot.agents.identify(interface: connection.destinationInterface, source: flow.destination)
        state.isInbound = other.agent != nil
        return PacketIdentity(
            identification: state.isInbound ? other : opener, uid: nil, cgroup: nil, path: nil)
    }

    private mutating func nameOwner(_ owner: SocketOwner, _ flow: FiveTuple) -> PacketIdentity {
        let named = identities.identify(owner, in: snapshot.agents, resolver: &resolver)
        var identity = PacketIdentity(
            identification: named.identification, uid: owner.uid, cgroup: owner.cgroup, path: named.cgroup,
            inode: owner.inode)
        if let agent = named.identification.agent, let path = named.cgroup {
            identity.session = sessions.index.session(
                of: owner, agent: snapshot.agents[agent].id, path: path, flow: flow)
        }
        return identity
    }

    private mutating func refuseTakeover<Effects: EnforcementEffects & ~Copyable>(
        _ connection: StandingConnection, _ state: FlowState, _ reason: Reason, _ text: String?, clock: ClockReading,
        effects: inout Effects
    ) {
        refuseTakeover(
            connection, state, PolicyDecision(allow: false, reason: reason, policyReason: text), clock: clock,
            effects: &effects)
    }

    private mutating func refuseTakeover<Effects: EnforcementEffects & ~Copyable>(
        _ connection: StandingConnection, _ state: FlowState, _ decision: PolicyDecision, clock: ClockReading,
        effects: inout Effects
    ) {
        var state = state
        if snapshot.agents.agents.count <= Int(state.agent) { state.agent = .max }
        var input = makeInput(.connect, connection.flow, state, clock: clock)
        if let allowed = connection.allowed { FlowFacts(allowed).complete(&input) }
        report(
            input, decision, connection.flow, clock,
            isInbound: state.isInbound, inode: state.inode, effects: &effects)
        effects.cut(connection.flow, isForwarded: state.isForwarded)
        if state.isForwarded { provoke(connection.flow, state, effects: &effects) }
    }
}
