// WholeFile: files that are read and written whole. Imports Glibc only.

internal import Glibc

/// Reads and replaces whole files.
public enum WholeFile {
    /// The kernel's id of this boot; nil where it cannot be read.
    public static let bootID: String? = {
        let text = read("/proc/sys/kernel/random/boot_id") ?? []
        return text.isEmpty ? nil : String(decoding: text.prefix { $0 != 0x0A }, as: UTF8.self)
    }()

    /// What is left of an open file; nil, with errno, where it cannot be read. `limit` bytes and one more tell that it is longer.
    public static func read(_ descriptor: Int32, limit: Int = .max - 1) -> [UInt8]? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= limit {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        return bytes
    }

    /// The bytes of a file; nil, with errno, where it cannot be read. A symbolic link is one only where `followsLinks` says so.
    public static func read(_ path: String, followsLinks: Bool = false) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | (followsLinks ? 0 : O_NOFOLLOW))
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        return read(descriptor)
    }

    /// The bytes of a file that only its owner, who must be the caller, may read or write; nil otherwise: somebody else's file
    /// says nothing.
    public static func readOwn(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0, facts.st_uid == geteuid(), facts.st_mode & 0o077 == 0 else { return nil }
        return read(descriptor)
    }

    /// Writes all of it; false, with errno, where that fails.
    public static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Puts a new file (0600) in the place of `path` by one rename, so that there is always the old one or the new one. The old
    /// one stays where that fails.
    /// - Parameter isDurable: whether it is to outlive a crash of the machine.
    /// - Returns: the new file, open behind its last byte; -1 with errno. The caller closes it.
    public static func replace(_ path: String, _ bytes: [UInt8], isDurable: Bool = false) -> Int32 {
        let new = path + ".new"
        unlink(new)
        let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return -1 }
        if write(bytes, to: descriptor), !isDurable || fsync(descriptor) == 0, rename(new, path) == 0 {
            return descriptor
        }
        let number = errno
        close(descriptor)
        unlink(new)
        errno = number
        return -1
    }
}
