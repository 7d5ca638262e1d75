import PacketHeaders
import Rego

/// An object of `input`: which fact stands at which key, and the objects in it. The only place that knows the schema: the
/// value that a policy sees, its JSON form, reading that form back, and the keys of the decision cache all come from
/// `InputShape.root`. `policies/schema/input.schema.json` describes the same for people.
struct InputShape {
    /// The facts of the object itself.
    let facts: [(key: StaticString, field: InputField)]
    /// The objects in it; one without a known fact is absent.
    let objects: [(key: StaticString, shape: InputShape)]

    static let root = InputShape(
        facts: [("time", .time), ("stage", .stage), ("context", .context)],
        objects: [
            ("agent", agent), ("destination", destination), ("protocol", protocolShape), ("request", request),
            ("question", question),
            ("database", InputShape(facts: [("user", .databaseUser), ("name", .databaseName)], objects: [])),
            ("customer", customer),
        ])

    private static let agent = InputShape(
        facts: [("id", .agentID), ("labels", .agentLabels)],
        objects: [("process", InputShape(facts: [("uid", .uid), ("cgroup", .cgroup)], objects: []))])

    private static let question = InputShape(
        facts: [
            ("name", .questionName), ("type", .questionType), ("labels", .questionLabels),
            ("entropy", .questionEntropy), ("rate", .questionRate),
        ], objects: [])

    private static let customer = InputShape(
        facts: [
            ("id", .customerID), ("issuer", .customerIssuer), ("session", .customerSession),
            ("expires", .customerExpires), ("claims", .customerClaims),
        ], objects: [])

    private static let destination = InputShape(
        facts: [
            ("host", .host), ("host_source", .hostSource), ("address", .address), ("port", .port),
            ("transport", .transport), ("names", .names), ("address_matches_host", .addressMatchesHost),
            ("listener_agent", .listenerAgent),
        ], objects: [])

    private static let protocolShape = InputShape(
        facts: [
            ("name", .protocolName), ("layers", .protocolLayers), ("version", .protocolVersion), ("alpn", .alpn),
            ("encrypted_client_hello", .encryptedClientHello), ("ja4", .ja4),
        ], objects: [])

    private static let request = InputShape(
        facts: [("method", .method), ("path", .path), ("query", .query), ("url", .url), ("headers", .headers)],
        objects: [])

    /// Every fact with the keys that lead to it.
    func leaves(below keys: [String] = []) -> [(keys: [String], field: InputField)] {
        facts.map { (keys + [$0.key.description], $0.field) }
            + objects.flatMap { $0.shape.leaves(below: keys + [$0.key.description]) }
    }

    /// Sets what is known of `input`, where the policy reads it: no value is made twice.
    func build(_ input: PolicyInput, into object: inout ObjectBuilder) {
        for (key, field) in facts {
            field.fact(of: input)?.set(key, in: &object)
        }
        for (key, shape) in objects where shape.isKnown(of: input) {
            object.object(key) { shape.build(input, into: &$0) }
        }
    }

    private func isKnown(of input: PolicyInput) -> Bool {
        facts.contains { $0.field.fact(of: input) != nil } || objects.contains { $0.shape.isKnown(of: input) }
    }
}

extension InputFact {
    /// Sets the fact as a policy sees it.
    fileprivate func set(_ key: StaticString, in object: inout ObjectBuilder) {
        switch self {
        case .time(let nanoseconds): object.set(key, Timestamp.text(nanoseconds: nanoseconds))
        case .stage(let stage): object.set(key, stage.rawValue)
        case .hostSource(let source): object.set(key, source.rawValue)
        case .transport(let transport): object.set(key, transport.description)
        case .address(let address): object.set(key, address.description)
        case .number(let number): object.set(key, Int(clamping: number))
        case .hundredths: object.set(key, value)
        case .flag(let flag): object.set(key, flag)
        case .text(let text): object.set(key, text)
        case .list(let texts): object.set(key, texts)
        case .table(let table): object.set(key, table)
        case .object(let facts): object.set(key, facts.value)
        }
    }
}
