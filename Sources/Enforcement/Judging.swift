import Flow
import FlowInspection
import Identity
import Octets
import PacketHeaders
import Policy
import WireProtocols

/// What a TCP flow says, and policy's word on it.
///
/// Bytes go on when policy has allowed what is spoken there: the innermost protocol, and whatever names a destination in it.
/// Each new layer has to be allowed anew, except what an allowed request turned its connection into.
extension EnforcementEngine where Resolver: ~Copyable {
    /// Reads what is new, and asks policy as often as something is said. Returns why the flow is refused, or nil.
    mutating func judge<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival, effects: inout Effects
    ) -> Refusal? {
        while true {
            let progress: InspectionProgress
            do throws(WireError) {
                // Shared, not copied: the bytes are borrowed while the inspector changes.
                let stream = inspection.stream
                let read = inspection.readByteCount
                progress = try inspection.inspector.next(
                    .client, stream.bytes.extracting(read..<stream.bytes.byteCount), scratch: &inspectionScratch)
            } catch {
                return refusal(error, slot, inspection, arrival)
            }
            switch progress {
            case .needMore:
                if inspection.readByteCount > 0 { allowUnnamed(slot, &inspection, arrival, effects: &effects) }
                return nil
            case .opaque:
                return finishReading(slot, &inspection, arrival, effects: &effects)
            case .step(let fact, let byteCount, let isBody):
                if let fact, let refusal = judge(fact, slot, &inspection, arrival, effects: &effects) { return refusal }
                let refusal = cover(byteCount, isBody: isBody, slot, &inspection, arrival, effects: &effects)
                if let refusal { return refusal }
            }
        }
    }

    /// Takes in one thing that the client said. Returns why the flow is refused, or nil.
    private mutating func judge<Effects: EnforcementEffects & ~Copyable>(
        _ fact: InspectionFact, _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival,
        effects: inout Effects
    ) -> Refusal? {
        switch fact {
        case .speaks(let application):
            return enter(application, slot, &inspection, arrival, effects: &effects)
        case .hello(let hello, _):
            var input = input(.hello, slot, inspection, arrival)
            if let host = hello.host {
                if let refusal = leavesTunnel(host, inspection, input) { return refusal }
                input.host = host.description
                input.hostSource = .sni
            }
            input.protocol?.take(hello)
            return decide(input, slot, &inspection, arrival, effects: &effects)
        case .request(let request):
            return judge(request, slot, &inspection, arrival, effects: &effects)
        case .proxyRequest(let request):
            var input = input(.request, slot, inspection, arrival)
            input.host = request.host.description
            input.hostSource = .socks
            input.request = RequestFacts(
                method: "CONNECT", path: Authority(host: request.host, port: request.port).description, query: nil,
                url: nil, headers: [:])
            guard request.command == 1 else {
                return Refusal(.unknownProtocol, "a SOCKS proxy is asked for something else than to connect", input)
            }
            if let refusal = leavesTunnel(request.host, inspection, input) { return refusal }
            input.names = nil
            inspection.tunnel = Inspection.Tunnel(host: request.host, source: .socks)
            return decide(input, slot, &inspection, arrival, effects: &effects)
        case .dns(let message):
            var input = input(.resolve, slot, inspection, arrival)
            if let refusal = Self.refusal(of: message, &input) { return refusal }
            count(&input, clock: arrival.clock)
            if let refusal = decide(input, slot, &inspection, arrival, effects: &effects) { return refusal }
            if inspection.answers == nil {
                inspection.answers = StreamReassembler(
                    first: flows[slot].serverNext, byteLimit: Self.answerByteCount)
            }
            expectAnswer(to: message, slot)
            return nil
        case .login(let user, let database):
            var input = input(.hello, slot, inspection, arrival)
            input.database = DatabaseFacts(user: user, name: database)
            return decide(input, slot, &inspection, arrival, effects: &effects)
        case .software, .question, .unknownVersion:
            // Of a server, of a cut capture, of UDP; a client's SSH identification is decided as its layer.
            return nil
        }
    }

    /// A new layer of the flow.
    private mutating func enter<Effects: EnforcementEffects & ~Copyable>(
        _ application: ApplicationProtocol, _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival,
        effects: inout Effects
    ) -> Refusal? {
        let isResolver = flows[slot].isToResolver
        guard isResolver == (application == .dns), !isResolver || inspection.inspector.layers.count == 1 else {
            let text =
                isResolver
                ? "what goes to a resolver is no DNS" : "DNS goes to the resolvers of the configuration only"
            return Refusal(.unknownProtocol, text, input(.hello, slot, inspection, arrival))
        }
        let layers = inspection.inspector.layers
        let isUpgrade =
            application == .websocket || application == .h2c && layers.count > 1 && inspection.tunnel == nil
        switch application {
        case .http, .h2c, .dns: flows[slot].phase = .requests
        default: flows[slot].phase = isUpgrade ? .judged : .reading
        }
        // The request that asked for the upgrade was allowed, at this very server.
        inspection.isAllowed = isUpgrade
        guard application == .unknown else { return nil }
        // A server that did not make the tunnel may read it as a request.
        if inspection.tunnel != nil {
            return Refusal(
                .unknownProtocol, "what is spoken inside a tunnel is not known",
                input(.hello, slot, inspection, arrival))
        }
        return allowLayer(slot, &inspection, arrival, effects: &effects)
    }

    private mutating func judge<Effects: EnforcementEffects & ~Copyable>(
        _ request: InspectedRequest, _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival,
        effects: inout Effects
    ) -> Refusal? {
        let isHTTP2 = inspection.inspector.layers.last == .h2c
        var input = input(.request, slot, inspection, arrival)
        if let host = request.authority?.host {
            input.host = host.description
            input.hostSource = isHTTP2 ? .h2Authority : .httpHost
        }
        input.protocol?.version = request.version
        input.request = RequestFacts(
            method: request.method, path: request.path, query: request.query, url: request.url, headers: request.fields)
        if let host = request.authority?.host, let refusal = leavesTunnel(host, inspection, input) { return refusal }
        if request.isTunnel {
            guard !isHTTP2, let host = request.authority?.host else {
                return Refusal(.unknownProtocol, "CONNECT within HTTP/2: the stream inside is not read", input)
            }
            input.names = nil
            inspection.tunnel = Inspection.Tunnel(host: host, source: .httpHost)
        }
        return decide(input, slot, &inspection, arrival, effects: &effects)
    }

    /// Bytes were read, with or without something said in them: they go on if what is spoken is allowed. Returns why the flow
    /// is refused, or nil.
    private mutating func cover<Effects: EnforcementEffects & ~Copyable>(
        _ byteCount: Int, isBody: Bool, _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival,
        effects: inout Effects
    ) -> Refusal? {
        guard byteCount > 0 else { return nil }
        if !inspection.isAllowed {
            if inspection.inspector.layers.last == .h2c {
                // The preface and SETTINGS name nobody: they wait for the first request.
                inspection.readByteCount += byteCount
                return nil
            }
            if let refusal = allowLayer(slot, &inspection, arrival, effects: &effects) { return refusal }
        }
        let end = inspection.stream.start + inspection.readByteCount + byteCount
        if isBody, inspection.readByteCount == 0 {
            inspection.stream.pass(upTo: end)
            return nil
        }
        inspection.readByteCount = 0
        return settle(upTo: end, &inspection)
    }

    /// Nothing that follows is read: it may go on if what is spoken is allowed. Returns why the flow is refused, or nil.
    private mutating func finishReading<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival, effects: inout Effects
    ) -> Refusal? {
        let isTold = inspection.isAllowed
        if !isTold, let refusal = allowLayer(slot, &inspection, arrival, effects: &effects) { return refusal }
        // What showed the protocol must not come again as another. A second ClientHello can follow where the server asked for one:
        // then the first bytes of what shows that none does must not come again either.
        let (start, end) = (inspection.stream.start + inspection.readByteCount, inspection.stream.end)
        let isTLS = isTold && inspection.inspector.layers.last == .tls
        let shownEnd = !isTLS ? end : mayRepeatHello(slot) ? min(start + Self.recordHeadByteCount, end) : start
        if shownEnd > start, let refusal = settle(upTo: shownEnd, &inspection) { return refusal }
        inspection.stream.pass(upTo: inspection.stream.end)
        flows[slot].phase = .judged
        inspection.isFinished = true
        return nil
    }

    /// A TLS record's header and the first byte in it.
    private static var recordHeadByteCount: Int { 6 }

    /// Whether the server may have asked for a second ClientHello. A guest makes its segments itself, and may make one that the
    /// server drops; of a forwarded flow the server's word was seen.
    private func mayRepeatHello(_ slot: FlowSlot) -> Bool {
        flows[slot].isForwarded && flows[slot].serverWord != .hello
    }

    /// Asks policy about a protocol that has named nothing so far. Returns why the flow is refused, or nil.
    private mutating func allowLayer<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival, effects: inout Effects
    ) -> Refusal? {
        decide(input(.hello, slot, inspection, arrival), slot, &inspection, arrival, effects: &effects)
    }

    /// A client of HTTP/2 may wait for the server's SETTINGS before its first request. Where policy allows HTTP/2 to this
    /// address whatever it names, what came so far goes on; otherwise it waits.
    private mutating func allowUnnamed<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival, effects: inout Effects
    ) {
        let input = input(.hello, slot, inspection, arrival)
        guard session.decide(input).allow,
            decide(input, slot, &inspection, arrival, effects: &effects) == nil
        else { return }
        // The bytes that wait are there, and fewer than are kept.
        _ = settle(upTo: inspection.stream.start + inspection.readByteCount, &inspection)
        inspection.readByteCount = 0
    }

    /// Asks policy, and reports what it allows. Returns why the flow is refused, or nil.
    private mutating func decide<Effects: EnforcementEffects & ~Copyable>(
        _ input: PolicyInput, _ slot: FlowSlot, _ inspection: inout Inspection, _ arrival: Arrival,
        effects: inout Effects
    ) -> Refusal? {
        var input = input
        let decision = decide(&input)
        guard decision.allow else { return Refusal(decision, input: input) }
        facts.keep(input, for: slot)
        report(input, decision, arrival.packet.flow, arrival.clock, inode: flows[slot].inode, effects: &effects)
        inspection.isAllowed = true
        if input.stage != .hello { inspection.lastRequestAt = flows[slot].serverNext }
        if flows[slot].phase == .reading { flows[slot].phase = .judged }
        return nil
    }

    /// Policy's word; where it refuses for want of a name or of a known protocol, the reason says so. `input` gets what
    /// follows from the name in it.
    func decide(_ input: inout PolicyInput) -> PolicyDecision {
        if let host = input.host, let names = input.names { input.addressMatchesHost = names.contains(host) }
        var decision = session.decide(input)
        guard !decision.allow, decision.reason == .policy, input.host == nil else { return decision }
        switch input.protocol?.name {
        case "tls", "quic", "http", "h2c": decision.reason = .noName
        case "unknown": decision.reason = .unknownProtocol
        default: break
        }
        return decision
    }

    /// The facts of a flow as far as it has got.
    private func input(
        _ stage: DecisionStage, _ slot: FlowSlot, _ inspection: borrowing Inspection, _ arrival: Arrival
    ) -> PolicyInput {
        var input = makeInput(stage, arrival.packet.flow, flows[slot], clock: arrival.clock)
        let layers = inspection.inspector.layers
        if let innermost = layers.last {
            var facts = ProtocolFacts(name: innermost.rawValue)
            if layers.count > 1 { facts.layers = layers.map(\.rawValue) }
            input.protocol = facts
        }
        if let tunnel = inspection.tunnel {
            input.host = tunnel.host.description
            input.hostSource = tunnel.source
            // Its end is not the address that the flow goes to.
            input.names = nil
        }
        return input
    }

    /// Whether a name inside a tunnel is another than the tunnel's: the proxy would not lead there, but who stands behind it
    /// may.
    private func leavesTunnel(_ host: Host, _ inspection: borrowing Inspection, _ input: PolicyInput) -> Refusal? {
        guard case .name(let name)? = inspection.tunnel?.host, host != .name(name) else { return nil }
        var refused = input
        refused.host = host.description
        return Refusal(.parseError, "the stream inside a tunnel to \(name) names another host", refused)
    }

    /// Why a DNS message is no question to be decided, or nil; `input` gets its facts.
    static func refusal(of message: DNSMessage, _ input: inout PolicyInput) -> Refusal? {
        guard let question = message.question else {
            return Refusal(.parseError, "a DNS message without a question", input)
        }
        input.question = QuestionFacts(name: question.name.description, type: question.type.description)
        if !question.name.isRoot {
            input.host = question.name.description
            input.hostSource = .dnsQuestion
        }
        guard !message.isResponse, message.opcode == .query, question.recordClass == 1 else {
            return Refusal(.unknownProtocol, "a DNS message that is no question in the class IN", input)
        }
        guard !input.isCanary else {
            return Refusal(
                .policy, "canary name: its absence tells programs to leave encrypted DNS alone", input)
        }
        return nil
    }

    /// Keeps the judged bytes for comparison.
    private func settle(upTo offset: Int, _ inspection: inout Inspection) -> Refusal? {
        do throws(ReassemblyError) {
            try inspection.stream.judge(upTo: offset)
            return nil
        } catch {
            return Refusal(.reassembly, text: "more judged bytes than are kept until the server acknowledges them")
        }
    }

    /// Bytes of a resolver that are kept until they are a whole message: the longest, and a segment behind it.
    private static var answerByteCount: Int { 2 * 65_537 }

    private func refusal(
        _ error: WireError, _ slot: FlowSlot, _ inspection: borrowing Inspection, _ arrival: Arrival
    ) -> Refusal {
        Refusal(.parseError, error.text, input(.hello, slot, inspection, arrival))
    }
}

extension ProtocolFacts {
    /// What a ClientHello says.
    mutating func take(_ hello: ClientHelloSummary) {
        version = hello.version.description
        alpn = hello.applicationProtocols
        encryptedClientHello = hello.hasEncryptedClientHello
        ja4 = hello.ja4
    }
}
