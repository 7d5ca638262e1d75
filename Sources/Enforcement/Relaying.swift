import Flow
import Identity
import PacketHeaders
import Policy

/// What passes without being read: DNS to the resolvers of the configuration, and inbound flows that `listen:` names.
extension EnforcementEngine where Resolver: ~Copyable {
    /// One UDP datagram of a confined flow, in either direction.
    mutating func handleUDP<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, effects: inout Effects
    ) {
        let tuple = arrival.packet.flow
        if !isFromAgent(arrival) {
            handleUDPTowardsAgent(arrival, effects: &effects)
            return
        }
        if let slot = flows.find(tuple) {
            flows.move(slot, to: .decided)
            effects.accept(arrival.facts.reference, mark: flows[slot].phase == .refused ? .refused : .undecided)
            return
        }
        if let slot = flows.find(tuple.reversed), flows[slot].isInbound {
            flows.move(slot, to: .decided)
            effects.accept(arrival.facts.reference, mark: .undecided)
            return
        }
        let identity = identify(arrival, local: tuple)
        guard let agent = identity.identification.agent else {
            refuse(arrival, nil, identity: identity, Refusal(.noIdentity, text: describe(identity)), effects: &effects)
            return
        }
        if tuple.destinationPort == 53, snapshot.resolvers.contains(tuple.destination) {
            var state = FlowState()
            state.phase = .relayed
            state.isForwarded = arrival.facts.hook != .output
            state.agent = agent.rawValue
            state.uid = identity.uid ?? .max
            state.cgroup = identity.cgroup?.rawValue ?? 0
            state.inode = identity.inode
            guard relay(arrival, tuple, state, identity: identity, effects: &effects) else { return }
            reportRelay(arrival, state, effects: &effects)
        } else if isListed(agent, tuple.reversed) {
            decideInbound(arrival, nil, identity: identity, opener: tuple.reversed, effects: &effects)
        } else {
            refuse(
                arrival, nil, identity: identity,
                Refusal(.unknownProtocol, text: "UDP other than DNS to a configured resolver is not read"),
                effects: &effects)
        }
    }

    /// A datagram towards a forwarded agent: an answer to its own, or an outsider's.
    private mutating func handleUDPTowardsAgent<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, effects: inout Effects
    ) {
        let tuple = arrival.packet.flow
        if let slot = flows.find(tuple.reversed), flows[slot].phase == .relayed {
            effects.accept(arrival.facts.reference, mark: .undecided)
        } else if let slot = flows.find(tuple), flows[slot].isInbound {
            effects.accept(arrival.facts.reference, mark: .undecided)
        } else {
            decideInbound(
                arrival, nil, identity: identify(towards: arrival), opener: tuple, effects: &effects)
        }
    }

    /// Decides a flow that an outsider opens towards an agent, by `listen:` alone.
    /// - Parameter opener: the flow as the outsider opened it; its destination is the agent.
    mutating func decideInbound<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ header: TCPHeader?, identity: PacketIdentity, opener: FiveTuple, effects: inout Effects
    ) {
        let input = makeInput(.connect, opener, identity: identity, clock: arrival.clock)
        guard let agent = identity.identification.agent else {
            refuseInbound(arrival, header, input, .noIdentity, describe(identity), opener, effects: &effects)
            return
        }
        guard isListed(agent, opener) else {
            refuseInbound(
                arrival, header, input, .policy,
                "inbound: no entry under listen: names this agent, port and source", opener, effects: &effects)
            return
        }
        if opener.transport == .udp {
            var state = FlowState()
            state.phase = .relayed
            state.isInbound = true
            state.agent = agent.rawValue
            guard relay(arrival, opener, state, identity: identity, effects: &effects) else { return }
        } else {
            effects.accept(arrival.facts.reference, mark: .allowed)
        }
        report(
            input, PolicyDecision(allow: true, reason: .allowed, policyReason: "inbound", rule: "listen"), opener,
            arrival.clock, isInbound: true, inode: identity.inode, effects: &effects)
    }

    /// Remembers a relayed UDP flow and passes the datagram; false after a refusal.
    private mutating func relay<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ tuple: FiveTuple, _ state: FlowState, identity: PacketIdentity, effects: inout Effects
    ) -> Bool {
        guard let slot = remember(tuple, state, clock: arrival.clock) else {
            refuse(
                arrival, nil, identity: identity,
                Refusal(.tableFull, text: "the flow table has no room for another flow of this agent"),
                effects: &effects)
            return false
        }
        flows.move(slot, to: .decided)
        effects.accept(arrival.facts.reference, mark: .undecided)
        return true
    }

    /// Reports DNS that passes to a resolver of the configuration.
    mutating func reportRelay<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ state: FlowState, effects: inout Effects
    ) {
        var input = makeInput(
            .connect, arrival.packet.flow, state, clock: arrival.clock)
        input.protocol = ProtocolFacts(name: "dns")
        report(
            input, PolicyDecision(allow: true, reason: .allowed, rule: "resolvers"), arrival.packet.flow, arrival.clock,
            inode: state.inode, effects: &effects)
    }

    private mutating func refuseInbound<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ header: TCPHeader?, _ input: PolicyInput, _ reason: Reason, _ text: String?,
        _ opener: FiveTuple, effects: inout Effects
    ) {
        report(
            input, PolicyDecision(allow: false, reason: reason, policyReason: text), opener, arrival.clock,
            isInbound: true, effects: &effects)
        effects.accept(arrival.facts.reference, mark: .refused)
        // The outsider waits for an answer to its SYN; the agent's SYN and ACK, which the kernel rejects, told what to say.
        if let header, header.flags.contains([.syn, .ack]) {
            reset(
                arrival.packet.flow, sequence: header.sequence, acknowledgment: header.acknowledgment, effects: &effects
            )
        }
    }

    private func isListed(_ agent: AgentIndex, _ opener: FiveTuple) -> Bool {
        let id = snapshot.agents[agent].id
        return snapshot.listen.contains { rule in
            rule.agent == id && rule.port == opener.destinationPort && rule.transport == opener.transport
                && rule.sources.contains { $0.contains(opener.source) }
        }
    }
}
