import Glibc
import Testing

@testable import DecisionLog

@Suite("LogThread")
struct LogThreadTests {
    @Test("writes what queue threads push and what is told as an event, and ends when all is written")
    func writes() throws {
        let journal = try FakeJournal()
        var options = LogThread.Options()
        options.socketPath = journal.path
        let log = LogThread(options: options, ringCount: 2)
        let thread = TestThread { log.run() }
        log.rings[0].push(decision(allow: true, host: "a.example.com"))
        #expect(try value("SALLYPORT_HOST", journal) == "a.example.com")
        log.rings[1].push(decision(host: "b.example.com"))
        #expect(try value("SALLYPORT_HOST", journal) == "b.example.com")
        log.event(.policyLoaded, message: "policy loaded", fields: ["POLICY_REVISION": "0123456789ab"])
        #expect(try value("MESSAGE", journal) == "policy loaded")
        log.stop()
        thread.join()
        #expect(log.counters.written == 3)
        #expect(log.counters.lost == 0)
    }

    @Test("keeps records while nobody listens, and writes them in order once somebody does")
    func waitsForJournal() throws {
        let journal = try FakeJournal()
        let moved = journal.path + ".away"
        #expect(rename(journal.path, moved) == 0)
        var options = LogThread.Options()
        options.socketPath = journal.path
        let log = LogThread(options: options, ringCount: 1)
        let thread = TestThread { log.run() }
        for number in 0..<100 { log.rings[0].push(decision(allow: true, host: "h\(number).example.com")) }
        while log.counters.waiting < 100 { sched_yield() }
        #expect(log.counters.journalError == "No such file or directory")
        #expect(rename(moved, journal.path) == 0)
        for number in 0..<100 { #expect(try value("SALLYPORT_HOST", journal) == "h\(number).example.com") }
        log.stop()
        thread.join()
        #expect(log.counters.waiting == 0)
        #expect(log.counters.journalError == nil)
    }

    @Test("loses no record to a reader that is slower than the log")
    func slowReader() throws {
        let journal = try FakeJournal()
        var options = LogThread.Options()
        options.socketPath = journal.path
        options.folding.allowed = RecordFolder.Share(burst: 100_000, perSecond: 1)
        let log = LogThread(options: options, ringCount: 1)
        let thread = TestThread { log.run() }
        let producer = TestThread {
            for number in 0..<5_000 {
                while !log.rings[0].push(decision(allow: true, host: "h\(number).example.com")) { sched_yield() }
            }
        }
        for number in 0..<5_000 {
            let host = try value("SALLYPORT_HOST", journal)
            guard host == "h\(number).example.com" else {
                Issue.record("record \(number) is \(host ?? "missing")")
                break
            }
        }
        producer.join()
        log.stop()
        thread.join()
        #expect(log.counters.written == 5_000)
    }

    @Test("ends although nobody takes the records, and counts them")
    func stopsWithoutJournal() {
        var options = LogThread.Options()
        options.socketPath = "/nonexistent/socket"
        options.stopTimeout = .zero
        let log = LogThread(options: options, ringCount: 1)
        log.rings[0].push(decision())
        log.stop()
        log.run()
        #expect(log.counters.lostInSpool == 1)
    }

    private func value(_ name: String, _ journal: FakeJournal) throws -> String? {
        try journal.receiveFields().first { $0.name == name }?.value
    }
}
