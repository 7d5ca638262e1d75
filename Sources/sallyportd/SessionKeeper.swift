import CUnixSocket
import Configuration
import DecisionLog
import Enforcement
import Glibc
import Identity
import KeySets
import Netlink
import Policy
import Sessions
import Synchronization
import Tokens

/// Keeps the sessions: takes requests, remembers them, tells the queue threads, and ends sessions in time.
///
/// What a request brings about is in every queue thread's mailbox before its caller has the answer: the next packet that the
/// caller sends is decided with it.
final class SessionKeeper: Sendable {
    /// What a reload replaces.
    struct Settings: Sendable {
        let agents: AgentTable
        let customers: TokenVerifier
        let issuers: [TokenIssuer]
        let agentTokens: AgentTokens
        let agentVerifier: TokenVerifier

        init(_ configuration: Configuration, _ agents: AgentTable) {
            self.agents = agents
            issuers = configuration.customers
            customers = TokenVerifier(issuers)
            agentTokens = configuration.agentTokens
            agentVerifier = TokenVerifier(agentTokens.issuers)
        }
    }

    private struct State: ~Copyable {
        var registry = SessionRegistry()
        var journal: SessionJournal
        /// Why something is not remembered; nil where everything is.
        var problem: String?
    }

    /// The issuers' keys.
    let keys: KeySetStore
    /// The cgroup v2 hierarchy.
    let hierarchy: CgroupHierarchy

    private let log: LogThread
    private let mailboxes: [SessionMailbox]
    private let state: Mutex<State>
    private let settings: Mutex<Settings>
    private let cgroups: CgroupWatch
    private let wakeup = unix_event_descriptor()
    private let timers = (boot: unix_timer_descriptor(CLOCK_BOOTTIME), wall: unix_timer_descriptor(CLOCK_REALTIME))
    private let isStopping = Atomic<Bool>(false)

    /// Takes up what the state directory remembers.
    init(
        _ configuration: Configuration, _ agents: AgentTable, mailboxes: [SessionMailbox], log: LogThread
    ) throws(DaemonFailure) {
        self.log = log
        self.mailboxes = mailboxes
        cgroups = try CgroupWatch()
        settings = Mutex(Settings(configuration, agents))
        keys = KeySetStore(path: configuration.stateDirectory + "/keys.jsonl") { event in
            switch event {
            case .loaded(let source, let count, let leftOut):
                log.event(
                    .keysLoaded,
                    message: "\(source): \(count) keys are in force"
                        + (leftOut.isEmpty ? "" : "; not used: \(leftOut.joined(separator: ", "))"))
            case .failed(let text): log.event(.keysRejected, message: text)
            }
        }
        do throws(NetlinkError) {
            hierarchy = try CgroupHierarchy.find()
        } catch {
            throw DaemonFailure(status: 1, lines: [error.description])
        }
        do throws(SessionJournalError) {
            var registry = SessionRegistry()
            mkdir(configuration.stateDirectory, 0o755)
            let journal = try SessionJournal(configuration.stateDirectory + "/sessions.jsonl", into: &registry)
            state = Mutex(State(registry: registry, journal: journal))
        } catch {
            throw DaemonFailure(status: 1, lines: [error.description])
        }
        guard wakeup >= 0, timers.boot >= 0, timers.wall >= 0 else {
            throw DaemonFailure(status: 1, lines: ["timerfd: \(String(cString: strerror(errno))) (raise LimitNOFILE=)"])
        }
        keys.configure(configuration.customers + configuration.agentTokens.issuers)
        post(state.withLock { $0.registry.allChanges })
        watchAgain()
        expire()
        endRemoved()
    }

    deinit {
        for descriptor in [wakeup, timers.boot, timers.wall] where descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// What is in force of the configuration.
    var current: Settings { settings.withLock { $0 } }

    /// How many sessions are open.
    var count: Int { state.withLock { $0.registry.count } }

    /// What the operator must know: key sets that cannot be had, sessions that are not remembered.
    var problems: [String] {
        keys.problems + [state.withLock { $0.problem }].compactMap { $0 }
    }

    /// Takes another configuration. Sessions of agents and issuers that it does not name end.
    func reconfigure(_ configuration: Configuration, _ agents: AgentTable) {
        settings.withLock { $0 = Settings(configuration, agents) }
        keys.configure(configuration.customers + configuration.agentTokens.issuers)
        endRemoved()
    }

    // MARK: - Requests

    /// The sessions that a caller may know of.
    func list(_ caller: SessionCaller) -> [OpenSession] {
        state.withLock { $0.registry.list(for: caller) }
    }

    /// Whether a caller is in a cgroup that is bound to a session.
    func isWithinSession(_ caller: SessionCaller) -> Bool { state.withLock { $0.registry.isWithinSession(caller) } }

    /// One of them.
    func find(_ id: String, _ caller: SessionCaller) throws(SessionRefusal) -> OpenSession {
        try change { (state) throws(SessionError) in
            (try state.registry.session(id, for: caller), [])
        } remember: { _, _ in
        }
    }

    /// Opens a session.
    func open(
        id: String, agent: String, token: VerifiedToken, binding: RequestedBinding?, _ caller: SessionCaller
    ) throws(SessionRefusal) -> OpenSession {
        let agents = current.agents
        let directory = binding?.cgroup.map { hierarchy.directory(of: $0) }
        let wasPopulated = directory.map(CgroupWatch.isPopulated) ?? false
        let session = try change { (state) throws(SessionError) in
            try state.registry.open(
                id: id, agent: agent, token: token, binding: binding, caller: caller, in: agents, now: Clock.session())
        } remember: { (state, session) throws(SessionJournalError) in
            do throws(SessionJournalError) {
                try state.journal.note(session)
            } catch {
                state.registry.restore(nil, instead: session)
                throw error
            }
        }
        if let directory { watch(directory, session, wasPopulated: wasPopulated) }
        tell(.sessionOpened, session, "\(describe(session)) until \(Timestamp.text(nanoseconds: session.expires))")
        wake()
        return session
    }

    /// Binds a socket to a session.
    func bind(_ socket: SocketCookie, to id: String, _ caller: SessionCaller) throws(SessionRefusal) -> OpenSession {
        let agents = current.agents
        return try change { (state) throws(SessionError) in
            try state.registry.bind(socket, to: id, caller: caller, in: agents)
        } remember: { (state, session) throws(SessionJournalError) in
            do throws(SessionJournalError) {
                try state.journal.note(.socket(socket), of: session)
            } catch {
                var old = session
                old.unbind(.socket(socket))
                state.registry.restore(old, instead: session)
                throw error
            }
        }
    }

    /// Goes on with a session by another token.
    func renew(_ id: String, token: VerifiedToken, _ caller: SessionCaller) throws(SessionRefusal) -> OpenSession {
        let old = try find(id, caller)
        let session = try change { (state) throws(SessionError) in
            try state.registry.renew(id, token: token, caller: caller, now: Clock.session())
        } remember: { (state, session) throws(SessionJournalError) in
            do throws(SessionJournalError) {
                try state.journal.note(session)
            } catch {
                state.registry.restore(old, instead: session)
                throw error
            }
        }
        tell(.sessionRenewed, session, "\(describe(session)) until \(Timestamp.text(nanoseconds: session.expires))")
        wake()
        return session
    }

    /// Ends a session. Its tokens are used up.
    func close(_ id: String, _ caller: SessionCaller) throws(SessionRefusal) {
        do throws(SessionError) {
            try end(.sessionClosed, "it was closed", isUsedUp: true) { (registry) throws(SessionError) in
                [try registry.close(id, caller: caller)]
            }
        } catch {
            throw .refused(error)
        }
    }

    /// Whether a token may speak for a customer of an agent: it is not used up, and no other agent's.
    func admit(_ token: VerifiedToken, for agent: String) throws(SessionError) {
        try state.withLock { (state) throws(SessionError) in try state.registry.admit(token, for: agent) }
    }

    /// Tells the auditor of a refused request. One agent cannot fill the log with them.
    func noteRefusal(_ text: String, agent: String?, customer: String? = nil) {
        var fields: [String: String] = [:]
        fields["AGENT"] = agent
        fields["CUSTOMER"] = customer
        guard let missed = refusals.take(agent ?? "") else { return }
        log.event(
            .sessionRefused,
            message: "refused \(agent ?? "an operator"): \(text)"
                + (missed > 0 ? ", and \(missed) requests before" : ""),
            fields: fields)
    }

    private let refusals = RefusalShare()

    /// Makes a change under the lock, remembers it, and tells the queue threads.
    private func change(
        _ make: (inout State) throws(SessionError) -> SessionOutcome,
        remember: (inout State, OpenSession) throws(SessionJournalError) -> Void
    ) throws(SessionRefusal) -> OpenSession {
        try state.withLock { (state) throws(SessionRefusal) in
            let session: OpenSession
            let changes: [SessionChange]
            do throws(SessionError) {
                (session, changes) = try make(&state)
            } catch {
                throw .refused(error)
            }
            guard !changes.isEmpty else { return session }
            do throws(SessionJournalError) {
                try remember(&state, session)
                state.journal.tidy(state.registry)
            } catch {
                note(error, &state)
                throw .unsaved(error.description)
            }
            // Within the lock: changes reach every thread in the order in which they were made.
            post(changes)
            return session
        }
    }

    // MARK: - Ends

    /// Ends sessions: the queue threads cut their flows at once, the journal remembers it and the auditor is told. An end counts
    /// even where it cannot be remembered.
    @discardableResult
    private func end<Failure: Error>(
        _ reason: Reason, _ why: String, isUsedUp: Bool = false,
        _ make: (inout SessionRegistry) throws(Failure) -> [SessionOutcome]
    ) throws(Failure) -> [OpenSession] {
        let ended = try state.withLock { (state) throws(Failure) in
            let ended = try make(&state.registry)
            guard !ended.isEmpty else { return [OpenSession]() }
            post(ended.flatMap(\.changes))
            do throws(SessionJournalError) {
                try state.journal.note(ended: ended.map(\.session), reason, isUsedUp: isUsedUp)
                state.journal.tidy(state.registry)
            } catch {
                note(error, &state)
            }
            return ended.map(\.session)
        }
        for session in ended {
            cgroups.remove(session.number)
            tell(.sessionEnded, session, "\(describe(session)): \(why)", reason)
        }
        return ended
    }

    private func note(_ error: SessionJournalError, _ state: inout State) {
        if state.problem == nil { log.event(.sessionsUnsaved, message: error.description) }
        state.problem = error.description
    }

    private func expire() {
        end(.tokenExpired, "its token has expired") { $0.expire(Clock.session()) }
    }

    private func endRemoved() {
        let current = current
        end(.sessionClosed, "its agent or its issuer is no longer in the configuration") {
            $0.endRemoved(keeping: current.agents, issuers: current.issuers)
        }
    }

    private func endEmptied(_ sessions: [SessionNumber]) {
        guard !sessions.isEmpty else { return }
        for session in end(.sessionClosed, "its cgroup has no process any more", { $0.endEmptied(sessions) }) {
            // One that was made for the session; a cgroup with processes stays.
            for case .cgroup(_, let path) in session.bindings where path.contains("/session-") {
                rmdir(hierarchy.directory(of: path))
            }
        }
    }

    private func tell(_ kind: EventKind, _ session: OpenSession, _ message: String, _ reason: Reason? = nil) {
        var fields = [
            "SESSION": session.id, "AGENT": session.agent, "CUSTOMER": session.customer.id,
            "EXPIRES": Timestamp.text(nanoseconds: session.expires),
        ]
        fields["ISSUER"] = session.customer.issuer
        fields["REASON"] = reason?.rawValue
        log.event(kind, message: message, fields: fields)
    }

    private func describe(_ session: OpenSession) -> String {
        "session \(session.id) of agent \(session.agent) for \(session.customer.id)"
    }

    private func post(_ changes: [SessionChange]) {
        for mailbox in mailboxes { mailbox.post(changes) }
    }

    // MARK: - Cgroups

    private func watch(_ directory: String, _ session: OpenSession, wasPopulated: Bool) {
        let isThere = cgroups.add(directory, for: session.number)
        // A cgroup that is empty may be waiting for its first process; one that has become so meanwhile made no event.
        if wasPopulated ? !CgroupWatch.isPopulated(directory) : !isThere { endEmptied([session.number]) }
    }

    /// Watches the cgroups of sessions that outlived a restart. One that is empty or gone ended meanwhile.
    private func watchAgain() {
        let bound = state.withLock { $0.registry.boundCgroups }
        endEmptied(
            bound.filter { path, number in
                let directory = hierarchy.directory(of: path)
                return !cgroups.add(directory, for: number) || !CgroupWatch.isPopulated(directory)
            }.map(\.session))
    }

    // MARK: - The thread

    /// Ends sessions in time. The body of a thread.
    func run() {
        var waits = [wakeup, timers.boot, timers.wall, cgroups.descriptor].map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        while !isStopping.load(ordering: .relaxed) {
            let next = state.withLock { $0.registry.nextEnd }
            unix_timer_set(timers.boot, next?.boot ?? 0)
            unix_timer_set(timers.wall, next?.wall ?? 0)
            // What could not be remembered is tried again once a second.
            let hasProblem = state.withLock { $0.problem != nil }
            guard poll(&waits, nfds_t(waits.count), hasProblem ? 1000 : -1) >= 0 || errno == EINTR else { return }
            for wait in waits.prefix(3) where wait.revents != 0 {
                var count: UInt64 = 0
                // A timer whose clock was set fails here, and has done what it is for.
                _ = read(wait.fd, &count, 8)
            }
            endEmptied(cgroups.takeEmptied())
            expire()
            if hasProblem { saveAll() }
        }
    }

    /// Asks the thread to end.
    func stop() {
        isStopping.store(true, ordering: .relaxed)
        wake()
    }

    private func saveAll() {
        state.withLock { state in
            do throws(SessionJournalError) {
                try state.journal.rewrite(state.registry)
                state.problem = nil
            } catch {
                state.problem = error.description
            }
        }
    }

    private func wake() {
        var one: UInt64 = 1
        _ = write(wakeup, &one, 8)
    }
}

/// Why a request about sessions comes to nothing.
enum SessionRefusal: Error {
    /// It may not be.
    case refused(SessionError)
    /// It could not be remembered.
    case unsaved(String)
}

/// How many refused requests of one agent are told: ten a second.
private final class RefusalShare: Sendable {
    private struct Share {
        var second: UInt64
        var told = 0
        var missed: UInt64 = 0
    }

    private let shares = Mutex<[String: Share]>([:])

    /// How many were left out before this one; nil where this one is left out too.
    func take(_ agent: String) -> UInt64? {
        let now = Clock.nanoseconds(CLOCK_MONOTONIC) / 1_000_000_000
        return shares.withLock { shares in
            var share = shares[agent] ?? Share(second: now)
            defer { shares[agent] = share }
            if share.second != now {
                share.second = now
                share.told = 0
            }
            guard share.told < 10 else {
                share.missed += 1
                return nil
            }
            share.told += 1
            defer { share.missed = 0 }
            return share.missed
        }
    }
}
