/// Which part of the machine spoke: the closed vocabulary of records, metrics and refusals.
public enum Reason: String, Hashable, Sendable, CaseIterable {
    case allowed
    case policy
    case noIdentity = "no_identity"
    case noSession = "no_session"
    case tokenExpired = "token_expired"
    case sessionClosed = "session_closed"
    case noName = "no_name"
    case nameNotAtIP = "name_not_at_ip"
    case encryptedClientHello = "encrypted_client_hello"
    case unknownProtocol = "unknown_protocol"
    case parseError = "parse_error"
    case reassembly
    case heldTooLong = "held_too_long"
    case quicVersion = "quic_version"
    case policyError = "policy_error"
    case policyUnavailable = "policy_unavailable"
    case policyChanged = "policy_changed"
    case queueOverflow = "queue_overflow"
    case tableFull = "table_full"
    case preexisting
}

/// How much of a decision goes to the journal (`decision.log`).
public enum DecisionLogging: String, Hashable, Sendable {
    case full
    case summary
    case none
}

/// Policy's word on one input.
public struct PolicyDecision: Hashable, Sendable {
    /// Whether the flow may go on.
    public var allow: Bool
    /// `.allowed`, `.policy`, or `.policyError` where the policy gave no usable answer.
    public var reason: Reason
    /// The policy's own text; for `.policyError` what went wrong.
    public var policyReason: String?
    /// The id of the rule that decided, as the policy names it, else `file:line`.
    public var rule: String?
    /// What goes to the journal.
    public var logging: DecisionLogging

    /// A decision; the default is a refusal.
    public init(
        allow: Bool = false, reason: Reason = .policyError, policyReason: String? = nil, rule: String? = nil,
        logging: DecisionLogging = .full
    ) {
        self.allow = allow
        self.reason = reason
        self.policyReason = policyReason
        self.rule = rule
        self.logging = logging
    }
}

extension PolicyDecision {
    /// Says more than `policy` of a refusal where the policy does so by its rule's id: `no_session` for want of a customer,
    /// `name_not_at_ip` where the name does not lead to the address, `encrypted_client_hello`. For want of a customer too
    /// where the policy looked for one, found none and gives no account of its own.
    mutating func refineReason(_ input: PolicyInput, looksForCustomer: Bool) {
        guard !allow, reason == .policy else { return }
        if input.customer == nil,
            rule == Reason.noSession.rawValue || looksForCustomer && rule == nil && policyReason == nil
        {
            reason = .noSession
        } else if rule == Reason.nameNotAtIP.rawValue, input.names != nil, input.addressMatchesHost != true {
            reason = .nameNotAtIP
        } else if rule == Reason.encryptedClientHello.rawValue, input.protocol?.encryptedClientHello == true {
            reason = .encryptedClientHello
        }
    }
}

/// Answers inputs. An engine is an immutable snapshot of one policy revision, shared by the queue threads; each thread
/// asks through its own `PolicySession`, which holds scratch memory and the decision cache.
public protocol PolicyEngine: Sendable {
    /// What policy this is: a digest of its files, 12 hexadecimal digits.
    var revision: String { get }
    /// A session for one thread.
    func makeSession() -> any PolicySession
}

/// One thread's way to ask a `PolicyEngine`. Not shared between threads.
public protocol PolicySession: AnyObject {
    /// Policy's word on `input`; never throws: an error is a refusal with reason `policyError`.
    func decide(_ input: PolicyInput) -> PolicyDecision
}
