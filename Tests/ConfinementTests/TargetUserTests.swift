import Testing

@testable import Confinement

@Suite struct TargetUserTests {
    @Test("refuses root by name, by number and by every other name of uid 0", arguments: ["root", "0"])
    func refusesRoot(name: String) {
        let error = #expect(throws: ConfinementError.self) { try TargetUser.named(name) }
        #expect(error?.exitStatus == 2)
        #expect(error?.why.contains("it is root") == true)
        #expect(throws: ConfinementError.self) {
            try TargetUser(name: "toor", uid: 0, gid: 0, groups: [], home: "/", shell: "/bin/sh")
        }
    }

    @Test("finds a user by name and by number", arguments: ["nobody", "65534"])
    func finds(name: String) throws {
        let user = try TargetUser.named(name)
        #expect(user.name == "nobody")
        #expect(user.uid == 65534)
        #expect(user.groups == [user.gid])
    }

    @Test("refuses a user that does not exist", arguments: ["no such user", "4294967295", "-1", ""])
    func refusesUnknown(name: String) {
        let error = #expect(throws: ConfinementError.self) { try TargetUser.named(name) }
        #expect(
            error
                == ConfinementError(
                    "user \(name)", "there is no such user on this host",
                    "create it (adduser --system), or name another", exitStatus: 2))
    }
}
