import CClock
import Configuration
import DecisionLog
import Glibc
import KernelRules
import Netlink

/// The kernel, the clock and the journal.
struct HostFacts: Sendable {
    /// The kernel's release, `6.1.0-18-amd64`.
    var release = ""
    /// How packets get to the queues; the failure where they cannot.
    var backend: Result<QueueBackend, KernelRulesError> = .success(.native)
    /// Whether the kernel has NFQUEUE at all (`nfnetlink_queue`).
    var hasQueues = true
    /// Connections in the table, and room for them.
    var connections: (count: Int, limit: Int)?
    /// Whether the kernel's clock is disciplined (adjtimex(2)); nil where it does not say.
    var isSynchronised: Bool?
    /// Why nobody takes records at the journal's socket; nil where somebody does.
    var journalFailure: String?
    /// Whether journald keeps records over a boot: `/var/log/journal` is there and `Storage=` does not say otherwise.
    var isJournalKept = true
    /// The rate limit that systemd has for the daemon's unit, as systemctl says it; nil without systemd.
    var rateLimit: String?
}

extension HostFacts {
    /// Reads them.
    static func read(_ configuration: Configuration, hasSystemd: Bool) -> HostFacts {
        var facts = HostFacts()
        facts.release = TextFile.read("/proc/sys/kernel/osrelease")?.filter { !$0.isWhitespace } ?? "unknown"
        do throws(KernelRulesError) {
            facts.backend = .success(try RuleSet.probe())
        } catch {
            facts.backend = .failure(error)
        }
        facts.hasQueues = access("/proc/thread-self/net/netfilter/nfnetlink_queue", F_OK) == 0
        func number(_ name: String) -> Int? {
            TextFile.read("/proc/sys/net/netfilter/" + name).flatMap { Int($0.filter { !$0.isWhitespace }) }
        }
        if let count = number("nf_conntrack_count"), let limit = number("nf_conntrack_max") {
            facts.connections = (count, limit)
        }
        switch clock_is_synchronised() {
        case 0: facts.isSynchronised = false
        case 1: facts.isSynchronised = true
        default: break
        }
        facts.journalFailure = JournalProbe.failure(at: configuration.log.socket)
        facts.isJournalKept = JournalProbe.isKept
        if hasSystemd { facts.rateLimit = Systemctl.property("LogRateLimitIntervalUSec", of: "sallyportd.service") }
        return facts
    }
}

/// Asks systemctl(1).
enum Systemctl {
    /// A property of a unit; empty where it has none.
    static func property(_ name: String, of unit: String) -> String {
        let outcome = try? Command.run(["systemctl", "show", "--property=" + name, "--value", unit])
        return outcome?.output.filter { !$0.isNewline } ?? ""
    }
}

/// Looks at journald without writing to it.
enum JournalProbe {
    /// Connects to a datagram socket, which works only where somebody has bound it; nothing is sent.
    static func failure(at path: String) -> String? {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // A leading @ stands for the abstract namespace.
        var bytes = Array(path.utf8)
        let isAbstract = bytes.first == UInt8(ascii: "@")
        if isAbstract { bytes[0] = 0 }
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { field in
            guard bytes.count < field.count else { return false }
            field.copyBytes(from: bytes)
            return true
        }
        guard fits else { return "its path is too long" }
        let size = isAbstract ? MemoryLayout<sa_family_t>.size + bytes.count : MemoryLayout<sockaddr_un>.size
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(size)) }
        }
        return status == 0 ? nil : String(cString: strerror(errno))
    }

    /// `Storage=` of journald.conf(5), the last one of the files that there are; `auto` where none says it.
    static var isKept: Bool {
        var storage = "auto"
        let drops = ["/usr/lib/systemd", "/etc/systemd", "/run/systemd"].flatMap { root in
            ProcessReader.names(in: root + "/journald.conf.d").sorted().map { root + "/journald.conf.d/" + $0 }
        }
        for path in ["/etc/systemd/journald.conf"] + drops {
            for line in TextFile.read(path)?.split(separator: "\n") ?? [] where line.hasPrefix("Storage=") {
                storage = line.dropFirst(8).filter { !$0.isWhitespace }
            }
        }
        switch storage {
        case "persistent": return true
        case "auto": return access("/var/log/journal", F_OK) == 0
        default: return false
        }
    }
}
