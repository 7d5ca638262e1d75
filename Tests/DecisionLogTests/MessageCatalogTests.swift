import Glibc
import Testing

@testable import DecisionLog

@Suite("Message catalog")
struct MessageCatalogTests {
    private static let root = String(#filePath.dropLast("Tests/DecisionLogTests/MessageCatalogTests.swift".count))
    private static let path = root + "systemd/sallyport.catalog"

    @Test("explains every MESSAGE_ID that the code writes, and no other")
    func complete() throws {
        let written =
            EventKind.allCases.map { $0.messageID }
            + [DecisionMessageID.allowed, DecisionMessageID.refused, DecisionMessageID.inbound]
        #expect(Set(written).count == written.count)
        let text = try read(Self.path)
        let explained = text.split(separator: "\n").filter { $0.hasPrefix("-- ") }.map { String($0.dropFirst(3)) }
        #expect(explained.sorted() == written.sorted())
        for identifier in written {
            #expect(identifier.utf8.count == 32)
            #expect(identifier.allSatisfy { $0.isHexDigit && !$0.isUppercase })
        }
    }

    @Test("is what the manual lists, with every field of a record")
    func manual() throws {
        let manual = try read(Self.root + "docs/journal.md")
        for kind in EventKind.allCases {
            #expect(manual.contains("| `\(kind.rawValue)` | \(kind.priority) | `\(kind.messageID)` |"))
        }
        for identifier in [DecisionMessageID.allowed, DecisionMessageID.refused, DecisionMessageID.inbound] {
            #expect(manual.contains("`\(identifier)`"))
        }
        for field in RecordField.allCases { #expect(manual.contains("`\(field.journalName)`")) }
    }

    @Test(
        "is what journalctl takes", .enabled(if: access("/usr/bin/journalctl", X_OK) == 0, "needs journalctl (systemd)")
    )
    func compiles() throws {
        let root = try temporaryDirectory()
        let (status, output) = try shell(
            """
            mkdir -p \(root)/usr/lib/systemd/catalog \(root)/var/lib/systemd/catalog
            cp \(Self.path) \(root)/usr/lib/systemd/catalog/
            journalctl --root=\(root) --update-catalog && journalctl --root=\(root) --list-catalog
            status=$?
            rm -rf \(root)
            exit $status
            """)
        #expect(status == 0)
        #expect(
            output.split(separator: "\n").filter { $0.contains("Sallyport: ") }.count == EventKind.allCases.count + 3)
    }

    private func read(_ path: String) throws -> String {
        let (status, output) = try shell("cat \(path)")
        guard status == 0 else { throw TestFailure(output) }
        return output
    }
}
