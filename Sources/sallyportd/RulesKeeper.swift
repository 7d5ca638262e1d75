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
        /// Why nothing holds agents while others have taken the rules out.
        var guardError: String?
    }

    private let log: LogThread
    private let onInterfaceChange: @Sendable () -> Void
    private let onRestored: @Sendable () -> Void
    private let isAttended: @Sendable () -> Bool
    private let guardTable = GuardTable()
    private let shared: Mutex<(rules: RuleSet, state: State)>
    private let isStopping = Atomic<Bool>(false)

    /// - Parameters:
    ///   - onInterfaceChange: called when an interface that names an agent has come, gone or changed its index.
    ///   - isAttended: whether the queues are attended right now.
    ///   - onRestored: called on the thread when rules that somebody had changed are back in place.
    init(
        rules: RuleSet, log: LogThread, isAttended: @escaping @Sendable () -> Bool,
        onInterfaceChange: @escaping @Sendable () -> Void, onRestored: @escaping @Sendable () -> Void
    ) {
        self.isAttended = isAttended
        shared = Mutex((rules, State()))
        self.log = log
        self.onInterfaceChange = onInterfaceChange
        self.onRestored = onRestored
    }

    /// What is known of the rules.
    var state: State { shared.withLock { $0.state } }

    /// Puts the rules in place if they are not, before the queues are attended. Throws what the operator must mend.
    func begin() throws(KernelRulesError) {
        try restore(isStart: true)
        holdGuard()
    }

    /// Takes the rules of another configuration.
    func replace(_ rules: RuleSet) throws(KernelRulesError) {
        // First: the thread compares what it finds with these.
        let old = shared.withLock { shared in
            defer { shared.rules = rules }
            return shared.rules
        }
        do throws(KernelRulesError) {
            // Nobody else's packets carry the mark that it looks for.
            try guardTable.release()
            let backend = try rules.apply()
            shared.withLock { $0.state.note(isBackBy: backend) }
        } catch {
            shared.withLock { $0.rules = old }
            holdGuard()
            throw error
        }
        holdGuard()
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
            holdGuard()
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

    private func holdGuard() {
        let rules = shared.withLock { $0.rules }
        do throws(KernelRulesError) {
            try guardTable.hold(rules)
            shared.withLock { $0.state.guardError = nil }
        } catch {
            let text = "agents are free while somebody else takes the rules out: \(error)"
            let isNews = shared.withLock { shared in
                defer { shared.state.guardError = text }
                return shared.state.guardError != text
            }
            if isNews { log.event(.rulesFailed, message: text, fields: [:]) }
        }
    }

    private func restore(isStart: Bool) throws(KernelRulesError) {
        let (rules, known) = shared.withLock { ($0.rules, $0.state.backend) }
        if !isStart, let known, try rules.putBack(known, isAttended: isAttended()) {
            note(isBackBy: known, "table inet sallyport was deleted")
            return
        }
        let problems = try rules.check()
        guard let first = problems.first else {
            let backend = known ?? rules.appliedBackend
            shared.withLock {
                $0.state.isInPlace = true
                $0.state.backend = backend
                $0.state.error = nil
            }
            return
        }
        if isStart {
            let backend = try rules.apply()
            shared.withLock { $0.state.note(isBackBy: backend) }
            log.event(.rulesRestored, message: "the rules were put in place: \(first)", fields: [:])
        } else {
            // Said first: whoever reads it may have to know why the rules cannot be put back.
            log.event(.rulesTampered, message: "the rules were changed by somebody else: \(first)", fields: [:])
            note(isBackBy: try rules.apply(), nil)
        }
    }

    /// The rules are back.
    /// - Parameter problem: what was wrong with them, where the log does not say it yet.
    private func note(isBackBy backend: QueueBackend, _ problem: String?) {
        shared.withLock {
            $0.state.note(isBackBy: backend)
            $0.state.tamperings += 1
        }
        if let problem {
            log.event(.rulesTampered, message: "the rules were changed by somebody else: \(problem)", fields: [:])
        }
        log.event(.rulesRestored, message: "the rules are back in place", fields: [:])
        onRestored()
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

extension RulesKeeper.State {
    /// The rules are in the kernel.
    fileprivate mutating func note(isBackBy backend: QueueBackend) {
        isInPlace = true
        self.backend = backend
        error = nil
    }
}
