public import DecisionLog

/// What the daemon tells the control socket. Called from Swift concurrency's threads, several at once.
public protocol ControlDelegate: Sendable {
    /// Whether confined flows are decided now; the answer to `GET /health`, which everybody may ask.
    var isHealthy: Bool { get }
    /// Who counts as confined, and who as an operator; read at each connection.
    var confinedPeers: ConfinedPeers { get }
    /// The answer to `GET /v1/status`.
    func status() async -> StatusReport
    /// The answer to `GET /v1/agents`.
    func agents() async -> AgentsReport
    /// The answer to `GET /v1/flows`.
    func flows(_ query: FlowQuery) async -> FlowsReport
    /// The answer to `GET /v1/names`.
    func names(_ query: NameQuery) async -> NamesReport
    /// Where `GET /v1/decisions` takes records from.
    var decisions: DecisionFeed { get }
    /// What answers requests about sessions.
    var sessions: any SessionDelegate { get }
}

/// What the daemon does about sessions. Each request throws the problem document that the caller gets instead.
public protocol SessionDelegate: Sendable {
    /// `GET /v1/sessions`: those that the caller may know of.
    func list(_ caller: ControlCaller) async throws(ProblemDocument) -> SessionsReport
    /// `GET /v1/sessions/{id}`.
    func find(_ id: String, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport
    /// `POST /v1/sessions`.
    func open(_ request: OpenSessionRequest, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport
    /// `POST /v1/sessions/{id}/sockets`.
    func bind(_ cookie: UInt64, to id: String, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport
    /// `POST /v1/sessions/{id}/renew`.
    func renew(_ id: String, token: String, _ caller: ControlCaller) async throws(ProblemDocument) -> SessionReport
    /// `DELETE /v1/sessions/{id}`.
    func close(_ id: String, _ caller: ControlCaller) async throws(ProblemDocument)
    /// `POST /v1/decide`.
    func decide(_ request: DecideRequest, _ caller: ControlCaller) async throws(ProblemDocument) -> DecideReport
}
