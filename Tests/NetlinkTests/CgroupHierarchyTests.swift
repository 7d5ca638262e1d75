import Glibc
import Identity
import NetworkLab
import Testing

@testable import Netlink

@Suite("CgroupHierarchy")
struct CgroupHierarchyTests {
    @Test("reads the mount point from every layout")
    func mountPoints() {
        let unified = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
        #expect(CgroupHierarchy.mountPoint(in: unified) == "/sys/fs/cgroup")
        let hybrid = """
            31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
            """
        #expect(CgroupHierarchy.mountPoint(in: hybrid) == "/sys/fs/cgroup/unified")
        let container = """
            700 690 0:26 /docker/abc /sys/fs/cgroup ro,nosuid master:9 master:1 - cgroup2 cgroup rw
            701 690 0:26 / /host\\040cgroup ro,nosuid - cgroup2 cgroup rw
            """
        #expect(CgroupHierarchy.mountPoint(in: container) == "/host cgroup")
        #expect(CgroupHierarchy.mountPoint(in: "1 2 0:3 / / rw - ext4 /dev/vda rw - cgroup2") == nil)
        #expect(CgroupHierarchy.mountPoint(in: "1 - cgroup2") == nil)
    }

    @Test(
        "finds a cgroup by its id, its children, and nothing once it is gone",
        .enabled(if: geteuid() == 0, "needs root and a cgroup v2"))
    func paths() throws {
        let hierarchy = try CgroupHierarchy.find()
        let path = "/netl-path-\(getpid())"
        func inside() throws -> CgroupID {
            let parent = try LabCgroup(path, mountPoint: hierarchy.mountPoint)
            let child = try LabCgroup(path + "/child (deleted)x", mountPoint: hierarchy.mountPoint)
            _ = parent.path
            let identifier = try #require(hierarchy.identifier(of: child.path))
            #expect(hierarchy.path(of: identifier) == child.path)
            #expect(hierarchy.children(of: path) == [child.path])
            #expect(hierarchy.children(of: "/").contains(path))
            return identifier
        }
        let identifier = try inside()
        #expect(hierarchy.path(of: identifier) == nil)
        #expect(hierarchy.path(of: try #require(hierarchy.identifier(of: "/"))) == "/")
        #expect(hierarchy.processes(in: path).isEmpty)
    }
}
