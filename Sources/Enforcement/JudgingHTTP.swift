import Flow
import Identity
import Octets
import PacketHeaders
import Policy
import WireProtocols

extension EnforcementEngine where Resolver: ~Copyable {
    /// Reads the requests that are there and asks policy about each. Returns why the flow is refused, or nil.
    mutating func judgeHTTP<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival, effects: inout Effects
    ) -> Refusal? {
        guard case .http(var reader) = inspection.application else { return nil }
        defer { inspection.application = .http(reader) }
        while true {
            let event: HTTP1RequestReader.Event
            do throws(WireError) {
                event = try reader.next(inspection.stream.bytes)
            } catch {
                return Self.parseRefusal(error)
            }
            switch event {
            case .needMore:
                return nil
            case .head(let head):
                if let refusal = decide(slot, head, inspection, arrival, effects: &effects) { return refusal }
                if let refusal = settle(head.byteCount, &inspection) { return refusal }
            case .framing(let byteCount, _):
                // Sent again with other sizes, it would make the server find other requests than we did.
                if let refusal = settle(byteCount, &inspection) { return refusal }
            case .body(let byteCount, _):
                inspection.stream.pass(upTo: inspection.stream.start + byteCount)
            case .tunnel:
                // Whether the server agreed is not read: what follows must be a request, or is refused as none.
                reader.resumeRequests()
            }
        }
    }

    /// Asks policy about a request.
    private mutating func decide<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ head: HTTP1RequestHead, _ inspection: borrowing Inspection, _ arrival: Arrival,
        effects: inout Effects
    ) -> Refusal? {
        let bytes = inspection.stream.bytes
        var input = makeInput(
            .request, arrival.packet.flow, flows[slot],
            clock: arrival.clock)
        let authority = head.authority(in: bytes)
        input.host = authority?.host.description
        input.hostSource = authority == nil ? nil : .httpHost
        var facts = ProtocolFacts(name: "http")
        facts.version = "1.\(head.minorVersion)"
        input.protocol = facts
        input.request = RequestFacts(
            method: head.method(in: bytes), path: head.path(in: bytes), query: head.query(in: bytes),
            url: head.url(in: bytes), headers: head.fields(in: bytes))
        guard !head.isConnect else {
            var refusal = Refusal(.unknownProtocol, text: "CONNECT: the stream inside is not read")
            refusal.input = input
            return refusal
        }
        var decision = session.decide(input)
        guard decision.allow else {
            if input.host == nil, decision.reason == .policy { decision.reason = .noName }
            return Refusal(decision, input: input)
        }
        report(
            input, decision, arrival.packet.flow, arrival.clock, inode: flows[slot].inode, effects: &effects)
        return nil
    }
}
