import Testing

@testable import Confinement

@Suite struct MountTableTests {
    @Test("reads the fields on both sides of the dash, with and without optional ones")
    func reads() {
        let table = MountTable(
            parsing: """
                24 30 0:22 / /proc rw,nosuid shared:12 - proc proc rw
                31 24 0:26 / /sys/fs/cgroup/unified ro,nosuid - cgroup2 cgroup2 rw,nsdelegate
                36 35 98:0 /mnt1 /mnt\\040a\\134b rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw

                """)
        #expect(
            table.mounts == [
                .init(root: "/", path: "/proc", options: ["rw", "nosuid"], fileSystem: "proc"),
                .init(root: "/", path: "/sys/fs/cgroup/unified", options: ["ro", "nosuid"], fileSystem: "cgroup2"),
                .init(root: "/mnt1", path: "/mnt a\\b", options: ["rw", "noatime"], fileSystem: "ext3"),
            ])
        #expect(table.mounts.map(\.holdsCgroups) == [false, true, false])
        #expect(table.mounts.map(\.isReadOnly) == [false, true, false])
    }

    @Test("leaves out lines that are none", arguments: ["", "x", "1 2 3:4 / /a rw", "1 2 3:4 / /a rw -"])
    func ignoresNonsense(text: String) {
        #expect(MountTable(parsing: text).mounts.isEmpty)
    }
}
