import Glibc

/// A file in memory, mapped.
final class CaptureFile {
    let byteCount: Int
    private let memory: UnsafeMutableRawPointer?

    init(path: String) throws {
        func unreadable(_ reason: String) -> CommandFailure {
            .badInput("\(path): cannot be read: \(reason) (check the path and its rights)")
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreadable(String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw unreadable(String(cString: strerror(errno))) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw unreadable("no regular file") }
        byteCount = Int(status.st_size)
        guard byteCount > 0 else {
            memory = nil
            return
        }
        guard let mapped = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0), mapped != MAP_FAILED else {
            throw unreadable(String(cString: strerror(errno)))
        }
        memory = mapped
        madvise(mapped, byteCount, MADV_SEQUENTIAL)
    }

    deinit {
        if let memory { munmap(memory, byteCount) }
    }

    /// The file's bytes.
    var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            _overrideLifetime(
                RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: memory, count: byteCount)), borrowing: self)
        }
    }
}

/// How far a large file was read, on standard error if that is a terminal.
struct ProgressBar {
    private let total: Int
    private let isShown: Bool
    private var lastPercent = -1

    init(total: Int) {
        self.total = total
        isShown = total >= 16 << 20 && isatty(STDERR_FILENO) == 1
    }

    mutating func show(_ position: Int) {
        let percent = isShown ? position * 100 / total : lastPercent
        guard percent != lastPercent else { return }
        lastPercent = percent
        let done = String(repeating: "#", count: percent / 4)
        write("\r[\(done)\(String(repeating: " ", count: 25 - done.count))] \(percent) %")
    }

    func clear() {
        if lastPercent >= 0 { write("\r\u{1B}[K") }
    }

    private func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }
}

/// Lines for standard output, written in large pieces.
struct OutputLines {
    private var bytes: [UInt8] = []

    mutating func append(_ line: String) {
        bytes.append(contentsOf: line.utf8)
        bytes.append(0x0A)
        if bytes.count >= 1 << 16 { flush() }
    }

    mutating func flush() {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                write(STDOUT_FILENO, $0.baseAddress.map { $0 + sent }, $0.count - sent)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            sent += count
        }
        bytes.removeAll(keepingCapacity: true)
    }
}
