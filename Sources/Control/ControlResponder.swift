import DecisionLog
import Identity
import NIOHTTP1
import Policy

/// Turns one request into one answer.
struct ControlResponder: Sendable {
    private let delegate: any ControlDelegate
    private let check = PeerCheck()

    init(delegate: any ControlDelegate) {
        self.delegate = delegate
    }

    /// - Throws: what NIO throws once the peer is gone.
    func answer(
        _ request: ControlRequest, peer: Result<ControlCaller, PeerRefusal>, to writer: ResponseWriter
    ) async throws {
        do {
            let route = try ControlRoute(method: request.method, target: request.target)
            guard route != .health else { return try await health(writer) }
            let caller: ControlCaller
            switch peer {
            case .success(let known): caller = known
            case .failure(let refusal): throw Self.refusal(refusal.detail)
            }
            if case .confined(let cgroup, _) = caller, !route.isForAgents {
                throw Self.refusal("the caller is confined: its cgroup is \(cgroup)")
            }
            try await answer(route, request, caller, writer)
        } catch let problem as ProblemDocument {
            try await writer.write(problem)
        }
    }

    private func answer(
        _ route: ControlRoute, _ request: ControlRequest, _ caller: ControlCaller, _ writer: ResponseWriter
    ) async throws {
        let (sessions, body) = (delegate.sessions, request.body)
        switch route {
        case .health: try await health(writer)
        case .status: try await writer.write(await delegate.status(), status: .ok)
        case .agents: try await writer.write(await delegate.agents(), status: .ok)
        case .flows(let query): try await writer.write(await delegate.flows(query), status: .ok)
        case .names(let query): try await writer.write(await delegate.names(query), status: .ok)
        case .decisions(let query): try await decisions(query, to: writer)
        case .sessions: try await writer.write(try await sessions.list(caller), status: .ok)
        case .session(let id): try await writer.write(try await sessions.find(id, caller), status: .ok)
        case .openSession:
            try await writer.write(
                try await sessions.open(try OpenSessionRequest(RequestBody(body)), caller), status: .created)
        case .bindSocket(let id):
            let cookie = try BindSocketRequest(RequestBody(body)).cookie(of: request.process)
            try await writer.write(try await sessions.bind(cookie, to: id, caller), status: .ok)
        case .renewSession(let id):
            let request = try RenewSessionRequest(RequestBody(body))
            try await writer.write(try await sessions.renew(id, token: request.customerToken, caller), status: .ok)
        case .closeSession(let id):
            try await sessions.close(id, caller)
            try await writer.writeNothing()
        case .decide:
            try await writer.write(try await sessions.decide(try DecideRequest(RequestBody(body)), caller), status: .ok)
        }
    }

    private func health(_ writer: ResponseWriter) async throws {
        let isHealthy = delegate.isHealthy
        try await writer.write(
            ["status": isHealthy ? "ok" : "failing"], status: isHealthy ? .ok : .serviceUnavailable)
    }

    /// Says who a peer is.
    func identify(_ peer: PeerCredentials?, pidfd: Int32?) -> Result<ControlCaller, PeerRefusal> {
        do throws(PeerRefusal) {
            guard let peer else { throw .unknown("the kernel does not say who it is") }
            return .success(try check.identify(peer, pidfd: pidfd, by: delegate.confinedPeers))
        } catch {
            return .failure(error)
        }
    }

    private static func refusal(_ why: String) -> ProblemDocument {
        ProblemDocument(
            status: 403, title: "Not for this caller",
            detail: why
                + "; ask as root or in the group sallyport, from outside every confined cgroup and in the host's own "
                + "namespaces")
    }

    private func decisions(_ query: DecisionQuery, to writer: ResponseWriter) async throws {
        let feed = delegate.decisions
        guard query.follow else {
            try await writer.begin(contentType: "application/jsonl")
            for record in feed.recent() where query.matches(record) { try await writer.line(record) }
            return try await writer.end()
        }
        let (recent, stream) = feed.follow()
        try await writer.begin(contentType: "application/jsonl")
        for record in recent where query.matches(record) { try await writer.line(record) }
        for await element in stream {
            switch element {
            case .missed(let count): try await writer.line(missed: count)
            case .record(let record): if query.matches(record) { try await writer.line(record) }
            }
        }
        try await writer.end()
    }
}

extension DecisionQuery {
    fileprivate func matches(_ record: DecisionRecord) -> Bool {
        if let agent, record.input.agent.id != agent { return false }
        guard let verdict else { return true }
        return record.decision.allow == (verdict == "allow")
    }
}
