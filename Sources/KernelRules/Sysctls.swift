import Glibc
import Netlink

/// The kernel settings of a network namespace that the rules rely on.
struct Sysctls {
    /// Where the values before ours are kept, so that `remove` can put them back.
    let savePath: String

    /// Setting, value, and what goes wrong with another value.
    static let required: [(name: String, value: String, purpose: String)] = [
        (
            "net/netfilter/nf_conntrack_checksum", "1",
            "segments with a wrong checksum would be judged although no server takes them"
        ),
        (
            "net/netfilter/nf_conntrack_tcp_be_liberal", "0",
            "segments outside the window would be judged although no server takes them"
        ),
    ]

    /// Sets what differs, after saving what was there before.
    func apply() throws(KernelRulesError) {
        var saved = read()
        for (name, value, _) in Self.required {
            guard let current = Self.current(name) else {
                throw KernelRulesError(
                    "/proc/sys/\(name): not there (load connection tracking: modprobe nf_conntrack)")
            }
            if saved[name] == nil { saved[name] = current }
            guard current != value else { continue }
            guard TextFile.write("/proc/sys/\(name)", value) else {
                throw KernelRulesError(
                    "/proc/sys/\(name): cannot be set to \(value): \(Command.text(errno)) (run as root)")
            }
        }
        let text = saved.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\n" }.joined()
        guard TextFile.write(savePath, text) else {
            throw KernelRulesError(
                "\(savePath): cannot be written: \(Command.text(errno)) (make its directory writable)")
        }
    }

    /// Puts back what was there before `apply`.
    func restore() {
        for (name, value) in read() { _ = TextFile.write("/proc/sys/\(name)", value) }
        unlink(savePath)
    }

    /// One line for each setting that is not as it must be.
    func problems() -> [String] {
        Self.required.compactMap { name, value, purpose in
            let current = Self.current(name)
            return current == value
                ? nil
                : "\(name.split(separator: "/").joined(separator: ".")) is \(current ?? "missing"), not \(value): \(purpose) "
                    + "(sallyport rules apply)"
        }
    }

    private func read() -> [String: String] {
        var values: [String: String] = [:]
        for line in (TextFile.read(savePath) ?? "").split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            // Only settings that are ours are ever written back.
            if parts.count == 2, Self.required.contains(where: { $0.name == parts[0] }) {
                values[String(parts[0])] = String(parts[1])
            }
        }
        return values
    }

    private static func current(_ name: String) -> String? {
        TextFile.read("/proc/sys/\(name)").map { String($0.filter { !$0.isWhitespace }) }
    }
}

extension TextFile {
    /// Writes the whole file, mode 0600 where it is new; false where that failed, `errno` says why.
    static func write(_ path: String, _ text: String) -> Bool {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        return Glibc.write(descriptor, bytes, bytes.count) == bytes.count
    }

    /// Adds text to the end of a file, mode 0600 where it is new.
    static func append(_ path: String, _ text: String) -> Bool {
        write(path, (read(path) ?? "") + text)
    }
}
