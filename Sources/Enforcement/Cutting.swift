import Flow
import Identity
import PacketHeaders
import Policy

/// Flows that end before their time: with their session, or because policy has changed its mind.
extension EnforcementEngine where Resolver: ~Copyable {
    /// Takes in what became of a session. Flows that it ends are cut before this returns.
    public mutating func apply<Effects: EnforcementEffects & ~Copyable>(
        _ change: SessionChange, clock: ClockReading, effects: inout Effects
    ) {
        switch change {
        case .opened(let session, let customer): sessions.open(session, customer)
        case .bound(let session, let scope, let binding): sessions.index.bind(session, scope, binding)
        case .renewed(let session, let customer):
            sessions.renew(session, customer)
            forEachFlow(of: session) { engine, slot in
                engine.reconsider(slot, otherwise: .policyChanged, clock: clock, effects: &effects)
            }
        case .ended(let session, let reason):
            let text = Self.endText(reason)
            forEachFlow(of: session) { engine, slot in
                engine.cut(slot, reason, text, clock: clock, effects: &effects)
            }
            sessions.end(session, reason)
        case .forgotten(let session):
            forEachFlow(of: session) { engine, slot in
                engine.cut(slot, .sessionClosed, Self.endText(.sessionClosed), clock: clock, effects: &effects)
            }
            sessions.forget(session)
        }
    }

    /// Decides anew some of the flows that an older snapshot has decided, at most `count`. Whether more are left.
    public mutating func reconsider<Effects: EnforcementEffects & ~Copyable>(
        atMost count: Int, clock: ClockReading, effects: inout Effects
    ) -> Bool {
        guard var position = reconsidered else { return false }
        for _ in 0..<count {
            guard let slot = flows.slot(from: position) else {
                reconsidered = nil
                return false
            }
            position = slot.position + 1
            if flows[slot].generation != generation {
                reconsider(slot, otherwise: .policyChanged, clock: clock, effects: &effects)
            }
        }
        reconsidered = position
        return true
    }

    /// Whether a snapshot has come by which flows are still to be decided anew.
    public var isReconsidering: Bool { reconsidered != nil }

    /// Whether a flow is allowed by the snapshot in force as far as it has got; it is decided anew where an older one did.
    mutating func isCurrent<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, clock: ClockReading, effects: inout Effects
    ) -> Bool {
        flows[slot].generation == generation || flows[slot].phase == .refused
            || reconsider(slot, otherwise: .policyChanged, clock: clock, effects: &effects)
    }

    /// Decides a flow anew by what it was allowed for; where it is allowed no longer it is cut. False where it was.
    @discardableResult
    mutating func reconsider<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, otherwise reason: Reason, clock: ClockReading, effects: inout Effects
    ) -> Bool {
        flows[slot].generation = generation
        let state = flows[slot]
        guard state.phase != .refused else { return false }
        let tuple = flows.key(of: slot)
        guard Int(state.agent) < snapshot.agents.agents.count else {
            cut(slot, reason, "the agent is no longer in the configuration", clock: clock, effects: &effects)
            return false
        }
        if state.isInbound {
            guard isListed(AgentIndex(rawValue: state.agent), tuple) else {
                cut(slot, reason, "no entry under listen: names the flow any more", clock: clock, effects: &effects)
                return false
            }
            return true
        }
        if state.isToResolver {
            // Its questions are decided one by one.
            guard isResolver(tuple) else {
                cut(slot, reason, "the resolver is no longer in the configuration", clock: clock, effects: &effects)
                return false
            }
            return true
        }
        guard !state.isUnexplained else {
            cut(
                slot, reason, "it is not known any more what it was allowed for: the daemon was restarted",
                clock: clock,
                effects: &effects)
            return false
        }
        if let refusal = refusal(towards: state, tuple) {
            cut(slot, reason, refusal.decision.policyReason, clock: clock, effects: &effects)
            return false
        }
        var input = makeInput(.connect, tuple, state, clock: clock)
        if let names = facts[slot]?.names { input.names = names }
        var decision = session.decide(input)
        if decision.allow, let facts = facts[slot] {
            facts.complete(&input)
            decision = decide(&input)
        }
        guard decision.allow else {
            cut(slot, reason, decision.policyReason, clock: clock, effects: &effects)
            return false
        }
        return true
    }

    /// Ends a flow: nothing of it passes from when this returns, and one record says why.
    mutating func cut<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ reason: Reason, _ text: String?, clock: ClockReading, effects: inout Effects
    ) {
        let state = flows[slot]
        guard state.phase != .refused else { return }
        let tuple = flows.key(of: slot)
        guard isItsOwn(slot) else {
            // It has ended, and whoever has its addresses and ports by now is somebody else.
            markRefused(slot, effects: &effects)
            return
        }
        var input = makeInput(.connect, tuple, state, clock: clock)
        facts[slot]?.complete(&input)
        report(
            input, PolicyDecision(allow: false, reason: reason, policyReason: text), tuple, clock,
            isInbound: state.isInbound, inode: state.inode, effects: &effects)
        effects.cut(tuple, isForwarded: state.isForwarded)
        if state.isForwarded, tuple.transport == .tcp { provoke(tuple, state, effects: &effects) }
        markRefused(slot, effects: &effects)
    }

    /// Whether the connection that has a flow's addresses and ports is still the flow. Of a local TCP flow its socket says so;
    /// an orphan has no inode any more, and has its cgroup still. Where no socket is found it may be hidden (one that was bound
    /// to a device is): then the flow is cut all the same.
    private mutating func isItsOwn(_ slot: FlowSlot) -> Bool {
        let (state, tuple) = (flows[slot], flows.key(of: slot))
        guard !state.isForwarded, tuple.transport == .tcp else { return true }
        guard let owner = resolver.owner(of: state.isInbound ? tuple.reversed : tuple) else { return true }
        return owner.inode == state.inode || owner.inode == 0 && owner.cgroup?.rawValue == state.cgroup
            || state.inode == 0
    }

    /// Asks both ends of a refused flow where they stand: the answer meets the refusal, which resets whoever sent it. Nobody
    /// else knows the sequence numbers of a flow that the kernel passed.
    mutating func provoke<Effects: EnforcementEffects & ~Copyable>(
        _ tuple: FiveTuple, _ state: FlowState, effects: inout Effects
    ) {
        for (flow, sequence) in [(tuple, state.passedEnd), (tuple.reversed, state.serverNext)] {
            // Half the number space away from where the flow began lies outside every window, and what lies outside is
            // answered with where the receiver stands (RFC 9293 §3.10.7.4).
            send(
                flow, .ack, sequence: sequence.advanced(by: 1 << 31), acknowledgment: sequence, effects: &effects)
            // Where the flow has got to is not known of one that an earlier run allowed: one of two lies outside.
            if sequence.rawValue == 0 {
                send(flow, .ack, sequence: sequence, acknowledgment: sequence, effects: &effects)
            }
        }
    }

    /// Calls `body` with each flow of a session; `body` may take the flow out of it.
    private mutating func forEachFlow(of session: SessionNumber, _ body: (inout Self, FlowSlot) -> Void) {
        var next = flows.firstOwned(by: session.rawValue)
        while let slot = next {
            next = flows.nextOwned(after: slot)
            body(&self, slot)
        }
    }

    static func endText(_ reason: Reason) -> String {
        reason == .tokenExpired ? "the customer's token has expired" : "the customer's session was closed"
    }
}
