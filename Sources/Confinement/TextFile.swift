import Glibc

/// Small text files, most of them the kernel's.
enum TextFile {
    /// The text of the file at `path`, at most `limit` bytes of it.
    static func read(_ path: String, limit: Int = 1 << 20) throws(ConfinementError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ConfinementError(failed: "open \(path)", errno) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while bytes.count < limit {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw ConfinementError(failed: "read \(path)", errno) }
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes.prefix(limit), as: UTF8.self)
    }

    /// Writes `text` to the file at `path`, made with `mode` where `flags` has `O_CREAT`.
    static func write(_ text: String, to path: String, flags: Int32 = 0, mode: mode_t = 0o644)
        throws(ConfinementError)
    {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC | flags, mode)
        guard descriptor >= 0 else { throw ConfinementError(failed: "open \(path) for writing", errno) }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw ConfinementError(failed: "write \(path)", errno) }
            written += count
        }
    }
}
