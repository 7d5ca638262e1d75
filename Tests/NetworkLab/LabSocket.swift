import CNetfilter
import Glibc
public import PacketHeaders

/// A UDP or TCP socket of a test: IPv4 or IPv6 by the address given, every call with a deadline of ten seconds after which
/// it fails with `EAGAIN`, so that a test which would wait for ever fails instead.
public struct LabSocket: ~Copyable {
    /// The file descriptor.
    public let descriptor: Int32
    private let family: AddressFamily

    /// A socket for TCP (`SOCK_STREAM`) or UDP, bound where an address is given.
    public init(_ transport: TransportProtocol, _ family: AddressFamily) throws {
        self.family = family
        let type = Int32((transport == .tcp ? SOCK_STREAM : SOCK_DGRAM).rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        descriptor = socket(family == .v4 ? AF_INET : AF_INET6, type, 0)
        guard descriptor >= 0 else { throw LabError("socket", errno) }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    }

    private init(accepted descriptor: Int32, family: AddressFamily) {
        self.descriptor = descriptor
        self.family = family
    }

    deinit {
        close(descriptor)
    }

    /// Sets an integer option.
    public func set(_ level: Int32, _ option: Int32, _ value: Int32) throws {
        var value = value
        guard setsockopt(descriptor, level, option, &value, 4) == 0 else { throw LabError("setsockopt", errno) }
    }

    /// bind(2), and listen(2) for TCP sockets where `backlog` is given.
    public func bind(_ address: IPAddress, _ port: UInt16, backlog: Int32? = nil) throws {
        try set(SOL_SOCKET, SO_REUSEADDR, 1)
        guard Self.with(address, port, family, { Glibc.bind(descriptor, $0, $1) }) == 0 else {
            throw LabError("bind \(address) \(port)", errno)
        }
        if let backlog, listen(descriptor, backlog) != 0 { throw LabError("listen", errno) }
    }

    /// connect(2); 0 or the errno.
    public func connect(_ address: IPAddress, _ port: UInt16) -> Int32 {
        Self.with(address, port, family) { Glibc.connect(descriptor, $0, $1) } == 0 ? 0 : errno
    }

    /// Makes every later call return at once.
    public func makeNonblocking() {
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    }

    /// accept(2).
    public func accept() throws -> LabSocket {
        let accepted = Glibc.accept(descriptor, nil, nil)
        guard accepted >= 0 else { throw LabError("accept", errno) }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(accepted, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        return LabSocket(accepted: accepted, family: family)
    }

    /// send(2) on a connected socket; the byte count, or the negated errno.
    @discardableResult
    public func send(_ bytes: [UInt8], flags: Int32 = 0) -> Int {
        let count = Glibc.send(descriptor, bytes, bytes.count, flags | Int32(MSG_NOSIGNAL))
        return count >= 0 ? count : -Int(errno)
    }

    /// sendto(2); the byte count, or the negated errno.
    @discardableResult
    public func send(_ bytes: [UInt8], to address: IPAddress, _ port: UInt16, flags: Int32 = 0) -> Int {
        let count = Self.with(address, port, family) { generic, size in
            Int32(
                sendto(descriptor, bytes, bytes.count, flags | Int32(MSG_NOSIGNAL), generic, size))
        }
        return count >= 0 ? Int(count) : -Int(errno)
    }

    /// recv(2): the bytes, empty at the end of the stream; nil with `errno` where it failed.
    public func receive(_ capacity: Int = 65536, flags: Int32 = 0) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: capacity)
        let count = recv(descriptor, &bytes, capacity, flags)
        return count >= 0 ? Array(bytes[..<count]) : nil
    }

    /// The local port.
    public var localPort: UInt16 {
        var address = sockaddr_in6()
        var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        _ = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
        }
        // The port lies at the same place in both families.
        return UInt16(bigEndian: address.sin6_port)
    }

    /// `SO_COOKIE`.
    public var cookie: UInt64 {
        var value: UInt64 = 0
        var size = socklen_t(8)
        getsockopt(descriptor, SOL_SOCKET, SO_COOKIE, &value, &size)
        return value
    }

    private static func with(
        _ address: IPAddress, _ port: UInt16, _ family: AddressFamily,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        if family == .v4 {
            var v4 = sockaddr_in()
            v4.sin_family = sa_family_t(AF_INET)
            v4.sin_port = port.bigEndian
            v4.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.low).bigEndian
            return withUnsafePointer(to: &v4) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        var v6 = sockaddr_in6()
        v6.sin6_family = sa_family_t(AF_INET6)
        v6.sin6_port = port.bigEndian
        let octets =
            address.family == .v6
            ? address.octets : [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF] + address.octets
        withUnsafeMutableBytes(of: &v6.sin6_addr) { $0.copyBytes(from: octets) }
        return withUnsafePointer(to: &v6) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
            }
        }
    }
}
