import Configuration
import Glibc

/// A copy of the configuration with which rules were applied last. It outlives a boot, and so do the uids, interfaces and
/// sources in it that must stay confined while the configuration itself cannot be read.
enum LastGoodConfiguration {
    /// Where the copy is.
    static let path = "/var/lib/sallyport/applied.yaml"

    /// The configuration of the copy; nil where there is none.
    static func load() -> Configuration? {
        try? Configuration.load(path: path)
    }

    /// Copies the configuration at its usual place. Best effort: without a copy, the slice alone is confined in need.
    static func remember() {
        guard let bytes = read(Configuration.defaultPath), bytes != read(path) else { return }
        mkdir("/var/lib/sallyport", 0o755)
        // By one rename, so that a crash leaves the old copy or the new one.
        let fresh = path + ".new"
        let descriptor = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return }
        let isWhole = write(descriptor, bytes, bytes.count) == bytes.count && fsync(descriptor) == 0
        close(descriptor)
        if isWhole { rename(fresh, path) } else { unlink(fresh) }
    }

    private static func read(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
        }
    }
}
