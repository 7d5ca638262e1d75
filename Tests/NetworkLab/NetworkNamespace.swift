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

    // Fixed hardware addresses and permanent neighbours: no packet of a test waits for neighbour discovery, and a first SYN
    // that waits would be sent again with a congestion window of one segment.
    private func wire() throws {
        try onServer {
            try Program.run(
                "ip", "link", "add", "vn", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "va",
                "address", "02:00:00:00:00:02", "netns", "/proc/\(getpid())/fd/\(agent)")
            try Self.configure("vn", own: 1, other: 2)
        }
        try Self.configure("va", own: 2, other: 1)
        try Self.waitUntilUp("va")
        try onServer { try Self.waitUntilUp("vn") }
    }

    // The kernel brings a link up behind the command that asked for it.
    private static func waitUntilUp(_ interface: String) throws {
        for _ in 0..<1000 where try Program.run("ip", "-o", "link", "show", interface).contains("state UP") { return }
        throw LabError("\(interface): does not come up")
    }

    private static func configure(_ interface: String, own: Int, other: Int) throws {
        try Program.run("ip", "addr", "add", "198.18.0.\(own)/24", "dev", interface)
        try Program.run("ip", "addr", "add", "fd00:18::\(own)/64", "dev", interface, "nodad")
        try Program.run("ip", "link", "set", interface, "up")
        for address in ["198.18.0.\(other)", "fd00:18::\(other)"] {
            try Program.run(
                "ip", "neigh", "replace", address, "lladdr", "02:00:00:00:00:0\(other)", "dev", interface, "nud",
                "permanent")
        }
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
