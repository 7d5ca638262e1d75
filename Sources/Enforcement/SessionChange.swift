public import Identity
public import Policy

/// What became of a session, in the order in which it happened. Every queue thread gets each of them before the caller who
/// brought it about has its answer.
public enum SessionChange: Sendable {
    /// A session began; its bindings follow, each with its agent.
    case opened(SessionNumber, Customer)
    /// Flows that the binding names belong to the session from now on. The binding counts within `scope` only.
    case bound(SessionNumber, SessionScope, SessionBinding)
    /// A new token of the same customer: its flows are decided anew, with the new claims and expiry.
    case renewed(SessionNumber, Customer)
    /// Its flows are cut, for `reason` (`tokenExpired`, `sessionClosed`). Leased ports and addresses are free again; its
    /// cgroup and its sockets stay closed, until they are bound anew or forgotten.
    case ended(SessionNumber, Reason)
    /// Nothing can belong to the session any more.
    case forgotten(SessionNumber)
}
