import Control
import DecisionLog
import Enforcement
import Glibc
import Identity
import JOSE
import Octets
import PacketHeaders
import Policy
import Sessions
import Synchronization
import Tokens
import WireProtocols

/// Answers `POST /v1/decide`: what policy would say of a flow that does not exist yet, asked in the stages that such a flow
/// goes through, and recorded like any other decision.
extension SessionService {
    func decide(_ request: DecideRequest, _ caller: ControlCaller) async throws(ProblemDocument) -> DecideReport {
        let began = Clock.read()
        let destination = try AskedDestination(request)
        let asker = try identify(caller)
        let agent = try await decidedAgent(request, asker)
        let table = daemon.sessions.current.agents
        guard let index = table.index(of: agent) else {
            throw ProblemDocument(
                status: 400, title: "Bad request", detail: "there is no agent \(agent.prefix(64)) in the configuration")
        }
        var input = destination.input(at: began.wall, table[index])
        if let text = request.customerToken {
            let token = try await verify(text, asker)
            do throws(SessionError) {
                try daemon.sessions.admit(token, for: agent)
            } catch {
                daemon.sessions.noteRefusal(error.description, agent: asker.agent, customer: token.subject)
                throw ProblemDocument(status: 403, title: "Token refused", detail: error.description)
            }
            input.customer = Customer(token, session: nil)
        }
        if let data = request.data { input.context = InputObject(data) }
        if case .confined(let cgroup, let uid) = caller { (input.cgroup, input.uid) = (cgroup, uid) }
        let engine = daemon.current.engine
        let session = engine.makeSession()
        // A flow is let through where every stage of it is.
        var decision = session.decide(input)
        if decision.allow {
            input = destination.spoken(input)
            decision = session.decide(input)
        }
        let took = (Clock.read().monotonic - began.monotonic) / 1000
        let id = daemon.asked.report(input, decision, revision: engine.revision, microseconds: UInt32(clamping: took))
        return DecideReport(
            allow: decision.allow, reason: decision.reason.rawValue, policyReason: decision.policyReason,
            rule: decision.rule, decisionId: id.description)
    }

    /// The agent that a question is about: the one that asks, the one that its token names, or the one that an operator
    /// names.
    private func decidedAgent(
        _ request: DecideRequest, _ asker: SessionCaller
    ) async throws(ProblemDocument) -> String {
        if case .operator = asker, request.agent == nil, let text = request.agentToken {
            return try await verifyAgent(text, asker)
        }
        let agent = try agent(request.agent, asker)
        try await verifyAgent(request.agentToken, is: agent, asker)
        return agent
    }
}

/// Where an agent would go.
private struct AskedDestination {
    let isEncrypted: Bool
    let authority: Authority
    let port: UInt16
    let path: String
    let query: String?
    let method: String?

    init(_ request: DecideRequest) throws(ProblemDocument) {
        func problem(_ what: String) -> ProblemDocument {
            ProblemDocument(status: 400, title: "Bad request", detail: "url: \(what)")
        }
        guard request.url.utf8.count <= 8192, request.url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw problem("longer than 8192 bytes, or not ASCII without blanks")
        }
        let parts = request.url.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)[0]
        let words = parts.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard words.count == 2, words[1].hasPrefix("//") else {
            throw problem("no scheme: such as https://api.example.com/v1")
        }
        switch words[0].lowercased() {
        case "https", "wss": isEncrypted = true
        case "http", "ws": isEncrypted = false
        default: throw problem("the scheme is none of https, http, wss and ws")
        }
        let rest = words[1].dropFirst(2)
        let slash = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        do throws(WireError) {
            authority = try Authority(parsing: Array(rest[..<slash].utf8).span.bytes)
        } catch {
            throw problem("no host: \(error)")
        }
        port = authority.port ?? (isEncrypted ? 443 : 80)
        let target = rest[slash...].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = target.first.map { String($0) } ?? ""
        self.path = path.isEmpty ? "/" : path
        query = target.count == 2 ? String(target[1]) : nil
        method = request.method
        if let method {
            guard method.utf8.count <= 32, method.utf8.allSatisfy({ (0x41...0x5A).contains($0) || $0 == 0x2D }) else {
                throw ProblemDocument(status: 400, title: "Bad request", detail: "method is no HTTP method")
            }
        }
    }

    /// The facts of the first packet.
    func input(at time: UInt64, _ agent: Agent) -> PolicyInput {
        var address = PolicyInput.unknownAddress
        var isKnown = false
        if case .address(let literal) = authority.host { (address, isKnown) = (literal, true) }
        var input = PolicyInput(
            time: time, stage: .connect, agent: agent, address: address, port: port, transport: .tcp)
        input.isAddressKnown = isKnown
        return input
    }

    /// The facts of what is said then: a ClientHello, or a request. The request inside TLS is known to who asks only.
    func spoken(_ connect: PolicyInput) -> PolicyInput {
        var input = connect
        var isName = false
        if case .name = authority.host { isName = true }
        input.stage = isEncrypted ? .hello : .request
        input.protocol = ProtocolFacts(name: isEncrypted ? "tls" : "http")
        if isName || !isEncrypted {
            input.host = authority.host.description
            input.hostSource = isEncrypted ? .sni : .httpHost
        }
        if method != nil || !isEncrypted {
            let isUsual = port == (isEncrypted ? 443 : 80)
            let place = Authority(host: authority.host, port: isUsual ? nil : port)
            input.request = RequestFacts(
                method: method ?? "GET", path: path, query: query,
                url: "\(isEncrypted ? "https" : "http")://\(place)\(path)" + (query.map { "?\($0)" } ?? ""),
                headers: [:])
        }
        return input
    }
}

/// Makes records of decisions that were asked for.
final class AskedRecords: Sendable {
    private let ring: RecordRing
    // A ring has one producer; those who ask are several.
    private let identifiers: Mutex<DecisionIDSource>

    /// Records into a ring of its own.
    init(ring: RecordRing) {
        self.ring = ring
        var random = SystemRandomNumberGenerator()
        identifiers = Mutex(DecisionIDSource(seed: random.next()))
    }

    /// Records a decision. Returns its name.
    func report(
        _ input: PolicyInput, _ decision: PolicyDecision, revision: String, microseconds: UInt32
    ) -> DecisionID {
        identifiers.withLock { identifiers in
            let id = identifiers.next(nanoseconds: input.time)
            _ = ring.push(
                DecisionRecord(
                    id: id, input: input, decision: decision, flow: nil, policyRevision: revision,
                    latencyMicroseconds: microseconds))
            ring.wake()
            return id
        }
    }
}
