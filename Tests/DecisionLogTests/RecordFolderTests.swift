import Identity
import Policy
import Testing

@testable import DecisionLog

@Suite("RecordFolder")
struct RecordFolderTests {
    private let second: UInt64 = 1_000_000_000

    @Test("writes the first of equal refusals at once and the rest as one when the window closes")
    func folds() {
        var folder = RecordFolder()
        #expect(admit(decision(second: 0), 0, &folder).count == 1)
        for step in 1...5 as ClosedRange<UInt64> {
            #expect(admit(decision(second: step), step * second, &folder).isEmpty)
        }
        #expect(close(9 * second, &folder).isEmpty)
        let closed = close(10 * second, &folder)
        #expect(closed.map { $0.repeats?.count } == [5])
        #expect(closed.first?.repeats?.first == decision(second: 1).id)
        #expect(closed.first?.repeats?.last == decision(second: 5).id)
        #expect(closed.first?.repeats?.isMixed == false)
    }

    @Test("goes on counting while repeats come, and forgets once they end")
    func nextWindow() {
        var folder = RecordFolder()
        _ = admit(decision(), 0, &folder)
        _ = admit(decision(), 1, &folder)
        #expect(close(10 * second, &folder).count == 1)
        #expect(admit(decision(), 11 * second, &folder).isEmpty)
        #expect(close(20 * second, &folder).map { $0.repeats?.count } == [1])
        #expect(close(30 * second, &folder).isEmpty)
        #expect(folder.nextClose == nil)
        #expect(admit(decision(), 31 * second, &folder).count == 1)
    }

    @Test("keeps refusals apart that differ in agent, session, host, port, reason, rule or request")
    func keys() {
        var folder = RecordFolder()
        var request = decision()
        request.input.request = .init(method: "GET", path: "/a", query: nil, url: nil, headers: [:])
        var otherRequest = request
        otherRequest.input.request?.path = "/b"
        var customer = decision()
        customer.input.customer = Customer(id: "acme", session: "s1")
        var otherSession = decision()
        otherSession.input.customer = Customer(id: "acme", session: "s2")
        for record in [
            decision(), decision(agent: "other"), decision(host: "b.example.com"), decision(host: nil),
            decision(port: 444), decision(reason: .noName), decision(rule: "default"), request, otherRequest,
            customer, otherSession,
        ] {
            #expect(admit(record, 0, &folder).count == 1)
        }
    }

    @Test("writes every allowed decision while the agent is within its share, and folds past it")
    func allowed() {
        var folder = RecordFolder(limits: limits(refused: 0, allowed: 3))
        for _ in 0..<3 { #expect(admit(decision(allow: true), 0, &folder).count == 1) }
        for _ in 0..<4 { #expect(admit(decision(allow: true), 0, &folder).isEmpty) }
        #expect(admit(decision(allow: true, agent: "other"), 0, &folder).count == 1)
        #expect(close(10 * second, &folder).map { $0.repeats?.count } == [4])
    }

    @Test("folds refusals that differ once the agent's share is used up, and names no destination for them")
    func mixed() throws {
        var folder = RecordFolder(limits: limits(refused: 2, allowed: 0))
        for number in 0..<100 {
            let written = admit(decision(host: "h\(number).example.com"), 0, &folder)
            #expect(written.count == (number < 2 ? 1 : 0))
        }
        #expect(admit(decision(agent: "other"), 0, &folder).count == 1)
        let closed = close(10 * second, &folder)
        #expect(closed.map { $0.repeats?.count } == [98])
        var bytes: [UInt8] = []
        RecordFormat.appendJournal(try #require(closed.first), to: &bytes)
        let fields = try NativeProtocol.parse(bytes)
        #expect(!fields.contains { $0.name == "SALLYPORT_HOST" || $0.name == "SALLYPORT_ADDRESS" })
        #expect(fields.first { $0.name == "SALLYPORT_REPEATS" }?.value == "98")
        #expect(
            fields.first?.value == "deny bot -> several destinations (policy, stage hello, rule web), 98 more in 1 s")
    }

    @Test("refills a share with time")
    func refill() {
        var folder = RecordFolder(limits: limits(refused: 1, allowed: 0))
        #expect(admit(decision(host: "a"), 0, &folder).count == 1)
        #expect(admit(decision(host: "b"), 0, &folder).isEmpty)
        #expect(admit(decision(host: "c"), second / 10, &folder).count == 1)
    }

    @Test("counts each decision exactly once, in records of bounded number, whatever comes")
    func twin() {
        var limits = RecordFolder.Limits()
        limits.keysPerAgent = 8
        limits.keys = 20
        limits.refused = .init(burst: 30, perSecond: 1)
        limits.allowed = .init(burst: 30, perSecond: 1)
        var folder = RecordFolder(limits: limits)
        var random = DecisionIDSource(seed: 42)
        var counted: UInt64 = 0
        var written = 0
        let count = { (records: [DecisionRecord]) in
            written += records.count
            counted += records.reduce(0) { $0 + ($1.repeats?.count ?? 1) }
        }
        let total: UInt64 = 20_000
        for number in 0..<total {
            let bits = random.next(nanoseconds: 0).low
            let now = number * second / 100
            count(
                admit(
                    decision(
                        allow: bits & 1 == 0, agent: "agent\(bits >> 1 & 3)", host: "h\(bits >> 3 & 63)",
                        second: number / 100, number: number), now, &folder))
            count(close(now, &folder))
        }
        var rest: [DecisionRecord] = []
        folder.closeAll { rest.append($0) }
        count(rest)
        #expect(counted == total)
        #expect(UInt64(written) < total / 4)
        #expect(folder.nextClose == nil)
    }

    private func limits(refused: Int, allowed: Int) -> RecordFolder.Limits {
        var limits = RecordFolder.Limits()
        limits.refused = .init(burst: refused, perSecond: 10)
        limits.allowed = .init(burst: allowed, perSecond: 10)
        return limits
    }

    private func admit(_ record: DecisionRecord, _ now: UInt64, _ folder: inout RecordFolder) -> [DecisionRecord] {
        var written: [DecisionRecord] = []
        folder.admit(record, now: now) { written.append($0) }
        return written
    }

    private func close(_ now: UInt64, _ folder: inout RecordFolder) -> [DecisionRecord] {
        var written: [DecisionRecord] = []
        folder.close(at: now) { written.append($0) }
        return written
    }
}
