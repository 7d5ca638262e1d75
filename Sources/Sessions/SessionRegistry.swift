internal import Enforcement
public import Identity
internal import Policy
public import Tokens
internal import DequeModule

/// Every session that is open, and what is remembered of ended ones.
public struct SessionRegistry: ~Copyable {
    /// The bounds.
    public let limits: SessionLimits
    var sessions: [SessionNumber: OpenSession] = [:]
    var numbers: [String: SessionNumber] = [:]
    /// Ended sessions by agent, the earliest first.
    var ended: [String: Deque<OpenSession>] = [:]
    private var counts: [String: Int] = [:]
    private var index = SessionIndex()
    private var deadlines = SessionDeadlines()
    var uses = TokenUses()
    var lastNumber: UInt32 = 0

    /// An account without sessions.
    public init(limits: SessionLimits = SessionLimits()) {
        self.limits = limits
    }

    /// How many sessions are open.
    public var count: Int { sessions.count }

    /// The next moment at which something may end: on the wall clock and on the boot clock.
    public var nextEnd: SessionTime? { deadlines.next }

    // MARK: - Questions

    /// The sessions that a caller may know of, by the time at which they were opened.
    public func list(for caller: SessionCaller) -> [OpenSession] {
        sessions.values.filter { mayManage($0, caller) }.sorted { ($0.opened, $0.id) < ($1.opened, $1.id) }
    }

    /// One session that the caller may know of.
    public func session(_ id: String, for caller: SessionCaller) throws(SessionError) -> OpenSession {
        guard let number = numbers[id], let session = sessions[number], mayManage(session, caller) else {
            let isRemembered = ended.values.contains { $0.contains { $0.id == id && mayManage($0, caller) } }
            throw isRemembered ? .ended : .unknown
        }
        return session
    }

    /// Throws where a token is used up, or has opened a session of another agent.
    public func admit(_ token: VerifiedToken, for agent: String) throws(SessionError) {
        try uses.admit(token.digest, for: agent)
    }

    /// The paths of the cgroups that sessions are bound to.
    public var boundCgroups: [(path: String, session: SessionNumber)] {
        sessions.values.flatMap { session in
            session.bindings.compactMap { binding in
                if case .cgroup(_, let path) = binding { (path, session.number) } else { nil }
            }
        }
    }

    // MARK: - Requests

    /// Opens a session for an agent.
    /// - Parameters:
    ///   - id: 32 random hexadecimal digits.
    ///   - agent: the agent; a confined caller's is known.
    ///   - table: the agents of now.
    public mutating func open(
        id: String, agent: String, token: VerifiedToken, binding: RequestedBinding?, caller: SessionCaller,
        in table: AgentTable, now: SessionTime
    ) throws(SessionError) -> SessionOutcome {
        guard table.index(of: agent) != nil else {
            throw .invalid("there is no agent \(agent) in the configuration (sallyport agents)")
        }
        let within = try scope(of: caller, agent: agent)
        guard sessions.count < limits.sessions, counts[agent, default: 0] < limits.sessionsOfAgent else {
            throw .tooMany("too many open sessions (close those that are done with)")
        }
        try uses.admit(token.digest, for: agent)
        guard lastNumber < .max else { throw .tooMany("no session number is left (restart sallyportd)") }
        let number = SessionNumber(rawValue: lastNumber + 1)
        var session = OpenSession(
            id: id, number: number, agent: agent, within: within, customer: Customer(token, session: id),
            opened: now.wall, deadline: Self.deadline(token.end, now), tokens: [token.digest: token.end])
        var changes: [SessionChange] = [.opened(number, session.customer)]
        if let binding {
            let bound = try check(binding, for: session, caller: caller, in: table)
            session.bindings.append(bound)
            changes.append(.bound(number, session.scope, bound))
        }
        lastNumber = number.rawValue
        insert(session)
        return (session, changes)
    }

    /// Binds one more socket to a session.
    public mutating func bind(
        _ socket: SocketCookie, to id: String, caller: SessionCaller, in table: AgentTable
    ) throws(SessionError) -> SessionOutcome {
        var session = try session(id, for: caller)
        let bound = SessionBinding.socket(socket)
        // Sockets count where the session was opened: from within its own cgroup those outside are not the caller's to give.
        guard try scope(of: caller, agent: session.agent) == session.within || caller == .operator else {
            throw .forbidden("the caller is in the session's own cgroup, whose sockets are the session's as they are")
        }
        guard index.socketSession(of: socket, session.scope) != session.number else { return (session, []) }
        guard session.bindings.count < limits.bindings else {
            throw .tooMany("the session has \(limits.bindings) bindings already (open another one)")
        }
        _ = try check(.socket(socket), for: session, caller: caller, in: table)
        addBinding(bound, to: session.number.rawValue)
        session.bindings.append(bound)
        return (session, [.bound(session.number, session.scope, bound)])
    }

    /// Goes on with a session by another token of the same customer.
    public mutating func renew(
        _ id: String, token: VerifiedToken, caller: SessionCaller, now: SessionTime
    ) throws(SessionError) -> SessionOutcome {
        var session = try session(id, for: caller)
        let customer = Customer(token, session: id)
        guard customer.isSame(as: session.customer) else {
            throw .forbidden("the token is another customer's (open a session of its own for it)")
        }
        try uses.admit(token.digest, for: session.agent)
        // The token that it has: nothing becomes of it, however often that is said.
        if session.tokens[token.digest] == token.end, session.customer.expires == customer.expires {
            return (session, [])
        }
        // A token that ends earlier than the one before shortens the session: the last word counts.
        session.customer = customer
        session.deadline = Self.deadline(token.end, now)
        session.tokens = session.tokens.filter { $0.value > now.wall }
        session.tokens[token.digest] = token.end
        replace(session)
        return (session, [.renewed(session.number, customer)])
    }

    /// Ends a session by request. Its tokens are used up.
    public mutating func close(_ id: String, caller: SessionCaller) throws(SessionError) -> SessionOutcome {
        let session = try session(id, for: caller)
        for digest in session.tokens.keys { uses.close(digest) }
        return (session, end(session, .sessionClosed))
    }

    /// Takes a request back that could not be remembered: a session is again what it was, or not there.
    public mutating func restore(_ old: OpenSession?, instead session: OpenSession) {
        index.forget(session.number)
        guard let old else {
            sessions[session.number] = nil
            numbers[session.id] = nil
            if let count = counts[session.agent] { counts[session.agent] = count > 1 ? count - 1 : nil }
            return
        }
        for binding in old.bindings { index.bind(old.number, old.scope, binding) }
        replace(old)
    }

    // MARK: - Ends that nobody asks for

    /// Ends the sessions whose time is over on either clock.
    public mutating func expire(_ now: SessionTime) -> [SessionOutcome] {
        uses.forget(until: now.wall)
        var result: [SessionOutcome] = []
        while let number = deadlines.popEnded(now) {
            // An entry of before a renewal says nothing.
            guard let session = sessions[number] else { continue }
            guard session.deadline <= now.boot || session.expires <= now.wall else { continue }
            result.append((session, end(session, .tokenExpired)))
        }
        return result
    }

    /// Ends sessions whose cgroups have no process left, or are gone. Their tokens stay good.
    public mutating func endEmptied(_ numbers: [SessionNumber]) -> [SessionOutcome] {
        numbers.compactMap { sessions[$0] }.map { ($0, end($0, .sessionClosed)) }
    }

    /// Ends the sessions of agents and issuers that are no longer in the configuration.
    public mutating func endRemoved(
        keeping table: AgentTable, issuers: [TokenIssuer]
    ) -> [SessionOutcome] {
        let names = Set(issuers.map(\.name))
        let removed = sessions.values.filter { session in
            table.index(of: session.agent) == nil || !names.contains(session.customer.issuer ?? "")
        }
        return removed.map { ($0, end($0, .sessionClosed)) }
    }

    // MARK: - Inside

    private static func deadline(_ end: UInt64, _ now: SessionTime) -> UInt64 {
        now.boot &+ (end > now.wall ? end - now.wall : 0)
    }

    /// Enters a session with its bindings; also one that a journal remembers.
    mutating func insert(_ session: OpenSession) {
        sessions[session.number] = session
        numbers[session.id] = session.number
        counts[session.agent, default: 0] += 1
        for binding in session.bindings { index.bind(session.number, session.scope, binding) }
        deadlines.insert(session)
        for (digest, end) in session.tokens { uses.note(digest, agent: session.agent, until: end) }
    }

    /// A session was renewed.
    mutating func replace(_ session: OpenSession) {
        sessions[session.number] = session
        deadlines.insert(session)
        for (digest, end) in session.tokens { uses.note(digest, agent: session.agent, until: end) }
    }

    /// A session has one more binding.
    mutating func addBinding(_ binding: SessionBinding, to number: UInt32) {
        guard var session = sessions[SessionNumber(rawValue: number)] else { return }
        session.bindings.append(binding)
        sessions[session.number] = session
        index.bind(session.number, session.scope, binding)
    }

    mutating func end(_ session: OpenSession, _ reason: Reason) -> [SessionChange] {
        sessions[session.number] = nil
        numbers[session.id] = nil
        if let count = counts[session.agent] { counts[session.agent] = count > 1 ? count - 1 : nil }
        index.release(session.number)
        ended[session.agent, default: []].append(session)
        var changes: [SessionChange] = [.ended(session.number, reason)]
        if ended[session.agent, default: []].count > limits.endedOfAgent,
            let first = ended[session.agent]?.popFirst()
        {
            index.forget(first.number)
            changes.append(.forgotten(first.number))
        }
        return changes
    }

    private func scope(of caller: SessionCaller, agent: String) throws(SessionError) -> SessionNumber {
        switch caller {
        case .operator: return .none
        case .agent(let own, let cgroup, let path):
            guard own == agent else { throw .forbidden("the caller is agent \(own) and opens no session of another") }
            return index.cgroupSession(of: cgroup, path: path)
        }
    }

    /// Whether a caller is in a cgroup that is bound to a session.
    public func isWithinSession(_ caller: SessionCaller) -> Bool {
        guard case .agent(_, let cgroup, let path) = caller else { return false }
        return index.cgroupSession(of: cgroup, path: path) != .none
    }

    private func mayManage(_ session: OpenSession, _ caller: SessionCaller) -> Bool {
        switch caller {
        case .operator: return true
        case .agent(let agent, let cgroup, let path):
            guard agent == session.agent else { return false }
            let within = index.cgroupSession(of: cgroup, path: path)
            return within == session.within || within == session.number
        }
    }

    /// Whether something may be bound to a session: it is the agent's, and no other open session's.
    private func check(
        _ binding: RequestedBinding, for session: OpenSession, caller: SessionCaller, in table: AgentTable
    ) throws(SessionError) -> SessionBinding {
        switch binding {
        case .cgroup(let path, let id), .enclosed(let path, let id):
            if case .enclosed = binding {
                try checkPath(path, session.agent, .operator, table)
            } else {
                try checkPath(path, session.agent, caller, table)
            }
            let other = index.cgroupSession(ofExactly: id)
            guard other == .none || other == session.number || sessions[other] == nil else {
                throw .conflict("the cgroup is bound to another session (close that one first)")
            }
            return .cgroup(id, path: path)
        case .socket(let cookie):
            let other = index.socketSession(of: cookie, session.scope)
            guard other == .none || other == session.number || sessions[other] == nil else {
                throw .conflict("the socket is bound to another session (close that one first)")
            }
            return .socket(cookie)
        case .ports(let ports):
            guard ports.lowerBound > 0 else { throw .invalid("port 0 is nobody's") }
            guard !index.hasLease(of: ports, session.scope) else {
                throw .conflict("another session has a lease of some of these ports (close that one first)")
            }
            return .ports(ports)
        case .source(let address):
            let other = index.sourceSession(of: address, session.scope)
            guard other == .none || other == session.number else {
                throw .conflict("the address is leased to another session (close that one first)")
            }
            return .source(address)
        }
    }

    /// A cgroup that a session may have: below the agent's own, and for a confined caller its own or below it.
    private func checkPath(
        _ path: String, _ agent: String, _ caller: SessionCaller, _ table: AgentTable
    ) throws(SessionError) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard path.utf8.first == UInt8(ascii: "/"),
            parts.dropFirst().allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." })
        else { throw .invalid("a cgroup's path begins with / at the root of the hierarchy, as in /proc/PID/cgroup") }
        let parent = parts.dropLast().joined(separator: "/")
        guard let index = table.index(of: agent), table.agent(ofCgroup: path) == .agent(index) else {
            throw .forbidden("the cgroup is not one of agent \(agent)")
        }
        guard !parent.isEmpty, table.agent(ofCgroup: parent) == .agent(index) else {
            throw .forbidden("the cgroup is the agent's as a whole (make one below it for the customer)")
        }
        if case .agent(_, _, let own) = caller {
            guard path == own || path.hasPrefix(own == "/" ? "/" : own + "/") else {
                throw .forbidden("the cgroup is neither the caller's own nor below it")
            }
        }
    }
}
