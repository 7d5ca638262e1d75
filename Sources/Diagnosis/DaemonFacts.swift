import Control
import Netlink

/// The running daemon, as far as it can be asked.
struct DaemonFacts: Sendable {
    /// What it answers; the failure where it does not.
    var status: Result<StatusReport, ControlError>
    /// Its agents; nil where it does not say.
    var agents: [AgentReport]?
    /// The queues that somebody owns.
    var queues: [QueueStatistics] = []
    /// The inode of the netlink socket of a port (`/proc/net/netlink`), by the port.
    var netlinkSockets: [UInt32: UInt64] = [:]
    /// The sockets of the daemon's process.
    var sockets: Set<UInt64> = []
    /// Whether the program that runs was replaced on the disk.
    var isReplaced = false
    /// Whether systemd runs this host.
    var hasSystemd = false
    /// What systemctl says of each unit that must come back: `enabled`, or what else it is.
    var units: [String: String] = [:]
}

extension DaemonFacts {
    /// The facts of a daemon that has answered so.
    static func read(_ status: Result<StatusReport, ControlError>, agents: [AgentReport]?) -> DaemonFacts {
        var facts = DaemonFacts(status: status, agents: agents)
        facts.queues = QueueStatistics.readAll()
        // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode; 12 is NETLINK_NETFILTER.
        for line in TextFile.read("/proc/thread-self/net/netlink")?.split(separator: "\n") ?? [] {
            let fields = line.split(separator: " ")
            guard fields.count >= 10, fields[1] == "12", let port = UInt32(fields[2]), let inode = UInt64(fields[9])
            else { continue }
            facts.netlinkSockets[port] = inode
        }
        if case .success(let report) = status {
            for descriptor in ProcessReader.numbers(in: "/proc/\(report.pid)/fd") {
                guard let link = ProcessReader.link("/proc/\(report.pid)/fd/\(descriptor)"),
                    link.hasPrefix("socket:["), let inode = UInt64(link.dropFirst(8).dropLast())
                else { continue }
                facts.sockets.insert(inode)
            }
            facts.isReplaced = ProcessReader.link("/proc/\(report.pid)/exe")?.hasSuffix(" (deleted)") ?? false
        }
        return facts
    }
}
