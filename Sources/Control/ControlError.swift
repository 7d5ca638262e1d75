/// Why the control socket cannot be offered or asked.
public enum ControlError: Error, Equatable, CustomStringConvertible {
    /// Another process answers at the path.
    case inUse(path: String)
    /// Something that is not a socket is at the path.
    case notASocket(path: String)
    /// The path does not fit into a socket address.
    case pathTooLong(path: String)
    /// A system call failed; which one, and the error's text.
    case system(path: String, call: String, reason: String)
    /// Nobody answers at the path.
    case notRunning(path: String, reason: String)
    /// The daemon answered with a problem.
    case problem(ProblemDocument)
    /// What came is not what the daemon sends.
    case unexpected(path: String, reason: String)

    /// What, why, what to do.
    public var description: String {
        switch self {
        case .inUse(let path):
            "\(path): in use: another sallyportd answers there (stop it, or set control.socket to another path)"
        case .notASocket(let path):
            "\(path): cannot listen: a file that is no socket is in the way (remove it, or set control.socket)"
        case .pathTooLong(let path):
            "\(path): cannot be a socket: the path is longer than 107 bytes (set control.socket to a shorter one)"
        case .system(let path, let call, let reason):
            "\(path): \(call) failed: \(reason) (check the directory and the rights of sallyportd)"
        case .notRunning(let path, let reason):
            "\(path): sallyportd does not answer: \(reason) (systemctl status sallyportd; run as root or in the group "
                + "sallyport; --socket for another path)"
        case .problem(let problem): "sallyportd: \(problem.title): \(problem.detail)"
        case .unexpected(let path, let reason):
            "\(path): unexpected answer: \(reason) (check that sallyport and sallyportd are of the same version)"
        }
    }
}
