import Glibc
import Identity
import Netlink
import PacketHeaders

/// A flow of our own: one end listens here, outside of every agent; the other one connects from a confined cgroup and
/// from outside of it. Both go to one address and port of loopback, so that only the cgroup differs, nothing depends on a
/// route or on policy, and no packet leaves the host. The cgroup below the slice is no agent's: `no_identity`.
public enum FlowProbe {
    /// What a connection attempt came to.
    enum Outcome: Hashable, Sendable {
        case connected
        case refused
        case unanswered
        case failed(String)
    }

    /// What was tried in one address family.
    struct Result: Hashable, Sendable {
        /// The family, for people: `IPv4`.
        var family: String
        /// Where to.
        var address: String
        /// The port, which is another one each time.
        var port: UInt16
        /// From outside.
        var unconfined: Outcome
        /// From inside.
        var confined: Outcome
        /// Whether the confined one arrived in spite of all.
        var hasArrived: Bool
        /// Whether the kernel destroys a socket when it is told to (`SOCK_DESTROY`); nil where there was none to try it on.
        var canDestroy: Bool?
    }

    /// The words after the program's name that have it run `connect`, as a process of its own.
    public static let command = ["doctor", "probe"]

    /// Enters the cgroup in `directory`, connects to a port of loopback, and answers an exit status for `outcome`.
    public static func connect(fromCgroup directory: String, isIPv6: Bool, port: UInt16) -> Int32 {
        let number = TextFile.write("0", to: directory + "/cgroup.procs")
        guard number == 0 else { return number }
        let descriptor = open(isIPv6)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        return errorNumber(connecting: descriptor, isIPv6, port)
    }

    /// Tries both ways over IPv4 and, where this network has it, IPv6.
    /// - Parameter slice: the confined cgroup, a path from the root of the hierarchy.
    /// - Throws: where the probe's cgroup cannot be made.
    static func run(slice: String, _ cgroups: CgroupHierarchy) throws(NetlinkError) -> [Result] {
        let directory = cgroups.directory(of: slice) + "/" + cgroupName
        guard mkdir(directory, 0o755) == 0 || errno == EEXIST else {
            throw NetlinkError(what: directory, errorNumber: errno)
        }
        defer { rmdir(directory) }
        var diagnosis = try? SocketDiagnosis.open(cgroups: cgroups)
        var results: [Result] = []
        for isIPv6 in [false, true] {
            let listener = open(isIPv6)
            guard listener >= 0 else { continue }
            defer { close(listener) }
            guard let port = listen(listener, isIPv6) else { continue }
            var result = Result(
                family: isIPv6 ? "IPv6" : "IPv4", address: isIPv6 ? "::1" : "127.0.0.1", port: port,
                unconfined: .connected, confined: .connected, hasArrived: false)
            result.confined = outcome(of: spawn(directory, isIPv6, port))
            let arrived = accept(listener, nil, nil)
            result.hasArrived = arrived >= 0
            if arrived >= 0 { close(arrived) }
            let client = open(isIPv6)
            result.unconfined = outcome(of: client < 0 ? errno : errorNumber(connecting: client, isIPv6, port))
            if result.unconfined == .connected, let flow = flow(of: client, isIPv6, port) {
                result.canDestroy = diagnosis?.destroy(flow)
            }
            if client >= 0 { close(client) }
            results.append(result)
        }
        return results
    }

    private static func outcome(of number: Int32) -> Outcome {
        switch number {
        case 0: .connected
        // A reset, or an ICMP error: administratively prohibited.
        case ECONNREFUSED, ECONNRESET, ECONNABORTED, EHOSTUNREACH, ENETUNREACH, EACCES, EPERM: .refused
        case ETIMEDOUT: .unanswered
        default: .failed(String(cString: strerror(number)))
        }
    }

    /// This program once more, with `command`; its exit status, which is an errno.
    private static func spawn(_ directory: String, _ isIPv6: Bool, _ port: UInt16) -> Int32 {
        let words = ["sallyport"] + command + [directory, isIPv6 ? "6" : "4", String(port)]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        defer { for argument in arguments { free(argument) } }
        arguments.append(nil)
        var child: pid_t = 0
        let number = posix_spawn(&child, "/proc/self/exe", nil, nil, arguments, environ)
        guard number == 0 else { return number }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : EINTR
    }

    private static func open(_ isIPv6: Bool) -> Int32 {
        let type = SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
        return socket(isIPv6 ? AF_INET6 : AF_INET, Int32(type), 0)
    }

    private static func errorNumber(connecting descriptor: Int32, _ isIPv6: Bool, _ port: UInt16) -> Int32 {
        var number = withLoopback(isIPv6, port) { Glibc.connect(descriptor, $0, $1) } == 0 ? 0 : errno
        guard number == EINPROGRESS else { return number }
        var polled = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&polled, 1, patienceMilliseconds) > 0 else { return ETIMEDOUT }
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &size) == 0 ? number : errno
    }

    /// The port that the kernel gave; nil where this network has no such loopback.
    private static func listen(_ descriptor: Int32, _ isIPv6: Bool) -> UInt16? {
        guard withLoopback(isIPv6, 0, { bind(descriptor, $0, $1) }) == 0, Glibc.listen(descriptor, 4) == 0 else {
            return nil
        }
        return localPort(of: descriptor, isIPv6)
    }

    private static func localPort(of descriptor: Int32, _ isIPv6: Bool) -> UInt16? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer -> UInt16? in
            let isRead = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &size) == 0
            }
            guard isRead else { return nil }
            // The port stands at the same place in both families.
            return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                UInt16(bigEndian: $0.pointee.sin_port)
            }
        }
    }

    private static func flow(of descriptor: Int32, _ isIPv6: Bool, _ port: UInt16) -> FiveTuple? {
        guard let source = localPort(of: descriptor, isIPv6) else { return nil }
        let loopback = isIPv6 ? IPAddress(v6: 0, 1) : IPAddress(v4: 0x7F00_0001)
        return FiveTuple(
            source: loopback, sourcePort: source, destination: loopback, destinationPort: port, transport: .tcp)
    }

    private static func withLoopback<Value>(
        _ isIPv6: Bool, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Value
    ) -> Value {
        func call<Address>(_ address: Address) -> Value {
            withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<Address>.size))
                }
            }
        }
        if isIPv6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            address.sin6_addr = in6addr_loopback
            return call(address)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return call(address)
    }

    /// No agent's: policy is not asked.
    private static let cgroupName = "doctor-probe"
    /// Beyond the second after which a SYN is sent again, and the two within which rules notice that no daemon is there.
    private static let patienceMilliseconds: Int32 = 4000
}
