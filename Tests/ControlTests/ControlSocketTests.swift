import Glibc
import Testing

@testable import Control

@Suite("ControlSocket")
struct ControlSocketTests {
    @Test("replaces the socket of a daemon that is gone")
    func stale() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/socket"
        // Bound and never listening: a child that another test forks right now may hold a copy for a moment.
        let gone = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = try #require(SocketAddress(path))
        #expect(address.with { bind(gone, $0, $1) } == 0)
        close(gone)
        let second = try ControlSocket.listen(at: path)
        defer { close(second.descriptor) }
        close(try connect(path))
    }

    @Test("does not replace a socket that somebody listens at")
    func inUse() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/socket"
        let first = try ControlSocket.listen(at: path)
        defer { close(first.descriptor) }
        #expect(throws: ControlError.inUse(path: path)) { close(try ControlSocket.listen(at: path).descriptor) }
        close(try connect(path))
    }

    @Test("does not touch a file that is no socket")
    func otherFile() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/other"
        close(open(path, O_CREAT | O_WRONLY, 0o600))
        #expect(throws: ControlError.notASocket(path: path)) { close(try ControlSocket.listen(at: path).descriptor) }
        #expect(access(path, F_OK) == 0)
    }

    @Test("says which path is too long or cannot be made")
    func badPath() {
        let long = "/tmp/" + String(repeating: "x", count: 103)
        #expect(throws: ControlError.pathTooLong(path: long)) { close(try ControlSocket.listen(at: long).descriptor) }
        #expect(
            throws: ControlError.system(path: "/nonexistent/a", call: "mkdir", reason: "No such file or directory")
        ) { close(try ControlSocket.listen(at: "/nonexistent/a/socket").descriptor) }
    }

    @Test("lets everybody connect: who may ask is decided by what the kernel says of them")
    func rights() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/socket"
        let socket = try ControlSocket.listen(at: path)
        defer { close(socket.descriptor) }
        var facts = stat()
        #expect(lstat(path, &facts) == 0)
        #expect(facts.st_mode & 0o777 == 0o666)
    }
}
