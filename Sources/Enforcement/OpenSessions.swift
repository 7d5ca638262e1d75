import Identity
import Policy

/// The sessions that one queue thread knows, and what ties flows to them.
struct OpenSessions: ~Copyable {
    /// What names a flow's session.
    var index = SessionIndex()
    private var entries: [SessionNumber: Entry] = [:]

    private struct Entry {
        var customer: Customer
        /// Why it has ended.
        var end: Reason?
    }

    /// The customer of a session.
    func customer(of session: SessionNumber) -> Customer? {
        session == .none ? nil : entries[session]?.customer
    }

    /// Why a session covers no flow at a time, in nanoseconds since the Unix epoch; nil where it does.
    func refusal(of session: SessionNumber, at time: UInt64) -> Reason? {
        guard let entry = entries[session] else { return .sessionClosed }
        if let end = entry.end { return end }
        if let expires = entry.customer.expires, expires <= time { return .tokenExpired }
        return nil
    }

    mutating func open(_ session: SessionNumber, _ customer: Customer) {
        entries[session] = Entry(customer: customer)
    }

    mutating func renew(_ session: SessionNumber, _ customer: Customer) {
        entries[session]?.customer = customer
    }

    mutating func end(_ session: SessionNumber, _ reason: Reason) {
        entries[session]?.end = reason
        index.release(session)
    }

    mutating func forget(_ session: SessionNumber) {
        entries[session] = nil
        index.forget(session)
    }
}
