import Configuration
import Control
import DecisionLog
import Dispatch
import Enforcement
import Flow
import Glibc
import Identity
import KernelRules
import KeySets
import Netlink
import Policy
import Synchronization

/// A lock that several owners share.
private final class Shared: Sendable {
    let value: Mutex<Daemon.Current>

    init(_ value: Daemon.Current) {
        self.value = Mutex(value)
    }
}

/// A value that comes later, for a thread that has nothing else to do.
private final class Eventually<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)
    private let arrived = DispatchSemaphore(value: 0)

    func set(_ value: Value) {
        self.value.withLock { $0 = value }
        arrived.signal()
    }

    func get() -> Value {
        while true {
            arrived.wait()
            if let value = value.withLock({ $0 }) { return value }
        }
    }
}

extension Configuration {
    /// Whether what changed since `other` is bound to sockets and threads that are already there.
    fileprivate func needsRestart(after other: Configuration) -> Bool {
        queues != other.queues || control != other.control || log != other.log || limits != other.limits
            || mark != other.mark
    }
}

extension Configuration {
    /// How long names lead to addresses.
    fileprivate var bindingLimits: NameBindings.Limits {
        NameBindings.Limits(floorSeconds: dns.floorSeconds, graceSeconds: dns.graceSeconds)
    }
}

/// The running daemon.
final class Daemon: Sendable {
    /// What a reload may change.
    struct Current: Sendable {
        var configuration: Configuration
        var agents: AgentTable
        var engine: any PolicyEngine
        var policyLoadedAt: UInt64
        var policyError: String?
    }

    let workers: [QueueWorker]
    let heartbeat: Heartbeat
    let keeper: RulesKeeper
    let log: LogThread
    let sessions: SessionKeeper
    let asked: AskedRecords
    private let names: BindingsKeeper
    /// Which names lead where.
    var bindings: NameBindings { names.bindings }
    private let standing: StandingFlows
    let startedAt = Clock.read()
    /// What is in force.
    var current: Current { shared.value.withLock { $0 } }

    private let path: String
    private let shared: Shared
    private let snapshots: SnapshotBox
    private let notifier = SystemdNotifier()

    init(_ setup: DaemonSetup) throws(DaemonFailure) {
        path = setup.path
        let configuration = setup.configuration
        var options = LogThread.Options()
        options.socketPath = configuration.log.socket
        options.ringCapacity = configuration.log.ring
        options.isEnabled = !configuration.log.discard
        let hierarchy = try? CgroupHierarchy.find()
        let log = LogThread(
            options: options, ringCount: configuration.queues.count + 1,
            processes: hierarchy.map { CgroupProcessFinder(root: $0.mountPoint) })
        let snapshots = SnapshotBox(DaemonSetup.snapshot(configuration, setup.agents, setup.engine))
        let bindings = NameBindings(limits: configuration.bindingLimits)
        names = BindingsKeeper(bindings, directory: configuration.stateDirectory)
        workers = (0..<configuration.queues.count).map { index in
            QueueWorker(
                index: index, configuration: configuration, snapshots: snapshots, ring: log.rings[index],
                bindings: bindings)
        }
        standing = StandingFlows(directory: configuration.stateDirectory)
        sessions = try SessionKeeper(
            configuration, setup.agents, mailboxes: workers.map(\.mailbox), log: log)
        asked = AskedRecords(ring: log.rings[configuration.queues.count])
        heartbeat = Heartbeat(workers: workers, notifier: notifier)
        let state = Shared(
            Current(
                configuration: configuration, agents: setup.agents, engine: setup.engine,
                policyLoadedAt: Clock.read().wall))
        shared = state
        self.snapshots = snapshots
        self.log = log
        let (workers, heartbeat) = (workers, heartbeat)
        keeper = RulesKeeper(rules: Self.rules(configuration), log: log) {
            heartbeat.isAttended
        } onInterfaceChange: {
            let now = state.value.withLock { $0 }
            snapshots.publish(DaemonSetup.snapshot(now.configuration, now.agents, now.engine))
        } onRestored: {
            let now = state.value.withLock { $0 }
            StrayFlows.judge(agents: now.agents, mark: now.configuration.mark, by: workers, log: log)
        }
    }

    /// Runs until a signal asks for the end. Throws what keeps the daemon from running.
    func run() throws(DaemonFailure) {
        let signals = Self.blockSignals()
        do throws(KernelRulesError) {
            try keeper.begin()
        } catch {
            throw DaemonFailure(status: 1, lines: [error.description])
        }
        standing.takeOver(by: workers, policy: current.engine.revision, mark: current.configuration.mark, log: log)
        let threads = try startThreads()
        StrayFlows.judge(agents: current.agents, mark: current.configuration.mark, by: workers, log: log)
        let control = try startControl()
        log.event(
            .started,
            message: "sallyportd \(SallyportVersion.current) decides for \(current.agents.agents.count) agents",
            fields: ["POLICY_REVISION": current.engine.revision])
        notifier.notify("READY=1\nSTATUS=deciding")
        let failure = waitForEnd(signals)
        notifier.notify("STOPPING=1")
        Self.wait { await control.stop() }
        heartbeat.stop()
        keeper.stop()
        sessions.stop()
        sessions.keys.stop()
        names.stop()
        for worker in workers { worker.stop() }
        log.event(.stopped, message: failure ?? "sallyportd was asked to end", fields: [:])
        for thread in threads.deciding { thread.join() }
        standing.leave(workers.flatMap(\.left), policy: current.engine.revision)
        log.stop()
        threads.log.join()
        if let failure { throw DaemonFailure(status: 1, lines: [failure]) }
    }

    /// What there is to say of a reload, once it is in force.
    private struct ReloadEvent {
        let kind: EventKind
        let message: String
        var revision: String?
    }

    /// Reads configuration and policy again. What is wrong leaves the last good one in force, and is logged.
    func reload() {
        notifier.notify(SystemdNotifier.reloading())
        defer { notifier.notify("READY=1") }
        let events = reloadConfiguration() + reloadPolicy()
        // Both at once: one may be written for the other.
        refreshSnapshot()
        for event in events {
            log.event(
                event.kind, message: event.message, fields: event.revision.map { ["POLICY_REVISION": $0] } ?? [:])
        }
    }

    private func reloadConfiguration() -> [ReloadEvent] {
        do throws(DaemonFailure) {
            let (configuration, agents) = try DaemonSetup.readConfiguration(path)
            guard !configuration.needsRestart(after: current.configuration) else {
                throw .badInput([
                    "\(path): queues, mark, limits, log and control change with a restart only "
                        + "(systemctl restart sallyportd)"
                ])
            }
            let rules = Self.rules(configuration)
            if rules.parameters != Self.rules(current.configuration).parameters {
                do throws(KernelRulesError) {
                    try keeper.replace(rules)
                } catch {
                    throw .badInput([error.description])
                }
            }
            shared.value.withLock {
                $0.configuration = configuration
                $0.agents = agents
            }
            sessions.reconfigure(configuration, agents)
            names.bindings.adopt(configuration.bindingLimits)
            return [ReloadEvent(kind: .configurationLoaded, message: "\(path): \(agents.agents.count) agents")]
        } catch {
            return error.lines.map { ReloadEvent(kind: .configurationRejected, message: $0) }
        }
    }

    private func reloadPolicy() -> [ReloadEvent] {
        let settings = current.configuration.policy
        do throws(DaemonFailure) {
            let engine = try DaemonSetup.readPolicy(settings)
            shared.value.withLock {
                $0.engine = engine
                $0.policyLoadedAt = Clock.read().wall
                $0.policyError = nil
            }
            return [
                ReloadEvent(
                    kind: .policyLoaded, message: "policy \(engine.revision) from \(settings.directory) is in force",
                    revision: engine.revision)
            ]
        } catch {
            shared.value.withLock { $0.policyError = error.lines.joined(separator: "\n") }
            let revision = current.engine.revision
            return error.lines.map {
                ReloadEvent(
                    kind: .policyRejected, message: "\($0); policy \(revision) stays in force", revision: revision)
            }
        }
    }

    /// Gives the queue threads what is in force now.
    func refreshSnapshot() {
        let state = current
        snapshots.publish(DaemonSetup.snapshot(state.configuration, state.agents, state.engine))
        standing.leave([], policy: state.engine.revision)
        // Flows that it no longer allows are cut now.
        for worker in workers { worker.mailbox.wake() }
    }

    private static func rules(_ configuration: Configuration) -> RuleSet {
        RuleSet(KernelRulesParameters(configuration), stateDirectory: configuration.stateDirectory)
    }

    // MARK: - Starting

    private func startThreads() throws(DaemonFailure) -> (deciding: [PlainThread], log: PlainThread) {
        let log = log
        let logThread = try start("log", niceness: PlainThread.ordinary) { log.run() }
        var threads: [PlainThread] = []
        let processors = Self.processorCount
        // On a small machine the processor that a thread is bound to is the one where its packets' senders run.
        let isPinned = processors > 2 * workers.count
        for worker in workers {
            threads.append(
                // Woken up, it lets others finish their turn and finds more to do at once; it goes before them when it falls behind.
                try start(
                    "queue-\(worker.tcpQueue)", niceness: PlainThread.ordinary, gathers: true,
                    processor: isPinned ? worker.index : nil
                ) { worker.run() })
        }
        for worker in workers {
            while worker.startOutcome == nil { usleep(1000) }
            if case .some(.some(let error)) = worker.startOutcome {
                throw DaemonFailure(status: 2, lines: [error.description])
            }
        }
        let (heartbeat, keeper) = (heartbeat, keeper)
        threads.append(try start("heartbeat") { heartbeat.run() })
        // Ready means that the rules hand packets over.
        while !heartbeat.hasBegun { usleep(1000) }
        threads.append(try start("rules") { keeper.run() })
        let sessions = sessions
        threads.append(try start("sessions") { sessions.run() })
        let names = names
        threads.append(try start("names", niceness: PlainThread.ordinary) { names.run() })
        threads.append(try start("keys", niceness: PlainThread.ordinary) { sessions.keys.run() })
        return (threads, logThread)
    }

    private func start(
        _ name: String, niceness: Int32 = PlainThread.urgent, gathers: Bool = false, processor: Int? = nil,
        body: @escaping @Sendable () -> Void
    ) throws(DaemonFailure) -> PlainThread {
        do throws(ThreadError) {
            return try PlainThread.start(
                name: name, niceness: niceness, gathers: gathers, processor: processor, body: body)
        } catch {
            throw DaemonFailure(status: 1, lines: [error.description])
        }
    }

    private func startControl() throws(DaemonFailure) -> ControlServer {
        let path = current.configuration.control.socket
        let delegate = DaemonDelegate(daemon: self)
        let outcome = Self.wait { () async -> Result<ControlServer, ControlError> in
            do throws(ControlError) {
                return .success(try await ControlServer.start(path: path, delegate: delegate))
            } catch {
                return .failure(error)
            }
        }
        switch outcome {
        case .success(let server): return server
        case .failure(let error): throw DaemonFailure(status: 2, lines: [error.description])
        }
    }

    /// How many processors there are.
    private static var processorCount: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

    /// Waits on this plain thread for something that Swift concurrency does.
    private static func wait<Value: Sendable>(_ body: @escaping @Sendable () async -> Value) -> Value {
        let result = Eventually<Value>()
        Task.detached { result.set(await body()) }
        return result.get()
    }

    // MARK: - Signals

    private static func blockSignals() -> sigset_t {
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGHUP, SIGTERM, SIGINT] { sigaddset(&signals, number) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
        return signals
    }

    /// Serves signals. Returns why the daemon must end by itself, nil where it was asked to.
    private func waitForEnd(_ signals: sigset_t) -> String? {
        var signals = signals
        var limit = timespec(tv_sec: 1, tv_nsec: 0)
        while true {
            switch sigtimedwait(&signals, nil, &limit) {
            case SIGHUP: reload()
            case SIGTERM, SIGINT: return nil
            default:
                if let failure = workers.compactMap({ $0.report.failure }).first { return failure }
            }
        }
    }
}
