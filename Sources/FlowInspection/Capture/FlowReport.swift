public import PacketHeaders
public import WireProtocols

/// What is known of one flow of a capture.
public struct FlowReport: Sendable {
    /// A request as it is reported.
    public struct Request: Hashable, Sendable {
        /// The method as sent.
        public let method: String
        /// The host without its port; nil where none is named.
        public let host: String?
        /// The path without the query.
        public let path: String
        /// The query without its `?`.
        public let query: String?
    }

    /// A DNS question.
    public struct Question: Hashable, Sendable {
        /// The name; `.` is the root.
        public let name: String
        /// The type's mnemonic.
        public let type: String
    }

    /// A DNS answer.
    public struct Answer: Hashable, Sendable {
        /// The name that it is about.
        public let name: String
        /// The type's mnemonic.
        public let type: String
        /// Address, name or service binding.
        public let data: String
    }

    /// Both ends, the client first.
    public internal(set) var flow: FiveTuple
    /// What it speaks, outermost first.
    public internal(set) var layers: [ApplicationProtocol] = []
    /// The hosts named, in order, each once: lower case, without trailing dot and port.
    public internal(set) var hosts: [String] = []
    /// The first ClientHello.
    public internal(set) var hello: ClientHelloSummary?
    /// The version of QUIC.
    public internal(set) var quicVersion: QUICVersion?
    /// Requests in order.
    public internal(set) var requests: [Request] = []
    /// DNS questions in order, each once.
    public internal(set) var questions: [Question] = []
    /// DNS answers in order, each once.
    public internal(set) var answers: [Answer] = []
    /// Who logs in to a database.
    public internal(set) var user: String?
    /// The database or schema named.
    public internal(set) var database: String?
    /// Where a SOCKS proxy was asked to connect to.
    public internal(set) var proxyTarget: Authority?
    /// What client and server call themselves.
    public internal(set) var software: [String] = []
    /// The first bytes of an unknown protocol, at most eight.
    public internal(set) var firstBytes: [UInt8] = []
    /// Why the flow would be refused; nil where it reads well.
    public var error: String? {
        if let failure { return failure }
        // Negotiation ends with a version that can be read, or not at all.
        guard hello == nil, let unknownVersion else { return nil }
        return "QUIC version \(unknownVersion) is not read"
    }
    /// The number of the flow's first packet in the file, from 1.
    public let firstPacket: Int

    private var failure: String?
    private var hasQuery = false
    private var unknownVersion: QUICVersion?

    private var seenQuestions: Set<Question> = []
    private var seenAnswers: Set<Answer> = []
    private var seenHosts: Set<String> = []

    /// A flow of which nothing is known yet.
    init(_ flow: FiveTuple, firstPacket: Int) {
        self.flow = flow
        self.firstPacket = firstPacket
    }

    /// The outermost protocol.
    public var application: ApplicationProtocol { layers.first ?? .unknown }

    mutating func add(_ fact: InspectionFact) {
        switch fact {
        case .speaks(let application):
            if application != .unknown || layers.isEmpty { layers.append(application) }
        case .hello(let summary, let version):
            if hello == nil { hello = summary }
            if let version { quicVersion = version }
            add(host: summary.host)
        case .request(let request):
            requests.append(
                Request(
                    method: request.method, host: request.authority?.host.description, path: request.path,
                    query: request.query))
            add(host: request.authority?.host)
        case .dns(let message): add(message)
        case .question(let question, let isResponse): add(question, isResponse: isResponse)
        case .login(let user, let database):
            self.user = user
            self.database = database
        case .software(let text, _): software.append(text)
        case .proxyRequest(let request): proxyTarget = Authority(host: request.host, port: request.port)
        case .unknownVersion(let version): unknownVersion = version
        }
    }

    /// The server speaks another protocol than the client: what the client named was never understood.
    mutating func contradict(_ reason: String) {
        hosts = []
        fail(reason)
    }

    mutating func fail(_ reason: String) {
        if failure == nil { failure = reason }
    }

    private mutating func add(host: Host?) {
        guard let host else { return }
        add(host: host.description)
    }

    private mutating func add(host: String) {
        if seenHosts.insert(host).inserted { hosts.append(host) }
    }

    /// Questions count as they are asked. Where only answers were captured, what they answer is all that is known.
    private mutating func add(_ question: DNSQuestion, isResponse: Bool) {
        if isResponse, hasQuery { return }
        if !isResponse, !hasQuery {
            hasQuery = true
            (questions, hosts, seenQuestions, seenHosts) = ([], [], [], [])
        }
        let seen = Question(name: question.name.description, type: question.type.description)
        if seenQuestions.insert(seen).inserted { questions.append(seen) }
        if !question.name.isRoot { add(host: question.name.description) }
    }

    private mutating func add(_ message: DNSMessage) {
        if let question = message.question { add(question, isResponse: message.isResponse) }
        for record in message.answers {
            guard let data = record.text else { continue }
            let seen = Answer(name: record.owner.description, type: record.type.description, data: data)
            if seenAnswers.insert(seen).inserted { answers.append(seen) }
        }
    }
}
