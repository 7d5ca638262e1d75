import DecisionLog
import Identity
import NIOCore
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
    func answer(_ head: HTTPRequestHead, peer: PeerCredentials?, pidfd: Int32?, to writer: ResponseWriter) async throws
    {
        let route: ControlRoute
        do throws(ProblemDocument) {
            route = try ControlRoute(method: head.method.rawValue, target: head.uri)
            if route != .health { try admit(peer, pidfd) }
        } catch {
            return try await writer.write(error)
        }
        switch route {
        case .health:
            let isHealthy = delegate.isHealthy
            try await writer.write(
                ["status": isHealthy ? "ok" : "failing"], status: isHealthy ? .ok : .serviceUnavailable)
        case .status: try await writer.write(await delegate.status(), status: .ok)
        case .agents: try await writer.write(await delegate.agents(), status: .ok)
        case .flows(let query):
            try await writer.write(await delegate.flows(limit: query.limit, agent: query.agent), status: .ok)
        case .decisions(let query): try await decisions(query, to: writer)
        }
    }

    private func admit(_ peer: PeerCredentials?, _ pidfd: Int32?) throws(ProblemDocument) {
        do throws(PeerRefusal) {
            guard let peer else { throw .unknown("the kernel does not say who it is") }
            try check.verify(peer, pidfd: pidfd, against: delegate.confinedPeers)
        } catch {
            throw ProblemDocument(
                status: 403, title: "Not for this caller",
                detail: error.detail + "; ask from outside every confined cgroup and in the host's own namespaces")
        }
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
