import CNetfilter
import Glibc

/// Wakes the thread that waits in `QueueSocket.receive`: sends its netlink socket a message that says nothing
/// (`NLMSG_NOOP`), which takes CAP_NET_ADMIN. So a thread that waits for packets needs no second descriptor.
public final class QueueWaker: Sendable {
    private let descriptor: NetlinkDescriptor
    private let port: UInt32

    init(descriptor: NetlinkDescriptor, port: UInt32) {
        self.descriptor = descriptor
        self.port = port
    }

    /// Makes the present or the next `receive` return. Where the message cannot be sent, the socket is full of packets and
    /// its thread awake.
    public func wake() {
        var message = nlmsghdr(
            nlmsg_len: UInt32(MemoryLayout<nlmsghdr>.size), nlmsg_type: UInt16(NLMSG_NOOP), nlmsg_flags: 0,
            nlmsg_seq: 0, nlmsg_pid: 0)
        _ = withUnsafeBytes(of: &message) { bytes in
            bytes.baseAddress.map { descriptor.send($0, bytes.count, to: port) }
        }
    }
}
