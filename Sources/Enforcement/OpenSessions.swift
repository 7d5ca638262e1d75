import Identity
import Policy

/// The sessions that one queue thread knows, and what ties flows to them.
struct OpenSessions: ~Copyable {
    /// What names a flow's session.
    var index = SessionIndex()
    private var entries: [UInt32: Entry] = [:]

    private struct Entry {
        var customer: Customer
        var agent: String
        /// Why it has ended.
        var end: Reason?
    }

    /// How many there are, ended ones that are not forgotten included.
    var count: Int { entries.count }

    /// The customer of a session.
    func customer(of session: UInt32) -> Customer? {
        session == 0 ? nil : entries[session]?.customer
    }

    /// The agent of a session.
    func agent(of session: UInt32) -> String? { entries[session]?.agent }

    /// Why a session covers no flow at a time, in nanoseconds since the Unix epoch; nil where it does.
    func refusal(of session: UInt32, at time: UInt64) -> Reason? {
        guard let entry = entries[session] else { return .sessionClosed }
        if let end = entry.end { return end }
        if let expires = entry.customer.expires, expires <= time { return .tokenExpired }
        return nil
    }

    mutating func open(_ session: SessionNumber, _ scope: SessionScope, _ customer: Customer) {
        entries[session.rawValue] = Entry(customer: customer, agent: scope.agent)
    }

    mutating func renew(_ session: SessionNumber, _ customer: Customer) {
        entries[session.rawValue]?.customer = customer
    }

    mutating func end(_ session: SessionNumber, _ reason: Reason) {
        entries[session.rawValue]?.end = reason
        index.release(session)
    }

    mutating func forget(_ session: SessionNumber) {
        entries[session.rawValue] = nil
        index.forget(session)
    }
}
