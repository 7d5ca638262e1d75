/// What the machine says beside its decisions; each kind has a MESSAGE_ID of its own, explained in
/// `systemd/sallyport.catalog`.
public enum EventKind: String, Hashable, Sendable, CaseIterable {
    /// The daemon decides packets from now on.
    case started
    /// The daemon stops deciding; the rules refuse from now on.
    case stopped
    /// Confined traffic was refused by the rules alone because no daemon answered; written by the next start.
    case outage
    /// A configuration is in force.
    case configurationLoaded = "configuration_loaded"
    /// A configuration was not taken; the last good one stays.
    case configurationRejected = "configuration_rejected"
    /// A policy is in force.
    case policyLoaded = "policy_loaded"
    /// A policy was not taken; the last good one stays, or everything is refused where there is none.
    case policyRejected = "policy_rejected"
    /// Somebody else changed or removed our kernel rules.
    case rulesTampered = "rules_tampered"
    /// Our kernel rules are back as they were.
    case rulesRestored = "rules_restored"
    /// Our kernel rules could not be put in place.
    case rulesFailed = "rules_failed"
    /// A confined cgroup was made anew; the rules follow it.
    case cgroupReplaced = "cgroup_replaced"
    /// The kernel dropped packets because a queue was full; their flows were refused.
    case queueOverflow = "queue_overflow"
    /// Flows were refused because a table had no room for them.
    case tableFull = "table_full"
    /// Decisions were made whose records could not be kept.
    case recordsLost = "records_lost"
    /// A customer's token opened a session.
    case sessionOpened = "session_opened"
    /// Another token of the same customer renewed a session.
    case sessionRenewed = "session_renewed"
    /// A session ended: its token expired, it was closed, its cgroup became empty, or its agent or issuer left the
    /// configuration.
    case sessionEnded = "session_ended"
    /// A request about sessions was refused: a token that is not believed, or something that is not the caller's.
    case sessionRefused = "session_refused"
    /// Sessions could not be remembered for a restart.
    case sessionsUnsaved = "sessions_unsaved"
    /// An issuer's keys are in force.
    case keysLoaded = "keys_loaded"
    /// An issuer's keys could not be had; the last ones stay as long as they may.
    case keysRejected = "keys_rejected"
    /// A part of the daemon failed and was put right or gave up.
    case internalError = "internal_error"

    /// The MESSAGE_ID: 32 lower-case hexadecimal digits.
    public var messageID: String {
        switch self {
        case .started: "18adbc7e9a224c288b13b7de860d66c8"
        case .stopped: "6242678c4cc94694bdd29be8baf20bf0"
        case .outage: "3973be9984ac48c68fd3303aa782f3d4"
        case .configurationLoaded: "1d61ea41208346b2a5716953e415d139"
        case .configurationRejected: "7750598a4bf2407b8065939c6b0e907f"
        case .policyLoaded: "d3bc7fd5cc2f4d5695a24d008b65b558"
        case .policyRejected: "8bdb07d6609643ed92fd747be5d99254"
        case .rulesTampered: "116926fa08154f9b909eb3783d4280c8"
        case .rulesRestored: "9d3065f3b8b84c9392c8e6862bc0d553"
        case .rulesFailed: "d8839760441648ada0536689dc9cd382"
        case .cgroupReplaced: "8e5f69d6ba014413a1a582ab5f8983fe"
        case .queueOverflow: "67dcea6537924b0cbf7b78468d8b425a"
        case .tableFull: "6e0c8df9e2764ca7ab2ecb38d0f8bba3"
        case .recordsLost: "78b71383e0a84f87abebebb11dea7ea0"
        case .sessionOpened: "d27d5787b65f42c398422f66af5861f7"
        case .sessionRenewed: "4eb398683f7643df950ec589bffb144b"
        case .sessionEnded: "a1dff501011c4ffaaf419eb2648e173b"
        case .sessionRefused: "78df57bc059f4c86ab21267aae341204"
        case .sessionsUnsaved: "bcfae72b8b2c4c0bb7ef135391817a7f"
        case .keysLoaded: "c461b4857ffb487293ad1c0d216ed707"
        case .keysRejected: "a3b4b8d6c0a5425089a4deb598816ca6"
        case .internalError: "382b42e4c4cc4dfa981070cb2d564276"
        }
    }

    /// The syslog priority (RFC 5424 §6.2.1): 6 informational, 5 notice, 4 warning, 3 error, 2 critical.
    public var priority: Int {
        switch self {
        case .started, .stopped, .configurationLoaded, .policyLoaded, .cgroupReplaced, .keysLoaded: 5
        case .sessionOpened, .sessionRenewed, .sessionEnded: 6
        case .outage, .queueOverflow, .tableFull, .rulesRestored, .sessionRefused: 4
        case .configurationRejected, .policyRejected, .recordsLost, .sessionsUnsaved, .keysRejected, .internalError: 3
        case .rulesTampered, .rulesFailed: 2
        }
    }
}

/// The MESSAGE_IDs of decision records.
public enum DecisionMessageID {
    /// A flow that an agent opened was allowed.
    public static let allowed = "f07792d683f048e39bf7c6fed7b00a9c"
    /// A flow was refused.
    public static let refused = "7311c17d6af94f54a8d6d170339a8161"
    /// A flow that an outsider opened towards an agent was allowed.
    public static let inbound = "d1af69e5519f40cea91386345708085c"
}

/// One event on its way to the journal.
public struct LogEvent: Sendable {
    /// What happened.
    public let kind: EventKind
    /// The readable line.
    public let message: String
    /// Further fields: names without the prefix, in capitals, and their values.
    public let fields: [String: String]
    /// Nanoseconds since the Unix epoch.
    public let time: UInt64

    /// An event from its parts.
    public init(kind: EventKind, message: String, fields: [String: String], time: UInt64) {
        self.kind = kind
        self.message = message
        self.fields = fields
        self.time = time
    }
}
