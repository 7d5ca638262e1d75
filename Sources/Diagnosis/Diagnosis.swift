// Diagnosis: what is really enforced on this host, checked and not read from the configuration.
//
// Each check is a pure function from facts to `Finding`s: what it looked at, whether that is in order (`ok`), open (`hole`)
// or could not be told (`unknown`, never counted as in order), and a remedy that can be typed. The facts are read by small
// readers from `/proc`, `/sys`, netlink, nft(8) and the daemon's control socket; the one thing that is done rather than read
// is `FlowProbe`: a flow of our own from a confined cgroup, which must be refused, beside the same flow from outside of it,
// which must pass. Nothing is changed, no payload is sent, and nothing leaves the host.
//
// Imports KernelRules, Netlink, Control, Configuration and Confinement for what they know; JOSE for strict JSON.

/// One thing that was looked at.
public struct Finding: Hashable, Sendable, Codable {
    /// How it is.
    public enum State: String, Hashable, Sendable, Codable, CaseIterable {
        /// Something gets past the enforcement, or may at once.
        case hole
        /// It could not be told; the finding says why.
        case unknown
        /// In order.
        case ok
    }

    /// Which check found it.
    public var check: Check
    /// How it is.
    public var state: State
    /// What was looked at: a process, a rule, a queue.
    public var subject: String
    /// What is so, in words.
    public var detail: String
    /// Why it matters; nil where it is in order.
    public var why: String?
    /// What to type; nil where it is in order.
    public var remedy: String?

    /// In order.
    static func ok(_ check: Check, _ subject: String, _ detail: String) -> Finding {
        Finding(check: check, state: .ok, subject: subject, detail: detail)
    }

    /// Open.
    static func hole(_ check: Check, _ subject: String, _ detail: String, remedy: String) -> Finding {
        Finding(check: check, state: .hole, subject: subject, detail: detail, why: check.why, remedy: remedy)
    }

    /// Not to be told, with the reason.
    static func unknown(_ check: Check, _ subject: String, _ detail: String, remedy: String) -> Finding {
        Finding(check: check, state: .unknown, subject: subject, detail: detail, why: check.why, remedy: remedy)
    }
}

/// Everything that was looked at: the document of `sallyport doctor --json`.
public struct DiagnosisReport: Hashable, Sendable, Codable {
    /// How many findings are in order.
    public let ok: Int
    /// How many are open.
    public let holes: Int
    /// How many could not be told.
    public let unknown: Int
    /// Holes first, then what is unknown, then the rest; each in the order of the checks.
    public let findings: [Finding]

    /// A report of `findings`, in any order.
    public init(_ findings: [Finding]) {
        func those(_ state: Finding.State) -> [Finding] { findings.filter { $0.state == state } }
        self.findings = Finding.State.allCases.flatMap { state in
            Check.allCases.flatMap { check in those(state).filter { $0.check == check } }
        }
        ok = those(.ok).count
        holes = those(.hole).count
        unknown = those(.unknown).count
    }
}
