import Glibc

/// The listening socket at its path.
struct ControlSocket: ~Copyable {
    /// Listening, close-on-exec, non-blocking.
    let descriptor: Int32

    /// Makes the socket. The one of a daemon that is gone is replaced; one that somebody listens at is not.
    ///
    /// The directory is made where it is missing (0755). Everybody may connect (0666): agents open sessions here. Who may ask
    /// what is decided by what the kernel says of the peer (`PeerCheck`), not by the file's rights.
    static func listen(at path: String) throws(ControlError) -> ControlSocket {
        guard var address = SocketAddress(path) else { throw .pathTooLong(path: path) }
        try makeDirectory(of: path)
        try clear(path, &address)
        let descriptor = socket(AF_UNIX, streamType, 0)
        guard descriptor >= 0 else { throw failure(path, "socket") }
        let status = address.with { bind(descriptor, $0, $1) }
        guard status == 0 else {
            let error = errno == EADDRINUSE ? ControlError.inUse(path: path) : failure(path, "bind")
            close(descriptor)
            throw error
        }
        do throws(ControlError) {
            guard chmod(path, 0o666) == 0 else { throw failure(path, "chmod") }
            guard Glibc.listen(descriptor, 64) == 0 else { throw failure(path, "listen") }
        } catch {
            close(descriptor)
            unlink(path)
            throw error
        }
        return ControlSocket(descriptor: descriptor)
    }

    private static func clear(_ path: String, _ address: inout SocketAddress) throws(ControlError) {
        var facts = stat()
        guard lstat(path, &facts) == 0 else {
            guard errno == ENOENT else { throw failure(path, "stat") }
            return
        }
        guard facts.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path: path) }
        let probe = socket(AF_UNIX, streamType, 0)
        guard probe >= 0 else { throw failure(path, "socket") }
        defer { close(probe) }
        // ECONNREFUSED alone says that nobody listens; EAGAIN says that its backlog is full.
        guard address.with({ connect(probe, $0, $1) }) != 0, errno == ECONNREFUSED else { throw .inUse(path: path) }
        guard unlink(path) == 0 || errno == ENOENT else { throw failure(path, "unlink") }
    }

    private static func makeDirectory(of path: String) throws(ControlError) {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return }
        let directory = String(path[..<slash])
        guard mkdir(directory, 0o755) == 0 || errno == EEXIST else { throw failure(directory, "mkdir") }
    }

    private static func failure(_ path: String, _ call: String) -> ControlError {
        .system(path: path, call: call, reason: String(cString: strerror(errno)))
    }
}

/// A `sockaddr_un`.
struct SocketAddress {
    private var address = sockaddr_un()

    /// nil where `path` is empty or longer than 107 bytes.
    init?(_ path: String) {
        let count = path.utf8.count
        guard count > 0, count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    }

    mutating func with<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}

private let streamType =
    Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
