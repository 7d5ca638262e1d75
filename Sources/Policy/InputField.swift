import Identity
import PacketHeaders

/// One fact of `PolicyInput`. Where it stands in `input` is said by `InputShape`.
enum InputField: UInt8, CaseIterable {
    case time
    case stage
    case agentID
    case agentLabels
    case uid
    case cgroup
    case host
    case hostSource
    case address
    case port
    case transport
    case protocolName
    case protocolVersion
    case alpn
    case encryptedClientHello
    case ja4
    case method
    case path
    case query
    case url
    case headers
    case protocolLayers
    case questionName
    case questionType
    case databaseUser
    case databaseName
    case customerID
    case customerIssuer
    case customerSession
    case customerExpires
    case customerClaims
    case context
    case names
    case addressMatchesHost
    case listenerAgent
    case questionLabels
    case questionEntropy
    case questionRate

    /// The keys that lead from `input` to the fact, outermost first.
    var keys: [String] { Self.keysByField[self] ?? [] }

    private static let keysByField = Dictionary(
        InputShape.root.leaves().map { ($0.field, $0.keys) }, uniquingKeysWith: { first, _ in first })

    /// The fact in `input`; nil where it is unknown. Does not allocate.
    func fact(of input: PolicyInput) -> InputFact? {
        switch self {
        case .time: .time(input.time)
        case .stage: .stage(input.stage)
        case .agentID: .text(input.agent.id)
        case .agentLabels: .table(input.agent.labels)
        case .uid: input.uid.map { .number(UInt64($0)) }
        case .cgroup: input.cgroup.map { .text($0) }
        case .host: input.host.map { .text($0) }
        case .hostSource: input.hostSource.map { .hostSource($0) }
        case .address: input.isAddressKnown ? .address(input.address) : nil
        case .port: .number(UInt64(input.port))
        case .transport: .transport(input.transport)
        case .protocolName: input.protocol.map { .text($0.name) }
        case .protocolVersion: input.protocol?.version.map { .text($0) }
        case .alpn: input.protocol?.alpn.map { .list($0) }
        case .encryptedClientHello: input.protocol?.encryptedClientHello.map { .flag($0) }
        case .ja4: input.protocol?.ja4.map { .text($0) }
        case .method: input.request.map { .text($0.method) }
        case .path: input.request.map { .text($0.path) }
        case .query: input.request?.query.map { .text($0) }
        case .url: input.request?.url.map { .text($0) }
        case .headers: input.request.map { .table($0.headers) }
        case .protocolLayers: input.protocol?.layers.map { .list($0) }
        case .questionName: input.question.map { .text($0.name) }
        case .questionType: input.question.map { .text($0.type) }
        case .databaseUser: input.database.map { .text($0.user) }
        case .databaseName: input.database?.name.map { .text($0) }
        case .customerID: input.customer.map { .text($0.id) }
        case .customerIssuer: input.customer?.issuer.map { .text($0) }
        case .customerSession: input.customer?.session.map { .text($0) }
        case .customerExpires: input.customer?.expires.map { .time($0) }
        case .customerClaims: input.customer?.claims.map { .object($0) }
        case .context: input.context.map { .object($0) }
        case .names: input.names.map { .list($0) }
        case .addressMatchesHost: input.addressMatchesHost.map { .flag($0) }
        case .listenerAgent: input.listenerAgent.map { .text($0) }
        case .questionLabels: input.question.map { .list($0.labels) }
        case .questionEntropy: input.question.map { .hundredths($0.entropy) }
        case .questionRate: input.question?.rate.map { .number(UInt64($0)) }
        }
    }
}

/// A set of fields.
struct InputFieldSet: OptionSet, Hashable {
    let rawValue: UInt64

    static let all = InputFieldSet(rawValue: (1 << UInt64(InputField.allCases.count)) - 1)

    /// Those of `input.customer`.
    static let customer = InputFieldSet(readingAt: ["customer"])

    init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    init(_ field: InputField) {
        rawValue = 1 << UInt64(field.rawValue)
    }

    /// The fields that a read of `keys` below `input` can see: those below it, and the one it lies in.
    init(readingAt keys: [String]) {
        self = InputField.allCases.reduce(into: []) { set, field in
            if zip(field.keys, keys).allSatisfy({ $0.utf8.elementsEqual($1.utf8) }) { set.insert(InputFieldSet(field)) }
        }
    }

    func contains(_ field: InputField) -> Bool {
        contains(InputFieldSet(field))
    }

    /// Calls `body` for each field of the set, in the order of the enum.
    func forEach(_ body: (InputField) -> Void) {
        var left = rawValue
        while left != 0 {
            if let field = InputField(rawValue: UInt8(left.trailingZeroBitCount)) { body(field) }
            left &= left &- 1
        }
    }
}

/// The value of a field, as it is kept in `PolicyInput`.
enum InputFact {
    case time(UInt64)
    case stage(DecisionStage)
    case hostSource(HostSource)
    case transport(TransportProtocol)
    case address(IPAddress)
    case number(UInt64)
    /// A number that is kept as its hundredfold.
    case hundredths(UInt32)
    case flag(Bool)
    case text(String)
    case list([String])
    case table([String: String])
    case object(InputObject)

    /// Whether a policy cannot tell the two apart. Text is compared byte for byte: Swift's `==` on strings calls
    /// canonically equivalent texts equal, Rego does not.
    func isIdentical(to other: InputFact) -> Bool {
        switch (self, other) {
        case (.time(let left), .time(let right)): left == right
        case (.stage(let left), .stage(let right)): left == right
        case (.hostSource(let left), .hostSource(let right)): left == right
        case (.transport(let left), .transport(let right)): left == right
        case (.address(let left), .address(let right)): left == right
        case (.number(let left), .number(let right)): left == right
        case (.hundredths(let left), .hundredths(let right)): left == right
        case (.flag(let left), .flag(let right)): left == right
        case (.text(let left), .text(let right)): left.hasSameBytes(as: right)
        case (.list(let left), .list(let right)):
            left.count == right.count && zip(left, right).allSatisfy { $0.hasSameBytes(as: $1) }
        case (.table(let left), .table(let right)):
            left.count == right.count
                && left.allSatisfy { key, value in
                    guard let index = right.index(forKey: key) else { return false }
                    return right[index].key.hasSameBytes(as: key) && right[index].value.hasSameBytes(as: value)
                }
        case (.object(let left), .object(let right)): left === right || left.text.hasSameBytes(as: right.text)
        default: false
        }
    }

    /// A hash; identical facts have the same.
    func fingerprint(_ hash: Fingerprint) -> UInt64 {
        switch self {
        case .time(let value): hash.mix(value)
        case .stage(let value): hash.mix(UInt64(value.ordinal))
        case .hostSource(let value): hash.mix(UInt64(value.ordinal))
        case .transport(let value): hash.mix(UInt64(value.rawValue))
        case .address(let value): hash.mix(hash.mix(value.high) ^ value.low ^ UInt64(value.family.rawValue))
        case .number(let value): hash.mix(value)
        case .hundredths(let value): hash.mix(UInt64(value))
        case .flag(let value): hash.mix(value ? 1 : 0)
        case .text(let value): hash.bytes(of: value)
        case .list(let values): values.reduce(UInt64(values.count)) { hash.mix($0 ^ hash.bytes(of: $1)) }
        case .table(let values):
            // A sum, so that the order of a dictionary does not matter; it wraps by design.
            values.reduce(0) { $0 &+ hash.mix(hash.bytes(of: $1.key) ^ hash.mix(hash.bytes(of: $1.value))) }
        case .object(let object): hash.bytes(of: object.text)
        }
    }

    /// Bytes that keeping the fact keeps alive, about.
    var byteCount: Int {
        switch self {
        case .time, .stage, .hostSource, .transport, .address, .number, .hundredths, .flag: 0
        case .text(let value): value.utf8.count
        case .list(let values): values.reduce(0) { $0 + $1.utf8.count }
        case .table(let values): values.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        case .object(let object): object.text.utf8.count
        }
    }
}

extension String {
    /// Whether both have the same UTF-8 bytes.
    fileprivate func hasSameBytes(as other: String) -> Bool {
        var left = self
        var right = other
        return left.withUTF8 { left in right.withUTF8 { right in Fingerprint.isSame(left, right) } }
    }
}

extension DecisionStage {
    /// 0 ..< the number of stages.
    fileprivate var ordinal: UInt8 {
        switch self {
        case .connect: 0
        case .resolve: 1
        case .hello: 2
        case .request: 3
        }
    }
}

extension HostSource {
    /// 0 ..< the number of sources.
    fileprivate var ordinal: UInt8 {
        switch self {
        case .sni: 0
        case .httpHost: 1
        case .h2Authority: 2
        case .dnsBinding: 3
        case .dnsQuestion: 4
        case .socks: 5
        }
    }
}
