import Flow
import Identity
import Octets
import PacketHeaders
import Policy
import WireProtocols

extension EnforcementEngine where Resolver: ~Copyable {
    /// Looks for a ClientHello, first or second, and asks policy about it. Returns why the flow is refused, or nil.
    mutating func judgeTLS<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival, effects: inout Effects
    ) -> Refusal? {
        do throws(WireError) {
            switch inspection.application {
            case .clientHello(var scanner):
                let progress = try scanner.scan(inspection.stream.bytes)
                inspection.application = .clientHello(scanner)
                guard case .hello(let byteCount) = progress else { return nil }
                let hello = try ClientHelloSummary(
                    parsing: try helloScratch.message(found: scanner, in: inspection.stream.bytes))
                if let refusal = decide(slot, hello, arrival, effects: &effects) { return refusal }
                inspection.host = hello.host?.description
                inspection.application = .secondFlight(
                    ClientHelloScanner(.second(afterEarlyData: hello.offersEarlyData)))
                flows[slot].phase = .judged
                if let refusal = settle(byteCount, &inspection) { return refusal }
                return judgeTLS(slot, &inspection, arrival, effects: &effects)
            case .secondFlight(var scanner):
                return try judgeSecondFlight(slot, &inspection, &scanner, arrival, effects: &effects)
            case .undetermined, .http:
                return nil
            }
        } catch {
            return Self.parseRefusal(error)
        }
    }

    private mutating func judgeSecondFlight<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ scanner: inout ClientHelloScanner, _ arrival: Arrival,
        effects: inout Effects
    ) throws(WireError) -> Refusal? {
        switch try scanner.scan(inspection.stream.bytes) {
        case .needMore:
            inspection.stream.pass(upTo: inspection.stream.start + scanner.takeSkipped())
            inspection.application = .secondFlight(scanner)
            return nil
        case .finished:
            inspection.stream.pass(upTo: inspection.stream.end)
            inspection.isFinished = true
            return nil
        case .hello(let byteCount):
            let hello = try ClientHelloSummary(
                parsing: try helloScratch.message(found: scanner, in: inspection.stream.bytes))
            guard hello.host?.description == inspection.host else {
                return Refusal(.parseError, text: "a second ClientHello names another server than the first")
            }
            if let refusal = decide(slot, hello, arrival, effects: &effects) { return refusal }
            if let refusal = settle(byteCount, &inspection) { return refusal }
            inspection.application = .secondFlight(ClientHelloScanner(.second(afterEarlyData: false)))
            return judgeTLS(slot, &inspection, arrival, effects: &effects)
        }
    }

    /// Asks policy about a ClientHello.
    private mutating func decide<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ hello: ClientHelloSummary, _ arrival: Arrival, effects: inout Effects
    ) -> Refusal? {
        var input = makeInput(
            .hello, arrival.packet.flow, flows[slot],
            clock: arrival.clock)
        input.host = hello.host?.description
        input.hostSource = hello.host == nil ? nil : .sni
        var facts = ProtocolFacts(name: "tls")
        facts.version = hello.version.description
        facts.alpn = hello.applicationProtocols
        facts.encryptedClientHello = hello.hasEncryptedClientHello
        facts.ja4 = hello.ja4
        input.protocol = facts
        var decision = session.decide(input)
        guard decision.allow else {
            if input.host == nil, decision.reason == .policy { decision.reason = .noName }
            return Refusal(decision, input: input)
        }
        report(
            input, decision, arrival.packet.flow, arrival.clock, inode: flows[slot].inode, effects: &effects)
        return nil
    }

    /// Keeps the judged bytes for comparison.
    func settle(_ byteCount: Int, _ inspection: inout Inspection) -> Refusal? {
        do throws(ReassemblyError) {
            try inspection.stream.judge(upTo: inspection.stream.start + byteCount)
            return nil
        } catch {
            return Refusal(.reassembly, text: "more judged bytes than are kept until the server acknowledges them")
        }
    }

    /// The refusal of a message that breaks a rule of the wire.
    static func parseRefusal(_ error: WireError) -> Refusal {
        switch error {
        case .truncated: Refusal(.parseError, text: "a message ends before its declared length")
        case .malformed(let reason, let offset): Refusal(.parseError, text: "\(reason) (byte \(offset))")
        }
    }
}
