import Testing

@testable import DecisionLog

@Suite("DecisionID")
struct DecisionIDTests {
    @Test("is a UUID of version 7 with the milliseconds in front")
    func layout() {
        let id = DecisionID(nanoseconds: 0x0190_0000_0000 * 1_000_000 + 500_000, random: .max)
        #expect(id.description == "01900000-0000-7800-bfff-ffffffffffff")
    }

    @Test("sorts by time as bytes and as text")
    func order() {
        var source = DecisionIDSource(seed: 7)
        var ids: [DecisionID] = []
        for step in 0..<1000 { ids.append(source.next(nanoseconds: 1_800_000_000_000_000_000 + UInt64(step) * 1000)) }
        #expect(ids == ids.sorted())
        #expect(ids.map { $0.description } == ids.map { $0.description }.sorted())
        #expect(Set(ids).count == 1000)
    }

    @Test("differs for decisions of one moment and between threads")
    func unique() {
        var first = DecisionIDSource(seed: 1)
        var second = DecisionIDSource(seed: 2)
        var ids: Set<DecisionID> = []
        for _ in 0..<10_000 {
            ids.insert(first.next(nanoseconds: 5))
            ids.insert(second.next(nanoseconds: 5))
        }
        #expect(ids.count == 20_000)
    }

    @Test("comes back from its text, and tells its time to a quarter of a microsecond")
    func roundTrip() throws {
        let time: UInt64 = 1_800_000_000_123_456_789
        let id = DecisionID(nanoseconds: time, random: 0x1234_5678_9ABC_DEF0)
        #expect(DecisionID(id.description) == id)
        #expect(DecisionID(id.description.uppercased()) == id)
        #expect(time - id.nanoseconds < 250)
    }

    @Test(
        "takes nothing else for an id",
        arguments: [
            "", "01900000-0000-7800-bfff-fffffffffff", "01900000-0000-7800-bfff-ffffffffffffa",
            "01900000-0000-4800-bfff-ffffffffffff", "01900000-0000-7800-ffff-ffffffffffff",
            "01900000-0000-7800-bfff-fffffffffffg", "%1900000-0000-7800-bfff-ffffffffffff",
        ])
    func rejects(text: String) {
        #expect(DecisionID(text) == nil)
    }
}
