import Glibc

/// Tells the service manager how the daemon is doing (`sd_notify(3)`): a datagram to the socket that `NOTIFY_SOCKET` names.
/// Without that variable every call does nothing.
struct SystemdNotifier: Sendable {
    private let path: String?

    /// The notifier that the environment asks for.
    init() {
        path = getenv("NOTIFY_SOCKET").map { String(cString: $0) }
        wantsWatchdog = getenv("WATCHDOG_USEC") != nil
    }

    /// Whether the manager wants to hear `WATCHDOG=1` from time to time (`WATCHDOG_USEC`); every half second is often enough.
    let wantsWatchdog: Bool

    /// Sends assignments, one a line, such as `READY=1`. A manager that does not listen is no failure of ours, and one that
    /// does not read is not waited for: the heartbeat comes this way.
    func notify(_ assignments: String) {
        guard let path, path.utf8.count < 108 else { return }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { field in
            field.copyBytes(from: path.utf8)
            // A leading @ names the abstract namespace, whose first byte is zero.
            if path.utf8.first == 0x40 { field[0] = 0 }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + path.utf8.count)
        let bytes = Array(assignments.utf8)
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT), generic, length)
            }
        }
    }

    /// The text of `RELOADING=1` with the clock that the manager wants with it.
    static func reloading() -> String {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return "RELOADING=1\nMONOTONIC_USEC=\(now.tv_sec * 1_000_000 + now.tv_nsec / 1000)"
    }
}
