// NetworkLab: network namespaces and sockets for tests against the real kernel.
//
// A test runs its body with the calling thread inside a namespace of its own and gets the thread back as it was. A program
// started meanwhile (`nft`, `ip`, `curl`) is in that namespace too. Namespaces have no name and vanish with their last
// socket, so nothing is left behind and tests run beside each other. Bodies are synchronous: a test that suspends would
// come back on another thread.

import CNetfilter
import Glibc

/// Whether this process may make namespaces; tests that need it say `.enabled(if: NetworkNamespace.isAvailable)`.
public enum NetworkNamespace {
    /// True where a network namespace could be made: root, or CAP_SYS_ADMIN.
    public static let isAvailable: Bool = {
        do {
            return try alone { true }
        } catch {
            return false
        }
    }()

    /// The reason that a skipped test gives.
    public static let requirement: String = "needs root and network namespaces"

    /// Runs `body` in a new namespace whose loopback interface is up.
    public static func alone<Result: ~Copyable>(_ body: () throws -> Result) throws -> Result {
        let home = try current()
        defer { close(home) }
        guard enter_new_network_namespace() == 0 else { throw LabError("unshare", errno) }
        defer { restore(home) }
        try Program.run("ip", "link", "set", "lo", "up")
        return try body()
    }

    /// A descriptor of the thread's namespace.
    static func current() throws -> Int32 {
        let descriptor = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw LabError("/proc/thread-self/ns/net", errno) }
        return descriptor
    }

    /// Puts the thread back. A thread that cannot go back must not run another test.
    static func restore(_ descriptor: Int32) {
        precondition(enter_network_namespace(descriptor) == 0, "the thread is lost in a test's network namespace")
    }
}

/// Two hosts and the wire between them: the test's thread is on the agent's host, `onServer` goes to the other one.
///
///     agent  198.18.0.2, fd00:18::2  va ────── vn  198.18.0.1, fd00:18::1  server
public struct TwoHosts: ~Copyable {
    private let server: Int32
    private let agent: Int32

    /// Runs `body` on the agent's host of a new pair.
    public static func with<Result: ~Copyable>(_ body: (borrowing TwoHosts) throws -> Result) throws -> Result {
        try NetworkNamespace.alone {
            let server = try NetworkNamespace.current()
            return try NetworkNamespace.alone {
                let lab = TwoHosts(server: server, agent: try NetworkNamespace.current())
                try lab.wire()
                return try body(lab)
            }
        }
    }

    /// Runs `body` on the server's host.
    public func onServer<Result: ~Copyable>(_ body: () throws -> Result) throws -> Result {
        guard enter_network_namespace(server) == 0 else { throw LabError("setns", errno) }
        defer { NetworkNamespace.restore(agent) }
        return try body()
    }

    private init(server: Int32, agent: Int32) {
        self.server = server
        self.agent = agent
    }

    deinit {
        close(server)
        close(agent)
    }

    private func wire() throws {
        try onServer {
            try Wire(number: 0).make(own: "vn", other: "va", in: agent)
            try Wire(number: 0).configure("vn", own: 1, other: 2)
        }
        try Wire(number: 0).configure("va", own: 2, other: 1)
        try Wire.waitUntilUp("va")
        try onServer { try Wire.waitUntilUp("vn") }
    }

    /// Runs `body` with a guest behind the agent's host, which routes for it.
    ///
    ///     guest  198.18.5.2, fd00:5::2  vg ────── vh  198.18.5.1, fd00:5::1  agent's host ────── server
    public func withGuest<Result: ~Copyable>(_ body: (borrowing Guest) throws -> Result) throws -> Result {
        try NetworkNamespace.alone {
            let guest = Guest(guest: try NetworkNamespace.current(), host: agent)
            guard enter_network_namespace(agent) == 0 else { throw LabError("setns", errno) }
            try Wire(number: 5).make(own: "vh", other: "vg", in: guest.guest)
            try Wire(number: 5).configure("vh", own: 1, other: 2)
            for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                try Program.run("sh", "-c", "echo 1 > /proc/sys/net/\(setting)")
            }
            try guest.run {
                try Wire(number: 5).configure("vg", own: 2, other: 1)
                try Program.run("ip", "route", "add", "default", "via", "198.18.5.1")
                try Program.run("ip", "-6", "route", "add", "default", "via", "fd00:5::1")
                try Wire.waitUntilUp("vg")
            }
            try Wire.waitUntilUp("vh")
            try onServer {
                try Program.run("ip", "route", "add", "198.18.5.0/24", "via", "198.18.0.2")
                try Program.run("ip", "-6", "route", "add", "fd00:5::/64", "via", "fd00:18::2")
            }
            return try body(guest)
        }
    }
}

/// A container or virtual machine, as the network sees one.
public struct Guest: ~Copyable {
    fileprivate let guest: Int32
    private let host: Int32

    fileprivate init(guest: Int32, host: Int32) {
        self.guest = guest
        self.host = host
    }

    deinit {
        close(guest)
    }

    /// Runs `body` inside the guest.
    public func run<Result: ~Copyable>(_ body: () throws -> Result) throws -> Result {
        guard enter_network_namespace(guest) == 0 else { throw LabError("setns", errno) }
        defer { NetworkNamespace.restore(host) }
        return try body()
    }
}

/// A veth pair between two namespaces, with the networks 198.18.N.0/24 and fd00:N::/64 (18 for wire 0) on it.
///
/// Fixed hardware addresses and permanent neighbours: no packet of a test waits for neighbour discovery, and a first SYN
/// that waits would be sent again with a congestion window of one segment.
private struct Wire {
    let number: Int

    private var v6Network: Int { number == 0 ? 18 : number }

    func make(own: String, other: String, in namespace: Int32) throws {
        try Program.run(
            "ip", "link", "add", own, "address", "02:00:00:00:0\(number):01", "type", "veth", "peer", "name", other,
            "address", "02:00:00:00:0\(number):02", "netns", "/proc/\(getpid())/fd/\(namespace)")
    }

    func configure(_ interface: String, own: Int, other: Int) throws {
        try Program.run("ip", "addr", "add", "198.18.\(number).\(own)/24", "dev", interface)
        try Program.run("ip", "addr", "add", "fd00:\(v6Network)::\(own)/64", "dev", interface, "nodad")
        try Program.run("ip", "link", "set", interface, "up")
        for address in ["198.18.\(number).\(other)", "fd00:\(v6Network)::\(other)"] {
            try Program.run(
                "ip", "neigh", "replace", address, "lladdr", "02:00:00:00:0\(number):0\(other)", "dev", interface,
                "nud", "permanent")
        }
    }

    // The kernel brings a link up behind the command that asked for it.
    static func waitUntilUp(_ interface: String) throws {
        for _ in 0..<1000 where try Program.run("ip", "-o", "link", "show", interface).contains("state UP") { return }
        throw LabError("\(interface): does not come up")
    }
}

/// A step of a test's preparation failed.
public struct LabError: Error, CustomStringConvertible {
    /// What failed, and how.
    public let description: String

    /// A failed system call.
    public init(_ what: String, _ errorNumber: Int32) {
        description = "\(what): \(String(cString: strerror(errorNumber)))"
    }

    /// Another failure.
    public init(_ description: String) {
        self.description = description
    }
}
