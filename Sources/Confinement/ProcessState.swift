import Glibc

/// What the kernel says of the calling process (`/proc/self/status`, proc(5)).
public struct ProcessState: Equatable, Sendable {
    /// Real, effective, saved and file system uid.
    public let uids: [UInt32]
    /// Real, effective, saved and file system gid.
    public let gids: [UInt32]
    /// The capability sets by their names in the file: `CapInh`, `CapPrm`, `CapEff`, `CapBnd`, `CapAmb`.
    public let capabilities: [String: UInt64]
    /// `no_new_privs`.
    public let noNewPrivileges: Bool
    /// 0 none, 1 strict, 2 filter.
    public let seccompMode: Int

    /// The state of the calling process.
    public static func current() throws(ConfinementError) -> ProcessState {
        let path = "/proc/self/status"
        guard let state = ProcessState(parsing: try TextFile.read(path)) else {
            throw ConfinementError(path, "it is not what proc(5) describes", "use a kernel of 5.19 or later")
        }
        return state
    }

    /// The state that the text of such a file tells; nil where a line is missing or is not a number.
    public init?(parsing text: String) {
        var lines: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            lines[line[..<colon]] = line[line.index(after: colon)...]
        }
        func numbers(_ name: Substring) -> [UInt32]? {
            let fields = lines[name]?.split(whereSeparator: { $0 == "\t" || $0 == " " }) ?? []
            let values = fields.compactMap { UInt32($0) }
            return values.count == 4 && fields.count == 4 ? values : nil
        }
        func number<Number: FixedWidthInteger>(_ name: Substring, radix: Int, as: Number.Type) -> Number? {
            lines[name].flatMap { Number($0.drop { $0 == "\t" || $0 == " " }, radix: radix) }
        }
        var capabilities: [String: UInt64] = [:]
        for name in Self.capabilitySets {
            guard let set = number(name, radix: 16, as: UInt64.self) else { return nil }
            capabilities[String(name)] = set
        }
        guard let uids = numbers("Uid"), let gids = numbers("Gid"),
            let privileges = number("NoNewPrivs", radix: 10, as: Int.self),
            let mode = number("Seccomp", radix: 10, as: Int.self)
        else { return nil }
        self.uids = uids
        self.gids = gids
        self.capabilities = capabilities
        noNewPrivileges = privileges == 1
        seccompMode = mode
    }

    /// Throws unless the process is that of an agent: every uid is `uid`, no capability in any set, none to gain, filtered.
    public func requireConfined(to uid: UInt32) throws(ConfinementError) {
        func refuse(_ why: String) -> ConfinementError {
            ConfinementError(
                "cannot confine the agent", why, "this is a fault of the kernel or of sallyport: report it")
        }
        guard uid != 0, uids.allSatisfy({ $0 == uid }) else { throw refuse("its uids are \(uids), not \(uid)") }
        for (name, set) in capabilities where set != 0 {
            throw refuse("\(name) is not empty: 0x\(String(set, radix: 16))")
        }
        guard noNewPrivileges else { throw refuse("no_new_privs is not set") }
        guard seccompMode == 2 else { throw refuse("no system call filter is installed") }
    }

    private static let capabilitySets: [Substring] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
}
