import Configuration
import Control
import DecisionLog
import Glibc
import Identity
import JOSE
import KeySets
import Netlink
import PacketHeaders
import Policy
import Sessions
import Synchronization
import Tokens

/// Answers the control socket's requests about sessions.
struct SessionService: SessionDelegate {
    let daemon: Daemon

    private var keeper: SessionKeeper { daemon.sessions }

    func list(_ caller: ControlCaller) async throws(ProblemDocument) -> SessionsReport {
        SessionsReport(sessions: keeper.list(try identify(caller)).map { SessionReport($0) })
    }

    func find(_ id: String, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport {
        let caller = try identify(caller)
        return try answer(caller) { () throws(SessionRefusal) in try keeper.find(id, caller) }
    }

    func open(_ request: OpenSessionRequest, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport {
        let caller = try identify(caller)
        let agent = try agent(request.agent, caller)
        let token = try await verify(request.customerToken, caller)
        try await verifyAgent(request.agentToken, is: agent, caller, customer: token.subject)
        let id = Self.makeID()
        var binding: RequestedBinding?
        if let asked = request.binding { binding = try await resolve(asked, for: id, agent: agent, caller) }
        let bound = binding
        return try answer(caller, customer: token.subject) { () throws(SessionRefusal) in
            try keeper.open(id: id, agent: agent, token: token, binding: bound, caller)
        }
    }

    func bind(_ cookie: UInt64, to id: String, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport {
        let caller = try identify(caller)
        return try answer(caller) { () throws(SessionRefusal) in
            try keeper.bind(SocketCookie(rawValue: cookie), to: id, caller)
        }
    }

    func renew(
        _ id: String, token: String, _ caller: ControlCaller
    ) async throws(ProblemDocument) -> SessionReport {
        let caller = try identify(caller)
        let token = try await verify(token, caller)
        return try answer(caller, customer: token.subject) { () throws(SessionRefusal) in
            try keeper.renew(id, token: token, caller)
        }
    }

    func close(_ id: String, _ caller: ControlCaller) async throws(ProblemDocument) {
        let caller = try identify(caller)
        do throws(SessionRefusal) {
            try keeper.close(id, caller)
        } catch {
            throw problem(error, caller)
        }
    }

    // MARK: - Who asks

    /// Names the caller by its cgroup and uid.
    func identify(_ caller: ControlCaller) throws(ProblemDocument) -> SessionCaller {
        guard case .confined(let path, let uid) = caller else { return .operator }
        let agents = keeper.current.agents
        switch agents.identify(cgroup: path, uid: uid) {
        case .agent(let index):
            return .agent(agents[index].id, cgroup: keeper.hierarchy.identifier(of: path), path: path)
        case .nobody(let reason):
            throw ProblemDocument(
                status: 403, title: "Not for this caller",
                detail: "the caller is confined and no agent: \(agents.describe(reason)) (cgroup \(path), uid \(uid))")
        }
    }

    /// The agent that a request is about.
    func agent(_ named: String?, _ caller: SessionCaller) throws(ProblemDocument) -> String {
        switch caller {
        case .agent(let own, _, _):
            guard let named, named != own else { return own }
            let text = "the caller is agent \(own), not \(named.prefix(64))"
            keeper.noteRefusal(text, agent: own)
            throw ProblemDocument(status: 403, title: "Not for this caller", detail: text)
        case .operator:
            guard let named else {
                throw ProblemDocument(
                    status: 400, title: "Bad request", detail: "agent is missing: whose flows is it about?")
            }
            return named
        }
    }

    // MARK: - Tokens

    /// Verifies a customer's token.
    func verify(_ text: String, _ caller: SessionCaller) async throws(ProblemDocument) -> VerifiedToken {
        try await verify(text, "customer_token", keeper.current.customers, caller)
    }

    /// Verifies an agent's token. Returns the agent that it names.
    func verifyAgent(_ text: String, _ caller: SessionCaller) async throws(ProblemDocument) -> String {
        try await verify(text, "agent_token", keeper.current.agentVerifier, caller).subject
    }

    /// Verifies an agent's token, where one is given or wanted: it must be this agent's.
    func verifyAgent(
        _ text: String?, is agent: String, _ caller: SessionCaller, customer: String? = nil
    ) async throws(ProblemDocument) {
        let current = keeper.current
        guard let text else {
            guard current.agentTokens.isRequired else { return }
            throw refusal("agent_token is missing: the configuration wants one", caller, customer: customer)
        }
        let token = try await verify(text, "agent_token", current.agentVerifier, caller)
        guard token.subject.utf8.elementsEqual(agent.utf8) else {
            throw refusal(
                "the agent token is another agent's: its sub is not \(agent)", caller, customer: customer)
        }
    }

    private func verify(
        _ text: String, _ name: String, _ verifier: TokenVerifier, _ caller: SessionCaller
    ) async throws(ProblemDocument) -> VerifiedToken {
        let bytes = Array(text.utf8)
        var unknown: TokenIssuer?
        for _ in 0..<2 {
            do throws(TokenFailure) {
                return try verifier.verify(bytes, now: Clock.nanoseconds(CLOCK_REALTIME)) {
                    (issuer) throws(TokenFailure) in
                    unknown = issuer
                    return try keeper.keys.keys(of: issuer)
                }
            } catch {
                // A key that is new, or keys that are still on their way.
                if let unknown, error.isAboutKeys, await keeper.keys.refresh(unknown) { continue }
                throw refusal("\(name): \(error)", caller)
            }
        }
        throw refusal("\(name): no configured key has the token's kid", caller)
    }

    private func refusal(_ text: String, _ caller: SessionCaller, customer: String? = nil) -> ProblemDocument {
        keeper.noteRefusal(text, agent: caller.agent, customer: customer)
        return ProblemDocument(status: 403, title: "Token refused", detail: text)
    }

    // MARK: - Bindings

    private func resolve(
        _ binding: BindingRequest, for session: String, agent: String, _ caller: SessionCaller
    ) async throws(ProblemDocument) -> RequestedBinding {
        switch binding {
        case .socket(let cookie): return .socket(SocketCookie(rawValue: cookie))
        case .ports(let ports): return .ports(ports)
        case .source(let address): return .source(address)
        case .cgroup(let path):
            guard let id = keeper.hierarchy.identifier(of: path) else {
                throw ProblemDocument(
                    status: 404, title: "No such cgroup",
                    detail: "binding.cgroup: there is none at that path (as /proc/PID/cgroup names it behind 0::)")
            }
            return .cgroup(path: path, id)
        case .pid(let pid):
            // systemd puts the new scope beside the caller's cgroup: out of the session that this one belongs to.
            if access("/run/systemd/system", F_OK) == 0, keeper.isWithinSession(caller) {
                let text = "binding.pid: the caller is in a session's own cgroup, which its processes do not leave"
                keeper.noteRefusal(text, agent: caller.agent)
                throw ProblemDocument(status: 403, title: "Not for this caller", detail: text)
            }
            let process = AgentProcess(
                pid: pid, agent: agent, slice: daemon.current.configuration.slice, hierarchy: keeper.hierarchy)
            do throws(ProblemDocument) {
                return try await process.enclose(for: session, caller, in: keeper.current.agents)
            } catch {
                keeper.noteRefusal("binding.pid: \(error.detail)", agent: caller.agent)
                throw error
            }
        }
    }

    // MARK: - Answers

    private func answer(
        _ caller: SessionCaller, customer: String? = nil, _ body: () throws(SessionRefusal) -> OpenSession
    ) throws(ProblemDocument) -> SessionReport {
        do throws(SessionRefusal) {
            return SessionReport(try body())
        } catch {
            throw problem(error, caller, customer: customer)
        }
    }

    private func problem(_ refusal: SessionRefusal, _ caller: SessionCaller, customer: String? = nil) -> ProblemDocument
    {
        switch refusal {
        case .unsaved(let text): return ProblemDocument(status: 503, title: "Not remembered", detail: text)
        case .refused(let error):
            let (status, title) =
                switch error {
                case .unknown: (404, "No such session")
                case .ended: (410, "Session ended")
                case .forbidden: (403, "Not for this caller")
                case .replayed: (403, "Token refused")
                case .conflict: (409, "Bound already")
                case .tooMany: (429, "Too many")
                case .invalid: (400, "Bad request")
                }
            keeper.noteRefusal(error.description, agent: caller.agent, customer: customer)
            return ProblemDocument(status: status, title: title, detail: error.description)
        }
    }

    private static func makeID() -> String {
        var random = SystemRandomNumberGenerator()
        return (0..<2).map { _ in
            let text = String(random.next(), radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
    }
}

extension SessionCaller {
    /// The agent that asks; nil for an operator.
    var agent: String? { if case .agent(let id, _, _) = self { id } else { nil } }
}

extension TokenFailure {
    /// Whether other keys could make it good.
    fileprivate var isAboutKeys: Bool {
        switch self {
        case .keys, .signature(.unknownKey): true
        default: false
        }
    }
}

extension SessionReport {
    init(_ session: OpenSession) {
        self.init(
            id: session.id, agent: session.agent, customer: session.customer.id, issuer: session.customer.issuer ?? "",
            opened: Timestamp.text(nanoseconds: session.opened), expires: Timestamp.text(nanoseconds: session.expires),
            bindings: session.bindings.map { binding in
                var report = BindingReport()
                switch binding {
                case .cgroup(_, let path): report.cgroup = path
                case .socket(let cookie): report.socket = String(cookie.rawValue)
                case .ports(let range): report.ports = "\(range.lowerBound)-\(range.upperBound)"
                case .source(let address): report.source = address.description
                }
                return report
            })
    }
}
