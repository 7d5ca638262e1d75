import Glibc
import Policy
import Testing

@testable import DecisionLog

@Suite("JournalWriter")
struct JournalWriterTests {
    private let second: UInt64 = 1_000_000_000

    @Test("counts what could not be kept, and says so once the journal takes records again")
    func reportsLost() throws {
        let journal = try FakeJournal()
        let away = journal.path + ".away"
        var writer = JournalWriter(
            socketPath: away, folding: RecordFolder.Limits(), spool: .init(records: 2, byteCount: 1 << 20))
        for number in 0..<5 { writer.write(decision(host: "h\(number)"), now: 0) { _ in } }
        #expect(writer.counters.lostInSpool == 3)
        _ = writer.flush(now: 0)
        writer.reportLost(now: 0, wall: 0)
        #expect(writer.counters.waiting == 2)
        rename(journal.path, away)
        defer { rename(away, journal.path) }
        let isMoving = writer.flush(now: second)
        #expect(!isMoving)
        writer.reportLost(now: second, wall: 0)
        #expect(try journal.receiveFields().first { $0.name == "SALLYPORT_HOST" }?.value == "h0")
        #expect(try journal.receiveFields().first { $0.name == "SALLYPORT_HOST" }?.value == "h1")
        let event = try journal.receiveFields()
        #expect(event.contains { $0 == ("MESSAGE_ID", EventKind.recordsLost.messageID) })
        #expect(event.contains { $0 == ("SALLYPORT_LOST", "3") })
        #expect(writer.counters.written == 3)
    }

    @Test("keeps the records of a quiet agent while another floods a journal that is gone")
    func starvation() throws {
        let journal = try FakeJournal()
        let away = journal.path + ".away"
        var folding = RecordFolder.Limits()
        folding.refused = .init(burst: 1000, perSecond: 1)
        var writer = JournalWriter(
            socketPath: away, folding: folding, spool: .init(records: 100, byteCount: 1 << 20))
        for number in 0..<500 { writer.write(decision(agent: "flood", host: "h\(number)"), now: 0) { _ in } }
        for number in 0..<10 { writer.write(decision(agent: "quiet", host: "q\(number)"), now: 0) { _ in } }
        rename(journal.path, away)
        defer { rename(away, journal.path) }
        var agents: [String?] = []
        while !writer.isIdle {
            // As much as the socket's queue takes, and one out of it.
            _ = writer.flush(now: second)
            agents.append(try journal.receiveFields().first { $0.name == "SALLYPORT_AGENT" }?.value)
        }
        while agents.count < 100 {
            agents.append(try journal.receiveFields().first { $0.name == "SALLYPORT_AGENT" }?.value)
        }
        #expect(writer.counters.written == 100)
        #expect(agents.filter { $0 == "quiet" }.count == 10)
        // In turn: the quiet agent does not wait behind the flood.
        #expect(agents.prefix(20).filter { $0 == "quiet" }.count == 10)
    }

    @Test("leaves out what the policy wants unlogged, and counts it")
    func unlogged() throws {
        let journal = try FakeJournal()
        var writer = JournalWriter(socketPath: journal.path, folding: RecordFolder.Limits())
        var record = decision(allow: true)
        record.decision.logging = .none
        writer.write(record, now: 0) { _ in Issue.record("published") }
        #expect(writer.counters.unlogged == 1)
        #expect(writer.counters.written == 0)
    }
}
