import Glibc
import Testing

@testable import Control

/// `/proc` made by hand: pid 7 is the peer, `self` is the daemon.
private final class FakeProc {
    let root: String
    var cgroup = "0::/user.slice/shell.scope"
    var status = "Name:\tx\nUid:\t0\t0\t0\t0\nNSpid:\t7"
    var uidMap = "0 0 4294967295"
    var stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 100 20"
    var pidOfDescriptor = "Pid:\t7"

    init() throws {
        root = try TemporaryDirectory.keep()
    }

    func remove() {
        _ = try? shell("rm -rf \(root)")
    }

    func write() throws -> PeerCheck {
        for (name, text) in [
            ("7/cgroup", "12:pids:/x\n" + cgroup + "\n"), ("7/status", status), ("7/uid_map", uidMap), ("7/stat", stat),
            ("self/uid_map", "0 0 4294967295"), ("self/fdinfo/5", pidOfDescriptor),
        ] {
            let path = root + "/" + name
            _ = try shell("mkdir -p $(dirname \(path))")
            guard let file = fopen(path, "w") else { throw TestFailure("fopen \(path)") }
            fputs(text, file)
            fclose(file)
        }
        return PeerCheck(proc: root)
    }
}

extension TemporaryDirectory {
    fileprivate static func keep() throws -> String {
        var template = Array("/tmp/sallyport-proc-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp") }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

@Suite("PeerCheck")
struct PeerCheckTests {
    private let peer = PeerCredentials(pid: 7, uid: 0, gid: 0)
    private let confinement = ConfinedPeers(cgroups: ["/sallyport.slice", "/custom/agent"], uids: [1001])

    @Test("admits a process outside all confinement, with and without a pidfd")
    func admits() throws {
        let proc = try FakeProc()
        defer { proc.remove() }
        let check = try proc.write()
        #expect(try check.identify(peer, pidfd: 5, by: confinement) == .operator)
        #expect(try check.identify(peer, pidfd: nil, by: confinement) == .operator)
    }

    @Test("takes for an operator who is root or in the group, by its first or another group, and nobody else")
    func operators() throws {
        let proc = try FakeProc()
        defer { proc.remove() }
        proc.status = "Uid:\t33\t33\t33\t33\nGroups:\t4 700 \nNSpid:\t7"
        let check = try proc.write()
        let user = PeerCredentials(pid: 7, uid: 33, gid: 33)
        var some = confinement
        #expect(throws: PeerRefusal.notAnOperator) { try check.identify(user, pidfd: 5, by: some) }
        some.operators = 70
        #expect(throws: PeerRefusal.notAnOperator) { try check.identify(user, pidfd: 5, by: some) }
        some.operators = 700
        #expect(try check.identify(user, pidfd: 5, by: some) == .operator)
        some.operators = 33
        #expect(try check.identify(user, pidfd: 5, by: some) == .operator)
    }

    @Test(
        "knows a process in a confined cgroup or below it",
        arguments: [
            "/sallyport.slice", "/sallyport.slice/agent.service", "/custom/agent/x", "/sallyport.slice/a (deleted)",
        ])
    func confinedCgroup(path: String) throws {
        let proc = try FakeProc()
        defer { proc.remove() }
        proc.cgroup = "0::" + path
        let check = try proc.write()
        #expect(try check.identify(peer, pidfd: 5, by: confinement) == .confined(cgroup: path, uid: 0))
    }

    @Test("admits a cgroup whose name only begins like a confined one")
    func similarCgroup() throws {
        let proc = try FakeProc()
        defer { proc.remove() }
        proc.cgroup = "0::/sallyport.slices/agent"
        #expect(try proc.write().identify(peer, pidfd: 5, by: confinement) == .operator)
    }

    @Test("knows a confined uid")
    func confinedUID() throws {
        let proc = try FakeProc()
        defer { proc.remove() }
        proc.status = "Uid:\t1001\t1001\t1001\t1001\nNSpid:\t7"
        let check = try proc.write()
        let caller = try check.identify(PeerCredentials(pid: 7, uid: 1001, gid: 0), pidfd: 5, by: confinement)
        #expect(caller == .confined(cgroup: "/user.slice/shell.scope", uid: 1001))
    }

    @Test("refuses a process that the pid namespace does not see, or that is in one of its own")
    func pidNamespace() throws {
        let proc = try FakeProc()
        defer { proc.remove() }
        proc.status = "Uid:\t0\t0\t0\t0\nNSpid:\t7\t1"
        let check = try proc.write()
        #expect(throws: PeerRefusal.otherNamespace("pid")) { try check.identify(peer, pidfd: 5, by: confinement) }
        #expect(throws: PeerRefusal.otherNamespace("pid")) {
            try check.identify(PeerCredentials(pid: 0, uid: 0, gid: 0), pidfd: 5, by: confinement)
        }
    }

    @Test("refuses a process in another user namespace")
    func userNamespace() throws {
        let proc = try FakeProc()
        defer { proc.remove() }
        proc.uidMap = "0 1000 1"
        let check = try proc.write()
        #expect(throws: PeerRefusal.otherNamespace("user")) { try check.identify(peer, pidfd: 5, by: confinement) }
    }

    @Test("refuses a process outside of its own cgroup namespace's root")
    func cgroupNamespace() throws {
        let proc = try FakeProc()
        defer { proc.remove() }
        proc.cgroup = "0::/../sallyport.slice"
        let check = try proc.write()
        #expect(throws: PeerRefusal.otherNamespace("cgroup")) { try check.identify(peer, pidfd: 5, by: confinement) }
    }

    @Test("refuses where the pid is another process's by now")
    func reused() throws {
        let proc = try FakeProc()
        defer { proc.remove() }
        proc.pidOfDescriptor = "Pid:\t-1"
        let ended = try proc.write()
        #expect(throws: PeerRefusal.unknown("it ended")) { try ended.identify(peer, pidfd: 5, by: confinement) }
        proc.stat = "7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99999999999999 20"
        let later = try proc.write()
        #expect(throws: PeerRefusal.unknown("it began after its connection")) {
            try later.identify(peer, pidfd: nil, by: confinement)
        }
        proc.status = "Uid:\t33\t33\t33\t33\nNSpid:\t7"
        let other = try proc.write()
        #expect(throws: PeerRefusal.unknown("its uid is no longer 0")) {
            try other.identify(peer, pidfd: 5, by: confinement)
        }
    }

    @Test("refuses where a fact cannot be read")
    func unreadable() throws {
        let proc = try FakeProc()
        defer { proc.remove() }
        let check = try proc.write()
        #expect(throws: PeerRefusal.self) {
            try check.identify(PeerCredentials(pid: 8, uid: 0, gid: 0), pidfd: nil, by: confinement)
        }
    }
}
