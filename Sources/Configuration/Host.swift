import Glibc

/// What a configuration needs to know of the host. Values, so that tests need no host.
public struct Host: Sendable {
    /// The uid of a user name; nil where there is no such user.
    public var uid: @Sendable (_ user: String) -> UInt32?
    /// Processors that are online; at least 1.
    public var processorCount: Int

    /// A host from its facts.
    public init(uid: @escaping @Sendable (_ user: String) -> UInt32?, processorCount: Int) {
        self.uid = uid
        self.processorCount = max(1, processorCount)
    }

    /// This host: `getpwnam_r(3)` and `sysconf(3)`.
    public static var current: Host {
        Host(uid: uid(of:), processorCount: sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    }

    @Sendable private static func uid(of user: String) -> UInt32? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        // 1 MiB is far above any password entry; ERANGE beyond it is no user.
        var size = 4096
        while size <= 1 << 20 {
            let status = withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
                buffer.baseAddress.map { getpwnam_r(user, &entry, $0, size, &found) } ?? ENOMEM
            }
            guard status == ERANGE else { return status == 0 && found != nil ? entry.pw_uid : nil }
            size *= 4
        }
        return nil
    }
}
