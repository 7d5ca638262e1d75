import Identity
import PacketHeaders
public import Rego

extension PolicyInput {
    /// The object that a policy sees as `input`. `.json` is its JSON, as `sallyport explain` shows it.
    public var value: RegoValue {
        var facts: [(keys: ArraySlice<String>, value: RegoValue)] = []
        for field in InputField.allCases {
            if let fact = field.fact(of: self) { facts.append((field.keys[...], fact.value)) }
        }
        return Self.object(of: facts)
    }

    /// Nests the facts below their keys; an object's keys are in the order of their bytes.
    private static func object(of facts: [(keys: ArraySlice<String>, value: RegoValue)]) -> RegoValue {
        if let only = facts.first, only.keys.isEmpty { return only.value }
        let groups = Dictionary(grouping: facts) { $0.keys.first ?? "" }
        return .object(
            groups.sorted { $0.key < $1.key }.map { name, inner in
                (.string(name), object(of: inner.map { ($0.keys.dropFirst(), $0.value) }))
            })
    }

    /// The facts in an object of the form of `policies/schema/input.schema.json`. Throws what is missing, of another type,
    /// or not known: a fact that is not understood is never left out silently.
    public init(value: RegoValue) throws(PolicyInputError) {
        var reader = FactReader()
        try reader.read(value, at: [])
        try self.init(reader)
    }

    private init(_ facts: FactReader) throws(PolicyInputError) {
        let agent = Agent(
            id: try facts.required(.agentID, as: .text), labels: try facts.value(.agentLabels, as: .table) ?? [:],
            selectors: [])
        self.init(
            time: try facts.required(.time, as: .time), stage: try facts.required(.stage, as: .stage), agent: agent,
            address: try facts.value(.address, as: .address) ?? Self.unknownAddress,
            port: try facts.required(.port, as: .port),
            transport: try facts.required(.transport, as: .transport))
        uid = try facts.value(.uid, as: .word)
        cgroup = try facts.value(.cgroup, as: .text)
        host = try facts.value(.host, as: .text)
        hostSource = try facts.value(.hostSource, as: .hostSource)
        // Where somebody asks beforehand a host may stand for it.
        isAddressKnown = try facts.value(.address, as: .address) != nil
        if host == nil { _ = try facts.required(.address, as: .address) }
        context = try facts.value(.context, as: .object)
        names = try facts.value(.names, as: .list)
        addressMatchesHost = try facts.value(.addressMatchesHost, as: .boolean)
        listenerAgent = try facts.value(.listenerAgent, as: .text)
        if let name = try facts.value(.protocolName, as: .text) {
            var found = ProtocolFacts(name: name)
            found.version = try facts.value(.protocolVersion, as: .text)
            found.layers = try facts.value(.protocolLayers, as: .list)
            found.alpn = try facts.value(.alpn, as: .list)
            found.encryptedClientHello = try facts.value(.encryptedClientHello, as: .boolean)
            found.ja4 = try facts.value(.ja4, as: .text)
            self.protocol = found
        } else {
            try facts.rejectOrphans(
                [.protocolLayers, .protocolVersion, .alpn, .encryptedClientHello, .ja4], without: .protocolName)
        }
        if let method = try facts.value(.method, as: .text) {
            request = RequestFacts(
                method: method, path: try facts.required(.path, as: .text), query: try facts.value(.query, as: .text),
                url: try facts.value(.url, as: .text), headers: try facts.value(.headers, as: .table) ?? [:])
        } else {
            try facts.rejectOrphans([.path, .query, .url, .headers], without: .method)
        }
        if let name = try facts.value(.questionName, as: .text) {
            var found = QuestionFacts(name: name, type: try facts.required(.questionType, as: .text))
            // What follows from the name may be left out, and may be given other than it is, to try a policy.
            if let labels = try facts.value(.questionLabels, as: .list) { found.labels = labels }
            if let entropy = try facts.value(.questionEntropy, as: .hundredths) { found.entropy = entropy }
            found.rate = try facts.value(.questionRate, as: .word)
            question = found
        } else {
            try facts.rejectOrphans(
                [.questionType, .questionLabels, .questionEntropy, .questionRate], without: .questionName)
        }
        if let user = try facts.value(.databaseUser, as: .text) {
            database = DatabaseFacts(user: user, name: try facts.value(.databaseName, as: .text))
        } else {
            try facts.rejectOrphans([.databaseName], without: .databaseUser)
        }
        if let id = try facts.value(.customerID, as: .text) {
            customer = Customer(
                id: id, issuer: try facts.value(.customerIssuer, as: .text),
                session: try facts.value(.customerSession, as: .text),
                expires: try facts.value(.customerExpires, as: .time),
                claims: try facts.value(.customerClaims, as: .object))
        } else {
            try facts.rejectOrphans(
                [.customerIssuer, .customerSession, .customerExpires, .customerClaims], without: .customerID)
        }
    }
}

/// Why an object is no policy input: the key and what is wrong with it.
public struct PolicyInputError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Such as `destination.port`; empty for the whole.
    public let key: String
    /// What is wrong and what is expected.
    public let message: String

    /// `input.destination.port: ...`.
    public var description: String {
        (["input"] + (key.isEmpty ? [] : [key])).joined(separator: ".") + ": " + message
    }
}

/// The leaves of an object, by field.
private struct FactReader {
    private var values: [InputField: RegoValue] = [:]

    /// Collects the leaves below `value`, which stands at `keys`.
    mutating func read(_ value: RegoValue, at keys: [String]) throws(PolicyInputError) {
        guard let pairs = value.pairs else {
            throw PolicyInputError(key: keys.joined(separator: "."), message: "expected an object")
        }
        for pair in pairs {
            guard let name = pair.key.string else {
                throw PolicyInputError(key: keys.joined(separator: "."), message: "expected texts as keys")
            }
            let inner = keys + [name]
            if let field = InputField.allCases.first(where: { $0.keys == inner }) {
                values[field] = pair.value
            } else if InputField.allCases.contains(where: { $0.keys.starts(with: inner) }) {
                try read(pair.value, at: inner)
            } else {
                throw PolicyInputError(key: inner.joined(separator: "."), message: "no such fact")
            }
        }
    }

    func value<Fact>(_ field: InputField, as type: FactType<Fact>) throws(PolicyInputError) -> Fact? {
        guard let value = values[field] else { return nil }
        guard let fact = type.parse(value) else { throw error(field, "expected \(type.name)") }
        return fact
    }

    func required<Fact>(_ field: InputField, as type: FactType<Fact>) throws(PolicyInputError) -> Fact {
        guard let value = try value(field, as: type) else { throw error(field, "missing") }
        return value
    }

    func rejectOrphans(_ fields: [InputField], without parent: InputField) throws(PolicyInputError) {
        guard fields.contains(where: { values[$0] != nil }) else { return }
        throw error(parent, "missing")
    }

    private func error(_ field: InputField, _ message: String) -> PolicyInputError {
        PolicyInputError(key: field.keys.joined(separator: "."), message: message)
    }
}
