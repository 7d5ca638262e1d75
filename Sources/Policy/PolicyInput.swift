// Policy: what is asked, what is answered, and why.
//
// The facts of one decision (`PolicyInput`), the answer (`PolicyDecision`), the closed vocabulary of reasons and the
// `PolicyEngine` protocol, with the embedded Rego engine and the decision cache behind it. No I/O: files, bundles and
// servers are `PolicySources`' business. A queue thread calls `decide` synchronously on an immutable snapshot.

public import Identity
public import PacketHeaders

/// When in a flow's life a decision is asked for. Raw values are those of `input.stage`.
public enum DecisionStage: String, Hashable, Sendable {
    /// The first packet of a flow.
    case connect
    /// A DNS question.
    case resolve
    /// A ClientHello or another protocol's first bytes.
    case hello
    /// One cleartext HTTP request.
    case request
}

/// Where `destination.host` was read.
public enum HostSource: String, Hashable, Sendable {
    /// The TLS server_name extension.
    case sni
    /// The HTTP/1 Host header or an absolute target equal to it.
    case httpHost = "http_host"
    /// HTTP/2 `:authority`.
    case h2Authority = "h2_authority"
    /// A watched DNS answer.
    case dnsBinding = "dns_binding"
    /// A DNS question.
    case dnsQuestion = "dns_question"
    /// A SOCKS request.
    case socks
}

/// The facts of one decision. Becomes `input`; a fact that is nil is an absent key.
public struct PolicyInput: Sendable {
    /// Nanoseconds since the Unix epoch.
    public var time: UInt64
    /// The stage.
    public var stage: DecisionStage
    /// The agent that the kernel's facts name.
    public var agent: Agent
    /// The uid of the socket's creator.
    public var uid: UInt32?
    /// The socket's cgroup path from the root of the v2 hierarchy.
    public var cgroup: String?
    /// The name the flow asks for: lower case, no trailing dot.
    public var host: String?
    /// Where `host` was read.
    public var hostSource: HostSource?
    /// Where the flow goes.
    public var address: IPAddress
    /// Whether `address` says anything: not where somebody asks beforehand and names a host.
    public var isAddressKnown = true
    /// The names that lead to `address`: of DNS answers that the agent received, and of the configuration. Nil where answers
    /// are not watched.
    public var names: [String]?
    /// Whether `host` is among `names`; nil where either is not known.
    public var addressMatchesHost: Bool?
    /// The agent of this host whose socket listens there; nil where it is elsewhere, or none.
    public var listenerAgent: String?
    /// The destination port.
    public var port: UInt16
    /// TCP or UDP.
    public var transport: TransportProtocol
    /// What the first bytes are, when known.
    public var `protocol`: ProtocolFacts?
    /// The request, at stage `request`.
    public var request: RequestFacts?
    /// The DNS question, at stage `resolve`.
    public var question: QuestionFacts?
    /// Who logs in to which database, where that is said in the clear.
    public var database: DatabaseFacts?
    /// For whom the agent acts; nil where no session covers the flow.
    public var customer: Customer?
    /// What an integration that asks beforehand adds.
    public var context: InputObject?

    /// What stands in for an address that is not known.
    public static let unknownAddress = IPAddress(v6: 0, 0)

    /// The facts that every stage has; the rest is set afterwards.
    public init(
        time: UInt64, stage: DecisionStage, agent: Agent, address: IPAddress, port: UInt16, transport: TransportProtocol
    ) {
        self.time = time
        self.stage = stage
        self.agent = agent
        self.address = address
        self.port = port
        self.transport = transport
    }
}

/// `input.protocol`.
public struct ProtocolFacts: Hashable, Sendable {
    /// What is spoken, the innermost: `tls`, `quic`, `http`, `h2c`, `dns`, `postgres`, `ssh`, ..., `unknown`.
    public var name: String
    /// What it is carried in and itself, outermost first, where it is not alone: TLS after STARTTLS, a stream in a tunnel.
    public var layers: [String]?
    /// The highest version offered: `1.3`, `1.2`; `1.1` or `1.0` for HTTP.
    public var version: String?
    /// The ALPN names offered, in order; nil where the extension is absent.
    public var alpn: [String]?
    /// Whether the `encrypted_client_hello` extension is present (GREASE included); nil outside TLS.
    public var encryptedClientHello: Bool?
    /// The JA4 fingerprint.
    public var ja4: String?

    /// A protocol by its name.
    public init(name: String) {
        self.name = name
    }
}

/// `input.question`.
public struct QuestionFacts: Hashable, Sendable {
    /// The name in lower case without its trailing dot; `.` is the root. Bytes other than visible ASCII are `\DDD`.
    public var name: String
    /// The record type's mnemonic, or `TYPE` and its number.
    public var type: String
    /// The labels of `name`, leftmost first; none of the root.
    public var labels: [String]
    /// The entropy of the label that has most of it, in hundredths of a bit a character (Shannon, over the characters of the
    /// label): 0 for `aaaa`, some 300 for a word, up to 600 for what base64 makes of random bytes.
    public var entropy: UInt32
    /// How many distinct names the agent asked for in the last minute, about, this one included; nil where nobody counts.
    public var rate: UInt32?

    /// A question from its parts.
    public init(name: String, type: String) {
        self.name = name
        self.type = type
        labels = Self.labels(of: name)
        entropy = labels.reduce(0) { max($0, LabelEntropy.centibits(of: $1)) }
    }

    /// The labels of a name in presentation form: an escaped dot parts nothing.
    private static func labels(of name: String) -> [String] {
        guard name != "." else { return [] }
        var labels: [String] = []
        var label: [UInt8] = []
        var isEscaped = false
        for byte in name.utf8 {
            if byte == UInt8(ascii: "."), !isEscaped {
                labels.append(String(decoding: label, as: UTF8.self))
                label.removeAll(keepingCapacity: true)
                continue
            }
            isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
            label.append(byte)
        }
        labels.append(String(decoding: label, as: UTF8.self))
        return labels
    }
}

/// `input.database`.
public struct DatabaseFacts: Hashable, Sendable {
    /// The role or account.
    public var user: String
    /// The database or schema; nil where none is named.
    public var name: String?

    /// A login from its parts.
    public init(user: String, name: String?) {
        self.user = user
        self.name = name
    }
}

/// `input.request`.
public struct RequestFacts: Hashable, Sendable {
    /// The method token, as sent.
    public var method: String
    /// The path of the target, without the query; `*` or an authority as they are sent.
    public var path: String
    /// The query without its `?`.
    public var query: String?
    /// `http://host[:port]/path?query`.
    public var url: String?
    /// Header fields by lower-case name; values of a repeated field joined by `, `.
    public var headers: [String: String]

    /// A request from its parts.
    public init(method: String, path: String, query: String?, url: String?, headers: [String: String]) {
        self.method = method
        self.path = path
        self.query = query
        self.url = url
        self.headers = headers
    }
}
