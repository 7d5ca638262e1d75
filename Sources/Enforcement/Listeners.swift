import Flow
import Identity
import PacketHeaders
import Policy

/// Flows that end on the host itself, at the socket of an agent: another process of the same agent, or another agent.
///
/// Policy is told whose socket listens (`destination.listener_agent`). What the listener answers belongs to the flow that its
/// opener was allowed; it opens nothing.
extension EnforcementEngine where Resolver: ~Copyable {
    /// The position of the agent whose socket takes what is sent here, where that is on the host itself; `UInt16.max` where it
    /// is elsewhere, or nobody's.
    mutating func listener(of arrival: Arrival) -> UInt16 {
        let flow = arrival.packet.flow
        guard arrival.facts.hook == .input || arrival.facts.outputInterface == Self.loopbackInterface,
            let owner = resolver.listener(
                at: flow.destination, port: flow.destinationPort, transport: flow.transport)
        else { return .max }
        return agent(owning: owner)
    }

    /// The same of a connection that stands: of the socket at its other end.
    mutating func listener(of connection: StandingConnection) -> UInt16 {
        guard connection.isLocal.destination, let owner = resolver.owner(of: connection.flow.reversed)
        else { return .max }
        return agent(owning: owner)
    }

    private mutating func agent(owning owner: SocketOwner) -> UInt16 {
        identities.identify(owner, in: snapshot.agents, resolver: &resolver).identification.agent?.rawValue ?? .max
    }

    /// Why a flow may not go to the agent that listens, or nil: to another agent it comes from outside, as `listen:` has it.
    func refusal(towards state: FlowState, _ flow: FiveTuple) -> Refusal? {
        let listener = AgentIndex(rawValue: state.listener)
        guard state.listener != .max, state.listener != state.agent, !isListed(listener, flow) else { return nil }
        return Refusal(
            .policy,
            text: "agent \(agent(at: state.listener).id) listens there, and no entry under listen: names this flow")
    }

    /// The flow that a packet from a socket of the host answers, as the listening agent at its other end; nil where it belongs
    /// to a flow of its own.
    func answered(_ arrival: Arrival) -> FlowSlot? {
        guard arrival.facts.hook == .output, let slot = flows.find(arrival.packet.flow.reversed),
            flows[slot].listener != .max, !flows[slot].isInbound, flows.find(arrival.packet.flow) == nil
        else { return nil }
        return slot
    }

    /// `LOOPBACK_IFINDEX` (`include/net/flow.h`).
    private static var loopbackInterface: UInt32 { 1 }
}
