import Flow
import Identity
import Octets
import PacketHeaders
import Policy

/// Why a flow is refused: policy's word, or the machine's own.
struct Refusal {
    /// What the record says.
    var decision: PolicyDecision
    /// The facts that policy was asked with, where it was asked.
    var input: PolicyInput?

    /// The machine's own refusal.
    init(_ reason: Reason, text: String?) {
        decision = PolicyDecision(allow: false, reason: reason, policyReason: text)
    }

    /// The refusal of what belongs to no flow in the table.
    static var ofUnknownFlow: Refusal {
        Refusal(.preexisting, text: "the flow began before enforcement, or was forgotten")
    }

    /// The machine's own refusal of what `input` describes.
    init(_ reason: Reason, _ text: String, _ input: PolicyInput) {
        self.init(reason, text: text)
        self.input = input
    }

    /// Policy's refusal.
    init(_ decision: PolicyDecision, input: PolicyInput) {
        self.decision = decision
        self.input = input
    }
}

extension EnforcementEngine where Resolver: ~Copyable {
    /// Refuses a packet for which no flow is kept.
    mutating func refuse<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ header: TCPHeader?, identity: PacketIdentity, _ refusal: Refusal, effects: inout Effects
    ) {
        let input =
            refusal.input ?? makeInput(.connect, arrival.packet.flow, identity: identity, clock: arrival.clock)
        report(
            input, refusal.decision, arrival.packet.flow, arrival.clock, inode: identity.inode, effects: &effects)
        effects.accept(arrival.facts.reference, mark: .refused)
        if let header, !header.flags.contains(.syn) {
            reset(
                arrival.packet.flow, sequence: header.sequence, acknowledgment: header.acknowledgment, effects: &effects
            )
        }
    }

    /// Refuses a flow from now on: what is held is dropped, the packet at hand gets the refused mark, from which the kernel
    /// resets the client, and the server is reset by us.
    mutating func refuse<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ arrival: Arrival, _ header: TCPHeader?, _ refusal: Refusal, payload: [UInt8] = [],
        effects: inout Effects
    ) {
        let input =
            refusal.input
            ?? makeInput(
                .hello, arrival.packet.flow, flows[slot],
                clock: arrival.clock)
        let id = report(
            input, refusal.decision, arrival.packet.flow, arrival.clock, inode: flows[slot].inode, effects: &effects)
        let isTold =
            (id != nil || input.isCanary)
            && explain(slot, arrival, header, payload, refusal, input, id ?? "", effects: &effects)
        if isTold, header == nil {
            // An ICMP error might come before the words.
            effects.drop(arrival.facts.reference)
        } else {
            effects.accept(arrival.facts.reference, mark: .refused)
        }
        close(slot, arrival.packet.flow, acknowledgment: header?.acknowledgment, effects: &effects)
    }

    /// Refuses a flow whose first message did not become complete in time. One held packet carries the mark.
    mutating func refuseExpired<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, clock: ClockReading, effects: inout Effects
    ) {
        let state = flows[slot]
        let tuple = flows.key(of: slot)
        let input = makeInput(.hello, tuple, state, clock: clock)
        let decision = PolicyDecision(
            allow: false, reason: .heldTooLong,
            policyReason: "the first message did not become complete in \(limits.heldNanoseconds / 1_000_000) ms")
        report(input, decision, tuple, clock, inode: state.inode, effects: &effects)
        for (position, packet) in takeHeld(slot).enumerated() {
            if position == 0 {
                effects.accept(packet.reference, mark: .refused)
            } else {
                effects.drop(packet.reference)
            }
        }
        close(slot, tuple, acknowledgment: state.isDatagram ? nil : state.serverNext, effects: &effects)
    }

    /// Leaves a refused flow in the table, without anything that is kept for one that goes on.
    mutating func markRefused<Effects: EnforcementEffects & ~Copyable>(_ slot: FlowSlot, effects: inout Effects) {
        releaseInspection(of: flows[slot], effects: &effects)
        facts.forget(slot)
        flows[slot].inspection = -1
        flows[slot].phase = .refused
        flows.setOwner(slot, SessionNumber.none.rawValue)
        flows.move(slot, to: .decided)
    }

    /// Leaves a refused flow in the table, and resets the server of a TCP flow.
    private mutating func close<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ tuple: FiveTuple, acknowledgment: SequenceNumber?, effects: inout Effects
    ) {
        markRefused(slot, effects: &effects)
        if let acknowledgment {
            reset(tuple, sequence: flows[slot].passedEnd, acknowledgment: acknowledgment, effects: &effects)
        }
    }

    /// Sends a reset in the client's name. `sequence` is what the server expects next, or it is ignored (RFC 5961 §3.2).
    func reset<Effects: EnforcementEffects & ~Copyable>(
        _ tuple: FiveTuple, sequence: SequenceNumber, acknowledgment: SequenceNumber, effects: inout Effects
    ) {
        send(tuple, [.rst, .ack], sequence: sequence, acknowledgment: acknowledgment, effects: &effects)
    }

    /// Sends a segment without payload in the name of `tuple`'s source, where refusals are shown at all.
    func send<Effects: EnforcementEffects & ~Copyable>(
        _ tuple: FiveTuple, _ flags: TCPFlags, sequence: SequenceNumber, acknowledgment: SequenceNumber,
        effects: inout Effects
    ) {
        guard snapshot.deny != .drop else { return }
        var bytes: InlineArray<60, UInt8> = .init(repeating: 0)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        // Both addresses are of one family, so building cannot fail.
        guard
            let count = try? PacketBuilder.writeSegment(
                flow: tuple, sequence: sequence, acknowledgment: acknowledgment, flags: flags, into: &raw)
        else { return }
        effects.inject(raw.bytes.extracting(0..<count))
    }

    /// Counts and reports one decision. Returns the id of its record, where it is a refusal that is to be explained.
    @discardableResult
    mutating func report<Effects: EnforcementEffects & ~Copyable>(
        _ input: PolicyInput, _ decision: PolicyDecision, _ flow: FiveTuple, _ clock: ClockReading,
        isInbound: Bool = false, inode: UInt32 = 0, effects: inout Effects
    ) -> String? {
        count(decision, of: input.agent)
        let elapsed = effects.monotonicNow() &- clock.monotonic
        let isExplained = !decision.allow && snapshot.deny == .explain && !isInbound
        let id = isExplained ? effects.makeDecisionID(nanoseconds: input.time) : nil
        effects.report(
            Outcome(
                input: input, decision: decision, flow: flow, isInbound: isInbound, socketInode: inode,
                latencyMicroseconds: UInt32(clamping: elapsed / 1000), id: id))
        return id
    }
}
