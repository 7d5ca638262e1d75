import CNetfilter
import Glibc

/// An AF_NETLINK socket that closes with its last owner. A socket and the batch of its verdicts share one.
final class NetlinkDescriptor: Sendable {
    /// The file descriptor, open as long as this object lives.
    let rawValue: Int32
    /// The address that the kernel gave the socket; messages sent to it carry this port.
    let port: UInt32

    /// Opens and binds a socket of a netlink family (`NETLINK_NETFILTER`, `NETLINK_SOCK_DIAG`).
    /// - Parameter groups: `NFNLGRP_*` numbers whose notifications to receive.
    /// - Throws: `NetlinkError` naming `what`.
    static func open(family: Int32, what: String, groups: [UInt32] = []) throws(NetlinkError) -> NetlinkDescriptor {
        let descriptor = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), family)
        guard descriptor >= 0 else { throw NetlinkError(what: what, errorNumber: errno) }
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        var length = socklen_t(MemoryLayout<sockaddr_nl>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(descriptor, generic, length) == 0 ? getsockname(descriptor, generic, &length) : -1
            }
        }
        guard status == 0 else {
            let number = errno
            close(descriptor)
            throw NetlinkError(what: what, errorNumber: number)
        }
        for group in groups {
            guard setOption(descriptor, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, Int32(bitPattern: group)) else {
                let number = errno
                close(descriptor)
                throw NetlinkError(what: what, errorNumber: number)
            }
        }
        return NetlinkDescriptor(rawValue: descriptor, port: address.nl_pid)
    }

    private init(rawValue: Int32, port: UInt32) {
        self.rawValue = rawValue
        self.port = port
    }

    deinit {
        close(rawValue)
    }

    /// setsockopt(2) with a 32-bit value; false with errno.
    func setOption(_ level: Int32, _ name: Int32, _ value: Int32) -> Bool {
        Self.setOption(rawValue, level, name, value)
    }

    private static func setOption(_ descriptor: Int32, _ level: Int32, _ name: Int32, _ value: Int32) -> Bool {
        var value = value
        return setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size)) == 0
    }

    /// Sends bytes to the kernel, which has acted on them when this returns. 0, or the errno.
    func send(_ start: UnsafeRawPointer, _ byteCount: Int) -> Int32 {
        while true {
            if Glibc.send(rawValue, start, byteCount, 0) >= 0 { return 0 }
            let number = errno
            if number != EINTR { return number }
        }
    }

    /// Sends bytes to the socket at `port`, which may be of another process. 0, or the errno.
    func send(_ start: UnsafeRawPointer, _ byteCount: Int, to port: UInt32) -> Int32 {
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        address.nl_pid = port
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                while true {
                    let count = sendto(
                        rawValue, start, byteCount, Int32(MSG_DONTWAIT), generic,
                        socklen_t(MemoryLayout<sockaddr_nl>.size))
                    if count >= 0 { return 0 }
                    let number = errno
                    if number != EINTR { return number }
                }
            }
        }
    }

    /// Receives one datagram; its length in the kernel, which may be more than `capacity`, or the negated errno.
    func receive(_ start: UnsafeMutableRawPointer, _ capacity: Int, flags: Int32 = 0) -> Int {
        while true {
            let count = recv(rawValue, start, capacity, flags | Int32(MSG_TRUNC))
            if count >= 0 { return count }
            let number = errno
            if number != EINTR { return -Int(number) }
        }
    }

    /// How long a receiving system call waits for its first datagram; above 0, since 0 means without end.
    func setReceiveTimeout(milliseconds: Int32) {
        let milliseconds = max(1, Int(milliseconds))
        var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        setsockopt(rawValue, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Waits until a datagram can be read. False when `milliseconds` have passed or a signal came.
    func waitReadable(milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: rawValue, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }
}
