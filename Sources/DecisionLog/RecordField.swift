/// The fields of records, in the order in which they are written. In the journal each is `SALLYPORT_` and the raw value;
/// in JSON the raw value in lower case.
public enum RecordField: String, CaseIterable, Sendable {
    case decisionID = "DECISION_ID"
    case time = "TIME"
    case verdict = "VERDICT"
    case reason = "REASON"
    case policyReason = "POLICY_REASON"
    case rule = "RULE"
    case policyRevision = "POLICY_REVISION"
    case stage = "STAGE"
    case agent = "AGENT"
    case customer = "CUSTOMER"
    case session = "SESSION"
    case direction = "DIRECTION"
    case host = "HOST"
    case hostSource = "HOST_SOURCE"
    case address = "ADDRESS"
    case port = "PORT"
    case transport = "TRANSPORT"
    case addressNames = "ADDRESS_NAMES"
    case addressMatchesHost = "ADDRESS_MATCHES_HOST"
    case sourceAddress = "SOURCE_ADDRESS"
    case sourcePort = "SOURCE_PORT"
    case `protocol` = "PROTOCOL"
    case protocolLayers = "PROTOCOL_LAYERS"
    case protocolVersion = "PROTOCOL_VERSION"
    case alpn = "ALPN"
    case encryptedClientHello = "ENCRYPTED_CLIENT_HELLO"
    case ja4 = "JA4"
    case method = "METHOD"
    case path = "PATH"
    case question = "QUESTION"
    case questionType = "QUESTION_TYPE"
    case database = "DATABASE"
    case databaseUser = "DATABASE_USER"
    case uid = "UID"
    case pid = "PID"
    case executable = "EXECUTABLE"
    case cgroup = "CGROUP"
    case latency = "LATENCY_US"
    case repeats = "REPEATS"
    case firstTime = "FIRST_TIME"
    case lastTime = "LAST_TIME"
    case firstDecisionID = "FIRST_DECISION_ID"
    case lastDecisionID = "LAST_DECISION_ID"
    case event = "EVENT"

    /// The journal field's name.
    public var journalName: String { Self.prefix + rawValue }

    /// The key in JSON.
    public var jsonName: String { rawValue.lowercased() }

    /// Whether the value is a number, and so is without quotes in JSON.
    public var isNumber: Bool {
        switch self {
        case .port, .sourcePort, .uid, .pid, .latency, .repeats: true
        case .decisionID, .time, .verdict, .reason, .policyReason, .rule, .policyRevision, .stage, .agent, .customer,
            .session, .direction, .host, .hostSource, .address, .transport, .addressNames, .addressMatchesHost,
            .sourceAddress, .protocol, .protocolLayers,
            .protocolVersion, .alpn, .encryptedClientHello, .ja4, .method, .path, .question, .questionType, .database,
            .databaseUser, .executable, .cgroup, .firstTime, .lastTime, .firstDecisionID,
            .lastDecisionID, .event:
            false
        }
    }

    /// How many bytes of the escaped value are kept; with the mark of what was cut off a value stays within 4 KiB. The sum
    /// bounds a record, well below a datagram's limit.
    var limit: Int {
        switch self {
        case .path: 4080
        case .policyReason, .executable, .cgroup: 1024
        case .alpn: 512
        case .question, .addressNames: 1024
        case .host: 253
        case .rule, .database, .databaseUser: 256
        case .agent, .method, .session: 64
        case .customer: 256
        case .decisionID, .time, .verdict, .reason, .policyRevision, .stage, .direction, .hostSource, .address, .port,
            .transport, .addressMatchesHost, .sourceAddress, .sourcePort, .protocol, .protocolLayers, .protocolVersion,
            .encryptedClientHello, .ja4,
            .questionType, .uid,
            .pid, .latency, .repeats, .firstTime, .lastTime, .firstDecisionID, .lastDecisionID, .event:
            64
        }
    }

    /// What the names of all our journal fields begin with.
    public static let prefix = "SALLYPORT_"
}
