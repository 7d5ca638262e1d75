import Flow
import Identity
import Octets
import PacketHeaders
import Policy
import WireProtocols

extension EnforcementEngine where Resolver: ~Copyable {
    /// One TCP segment of a confined flow, in either direction.
    mutating func handleTCP<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ header: TCPHeader, _ bytes: RawSpan, effects: inout Effects
    ) {
        guard isFromAgent(arrival), !isOfHostResolver(arrival) else {
            handleTowardsAgent(arrival, header, bytes, effects: &effects)
            return
        }
        if let slot = answered(arrival), isAnswer(arrival, header, slot) {
            handleTowardsAgent(arrival, header, bytes, effects: &effects)
            return
        }
        switch (header.flags.contains(.syn), header.flags.contains(.ack)) {
        case (true, false):
            open(arrival, header, effects: &effects)
        case (true, true):
            answer(arrival, header, effects: &effects)
        case (false, _) where arrival.packet.payload.isEmpty:
            // Nothing is said yet. RST and FIN too: the flow is not forgotten, since the server may not accept them.
            if let slot = flows.find(arrival.packet.flow) {
                flows[slot].serverNext = header.acknowledgment
                effects.accept(arrival.facts.reference, mark: mark(of: flows[slot].phase))
            } else if arrival.facts.hook == .output {
                effects.accept(arrival.facts.reference, mark: .undecided)
            } else {
                // A guest writes what it likes into a segment that belongs to nothing.
                refuse(
                    arrival, header, identity: identify(arrival, local: arrival.packet.flow),
                    .ofUnknownFlow, effects: &effects)
            }
        case (false, _):
            say(arrival, header, bytes, effects: &effects)
        }
    }

    /// Whether the packet leaves an agent. In the output hook every queued packet does; elsewhere the interface or source
    /// address says so (a conflict between them is still an agent's packet, of nobody).
    func isFromAgent(_ arrival: Arrival) -> Bool {
        guard arrival.facts.hook != .output else { return true }
        switch snapshot.agents.identify(
            interface: arrival.facts.inputInterface, source: arrival.packet.flow.source)
        {
        case .agent, .nobody(.conflict): return true
        case .nobody: return false
        }
    }

    /// Whether a packet that leaves the host is a resolver's answer to a guest. A socket of an agent is none of a resolver.
    mutating func isOfHostResolver(_ arrival: Arrival) -> Bool {
        let flow = arrival.packet.flow
        guard arrival.facts.hook == .output, isResolver(flow.reversed), let slot = flows.find(flow.reversed),
            flows[slot].isForwarded
        else { return false }
        return identify(arrival, local: flow).identification.agent == nil
    }

    /// The kernel's word on a flow that stands where `phase` says.
    func mark(of phase: FlowPhase) -> VerdictMark {
        switch phase {
        case .open, .reading, .judged, .requests: .undecided
        case .relayed, .allowed: .allowed
        case .refused: .refused
        }
    }

    /// A SYN: the flow begins.
    private mutating func open<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ header: TCPHeader, effects: inout Effects
    ) {
        guard arrival.packet.payload.isEmpty else {
            // TCP Fast Open: the client sends the data again after the handshake, and then it is judged.
            counters.deferred &+= 1
            effects.drop(arrival.facts.reference)
            return
        }
        let tuple = arrival.packet.flow
        if arrival.facts.hook != .output, resolver.tracked(tuple)?.isStanding == true {
            // A SYN within a connection that stands: the server answers it with where it stands, and reads on there. So do we.
            effects.accept(arrival.facts.reference, mark: .undecided)
            return
        }
        if let slot = flows.find(tuple) {
            let state = flows[slot]
            let isUnsaid = state.phase == .open || state.phase == .refused
            if state.initialSequence == header.sequence, isUnsaid, !state.isInbound {
                effects.accept(arrival.facts.reference, mark: state.phase == .refused ? .refused : .undecided)
                return
            }
            forget(slot, effects: &effects)
        }
        if admit(arrival, header, initialSequence: header.sequence, effects: &effects) != nil {
            effects.accept(arrival.facts.reference, mark: .undecided)
        }
    }

    /// Names the agent and asks policy whether the flow may begin. Returns the flow's slot, or nil after a refusal.
    mutating func admit<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ header: TCPHeader, initialSequence: SequenceNumber, effects: inout Effects
    ) -> FlowSlot? {
        let tuple = arrival.packet.flow
        let identity = identify(arrival, local: tuple)
        var state = FlowState()
        state.isForwarded = arrival.facts.hook != .output
        state.initialSequence = initialSequence
        state.passedEnd = initialSequence.advanced(by: 1)
        state.acknowledged = state.passedEnd
        state.serverNext = header.acknowledgment
        guard let agent = identity.identification.agent else {
            refuse(
                arrival, header, identity: identity, Refusal(.noIdentity, text: describe(identity)), effects: &effects)
            return nil
        }
        state.agent = agent.rawValue
        state.uid = identity.uid ?? .max
        state.cgroup = identity.cgroup?.rawValue ?? 0
        state.inode = identity.inode
        state.isToResolver = isResolver(tuple)
        if let refusal = join(identity, &state, arrival) {
            refuse(arrival, header, identity: identity, refusal, effects: &effects)
            return nil
        }
        // The resolvers of the configuration may be connected to: each question is decided.
        if !state.isToResolver {
            state.listener = listener(of: arrival)
            // An older flow the other way, between the same addresses and ports, is over.
            if state.listener != .max, let older = flows.find(tuple.reversed) { forget(older, effects: &effects) }
            if let refusal = refusal(towards: state, tuple) {
                refuse(arrival, header, identity: identity, refusal, effects: &effects)
                return nil
            }
            let input = makeInput(.connect, tuple, state, clock: arrival.clock)
            let decision = session.decide(input)
            guard decision.allow else {
                refuse(arrival, header, identity: identity, Refusal(decision, input: input), effects: &effects)
                return nil
            }
        }
        return remember(tuple, state, arrival, header, identity: identity, effects: &effects)
    }

    /// Whether a segment is of the listener that the flow was allowed to reach. A SYN and ACK say whose socket took it.
    private mutating func isAnswer(_ arrival: Arrival, _ header: TCPHeader, _ slot: FlowSlot) -> Bool {
        guard header.flags.contains(.syn) else { return true }
        guard header.flags.contains(.ack) else { return false }
        return identify(arrival, local: arrival.packet.flow).identification.agent?.rawValue == flows[slot].listener
    }

    /// A SYN and ACK that leave an agent: it answers an outsider. Only what `listen:` names may be answered.
    private mutating func answer<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ header: TCPHeader, effects: inout Effects
    ) {
        let identity = identify(arrival, local: arrival.packet.flow)
        let opener = arrival.packet.flow.reversed
        if let own = flows.find(arrival.packet.flow), !flows[own].isInbound {
            // Whatever `listen:` says: it has opened this flow itself.
            let input = makeInput(.connect, opener, identity: identity, clock: arrival.clock)
            refuseInbound(
                arrival, header, input, .policy, "inbound: the agent has opened this connection itself", opener,
                effects: &effects)
            return
        }
        decideInbound(arrival, header, identity: identity, opener: opener, effects: &effects)
    }

    /// A segment towards a forwarded agent: the server's side of a flow, or an outsider's attempt.
    private mutating func handleTowardsAgent<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ header: TCPHeader, _ bytes: RawSpan, effects: inout Effects
    ) {
        let opener = arrival.packet.flow.reversed
        if header.flags.contains(.syn), !header.flags.contains(.ack) {
            let identity = identify(towards: arrival)
            decideInbound(arrival, header, identity: identity, opener: arrival.packet.flow, effects: &effects)
            return
        }
        guard let slot = flows.find(opener) else {
            refuse(
                arrival, header, identity: identify(towards: arrival),
                .ofUnknownFlow, effects: &effects)
            return
        }
        if header.flags.contains([.syn, .ack]), flows[slot].isForwarded, !flows[slot].isInbound,
            header.acknowledgment != flows[slot].initialSequence.advanced(by: 1)
        {
            // The server has begun anew what we take for the connection that it was: so must the agent.
            effects.drop(arrival.facts.reference)
            reset(
                opener, sequence: header.acknowledgment, acknowledgment: header.sequence.advanced(by: 1),
                effects: &effects)
            forget(slot, effects: &effects)
            return
        }
        if header.flags.contains(.ack) {
            let state = flows[slot]
            // An acknowledgment of bytes that were never let through is none.
            if header.acknowledgment.distance(from: state.acknowledged) > 0,
                header.acknowledgment.distance(from: state.passedEnd) <= 1
            {
                flows[slot].acknowledged = header.acknowledgment
            }
        }
        if flows[slot].serverWord == .none, !arrival.packet.payload.isEmpty {
            let isHello = ServerHelloHead.goesOn(bytes.extracting(arrival.packet.payload))
            flows[slot].serverWord = isHello ? .hello : .other
        }
        if flows[slot].isToResolver, !arrival.packet.payload.isEmpty, flows[slot].phase != .refused,
            let refusal = readAnswers(slot, arrival, header, bytes.extracting(arrival.packet.payload))
        {
            let input = makeInput(.resolve, opener, flows[slot], clock: arrival.clock)
            report(
                input, refusal.decision, opener, arrival.clock, inode: flows[slot].inode, effects: &effects)
            effects.accept(arrival.facts.reference, mark: .refused)
            effects.cut(opener, isForwarded: flows[slot].isForwarded)
            // The agent waits for this very segment.
            reset(opener.reversed, sequence: header.sequence, acknowledgment: header.acknowledgment, effects: &effects)
            markRefused(slot, effects: &effects)
            return
        }
        effects.accept(arrival.facts.reference, mark: mark(of: flows[slot].phase))
    }

    /// Payload of an agent.
    private mutating func say<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ header: TCPHeader, _ bytes: RawSpan, effects: inout Effects
    ) {
        let slot: FlowSlot
        if let known = flows.find(arrival.packet.flow) {
            slot = known
        } else if let admitted = admitMidstream(arrival, header, effects: &effects) {
            slot = admitted
        } else {
            return
        }
        guard isCurrent(slot, clock: arrival.clock, effects: &effects) else {
            effects.accept(arrival.facts.reference, mark: .refused)
            return
        }
        let phase = flows[slot].phase
        switch phase {
        case .open, .reading, .judged, .requests:
            inspect(slot, arrival, header, bytes, effects: &effects)
        case .relayed, .allowed, .refused:
            effects.accept(arrival.facts.reference, mark: mark(of: phase))
        }
    }

    /// Payload of a flow that is not in the table: after a restart, or from before enforcement. If the kernel says that the
    /// server has not acknowledged a single byte, none has passed and the flow is as good as new; otherwise it is refused.
    private mutating func admitMidstream<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ header: TCPHeader, effects: inout Effects
    ) -> FlowSlot? {
        if arrival.facts.hook == .output, let count = resolver.bytesAcknowledged(on: arrival.packet.flow), count == 0 {
            return admit(arrival, header, initialSequence: header.sequence.advanced(by: -1), effects: &effects)
        }
        refuse(
            arrival, header, identity: identify(arrival, local: arrival.packet.flow),
            .ofUnknownFlow, effects: &effects)
        return nil
    }

    /// Puts a flow into the table. Where it is full, the oldest judged flows that live no more give way; where that does not
    /// help, or the agent has its share, the flow is refused.
    /// - Parameter header: the packet's TCP header; nil for a datagram.
    mutating func remember<Effects: EnforcementEffects & ~Copyable>(
        _ tuple: FiveTuple, _ state: FlowState, _ arrival: Arrival, _ header: TCPHeader?, identity: PacketIdentity,
        effects: inout Effects
    ) -> FlowSlot? {
        for _ in 0..<2 {
            var evicted = FlowState()
            let mayEvict = !flows.isFull || findEvictable()
            let slot = flows.insert(tuple, state, group: state.agent, mayEvictDecided: mayEvict) { evicted = $0 }
            releaseInspection(of: evicted, effects: &effects)
            if let slot {
                facts.forget(slot)
                flows[slot].generation = generation
                flows[slot].since = arrival.clock.monotonic
                flows.setOwner(slot, state.session.rawValue)
                return slot
            }
            guard reclaim(clock: arrival.clock, effects: &effects) else { break }
        }
        counters.full &+= 1
        refuse(
            arrival, header, identity: identity,
            Refusal(.tableFull, text: "the flow table has no room for another undecided flow of this agent"),
            effects: &effects)
        return nil
    }

    /// Brings a decided flow that may be forgotten to the end that is evicted first; looks at a few. One that the kernel
    /// passes is kept while it lives: forgotten, it could not be cut. False where none was found.
    private mutating func findEvictable() -> Bool {
        for _ in 0..<8 {
            guard let slot = flows.oldest(of: .decided) else { return false }
            let state = flows[slot]
            if state.phase != .allowed { return true }
            if isGone(slot) { return true }
            flows.move(slot, to: .decided)
        }
        return false
    }

    /// Forgets the oldest judged and cleartext flows whose sockets are gone; looks at a few. Whether one was found.
    mutating func reclaim<Effects: EnforcementEffects & ~Copyable>(
        clock: ClockReading, effects: inout Effects
    ) -> Bool {
        for _ in 0..<4 {
            guard let slot = flows.oldest(of: .live) else { return false }
            if isGone(slot) {
                forget(slot, effects: &effects)
                return true
            }
            flows.move(slot, to: .live, deadline: clock.monotonic &+ Self.idleNanoseconds)
        }
        return false
    }

    /// Whether the kernel knows no socket for a flow any more, or of a forwarded one no connection.
    mutating func isGone(_ slot: FlowSlot) -> Bool {
        if flows[slot].isForwarded { return resolver.tracked(flows.key(of: slot)) == nil }
        if flows[slot].isDatagram { return resolver.owner(of: flows.key(of: slot)) == nil }
        return resolver.bytesAcknowledged(on: flows.key(of: slot)) == nil
    }

    /// Frees what is kept for reading a flow; packets that are held for it are dropped, or the kernel would keep them for ever.
    mutating func releaseInspection<Effects: EnforcementEffects & ~Copyable>(
        of state: FlowState, effects: inout Effects
    ) {
        for packet in takeHeld(of: state) { effects.drop(packet.reference) }
        if state.isDatagram {
            datagramInspections.release(state.inspection)
        } else {
            inspections.release(state.inspection)
        }
    }

    /// The packets that are held for a flow, which is given up.
    mutating func takeHeld(_ slot: FlowSlot) -> [HeldPacket] { takeHeld(of: flows[slot]) }

    private mutating func takeHeld(of state: FlowState) -> [HeldPacket] {
        let held =
            state.isDatagram
            ? datagramInspections.takeHeld(state.inspection) : inspections.takeHeld(state.inspection)
        heldCounts[Int(state.agent)] -= Int32(held.count)
        return held
    }

    /// Whether the kernel may hold one more packet of an agent.
    func mayHold(_ agent: UInt16) -> Bool { Int(heldCounts[Int(agent)]) < limits.heldCountPerAgent }

    /// Counts what is held anew: agents have other positions.
    mutating func countHeld() {
        for index in heldCounts.indices { heldCounts[index] = 0 }
        var position = 0
        while let slot = flows.slot(from: position) {
            position = slot.position + 1
            let state = flows[slot]
            heldCounts[Int(state.agent)] += Int32(
                state.isDatagram
                    ? datagramInspections.heldCount(state.inspection) : inspections.heldCount(state.inspection))
        }
    }

    /// Whether a flow goes to a DNS resolver of the configuration.
    func isResolver(_ flow: FiveTuple) -> Bool {
        flow.destinationPort == 53 && snapshot.resolvers.contains(flow.destination)
    }

    /// Removes a flow with what is held and kept for it.
    mutating func forget<Effects: EnforcementEffects & ~Copyable>(_ slot: FlowSlot, effects: inout Effects) {
        releaseInspection(of: flows[slot], effects: &effects)
        facts.forget(slot)
        flows.remove(slot)
    }
}
