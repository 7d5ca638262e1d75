import Flow
import FlowInspection
import Identity
import Octets
public import PacketHeaders
import Policy
import WireProtocols

/// What is known of names and places beside DNS answers, and whether those are watched.
public struct NameWatch: Hashable, Sendable {
    /// Whether answers are watched. Where they are not, no fact about names reaches policy.
    public var isOn: Bool
    /// The names of each address that the configuration gives, for every agent; sorted.
    public var fixed: [IPAddress: [String]]

    /// A watch from its parts; off by default.
    public init(isOn: Bool = false, fixed: [IPAddress: [String]] = [:]) {
        self.isOn = isOn
        self.fixed = fixed
    }
}

/// Names and the places they lead to: questions on their way out, answers on their way in.
///
/// An answer counts where the flow, the id, the name and the type are those of a question that this engine let through, once.
/// What it binds is bound before the agent has it. Only the name that was asked for is bound, to every address at the end of
/// its chain of aliases: whoever answers cannot make other names lead anywhere.
extension EnforcementEngine where Resolver: ~Copyable {
    /// The names that lead to an address; nil where answers are not watched.
    func names(of address: IPAddress, agent: Agent, clock: ClockReading) -> [String]? {
        guard snapshot.names.isOn else { return nil }
        let watched = bindings.names(of: address, agent: agent.id, now: clock.monotonic)
        guard let fixed = snapshot.names.fixed[address] else { return watched }
        return watched.isEmpty ? fixed : Array(Set(fixed + watched)).sorted()
    }

    /// Completes an input that is about a place: what leads there, and whether the name in it does.
    func locate(_ input: inout PolicyInput, clock: ClockReading) {
        // Of a question the address is the resolver's.
        guard input.stage != .resolve else { return }
        input.names = names(of: input.address, agent: input.agent, clock: clock)
    }

    /// A question that policy is to be asked about.
    func count(_ input: inout PolicyInput, clock: ClockReading) {
        guard snapshot.names.isOn, let name = input.question?.name else { return }
        input.question?.rate = bindings.ask(name, agent: input.agent.id, now: clock.monotonic)
    }

    /// A question that goes on to its resolver.
    mutating func expectAnswer(to message: DNSMessage, _ slot: FlowSlot) {
        guard let question = message.question else { return }
        questions.ask(question, id: message.id, flow: slot, group: flows[slot].agent)
    }

    /// A datagram of a resolver: it goes on where it answers a question, and is dropped otherwise. The agent's resolver library
    /// asks again.
    mutating func handleAnswer<Effects: EnforcementEffects & ~Copyable>(
        _ slot: FlowSlot, _ arrival: Arrival, _ bytes: RawSpan, effects: inout Effects
    ) {
        guard snapshot.names.isOn else {
            effects.accept(arrival.facts.reference, mark: .undecided)
            return
        }
        let payload = bytes.extracting(arrival.packet.payload)
        guard let message = try? DNSMessage(parsing: payload), let hidesNames = take(message, slot, arrival) else {
            counters.noise &+= 1
            effects.drop(arrival.facts.reference)
            return
        }
        if hidesNames, let plain = RefusalMessage.dnsNoData(payload) {
            let count = scratch.withUnsafeMutableBytes { buffer -> Int in
                var target = buffer.mutableBytes
                let written = try? PacketBuilder.writeDatagram(
                    flow: arrival.packet.flow, payload: plain.span.bytes, into: &target)
                return written ?? 0
            }
            guard count > 0 else {
                effects.drop(arrival.facts.reference)
                return
            }
            counters.withheld &+= 1
            effects.accept(
                arrival.facts.reference, mark: .undecided, bytes: scratch.span.bytes.extracting(0..<count))
        } else {
            // Our copy: what was read is what arrives.
            acceptCopy(arrival, bytes, dropping: 0, mark: .undecided, effects: &effects)
        }
    }

    /// Payload of a resolver over TCP, as far as it is there in order. A message's last byte arrives after what it says is
    /// known. Returns whether the flow is to be ended: what it says cannot be read, or would hide names.
    mutating func readAnswers(
        _ slot: FlowSlot, _ arrival: Arrival, _ header: TCPHeader, _ payload: RawSpan
    ) -> Refusal? {
        guard snapshot.names.isOn, var inspection = inspections.take(flows[slot].inspection) else { return nil }
        defer { inspections.put(flows[slot].inspection, inspection) }
        guard inspection.answers != nil else { return nil }
        do throws(ReassemblyError) {
            try inspection.answers?.insert(header.sequence, payload)
        } catch {
            return Refusal(.reassembly, text: "the resolver's bytes do not fit together")
        }
        while let answers = inspection.answers, answers.end > answers.start {
            let step: DNSStreamReader.Event
            do throws(WireError) {
                step = try DNSStreamReader().next(answers.bytes)
            } catch {
                return Refusal(.parseError, text: "a resolver's answer: \(error.text)")
            }
            guard case .message(let message, let byteCount) = step else { return nil }
            if take(message, slot, arrival) == true {
                return Refusal(
                    .encryptedClientHello, text: "a resolver's answer over TCP carries keys that hide server names")
            }
            inspection.answers?.pass(upTo: answers.start + byteCount)
        }
        return nil
    }

    /// Takes in an answer. Returns nil where nobody asked for it, otherwise whether it carries keys of Encrypted ClientHello.
    private mutating func take(_ message: DNSMessage, _ slot: FlowSlot, _ arrival: Arrival) -> Bool? {
        let state = flows[slot]
        guard message.isResponse,
            let asked = questions.answer(message.question, id: message.id, flow: slot, group: state.agent)
        else { return nil }
        var hidesNames = message.hidesNamesBeside
        // The names that the question leads to, itself first.
        var chain: Set<DNSName> = [asked.name]
        let id = agent(at: state.agent).id
        let isOfService = asked.type == .https || asked.type == .svcb
        let name = isOfService ? Self.hostName(of: asked.name) : asked.name.description
        for record in message.answers {
            if case .alias(let target) = record.data, chain.contains(record.owner) { chain.insert(target) }
        }
        for record in message.answers {
            var found: [IPAddress] = []
            switch record.data {
            case .address(let address): found = [address]
            case .service(let binding):
                found = binding.hints
                hidesNames = hidesNames || binding.hasEncryptedClientHello
            case .alias, .other: break
            }
            guard message.responseCode == 0, chain.contains(record.owner) else { continue }
            for address in found {
                bindings.bind(
                    name, to: address, agent: id, timeToLive: record.timeToLive, now: arrival.clock.monotonic)
            }
        }
        return hidesNames
    }

    /// The host that a question is about: `_8443._https.api.example.com` is about `api.example.com` (RFC 9460 §2.3).
    private static func hostName(of name: DNSName) -> String {
        var text = name.description[...]
        while text.utf8.first == UInt8(ascii: "_"), let dot = text.firstIndex(of: ".") {
            text = text[text.index(after: dot)...]
        }
        return String(text)
    }
}
