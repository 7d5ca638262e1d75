import Glibc

/// Small text files of procfs, sysfs and cgroupfs, whole.
package enum TextFile {
    /// The file's text; nil where it cannot be read. Stops at 1 MiB.
    package static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while bytes.count < 1 << 20 {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return count == 0 ? String(decoding: bytes, as: UTF8.self) : nil }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Writes `text` in one call; 0, or the errno. Never creates a file.
    package static func write(_ text: String, to path: String) -> Int32 {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        while true {
            let count = Glibc.write(descriptor, bytes, bytes.count)
            if count == bytes.count { return 0 }
            if count >= 0 { return EIO }
            if errno != EINTR { return errno }
        }
    }
}
