import Glibc
import Testing

@testable import DecisionLog

@Suite("JournalSocket")
struct JournalSocketTests {
    @Test("sends what is larger than a datagram as a sealed memory file")
    func large() throws {
        let journal = try FakeJournal()
        var socket = JournalSocket(path: journal.path)
        let small = Array("MESSAGE=small\n".utf8)
        #expect(socket.send(small) == .sent)
        let first = try journal.receive()
        #expect(first.bytes == small)
        #expect(!first.isSealed)
        // Above what net.core.wmem_max ever lets a datagram be here.
        let large = Array("MESSAGE=".utf8) + [UInt8](repeating: 0x61, count: 900_000) + [0x0A]
        var limited = JournalSocket(path: journal.path, sendBuffer: 4096)
        #expect(limited.send(large) == .sent)
        let second = try journal.receive()
        #expect(second.bytes == large)
        #expect(second.isSealed)
    }

    @Test("says that nobody is there, and finds whoever comes")
    func comes() throws {
        let journal = try FakeJournal()
        let away = journal.path + ".away"
        var socket = JournalSocket(path: away)
        #expect(socket.send([0x0A]) == .unavailable(ENOENT))
        #expect(rename(journal.path, away) == 0)
        #expect(socket.send([0x41, 0x0A]) == .sent)
        #expect(try journal.receive().bytes == [0x41, 0x0A])
        #expect(rename(away, journal.path) == 0)
    }

    @Test("says that it has to wait where the queue is full, and does not wait itself")
    func full() throws {
        let journal = try FakeJournal()
        var socket = JournalSocket(path: journal.path)
        var sent = 0
        var outcome = JournalSocket.Outcome.sent
        while outcome == .sent {
            outcome = socket.send([0x41, 0x0A])
            sent += 1
        }
        #expect(outcome == .busy)
        #expect(sent > 1)
        _ = try journal.receive()
        #expect(socket.send([0x42, 0x0A]) == .sent)
    }

    @Test("refuses a path that is no socket address")
    func badPath() {
        var socket = JournalSocket(path: String(repeating: "x", count: 108))
        #expect(socket.send([0x0A]) == .unavailable(ENAMETOOLONG))
        var empty = JournalSocket(path: "")
        #expect(empty.send([0x0A]) == .unavailable(ENAMETOOLONG))
    }
}
