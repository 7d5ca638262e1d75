import Glibc

/// Reads Sallyport's records back from the journal, through `journalctl`.
///
/// Anybody may write to journald's socket and call itself `sallyport`. Only what the kernel vouches for tells our records
/// from forged ones, so an entry counts where it came from uid 0 and from outside every confined cgroup; see
/// `JournalTrust`.
public struct JournalReader: Sendable {
    private let source: JournalSource
    private let trust: JournalTrust
    private let program: String

    /// A reader of one journal.
    /// - Parameter program: the journalctl to run, found by `PATH`.
    public init(source: JournalSource = JournalSource(), trust: JournalTrust, program: String = "journalctl") {
        self.source = source
        self.trust = trust
        self.program = program
    }

    /// Gives every trusted entry that matches to `body`, oldest first, until it answers false or there are no more.
    /// - Parameter consumer: the descriptor that `body` writes to; the end of its reader ends the reading too. Without it
    ///   one that follows would wait for the next entry to find out.
    /// - Throws: `JournalError` where journalctl cannot be run, fails or writes what is not JSON.
    public func read(_ query: JournalQuery, consumer: Int32? = nil, _ body: (JournalEntry) -> Bool)
        throws(JournalError)
    {
        var child = try Subprocess.start([program] + source.arguments + query.arguments)
        var lines = LineBuffer()
        while let line = try lines.next(from: child.output, consumer: consumer) {
            let entry = try JournalEntry(json: line)
            guard trust.accepts(entry) else { continue }
            guard body(entry) else {
                child.end()
                return
            }
        }
        if lines.isAbandoned { return child.end() }
        let (status, complaint) = child.wait()
        guard status == 0 else { throw .failed(program: program, status: status, complaint: complaint) }
    }
}

/// Which journal is read.
public struct JournalSource: Hashable, Sendable {
    /// `journalctl --namespace`; nil for the host's own.
    public var namespace: String?
    /// `journalctl --directory`.
    public var directory: String?
    /// `journalctl --file`.
    public var file: String?

    /// The host's own journal.
    public init() {}

    var arguments: [String] {
        (namespace.map { ["--namespace=" + $0] } ?? []) + (directory.map { ["--directory=" + $0] } ?? [])
            + (file.map { ["--file=" + $0] } ?? [])
    }
}

/// Which entries are looked for.
public struct JournalQuery: Hashable, Sendable {
    /// Field names and the values that they must have; Sallyport's identifier and uid 0 are always asked for.
    public var matches: [String: String] = [:]
    /// The earliest time, as journalctl takes it.
    public var since: String?
    /// The latest time, as journalctl takes it.
    public var until: String?
    /// How many of the last entries; nil for all.
    public var last: Int?
    /// Whether to wait for further entries.
    public var follow = false
    /// Only entries after this one.
    public var afterCursor: String?

    /// All entries.
    public init() {}

    var arguments: [String] {
        var result = ["--output=json", "--all", "--no-pager", "--quiet", "--utc"]
        if let since { result.append("--since=" + since) }
        if let until { result.append("--until=" + until) }
        if follow { result.append("--follow") }
        if let last { result.append("--lines=\(last)") } else if follow { result.append("--no-tail") }
        if let afterCursor { result.append("--after-cursor=" + afterCursor) }
        result += ["SYSLOG_IDENTIFIER=sallyport", "_UID=0"]
        return result + matches.sorted { $0.key < $1.key }.map { $0.key + "=" + $0.value }
    }
}

/// Which writers are believed. journald takes the fields that begin with an underscore from the kernel, not from the
/// writer (systemd.journal-fields(7), "Trusted Journal Fields").
public struct JournalTrust: Hashable, Sendable {
    /// Cgroup paths from the root of the v2 hierarchy; what they and their descendants write is not believed.
    public var confinedCgroups: [String]
    /// Units whose entries are not believed, wherever their cgroup is.
    public var confinedUnits: [String]
    /// Whether an entry must say its cgroup. True on a host that systemd runs: an entry without one came from a process that
    /// was gone before journald looked, and the daemon never is.
    public var requiresCgroup: Bool

    /// Trust from its parts.
    public init(confinedCgroups: [String], confinedUnits: [String] = [], requiresCgroup: Bool) {
        self.confinedCgroups = confinedCgroups
        self.confinedUnits = confinedUnits
        self.requiresCgroup = requiresCgroup
    }

    /// Whether `entry` is a record of the daemon's.
    public func accepts(_ entry: JournalEntry) -> Bool {
        guard entry.repeatedFields.isEmpty, entry.fields["_TRANSPORT"] == "journal", entry.fields["_UID"] == "0" else {
            return false
        }
        if let unit = entry.fields["_SYSTEMD_UNIT"], confinedUnits.contains(unit) { return false }
        guard let cgroup = entry.fields["_SYSTEMD_CGROUP"] else { return !requiresCgroup }
        return !confinedCgroups.contains { cgroup == $0 || cgroup.hasPrefix($0.hasSuffix("/") ? $0 : $0 + "/") }
    }
}

/// Why the journal could not be read.
public enum JournalError: Error, Equatable, CustomStringConvertible {
    /// The program could not be started; the error's number.
    case cannotRun(program: String, errorNumber: Int32)
    /// The program failed.
    case failed(program: String, status: Int32, complaint: String)
    /// A line was not what journalctl writes; the line, escaped and cut.
    case unreadable(String)

    /// What, why, what to do.
    public var description: String {
        switch self {
        case .cannotRun(let program, let number):
            "\(program): cannot be run: \(String(cString: strerror(number))) (install systemd, or add its directory to PATH)"
        case .failed(let program, let status, let complaint):
            "\(program): failed with status \(status): \(complaint.isEmpty ? "no message" : complaint)"
                + " (run as root or as a member of systemd-journal; check --since, --namespace and --directory)"
        case .unreadable(let line):
            "journalctl: unexpected output: \(line) (check the version of systemd: 246 or later)"
        }
    }
}
