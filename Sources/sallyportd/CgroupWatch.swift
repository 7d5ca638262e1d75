import Glibc
import Identity
import Netlink
import Synchronization

/// Says when a cgroup has lost its last process, or is gone: by inotify on its `cgroup.events` (Documentation/admin-guide/
/// cgroup-v2.rst, "Populated Notification").
final class CgroupWatch: Sendable {
    /// Readable when something happened.
    let descriptor: Int32

    private struct Watched {
        let directory: String
        let session: SessionNumber
    }

    private let watched = Mutex<[Int32: Watched]>([:])

    /// Throws where the kernel gives no inotify instance.
    init() throws(DaemonFailure) {
        descriptor = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
        guard descriptor >= 0 else {
            throw DaemonFailure(
                status: 1,
                lines: ["inotify: \(String(cString: strerror(errno))) (raise fs.inotify.max_user_instances)"])
        }
    }

    deinit { close(descriptor) }

    /// Watches the cgroup at `directory` for a session. False where it cannot be watched: it is gone, or the kernel's limit is
    /// reached.
    func add(_ directory: String, for session: SessionNumber) -> Bool {
        let watch = inotify_add_watch(descriptor, directory + "/cgroup.events", UInt32(IN_MODIFY | IN_DELETE_SELF))
        guard watch >= 0 else { return false }
        watched.withLock { $0[watch] = Watched(directory: directory, session: session) }
        return true
    }

    /// Stops watching for a session.
    func remove(_ session: SessionNumber) {
        let watches = watched.withLock { watched in
            let mine = watched.filter { $0.value.session == session }.map(\.key)
            for watch in mine { watched[watch] = nil }
            return mine
        }
        for watch in watches { inotify_rm_watch(descriptor, watch) }
    }

    /// The sessions whose cgroups have no process any more.
    func takeEmptied() -> [SessionNumber] {
        var changed: Set<Int32> = []
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            while true {
                let count = read(descriptor, buffer.baseAddress, buffer.count)
                guard count > 0 else { return }
                var offset = 0
                while offset + 16 <= count {
                    changed.insert(buffer.loadUnaligned(fromByteOffset: offset, as: Int32.self))
                    let nameLength = buffer.loadUnaligned(fromByteOffset: offset + 12, as: UInt32.self)
                    offset += 16 + Int(nameLength)
                }
            }
        }
        return watched.withLock { watched in
            changed.compactMap { watched[$0] }.filter { !Self.isPopulated($0.directory) }.map(\.session)
        }
    }

    /// Whether a process is in the cgroup or below it; false where it is gone.
    static func isPopulated(_ directory: String) -> Bool {
        TextFile.read(directory + "/cgroup.events")?.contains("populated 1") ?? false
    }
}
