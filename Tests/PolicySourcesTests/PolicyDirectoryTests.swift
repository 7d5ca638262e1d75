import Glibc
import Testing

@testable import PolicySources

@Suite struct PolicyDirectoryTests {
    private func problems(_ path: String) -> String {
        do throws(PolicyLoadError) {
            _ = try PolicyDirectory.read(path)
            return ""
        } catch {
            return error.description
        }
    }

    @Test("finds modules, tests and data in every directory, in the order of their names")
    func finds() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        for name in [
            "b.rego", "a.rego", "sub/c.rego", "a_test.rego", "sub/x_test.rego", "data.yaml", "sub/data.json",
            "sub/deep/data.yml", "notes.txt", "other.json", "schema/input.schema.json", ".hidden.rego", ".git/x.rego",
        ] {
            try directory.write(name, to: name)
        }
        let read = try PolicyDirectory.read(directory.path)
        #expect(read.modules.map(\.name) == ["a.rego", "b.rego", "sub/c.rego"])
        #expect(read.tests.map(\.name) == ["a_test.rego", "sub/x_test.rego"])
        #expect(read.data.map(\.name) == ["data.yaml", "sub/data.json", "sub/deep/data.yml"])
        #expect(read.modules.allSatisfy { $0.bytes == Array($0.name.utf8) })
        #expect(read.modules.first.map(read.path(of:)) == "\(directory.path)/a.rego")
    }

    @Test("follows symbolic links to files and directories, as mounted configuration has them")
    func symbolicLinks() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try directory.write("x", to: "..2026/egress.rego")
        #expect(symlink("..2026", "\(directory.path)/..data") == 0)
        #expect(symlink("..data/egress.rego", "\(directory.path)/egress.rego") == 0)
        #expect(try PolicyDirectory.read(directory.path).modules.map(\.name) == ["egress.rego"])
    }

    @Test("a directory without a policy, or none at all, says what to do")
    func absent() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try directory.write("{}", to: "data.json")
        try directory.write("package x", to: "only_test.rego")
        #expect(
            problems(directory.path)
                == "\(directory.path): no policy in it: no file ends in .rego but tests (put your policy there)")
        #expect(
            problems("/nonexistent")
                == "/nonexistent: cannot be read: No such file or directory (create it, or correct policy.directory in the "
                + "configuration)")
        #expect(
            problems("\(directory.path)/data.json")
                == "\(directory.path)/data.json: cannot be read: Not a directory (name the directory that it is in)")
    }

    @Test("what cannot be read is named, all of it")
    func unreadable() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        #expect(mkfifo("\(directory.path)/a.rego", 0o600) == 0)
        #expect(symlink("missing", "\(directory.path)/b.rego") == 0)
        #expect(
            problems(directory.path).split(separator: "\n").map(String.init) == [
                "\(directory.path)/a.rego: not an ordinary file (remove or rename it)",
                "\(directory.path)/b.rego: cannot be read: No such file or directory (create it, or correct policy.directory "
                    + "in the configuration)",
            ])
    }

    @Test("a huge file and a loop of links end")
    func bounds() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try directory.write("", to: "huge.rego")
        #expect(truncate("\(directory.path)/huge.rego", 33 << 20) == 0)
        #expect(problems(directory.path) == "\(directory.path)/huge.rego: larger than 32 MiB (is this the right file?)")
        try directory.remove("huge.rego")
        #expect(symlink(".", "\(directory.path)/loop") == 0)
        #expect(problems(directory.path).contains("is a symbolic link a loop?"))
    }
}
