/// The mounts that the calling process sees (`/proc/self/mountinfo`, proc(5)).
struct MountTable: Equatable, Sendable {
    /// One line of the table.
    struct Mount: Equatable, Sendable {
        /// The directory inside the file system that is mounted.
        var root: String
        /// Where it is.
        var path: String
        /// The options of this mount, such as `rw` and `nosuid`.
        var options: [String]
        /// Such as `cgroup2`.
        var fileSystem: String

        /// Whether nothing can be written through this mount.
        var isReadOnly: Bool { options.contains("ro") }
        /// Whether cgroups can be moved or made here, of either version.
        var holdsCgroups: Bool { fileSystem == "cgroup2" || fileSystem == "cgroup" }
    }

    /// In the order of the kernel: a later mount on the same path hides an earlier one.
    var mounts: [Mount]

    /// The table of the calling process.
    static func current() throws(ConfinementError) -> MountTable {
        MountTable(parsing: try TextFile.read("/proc/self/mountinfo", limit: 1 << 24))
    }

    /// The table that the text of such a file tells. Lines that are none are left out.
    ///
    ///     36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    init(parsing text: String) {
        mounts = text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count >= 9, let dash = fields.firstIndex(of: "-"), dash >= 6, dash + 1 < fields.count else {
                return nil
            }
            return Mount(
                root: Self.unescape(fields[3]), path: Self.unescape(fields[4]),
                options: fields[5].split(separator: ",").map(String.init), fileSystem: String(fields[dash + 1]))
        }
    }

    /// Space, tab, newline and backslash are written as three octal digits.
    private static func unescape(_ field: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = field.utf8
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3, let value = UInt8(Substring(digits), radix: 8) {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
