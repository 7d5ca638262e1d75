import Glibc
import Testing

@testable import DecisionLog

@Suite("CgroupProcessFinder")
struct ProcessFinderTests {
    @Test("finds the process that holds a socket, and none for a socket that nobody or somebody else holds")
    func finds() throws {
        let root = try temporaryDirectory()
        defer { _ = try? shell("rm -rf \(root)") }
        // The hierarchy's file by hand, so that no cgroup has to be made; the processes and sockets are real.
        _ = try shell(
            "mkdir -p \(root)/a \(root)/empty; echo \(getpid()) >\(root)/a/cgroup.procs; : >\(root)/empty/cgroup.procs")
        let finder = CgroupProcessFinder(root: root)
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var facts = stat()
        #expect(fstat(descriptor, &facts) == 0)
        let inode = try #require(UInt32(exactly: facts.st_ino))
        let found = try #require(finder.process(inCgroup: "/a", holdingSocket: inode))
        #expect(found.pid == getpid())
        #expect(found.executable?.hasSuffix("xctest") == true || found.executable?.isEmpty == false)
        #expect(finder.process(inCgroup: "/a", holdingSocket: UInt32.max) == nil)
        #expect(finder.process(inCgroup: "/a", holdingSocket: 0) == nil)
        #expect(finder.process(inCgroup: "/empty", holdingSocket: inode) == nil)
        #expect(finder.process(inCgroup: "/gone", holdingSocket: inode) == nil)
    }

    @Test("does not guess where two processes hold the socket")
    func shared() throws {
        let root = try temporaryDirectory()
        defer { _ = try? shell("rm -rf \(root)") }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var facts = stat()
        #expect(fstat(descriptor, &facts) == 0)
        // A child that inherits the socket and lives until its standard input ends.
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        _ = fcntl(ends[1], F_SETFD, FD_CLOEXEC)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        var pid = pid_t()
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("cat"), nil]
        #expect(posix_spawnp(&pid, "cat", &actions, nil, &arguments, environ) == 0)
        defer {
            close(ends[0])
            close(ends[1])
            waitpid(pid, nil, 0)
        }
        _ = try shell("mkdir -p \(root)/a; printf '%s\\n' \(getpid()) \(pid) >\(root)/a/cgroup.procs")
        #expect(CgroupProcessFinder(root: root).process(inCgroup: "/a", holdingSocket: UInt32(facts.st_ino)) == nil)
    }
}
