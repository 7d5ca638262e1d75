import Flow
import FlowInspection
import Identity
import Octets
import PacketHeaders
import Policy

/// What reading a stream came to.
enum InspectionResult {
    /// What there is may go on; the flow stays queued.
    case proceed
    /// The flow is allowed for good.
    case settled
    /// The flow is refused.
    case refuse(Refusal)
}

extension EnforcementEngine where Resolver: ~Copyable {
    /// Reads a payload segment of an undecided flow and gives its verdict.
    mutating func inspect<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ arrival: Arrival, _ header: TCPHeader, _ bytes: RawSpan, effects: inout Effects
    ) {
        flows[slot].serverNext = header.acknowledgment
        guard var inspection = takeInspection(slot, clock: arrival.clock, effects: &effects) else {
            counters.full &+= 1
            refuse(
                slot, arrival, header,
                Refusal(.tableFull, text: "too many flows are in the middle of their first message"), effects: &effects)
            return
        }
        let payload = bytes.extracting(arrival.packet.payload)
        let heldBefore = inspection.held.count
        let result = read(slot, &inspection, arrival, header, payload, bytes, effects: &effects)
        heldCounts[Int(flows[slot].agent)] += Int32(inspection.held.count - heldBefore)
        inspections.put(flows[slot].inspection, inspection)
        switch result {
        case .proceed: break
        case .settled:
            // What waits ahead of a hole is sent again, and then passes unheld.
            releaseInspection(of: flows[slot], effects: &effects)
            flows[slot].inspection = -1
            flows[slot].phase = .allowed
            flows.move(slot, to: .decided)
        case .refuse(let refusal):
            refuse(slot, arrival, header, refusal, effects: &effects)
        }
    }

    private mutating func read<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival, _ header: TCPHeader, _ payload: RawSpan,
        _ bytes: RawSpan, effects: inout Effects
    ) -> InspectionResult {
        acknowledge(slot, &inspection, arrival, header)
        if passesUnread(slot, &inspection, header, payload) {
            effects.accept(arrival.facts.reference, mark: .undecided)
            return .proceed
        }
        if inspection.isFinished {
            return finish(slot, &inspection, arrival, header, payload, bytes, effects: &effects)
        }
        if mustBeSegmented(inspection, arrival) {
            let end = inspection.stream.offset(of: header.sequence) + payload.byteCount
            inspection.requeuedEnd = max(inspection.requeuedEnd, end)
            effects.requeue(arrival.facts.reference, to: arrival.facts.segmentQueue)
            return .proceed
        }
        do throws(ReassemblyError) {
            try inspection.stream.insert(header.sequence, payload)
        } catch .full where inspection.stream.offset(of: header.sequence) > inspection.stream.end {
            // Too far ahead of a hole to be kept: as good as lost, and TCP sends it again. The time limit counts on.
            counters.deferred &+= 1
            effects.drop(arrival.facts.reference)
            return .proceed
        } catch {
            return .refuse(Self.reassemblyRefusal(error))
        }
        if flows[slot].phase == .open { flows[slot].phase = .reading }
        let start = inspection.stream.start
        if let refusal = judge(slot, &inspection, arrival, effects: &effects) { return .refuse(refusal) }
        if inspection.isFinished, !inspection.stream.hasJudgedBytes {
            // The server has all that was judged, and what follows the second flight is not: the kernel passes the rest.
            release(slot, &inspection, arrival, header, bytes, mark: .allowed, effects: &effects)
            return .settled
        }
        schedule(slot, inspection, hasProgress: inspection.stream.start > start, clock: arrival.clock)
        release(slot, &inspection, arrival, header, bytes, mark: .undecided, effects: &effects)
        return .proceed
    }

    /// Whether a packet has to go to the queue for segments first. What is judged leaves with our copy, and a copy of several
    /// segments at once has no right checksums: the kernel takes a batch apart. What follows a batch goes the same way, or it
    /// would overtake.
    private func mustBeSegmented(_ inspection: borrowing Inspection, _ arrival: Arrival) -> Bool {
        arrival.facts.isSegmentBatch
            || arrival.facts.reference.queue != arrival.facts.segmentQueue
                && inspection.stream.end < inspection.requeuedEnd
    }

    /// Sets the flow's deadline: a message that has begun must become complete in time, counted from its first byte.
    private mutating func schedule(
        _ slot: FlowSlot, _ inspection: borrowing Inspection, hasProgress: Bool, clock: ClockReading
    ) {
        if inspection.stream.isDrained {
            flows.move(slot, to: .live, deadline: clock.monotonic &+ Self.idleNanoseconds)
        } else if hasProgress || flows.list(of: slot) != .reading {
            flows.move(slot, to: .reading, deadline: clock.monotonic &+ limits.heldNanoseconds)
        }
    }

    /// Lets go on what was judged or passed to its end, the packet at hand with `mark`; holds or defers what was not.
    private mutating func release<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival, _ header: TCPHeader, _ bytes: RawSpan,
        mark: VerdictMark, effects: inout Effects
    ) {
        let start = inspection.stream.start
        let end = inspection.stream.offset(of: header.sequence) + arrival.packet.payload.byteCount
        var kept: [HeldPacket] = []
        for packet in inspection.held {
            if packet.end <= start {
                effects.accept(packet.reference, mark: .undecided, bytes: packet.bytes.span.bytes)
            } else {
                kept.append(packet)
            }
        }
        inspection.held = kept
        let stale = inspection.stream.staleByteCount(of: header.sequence)
        if end <= start {
            acceptCopy(arrival, bytes, dropping: stale, mark: mark, effects: &effects)
        } else if kept.count < limits.heldPacketCount, mayHold(flows[slot].agent) {
            counters.held &+= 1
            let count = copy(arrival, bytes, dropping: stale)
            inspection.held.append(
                HeldPacket(reference: arrival.facts.reference, bytes: Array(scratch[..<count]), end: end))
        } else {
            // A local sender stalls while its packets are held; dropped ones it sends again. We have our copy.
            counters.deferred &+= 1
            for packet in inspection.held { effects.drop(packet.reference) }
            inspection.held = []
            effects.drop(arrival.facts.reference)
        }
        let passed = inspection.stream.sequence(at: start)
        if passed.distance(from: flows[slot].passedEnd) > 0 { flows[slot].passedEnd = passed }
    }

    /// Whether a segment needs no judging: it lies wholly inside a body whose length is known, of an HTTP/1 request or an
    /// HTTP/2 frame.
    private mutating func passesUnread(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ header: TCPHeader, _ payload: RawSpan
    ) -> Bool {
        guard inspection.isAllowed, inspection.inspector.remainingBodyByteCount >= payload.byteCount,
            inspection.stream.offset(of: header.sequence) == inspection.stream.start,
            inspection.stream.end == inspection.stream.start,
            case .step(nil, let count, true)? = try? inspection.inspector.next(
                .client, payload, scratch: &inspectionScratch), count == payload.byteCount
        else { return false }
        inspection.stream.pass(upTo: inspection.stream.start + count)
        flows[slot].passedEnd = inspection.stream.sequence(at: inspection.stream.start)
        return true
    }

    /// What follows the client's second flight: nothing of it is judged, but what was judged may not change, and the fast
    /// path begins when the server has all of that.
    private mutating func finish<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival, _ header: TCPHeader, _ payload: RawSpan,
        _ bytes: RawSpan, effects: inout Effects
    ) -> InspectionResult {
        do throws(ReassemblyError) {
            try inspection.stream.verify(header.sequence, payload)
        } catch {
            return .refuse(Self.reassemblyRefusal(error))
        }
        if !inspection.stream.hasJudgedBytes {
            effects.accept(arrival.facts.reference, mark: .allowed)
            return .settled
        }
        if inspection.stream.offset(of: header.sequence) < inspection.stream.judgedEnd {
            if arrival.facts.isSegmentBatch {
                effects.requeue(arrival.facts.reference, to: arrival.facts.segmentQueue)
            } else {
                acceptCopy(
                    arrival, bytes, dropping: inspection.stream.staleByteCount(of: header.sequence), mark: .undecided,
                    effects: &effects)
            }
        } else {
            effects.accept(arrival.facts.reference, mark: .undecided)
        }
        return .proceed
    }

    /// Learns what the server has: those bytes need no comparison, and none of them goes out again. The kernel is asked
    /// where that matters: for the fast path, for a segment that comes again, and before too much is kept.
    private mutating func acknowledge(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival, _ header: TCPHeader
    ) {
        if flows[slot].isForwarded {
            inspection.stream.acknowledge(upTo: inspection.stream.offset(of: flows[slot].acknowledged))
            return
        }
        let isOld = inspection.stream.offset(of: header.sequence) < inspection.stream.start
        guard isOld || inspection.stream.needsAcknowledgment || flows[slot].phase == .judged,
            let count = resolver.bytesAcknowledged(on: arrival.packet.flow)
        else { return }
        inspection.stream.acknowledge(upTo: Int(clamping: count))
    }

    /// The flow's inspection, or a new one.
    private mutating func takeInspection<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, clock: ClockReading, effects: inout Effects
    ) -> Inspection? {
        if let inspection = inspections.take(flows[slot].inspection) { return inspection }
        let first = flows[slot].initialSequence.advanced(by: 1)
        for _ in 0..<2 {
            let fresh = Inspection(
                stream: StreamReassembler(first: first, byteLimit: limits.helloByteCount + Self.segmentByteCount),
                inspector: StreamInspector(readsFields: true, maximumMessageByteCount: limits.helloByteCount))
            if let index = inspections.acquire(fresh) {
                flows[slot].inspection = index
                return inspections.take(index)
            }
            guard reclaim(clock: clock, effects: &effects) else { break }
        }
        return nil
    }

    /// Copies a packet into `scratch`, checksums complete, without the first `stale` bytes of its payload; returns its length.
    mutating func copy(_ arrival: Arrival, _ bytes: RawSpan, dropping stale: Int) -> Int {
        let count = arrival.packet.byteCount
        scratch.withUnsafeMutableBytes { target in
            bytes.extracting(0..<count).withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(rebasing: target[..<count]).copyMemory(from: source)
            }
        }
        var span = scratch.mutableSpan
        var raw = span.mutableBytes
        // A segment that was inspected is TCP and parses, so trimming it cannot fail.
        if stale > 0, let trimmed = try? arrival.packet.trimming(stale, in: &raw) { return trimmed.byteCount }
        if arrival.facts.checksumNotReady { Checksum.write(arrival.packet, into: &raw) }
        return count
    }

    /// Accepts a packet with our copy of it: what was judged is what leaves, whatever its sender does to the page. What the
    /// server has already is left out: those bytes can be compared no more.
    mutating func acceptCopy<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ bytes: RawSpan, dropping stale: Int, mark: VerdictMark, effects: inout Effects
    ) {
        let count = copy(arrival, bytes, dropping: stale)
        effects.accept(
            arrival.facts.reference, mark: mark, bytes: scratch.span.bytes.extracting(0..<count))
    }

    private static func reassemblyRefusal(_ error: ReassemblyError) -> Refusal {
        switch error {
        case .conflict: Refusal(.reassembly, text: "a byte came twice with different values")
        case .full: Refusal(.reassembly, text: "more bytes than are kept before a decision")
        }
    }

    /// The largest segment: on the loopback interface.
    private static var segmentByteCount: Int { 65_536 }
}
