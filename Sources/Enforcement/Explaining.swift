import Flow
import FlowInspection
import Octets
import PacketHeaders
import Policy
import WireProtocols

/// Refusals in the protocol's own words: the agent gets an answer that its protocol's libraries report, instead of a reset.
///
/// What a server would say is sent to the agent in the server's name, at the place in the stream where the agent expects the
/// server's next byte, and ends the stream. Where that place is not known, since answers to earlier requests may be under way,
/// nothing is said, and the reset alone tells. The server never sees any of it: it is reset.
extension EnforcementEngine where Resolver: ~Copyable {
    /// Tells the agent why its flow is refused, before the packet at hand gets its verdict. Returns whether there were words.
    /// - Parameters:
    ///   - payload: the datagram's payload; empty for TCP.
    ///   - id: the record's.
    mutating func explain<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ arrival: Arrival, _ header: TCPHeader?, _ payload: [UInt8], _ refusal: Refusal,
        _ input: PolicyInput, _ id: String, effects: inout Effects
    ) -> Bool {
        let text = RefusalText(refusal.decision, input, id)
        guard let header else {
            // A client answers to the first datagram that it sent alone: the ids in it are the ones that it knows.
            let first = datagramInspections.firstHeld(flows[slot].inspection)?.datagram ?? payload
            guard let words = RefusalMessage.quicClose(refusing: first.span.bytes, text) else { return false }
            answer(arrival, words, effects: &effects)
            return true
        }
        guard !arrival.packet.payload.isEmpty,
            let inspection = inspections.take(flows[slot].inspection)
        else { return false }
        let words = inspection.isAnswered(at: header.acknowledgment) ? inspection.words(text, input) : nil
        inspections.put(flows[slot].inspection, inspection)
        guard let words else { return false }
        let end = header.sequence.advanced(by: arrival.packet.payload.byteCount)
        let count = scratch.withUnsafeMutableBytes { buffer -> Int in
            var target = buffer.mutableBytes
            let written = try? PacketBuilder.writeSegment(
                flow: arrival.packet.flow.reversed, sequence: header.acknowledgment, acknowledgment: end,
                flags: [.ack, .psh, .fin], window: 512, payload: words.span.bytes, into: &target)
            return written ?? 0
        }
        if count > 0 { effects.inject(scratch.span.bytes.extracting(0..<count)) }
        return count > 0
    }

    /// Answers a datagram in the name of whom it was sent to.
    mutating func answer<Effects: EnforcementEffects & ~Copyable>(
        _ arrival: Arrival, _ words: [UInt8], effects: inout Effects
    ) {
        let count = scratch.withUnsafeMutableBytes { buffer -> Int in
            var target = buffer.mutableBytes
            let written = try? PacketBuilder.writeDatagram(
                flow: arrival.packet.flow.reversed, payload: words.span.bytes, into: &target)
            return written ?? 0
        }
        if count > 0 { effects.inject(scratch.span.bytes.extracting(0..<count)) }
    }
}

extension RefusalText {
    /// What a refusal with this record says.
    init(_ decision: PolicyDecision, _ input: PolicyInput, _ id: String) {
        self.init(
            reason: decision.reason.rawValue, policyReason: decision.policyReason, host: input.host, decisionID: id)
    }
}

extension PolicyInput {
    /// Whether the canary name of encrypted DNS is asked for. It is answered NXDOMAIN, whatever policy and `deny:` say: programs
    /// that find it absent keep to the resolver that they are given.
    var isCanary: Bool { question?.name == "use-application-dns.net" }
}

extension HeldPacket {
    /// The payload of a datagram.
    fileprivate var datagram: [UInt8]? {
        guard let packet = try? Packet(parsing: bytes.span.bytes) else { return nil }
        return bytes.span.bytes.extracting(packet.payload).array
    }
}

extension RawSpan {
    /// The bytes, to keep.
    var array: [UInt8] { withUnsafeBytes { Array($0) } }
}

extension Inspection {
    /// Whether nothing that the server may have under way comes before what is said at this place of its stream: it answered
    /// something since the last request went on, or there was none.
    func isAnswered(at acknowledgment: SequenceNumber) -> Bool {
        guard let asked = lastRequestAt else { return true }
        return acknowledgment.distance(from: asked) > 0
    }

    /// A refusal in the words of the innermost protocol; nil where it has none.
    func words(_ text: RefusalText, _ input: PolicyInput) -> [UInt8]? {
        switch inspector.layers.last {
        case .tls: RefusalMessage.tlsAlert()
        case .http: RefusalMessage.http(text, isHead: input.request?.method == "HEAD")
        case .postgres: RefusalMessage.postgreSQL(text)
        // Behind an earlier request a frame of the server's may be under way.
        case .h2c where lastRequestAt == nil:
            inspector.lastStream.map {
                RefusalMessage.http2(text, stream: $0, isHead: input.request?.method == "HEAD")
            }
        // The client's answer to the greeting has the number 1.
        case .mysql: RefusalMessage.mySQL(text, sequence: 2)
        case .smtp: RefusalMessage.smtp(text)
        case .dns: answerInStream(text, input)
        default: nil
        }
    }

    /// The refused question is the first message that was neither judged nor passed.
    private func answerInStream(_ text: RefusalText, _ input: PolicyInput) -> [UInt8]? {
        let bytes = stream.bytes
        guard bytes.byteCount > 2 else { return nil }
        let length =
            Int(bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self)) << 8
            | Int(bytes.unsafeLoad(fromByteOffset: 1, as: UInt8.self))
        guard bytes.byteCount >= 2 + length else { return nil }
        let question = bytes.extracting(2..<2 + length)
        guard
            let message =
                input.isCanary ? RefusalMessage.dnsNameError(question) : RefusalMessage.dns(refusing: question, text)
        else { return nil }
        return [UInt8(message.count >> 8), UInt8(message.count & 255)] + message
    }
}
