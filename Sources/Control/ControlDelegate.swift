public import DecisionLog

/// What the daemon tells the control socket. Called from Swift concurrency's threads, several at once.
public protocol ControlDelegate: Sendable {
    /// Whether confined flows are decided now; the answer to `GET /health`, which everybody may ask.
    var isHealthy: Bool { get }
    /// Who counts as confined, and so may not ask; read at each connection.
    var confinedPeers: ConfinedPeers { get }
    /// The answer to `GET /v1/status`.
    func status() async -> StatusReport
    /// The answer to `GET /v1/agents`.
    func agents() async -> AgentsReport
    /// The answer to `GET /v1/flows`.
    /// - Parameters:
    ///   - limit: how many flows at most, 1...`FlowQuery.largestLimit`.
    ///   - agent: the agent whose flows are wanted; nil for all.
    func flows(limit: Int, agent: String?) async -> FlowsReport
    /// Where `GET /v1/decisions` takes records from.
    var decisions: DecisionFeed { get }
}
