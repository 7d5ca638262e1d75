import Glibc
import Testing

@testable import Confinement

@Suite(.enabled(if: ConfinedProcess.isPossible, "needs root and cgroup v2"))
struct ConfinementTests {
    private let confined = ConfinedProcess()

    @Test("passes the exit code of the program through", arguments: [0, 1, 42, 255])
    func passesExitCode(code: Int32) throws {
        #expect(try confined.run(["sh", "-c", "exit \(code)"]).status == code)
    }

    @Test("says that a program is missing as shells do")
    func missingProgram() throws {
        #expect(
            try confined.run(["no-such-program"])
                == .init(
                    output: "",
                    errors: "no-such-program: No such file or directory (check the name, its permissions and PATH)",
                    status: 127))
        #expect(try confined.run(["/etc/passwd"]).status == 126)
    }

    @Test("gives the agent the names of its user and nothing of the operator's session")
    func cleansEnvironment() throws {
        let user = try TargetUser(name: "bot", uid: 7, gid: 7, groups: [7], home: "/home/bot", shell: "/bin/sh")
        let environment = user.environment(from: [
            "PATH": "/bin", "HOME": "/root", "SSH_AUTH_SOCK": "/tmp/a", "SUDO_UID": "0", "NOTIFY_SOCKET": "/run/n",
            "TOKEN": "kept", "USER": "root",
        ])
        #expect(
            environment == [
                "PATH": "/bin", "HOME": "/home/bot", "USER": "bot", "LOGNAME": "bot", "SHELL": "/bin/sh",
                "TOKEN": "kept",
            ])
    }
}
