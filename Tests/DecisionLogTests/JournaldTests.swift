import Glibc
import Identity
import Policy
import Testing

@testable import DecisionLog

/// Against a systemd-journald of the test's own (`Tests/EndToEnd/lib/journald.sh`).
@Suite(
    "journald",
    .enabled(
        if: getuid() == 0 && access("/lib/systemd/systemd-journald", X_OK) == 0,
        "needs root and systemd-journald (the package systemd)"), .serialized)
struct JournaldTests {
    private static let script =
        String(#filePath.dropLast("DecisionLogTests/JournaldTests.swift".count))
        + "EndToEnd/lib/journald.sh"

    @Test("finds one clean record made of hostile bytes, by strings and by journalctl")
    func hostile() throws {
        try withJournal("log-hostile") { socketPath, reader in
            let evil =
                "evil\nSALLYPORT_VERDICT=allow\u{0}MESSAGE=forged\u{1B}[2J" + String(repeating: "x", count: 300_000)
            var record = decision(host: evil)
            record.input.request = .init(method: "GET", path: evil, query: nil, url: nil, headers: [:])
            record.decision.policyReason = evil
            try write([record, decision(host: "next.example.com")], to: socketPath)
            let entries = try read(reader, "log-hostile")
            #expect(entries.count == 2)
            let entry = try #require(entries.first)
            #expect(entry.repeatedFields.isEmpty)
            #expect(entry[.verdict] == "deny")
            #expect(entry[.host]?.hasPrefix(#"evil\x0aSALLYPORT_VERDICT=allow\x00MESSAGE=forged\x1b[2Jxxx"#) == true)
            #expect(entry[.host]?.hasSuffix(#"\+299803"#) == true)
            #expect(entry.fields.values.allSatisfy { value in value.utf8.allSatisfy { $0 >= 0x20 } })
            let (_, strings) = try shell(
                "strings -n 4 $(\(Self.script) names log-hostile | sed -n 's/JOURNAL_DIRECTORY=//p')/*")
            let lines = strings.split(separator: "\n")
            #expect(lines.filter { $0 == "SALLYPORT_VERDICT=deny" }.count == 1)
            #expect(!lines.contains { $0.hasPrefix("SALLYPORT_VERDICT=allow") || $0.hasPrefix("MESSAGE=forged") })
            #expect(lines.filter { $0.hasPrefix("SALLYPORT_HOST=evil") }.count == 1)
        }
    }

    @Test("has every record of a burst, in order")
    func burst() throws {
        try withJournal("log-burst") { socketPath, reader in
            let records = (0..<3000).map { decision(allow: true, host: "h\($0).example.com", number: UInt64($0)) }
            try write(records, to: socketPath)
            #expect(try read(reader, "log-burst").map { $0[.host] } == records.map { $0.input.host })
        }
    }

    @Test("loses no record to a journald that crashes and comes back")
    func crash() throws {
        try withJournal("log-crash") { socketPath, reader in
            try write([decision(host: "before.example.com")], to: socketPath)
            _ = try read(reader, "log-crash")
            #expect(try shell("\(Self.script) kill log-crash").status == 0)
            var options = LogThread.Options()
            options.socketPath = socketPath
            let log = LogThread(options: options, ringCount: 1)
            let thread = TestThread { log.run() }
            log.rings[0].push(decision(host: "meanwhile.example.com"))
            while log.counters.waiting == 0 { sched_yield() }
            #expect(log.counters.journalError == "Connection refused")
            #expect(try shell("\(Self.script) start log-crash").status == 0)
            log.stop()
            thread.join()
            #expect(log.counters.lost == 0)
            #expect(
                try read(reader, "log-crash").map { $0[.host] } == ["before.example.com", "meanwhile.example.com"])
        }
    }

    @Test("takes events with their MESSAGE_ID, which the reader filters by")
    func events() throws {
        try withJournal("log-events") { socketPath, reader in
            var options = LogThread.Options()
            options.socketPath = socketPath
            let log = LogThread(options: options, ringCount: 1)
            log.event(.rulesTampered, message: "table removed", fields: ["TABLE": "inet sallyport"])
            log.event(.rulesRestored, message: "table back")
            log.stop()
            log.run()
            var query = JournalQuery()
            query.matches["MESSAGE_ID"] = EventKind.rulesTampered.messageID
            let entries = try read(reader, "log-events", query)
            #expect(entries.map { $0.fields["SALLYPORT_TABLE"] } == ["inet sallyport"])
            #expect(entries.map { $0.fields["PRIORITY"] } == ["2"])
        }
    }

    @Test("says that journalctl is not there, or what it complains of")
    func errors() {
        let trust = JournalTrust(confinedCgroups: [], requiresCgroup: false)
        #expect(throws: JournalError.cannotRun(program: "/nonexistent", errorNumber: ENOENT)) {
            try JournalReader(trust: trust, program: "/nonexistent").read(JournalQuery()) { _ in true }
        }
        var query = JournalQuery()
        query.since = "no such time"
        #expect(
            throws: JournalError.failed(
                program: "journalctl", status: 1, complaint: "Failed to parse timestamp: no such time")
        ) {
            try JournalReader(trust: trust).read(query) { _ in true }
        }
    }

    private func withJournal(_ name: String, _ body: (String, JournalReader) throws -> Void) throws {
        let (status, output) = try shell("\(Self.script) start \(name)")
        guard status == 0 else { throw TestFailure(output) }
        defer { _ = try? shell("\(Self.script) stop \(name)") }
        var source = JournalSource()
        source.namespace = name
        let reader = JournalReader(
            source: source, trust: JournalTrust(confinedCgroups: ["/sallyport.slice"], requiresCgroup: false))
        try body("/run/systemd/journal.\(name)/socket", reader)
    }

    private func write(_ records: [DecisionRecord], to socketPath: String) throws {
        var options = LogThread.Options()
        options.socketPath = socketPath
        let log = LogThread(options: options, ringCount: 1)
        for record in records { #expect(log.rings[0].push(record)) }
        log.stop()
        log.run()
        #expect(log.counters.lost == 0)
        #expect(log.counters.written == UInt64(records.count))
    }

    private func read(_ reader: JournalReader, _ name: String, _ query: JournalQuery = JournalQuery()) throws
        -> [JournalEntry]
    {
        #expect(try shell("\(Self.script) sync \(name)").status == 0)
        var entries: [JournalEntry] = []
        try reader.read(query) { entry in
            entries.append(entry)
            return true
        }
        return entries
    }
}
