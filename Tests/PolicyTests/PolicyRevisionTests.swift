import Testing

@testable import Policy

@Suite struct PolicyRevisionTests {
    @Test("is the digest of names and contents, in the order of the names")
    func digest() {
        let first = PolicyRevision.digest(of: [("a", [1]), ("b", [2, 3])])
        // printf '\0\0\0\0\0\0\0\1a\0\0\0\0\0\0\0\1\1\0\0\0\0\0\0\0\1b\0\0\0\0\0\0\0\2\2\3' | sha256sum
        #expect(first == "1c832e553d30")
        #expect(first == PolicyRevision.digest(of: [("b", [2, 3]), ("a", [1])]))
    }

    @Test(
        "any change is another revision",
        arguments: [
            [("a", [1]), ("b", [2])], [("a", [1, 2]), ("b", [3])], [("ab", [1]), ("", [2, 3])], [("a", [1])],
            [("a", [1]), ("c", [2, 3])],
        ] as [[(String, [UInt8])]])
    func changes(files: [(String, [UInt8])]) {
        let files = files.map { (name: $0.0, bytes: $0.1) }
        #expect(PolicyRevision.digest(of: files) != PolicyRevision.digest(of: [("a", [1]), ("b", [2, 3])]))
    }
}
