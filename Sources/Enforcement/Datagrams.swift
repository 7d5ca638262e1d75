import Flow
import FlowInspection
import Identity
import Octets
import PacketHeaders
import Policy
import WireProtocols

/// UDP: DNS to the resolvers of the configuration, question by question; QUIC, connection by connection; nothing else.
///
/// Every datagram comes here, there is no fast path: another socket may get the same addresses and ports, and each Initial
/// packet may open another connection. What goes on leaves with our copy.
extension EnforcementEngine where Resolver: ~Copyable {
    /// One UDP datagram of a confined flow, in either direction.
    mutating func handleUDP<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ bytes: RawSpan, effects: inout Effects
    ) {
        let tuple = arrival.packet.flow
        if !isFromAgent(arrival) || isOfHostResolver(arrival) || isAnswerOfListener(arrival) {
            handleUDPTowardsAgent(arrival, bytes, effects: &effects)
            return
        }
        let payload = bytes.extracting(arrival.packet.payload)
        if let slot = flows.find(tuple.reversed), flows[slot].isInbound {
            if flows[slot].phase == .relayed, isCurrent(slot, clock: arrival.clock, effects: &effects),
                identify(arrival, local: tuple).identification.agent?.rawValue == flows[slot].agent
            {
                flows.move(slot, to: .decided)
                effects.accept(arrival.facts.reference, mark: .undecided)
                return
            }
            // Another's socket has the port by now, or nothing lists the flow any more: what it sends is its own.
            forget(slot, effects: &effects)
        }
        if let slot = flows.find(tuple) {
            let isRefused =
                !isCurrent(slot, clock: arrival.clock, effects: &effects) || flows[slot].phase == .refused
            // A datagram is its sender's, whoever sent from these addresses and ports before.
            let isAsked =
                arrival.facts.hook != .output || isRefused || flows[slot].isToResolver || QUICLongHeader.isLong(payload)
                || mayBeAnothers(slot, arrival)
            let isSame = !isAsked || isSameSender(slot, arrival)
            if isAsked { flows[slot].confirmed = arrival.clock.monotonic }
            if isRefused, isSame {
                flows.move(slot, to: .decided)
                effects.accept(arrival.facts.reference, mark: .refused)
                return
            }
            if isSame {
                judgeDatagram(slot, arrival, bytes, payload, effects: &effects)
                return
            }
            forget(slot, effects: &effects)
        }
        if let slot = openDatagramFlow(arrival, effects: &effects) {
            judgeDatagram(slot, arrival, bytes, payload, effects: &effects)
        }
    }

    /// A datagram towards a forwarded agent: an answer to its own, or an outsider's.
    private mutating func handleUDPTowardsAgent<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ bytes: RawSpan, effects: inout Effects
    ) {
        let tuple = arrival.packet.flow
        if isResolver(tuple.reversed) {
            // One to a question of an earlier run, or that nobody asked, is none.
            guard let slot = flows.find(tuple.reversed), flows[slot].isToResolver else {
                counters.noise &+= 1
                effects.drop(arrival.facts.reference)
                return
            }
            handleAnswer(slot, arrival, bytes, effects: &effects)
        } else if let slot = flows.find(tuple.reversed), flows[slot].phase != .refused, !flows[slot].isInbound {
            effects.accept(arrival.facts.reference, mark: .undecided)
        } else if let slot = flows.find(tuple), flows[slot].isInbound, flows[slot].phase == .relayed {
            effects.accept(arrival.facts.reference, mark: .undecided)
        } else {
            decideInbound(
                arrival, nil, identity: identify(towards: arrival), opener: tuple, effects: &effects)
        }
    }

    /// Whether a datagram within the host answers a flow, as the agent that listens at its other end.
    private mutating func isAnswerOfListener(_ arrival: Arrival) -> Bool {
        guard let slot = answered(arrival) else { return false }
        return identify(arrival, local: arrival.packet.flow).identification.agent?.rawValue == flows[slot].listener
    }

    /// Whether a datagram within a connection may be of another socket of this host than the one that opened it. Two customers'
    /// workers may share a port; two agents may have it one after the other, so of them it is asked from time to time.
    private func mayBeAnothers(_ slot: FlowSlot, _ arrival: Arrival) -> Bool {
        if !sessions.index.isEmpty { return true }
        guard snapshot.agents.agents.count > 1 else { return false }
        if let uid = arrival.facts.uid, uid != flows[slot].uid { return true }
        return arrival.clock.monotonic &- flows[slot].confirmed >= Self.confirmedNanoseconds
    }

    /// How long it counts that a socket was found to be the one that opened a flow.
    private static var confirmedNanoseconds: UInt64 { 1_000_000 }

    private mutating func isSameSender(_ slot: FlowSlot, _ arrival: Arrival) -> Bool {
        let identity = identify(arrival, local: arrival.packet.flow)
        let state = flows[slot]
        // The last words of a refused socket that is closed by now are refused as the rest was.
        if state.phase == .refused, identity.identification == .nobody(.noSocket) { return true }
        return identity.identification.agent?.rawValue == state.agent && identity.inode == state.inode
            && identity.session == (state.session == .none ? .none : .session(state.session))
    }

    /// The first datagram of a flow: who sends it, and may it go there at all? Returns the flow's slot, or nil after a refusal.
    private mutating func openDatagramFlow<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, effects: inout Effects
    ) -> FlowSlot? {
        let tuple = arrival.packet.flow
        let identity = identify(arrival, local: tuple)
        guard let agent = identity.identification.agent else {
            refuse(arrival, nil, identity: identity, Refusal(.noIdentity, text: describe(identity)), effects: &effects)
            return nil
        }
        var state = FlowState()
        state.isDatagram = true
        state.isForwarded = arrival.facts.hook != .output
        state.agent = agent.rawValue
        state.uid = identity.uid ?? .max
        state.cgroup = identity.cgroup?.rawValue ?? 0
        state.inode = identity.inode
        if let refusal = join(identity, &state, arrival) {
            refuse(arrival, nil, identity: identity, refusal, effects: &effects)
            return nil
        }
        if isResolver(tuple) {
            state.isToResolver = true
            state.phase = .requests
        } else if isListed(agent, tuple.reversed), resolver.tracked(tuple.reversed)?.isOpenedBySource == true {
            // Connection tracking knows that the other end began: the agent answers.
            decideInbound(arrival, nil, identity: identity, opener: tuple.reversed, effects: &effects)
            return nil
        } else {
            state.listener = listener(of: arrival)
            if let refusal = refusal(towards: state, tuple) {
                refuse(arrival, nil, identity: identity, refusal, effects: &effects)
                return nil
            }
            let input = makeInput(.connect, tuple, state, clock: arrival.clock)
            let decision = session.decide(input)
            guard decision.allow else {
                refuse(arrival, nil, identity: identity, Refusal(decision, input: input), effects: &effects)
                return nil
            }
        }
        return remember(tuple, state, arrival, nil, identity: identity, effects: &effects)
    }

    private mutating func judgeDatagram<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ arrival: Arrival, _ bytes: RawSpan, _ payload: RawSpan, effects: inout Effects
    ) {
        if flows[slot].isToResolver {
            judgeQuestion(slot, arrival, bytes, payload, effects: &effects)
        } else {
            judgeQUIC(slot, arrival, bytes, payload, effects: &effects)
        }
    }

    /// A datagram to a resolver: exactly one question, which policy decides. A refusal is of this datagram alone: the sender
    /// asks its other questions from the same socket.
    private mutating func judgeQuestion<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ arrival: Arrival, _ bytes: RawSpan, _ payload: RawSpan, effects: inout Effects
    ) {
        flows.move(slot, to: .decided)
        var input = makeInput(.resolve, arrival.packet.flow, flows[slot], clock: arrival.clock)
        input.protocol = ProtocolFacts(name: ApplicationProtocol.dns.rawValue)
        var refusal: Refusal?
        var message: DNSMessage?
        do throws(WireError) {
            let parsed = try DNSMessage(parsing: payload)
            refusal = Self.refusal(of: parsed, &input)
            message = parsed
        } catch {
            if let question = DNSMessage.question(ofCut: payload) {
                input.question = QuestionFacts(name: question.name.description, type: question.type.description)
            }
            refusal = Refusal(.parseError, error.text, input)
        }
        if refusal == nil { count(&input, clock: arrival.clock) }
        let decision = refusal?.decision ?? decide(&input)
        let id = report(
            input, decision, arrival.packet.flow, arrival.clock, inode: flows[slot].inode, effects: &effects)
        if decision.allow {
            if let message { expectAnswer(to: message, slot) }
            acceptCopy(arrival, bytes, dropping: 0, mark: .undecided, effects: &effects)
        } else if let words = words(refusing: payload, decision, input, id) {
            answer(arrival, words, effects: &effects)
            effects.drop(arrival.facts.reference)
        } else {
            effects.accept(arrival.facts.reference, mark: .refusedAlone)
        }
    }

    /// What a refused question is answered; nil where it is answered by no words of DNS.
    private func words(
        refusing question: RawSpan, _ decision: PolicyDecision, _ input: PolicyInput, _ id: String?
    ) -> [UInt8]? {
        if input.isCanary { return RefusalMessage.dnsNameError(question) }
        return id.flatMap { RefusalMessage.dns(refusing: question, RefusalText(decision, input, $0)) }
    }

    private mutating func judgeQUIC<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ arrival: Arrival, _ bytes: RawSpan, _ payload: RawSpan, effects: inout Effects
    ) {
        guard var inspection = takeDatagramInspection(slot, clock: arrival.clock, effects: &effects) else {
            counters.full &+= 1
            refuse(
                slot, arrival, nil,
                Refusal(.tableFull, text: "too many UDP flows are being read"), effects: &effects)
            return
        }
        // Facts of a datagram that opens nothing are none: no memory is taken for it.
        var facts: [InspectionFact] = []
        let content: DatagramContent
        do throws(WireError) {
            content = try inspection.inspector.read(payload, scratch: &inspectionScratch) { facts.append($0) }
        } catch {
            datagramInspections.put(flows[slot].inspection, inspection)
            let input = input(slot, inspection.inspector.application, arrival)
            refuse(
                slot, arrival, nil, Refusal(.parseError, error.text, input), payload: payload.array, effects: &effects)
            return
        }
        let application = inspection.inspector.application
        datagramInspections.put(flows[slot].inspection, inspection)
        for fact in facts {
            if let refusal = judge(fact, slot, application, arrival, effects: &effects) {
                refuse(slot, arrival, nil, refusal, payload: payload.array, effects: &effects)
                return
            }
        }
        switch content {
        case .read: release(slot, arrival, bytes, effects: &effects)
        case .waiting: hold(slot, arrival, bytes, effects: &effects)
        case .noise:
            counters.noise &+= 1
            guard application != nil else {
                let input = input(slot, nil, arrival)
                refuse(
                    slot, arrival, nil, Refusal(.unknownProtocol, Self.datagramText, input), effects: &effects)
                return
            }
            effects.drop(arrival.facts.reference)
        }
    }

    /// Takes in one thing that a datagram said. Returns why the flow is refused, or nil.
    private mutating func judge<Effects: EnforcementEffects & ~Copyable>(
        _ fact: InspectionFact, _ slot: FlowSlot, _ application: ApplicationProtocol?, _ arrival: Arrival,
        effects: inout Effects
    ) -> Refusal? {
        var input = input(slot, application, arrival)
        switch fact {
        case .speaks(.quic): return nil
        case .speaks: return Refusal(.unknownProtocol, Self.datagramText, input)
        case .unknownVersion(let version):
            input.protocol?.version = version.description
            return Refusal(.quicVersion, "QUIC version \(version) is not read", input)
        case .hello(let hello, _):
            input.host = hello.host?.description
            input.hostSource = hello.host == nil ? nil : .sni
            input.protocol?.take(hello)
            let decision = decide(&input)
            guard decision.allow else { return Refusal(decision, input: input) }
            facts.keep(input, for: slot)
            report(input, decision, arrival.packet.flow, arrival.clock, inode: flows[slot].inode, effects: &effects)
            return nil
        case .dns, .question, .request, .login, .software, .proxyRequest:
            return Refusal(.unknownProtocol, Self.datagramText, input)
        }
    }

    /// Lets a datagram go on, and those that were held before it.
    private mutating func release<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ arrival: Arrival, _ bytes: RawSpan, effects: inout Effects
    ) {
        for packet in takeHeld(slot) {
            effects.accept(packet.reference, mark: .undecided, bytes: packet.bytes.span.bytes)
        }
        flows[slot].phase = .requests
        flows.move(slot, to: .live, deadline: arrival.clock.monotonic &+ Self.idleNanoseconds)
        acceptCopy(arrival, bytes, dropping: 0, mark: .undecided, effects: &effects)
    }

    /// Holds a datagram until a ClientHello is whole. Past the bound it is dropped: QUIC sends again.
    private mutating func hold<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ arrival: Arrival, _ bytes: RawSpan, effects: inout Effects
    ) {
        if flows.list(of: slot) != .reading {
            flows[slot].phase = .reading
            flows.move(slot, to: .reading, deadline: arrival.clock.monotonic &+ limits.heldNanoseconds)
        }
        var held = takeHeld(slot)
        if held.count < limits.heldDatagramCount, mayHold(flows[slot].agent) {
            counters.held &+= 1
            let count = copy(arrival, bytes, dropping: 0)
            held.append(HeldPacket(reference: arrival.facts.reference, bytes: Array(scratch[..<count]), end: 0))
        } else {
            counters.deferred &+= 1
            effects.drop(arrival.facts.reference)
        }
        heldCounts[Int(flows[slot].agent)] += Int32(held.count)
        datagramInspections.keep(held, for: flows[slot].inspection)
    }

    private mutating func takeDatagramInspection<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, clock: ClockReading, effects: inout Effects
    ) -> DatagramInspection? {
        if let inspection = datagramInspections.take(flows[slot].inspection) { return inspection }
        let flow = flows.key(of: slot)
        for _ in 0..<2 {
            let fresh = DatagramInspection(
                inspector: DatagramInspector(sourcePort: flow.sourcePort, destinationPort: flow.destinationPort))
            if let index = datagramInspections.acquire(fresh) {
                flows[slot].inspection = index
                return datagramInspections.take(index)
            }
            guard reclaim(clock: clock, effects: &effects) else { break }
        }
        return nil
    }

    private func input(_ slot: FlowSlot, _ application: ApplicationProtocol?, _ arrival: Arrival) -> PolicyInput {
        var input = makeInput(.hello, arrival.packet.flow, flows[slot], clock: arrival.clock)
        input.protocol = ProtocolFacts(name: (application ?? .unknown).rawValue)
        return input
    }

    private static var datagramText: String { "UDP other than DNS to a configured resolver and QUIC is not read" }
}
