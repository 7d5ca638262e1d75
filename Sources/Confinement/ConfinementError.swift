import Glibc

/// Why a program was not started.
public struct ConfinementError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was wanted.
    public let what: String
    /// What stood in the way.
    public let why: String
    /// What to do about it.
    public let remedy: String
    /// What the process should exit with: 2 for bad input, 1 for a host that does not let us, 126 and 127 as shells say
    /// that a program cannot be executed or is not there.
    public let exitStatus: Int32

    /// An error in three parts.
    public init(_ what: String, _ why: String, _ remedy: String, exitStatus: Int32 = 1) {
        self.what = what
        self.why = why
        self.remedy = remedy
        self.exitStatus = exitStatus
    }

    /// The system call behind `what` failed with the error number `code`.
    init(failed what: String, _ code: Int32) {
        let remedy =
            switch code {
            case EPERM, EACCES: "run as root on the host itself, not in a container without its capabilities"
            case ENOSYS, EINVAL, EOPNOTSUPP: "the kernel may be too old: 5.19 or later is needed"
            default: "see the system's log"
            }
        self.init("cannot \(what)", String(cString: strerror(code)), remedy)
    }

    /// `what: why (what to do)`.
    public var description: String { "\(what): \(why) (\(remedy))" }
}
