import CUnixSocket
import Glibc

/// The sending end of journald's native socket: one datagram a record. Never blocks; the log thread waits in poll(2)
/// where the answer is `.busy`. Reconnects by itself, since a journald that is started anew binds a new socket.
struct JournalSocket: ~Copyable {
    /// What became of a datagram.
    enum Outcome: Equatable {
        /// The kernel has it in journald's receive queue.
        case sent
        /// The receive queue is full: wait until the descriptor is writable.
        case busy
        /// Nobody listens at the path, or memory is short, with the error's number: try again later.
        case unavailable(Int32)
        /// The kernel will never take this datagram, with the error's number.
        case refused(Int32)
    }

    private let path: String
    private let sendBuffer: Int32
    private(set) var descriptor: Int32 = -1

    /// A socket that sends to the one at `path`, a leading `@` standing for the abstract namespace. It connects when the
    /// first datagram is sent.
    /// - Parameter sendBuffer: bytes, as SO_SNDBUF; the kernel takes no datagram that is larger.
    init(path: String, sendBuffer: Int32 = 8 << 20) {
        self.path = path
        self.sendBuffer = sendBuffer
    }

    deinit {
        if descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// Sends one datagram; one that is larger than the kernel takes goes as a sealed memfd.
    mutating func send(_ bytes: [UInt8]) -> Outcome {
        if descriptor < 0 {
            let error = connect()
            if error != 0 { return .unavailable(error) }
        }
        while true {
            if Glibc.send(descriptor, bytes, bytes.count, flags) >= 0 { return .sent }
            switch errno {
            case EINTR: continue
            case EMSGSIZE: return outcome(unix_send_sealed(descriptor, bytes, bytes.count) == 0 ? 0 : errno)
            default: return outcome(errno)
            }
        }
    }

    private mutating func outcome(_ error: Int32) -> Outcome {
        switch error {
        case 0: return .sent
        case EAGAIN: return .busy
        // Nothing to wait for in poll(2): as with a journald that is not there, try again a little later.
        case ENOBUFS, ENOMEM, EMFILE, ENFILE: return .unavailable(error)
        case EMSGSIZE, EINVAL: return .refused(error)
        default:
            // ECONNREFUSED, ECONNRESET, ENOTCONN, ENOENT, EPIPE and whatever else a restarted journald leaves behind.
            disconnect()
            return .unavailable(error)
        }
    }

    private mutating func connect() -> Int32 {
        var address = sockaddr_un()
        let count = path.utf8.count
        guard count > 0, count < MemoryLayout.size(ofValue: address.sun_path) else { return ENAMETOOLONG }
        let opened = socket(
            AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard opened >= 0 else { return errno }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { field in
            field.copyBytes(from: path.utf8)
            if path.utf8.first == 0x40 { field[0] = 0 }
        }
        let isAbstract = path.utf8.first == 0x40
        let length = socklen_t(MemoryLayout<sa_family_t>.size + count + (isAbstract ? 0 : 1))
        var size = sendBuffer
        _ = setsockopt(opened, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(opened, $0, length) }
        }
        guard status == 0 else {
            let error = errno
            Glibc.close(opened)
            return error
        }
        descriptor = opened
        return 0
    }

    private mutating func disconnect() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }
}

private let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
