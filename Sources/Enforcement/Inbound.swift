import Flow
import Identity
import PacketHeaders
import Policy

/// What passes without being read: inbound flows that `listen:` names.
extension EnforcementEngine where Resolver: ~Copyable {
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
            state.isDatagram = true
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
        guard let slot = remember(tuple, state, arrival, nil, identity: identity, effects: &effects) else {
            return false
        }
        flows.move(slot, to: .decided)
        effects.accept(arrival.facts.reference, mark: .undecided)
        return true
    }

    /// Refuses a flow that an outsider opens, or seems to.
    mutating func refuseInbound<Effects: EnforcementEffects & ~Copyable>(
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

    func isListed(_ agent: AgentIndex, _ opener: FiveTuple) -> Bool {
        let id = snapshot.agents[agent].id
        return snapshot.listen.contains { rule in
            rule.agent == id && rule.port == opener.destinationPort && rule.transport == opener.transport
                && rule.sources.contains { $0.contains(opener.source) }
        }
    }
}
