// Netlink: the sockets between Sallyport and the kernel.
//
// `QueueSocket` hands over the packets that NFQUEUE holds, `VerdictBatch` takes their verdicts back, `SocketDiagnosis` says
// whose socket a packet left by, `CgroupHierarchy` where a cgroup lies, `PacketInjector` sends packets of our own,
// `Conntrack` reads and changes connection marks, `NFTables` keeps the few table objects that `nft` cannot write or that
// must be refreshed without it. The messages are built and read here, byte by byte, over a plain AF_NETLINK socket: the
// packet path allocates nothing, and no C library stands between a verdict and the kernel.
//
// The life of a packet: `receive` fills preallocated slots with one recvmmsg(2) and parses the attributes of each into a
// plain record; `packet(at:)` borrows the slot's bytes; the caller judges and puts a verdict into the batch; `flush` sends
// the batch as one datagram. Whatever goes wrong between (overrun, truncation, a foreign message, a refused verdict) is
// a number in `QueueCounters`, and the packet stays refused: an unanswered packet never leaves.
//
// Imports `CNetfilter`, `Octets`, `PacketHeaders` and `Identity`; Glibc for the system calls. No Foundation.

import Glibc

/// A kernel object could not be opened, asked or changed. Printed as `what: why (what to do)`.
public struct NetlinkError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was tried, such as `queue 8800`.
    public let what: String
    /// What the kernel said, in words.
    public let why: String
    /// What the operator can do; empty where nothing is known to help.
    public let remedy: String
    /// The `errno` behind it; 0 where there is none.
    public let errorNumber: Int32

    /// An error from its parts.
    public init(what: String, why: String, remedy: String = "", errorNumber: Int32 = 0) {
        self.what = what
        self.why = why
        self.remedy = remedy
        self.errorNumber = errorNumber
    }

    /// An error from the number that a system call left, with the remedy that the number suggests.
    public init(what: String, errorNumber: Int32) {
        self.init(
            what: what, why: Self.text(of: errorNumber), remedy: Self.remedy(for: errorNumber), errorNumber: errorNumber
        )
    }

    /// `what: why (what to do)`.
    public var description: String {
        remedy.isEmpty ? "\(what): \(why)" : "\(what): \(why) (\(remedy))"
    }

    static func text(of errorNumber: Int32) -> String {
        guard let text = strerror(errorNumber) else { return "error \(errorNumber)" }
        let words = String(cString: text)
        return words.prefix(1).lowercased() + words.dropFirst()
    }

    private static func remedy(for errorNumber: Int32) -> String {
        switch errorNumber {
        case EPERM, EACCES: "run it as root or give it CAP_NET_ADMIN"
        case EPROTONOSUPPORT, EAFNOSUPPORT: "this kernel was built without it: CONFIG_NETFILTER_NETLINK and its modules"
        case EMFILE, ENFILE: "raise LimitNOFILE="
        case ENOMEM: "the kernel is out of memory: lower queues.length"
        default: ""
        }
    }
}
