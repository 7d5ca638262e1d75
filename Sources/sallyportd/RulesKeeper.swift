import Configuration
import DecisionLog
import Glibc
import Identity
import KernelRules
import Netlink
import Synchronization

/// Keeps the kernel's rules as they should be: looks at every change that anybody makes to nftables, and once a second at
/// the cgroups that the rules name and at the interfaces that name agents.
final class RulesKeeper: Sendable {
    /// What is known of the rules.
    struct State: Sendable {
        var isInPlace = false
        var backend: QueueBackend?
        var tamperings: UInt64 = 0
        var error: String?
    }

    private let log: LogThread
    private let onInterfaceChange: @Sendable () -> Void
    private let shared: Mutex<(rules: RuleSet, state: State)>
    private let isStopping = Atomic<Bool>(false)

    /// - Parameter onInterfaceChange: called when an interface that names an agent has come, gone or changed its index.
    init(rules: RuleSet, log: LogThread, onInterfaceChange: @escaping @Sendable () -> Void) {
        shared = Mutex((rules, State()))
        self.log = log
        self.onInterfaceChange = onInterfaceChange
    }

    /// What is known of the rules.
    var state: State { shared.withLock { $0.state } }

    /// Puts the rules in place if they are not, before the queues are attended. Throws what the operator must mend.
    func begin() throws(KernelRulesError) {
        try restore(isStart: true)
    }

    /// Takes the rules of another configuration.
    func replace(_ rules: RuleSet) throws(KernelRulesError) {
        shared.withLock { $0.rules = rules }
        let backend = try rules.apply()
        shared.withLock { $0.state = State(isInPlace: true, backend: backend, tamperings: $0.state.tamperings) }
    }

    /// Asks the thread to end.
    func stop() {
        isStopping.store(true, ordering: .relaxed)
    }

    /// The thread's body.
    func run() {
        do throws(NetlinkError) {
            var watch = try NFTablesWatch.open()
            let hierarchy = try CgroupHierarchy.find()
            var cgroups = identifiers(hierarchy)
            var interfaces = interfaceIndexes()
            // What was changed before the watch began made no event that was heard.
            var quietTurns = Self.quietTurnLimit
            while !isStopping.load(ordering: .relaxed) {
                let hasEvent = watch.waitForChange(timeoutMilliseconds: quietTurns == Self.quietTurnLimit ? 0 : 500)
                let hasChanged = hasEvent || quietTurns >= Self.quietTurnLimit
                quietTurns = hasChanged ? 0 : quietTurns + 1
                let now = identifiers(hierarchy)
                if now != cgroups {
                    cgroups = now
                    log.event(
                        .cgroupReplaced, message: "a cgroup that the rules name was made anew; the rules follow",
                        fields: [:])
                }
                if hasChanged || now != cgroups || !state.isInPlace || cgroups.contains(where: { $0 == nil }) {
                    keep()
                    cgroups = identifiers(hierarchy)
                }
                let indexes = interfaceIndexes()
                if indexes != interfaces {
                    interfaces = indexes
                    onInterfaceChange()
                }
            }
        } catch {
            shared.withLock { $0.state.error = "\(error)" }
        }
    }

    private func keep() {
        do throws(KernelRulesError) {
            try restore(isStart: false)
        } catch {
            let isNews = shared.withLock { shared in
                defer {
                    shared.state.isInPlace = false
                    shared.state.error = error.description
                }
                return shared.state.error != error.description
            }
            if isNews { log.event(.rulesFailed, message: "the rules could not be put in place: \(error)", fields: [:]) }
        }
    }

    private func restore(isStart: Bool) throws(KernelRulesError) {
        let rules = shared.withLock { $0.rules }
        let problems = try rules.check()
        guard let first = problems.first else {
            shared.withLock {
                $0.state.isInPlace = true
                $0.state.error = nil
            }
            return
        }
        if !isStart {
            shared.withLock { $0.state.tamperings += 1 }
            log.event(.rulesTampered, message: "the rules were changed by somebody else: \(first)", fields: [:])
        }
        let backend = try rules.apply()
        shared.withLock {
            $0.state.isInPlace = true
            $0.state.backend = backend
            $0.state.error = nil
        }
        log.event(
            .rulesRestored, message: isStart ? "the rules were put in place: \(first)" : "the rules are back in place",
            fields: [:])
    }

    /// The ids of the cgroups that the rules name, nil for one that is gone.
    private func identifiers(_ hierarchy: CgroupHierarchy) -> [CgroupID?] {
        let parameters = shared.withLock { $0.rules.parameters }
        return ([parameters.slice] + parameters.cgroups).map { hierarchy.identifier(of: "/" + $0) }
    }

    /// How many turns of half a second without an event there are between two looks at the rules.
    private static let quietTurnLimit = 20

    private func interfaceIndexes() -> [UInt32] {
        shared.withLock { $0.rules.parameters.interfaces }.map { if_nametoindex($0) }
    }
}
