import Identity
import Netlink
import PacketHeaders

/// Where the sockets of this network were made.
enum SocketReader {
    /// Adds to `table` what the kernel says of each TCP and UDP socket that is connected, listens or could send.
    /// - Throws: where the kernel has no sock_diag.
    static func read(into table: inout ProcessTable, _ cgroups: CgroupHierarchy) throws(NetlinkError) {
        var diagnosis = try SocketDiagnosis.open(cgroups: cgroups)
        for transport in [TransportProtocol.tcp, .udp] {
            for (_, owner) in diagnosis.sockets(transport, all: true) where owner.inode != 0 {
                guard let cgroup = owner.cgroup else { continue }
                let inode = UInt64(owner.inode)
                table.socketCgroups[inode] = diagnosis.path(of: cgroup) ?? ""
                table.socketUIDs[inode] = owner.uid
            }
        }
        if diagnosis.failures > 0 { table.unread[.heldSockets, default: []].append("the kernel's list of sockets") }
    }
}
