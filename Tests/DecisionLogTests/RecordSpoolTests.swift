import Testing

@testable import DecisionLog

@Suite("RecordSpool")
struct RecordSpoolTests {
    @Test("serves agents in turn, each in order")
    func turns() {
        var spool = RecordSpool()
        for number in 0..<3 as Range<UInt8> { #expect(spool.append([0, number], agent: "a") == nil) }
        for number in 0..<2 as Range<UInt8> { #expect(spool.append([1, number], agent: "b") == nil) }
        #expect(drain(&spool) == [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2]])
        #expect(spool.byteCount == 0)
    }

    @Test("makes the one that holds most lose its newest record when it is full")
    func full() {
        var spool = RecordSpool(limits: .init(records: 4, byteCount: 100))
        for number in 0..<4 as Range<UInt8> { _ = spool.append([0, number], agent: "flood") }
        #expect(spool.append([0, 4], agent: "flood") == "flood")
        #expect(spool.append([1, 0], agent: "quiet") == "flood")
        #expect(spool.append([1, 1], agent: "quiet") == "flood")
        #expect(spool.append([1, 2], agent: "quiet") == "quiet")
        #expect(drain(&spool) == [[0, 0], [1, 0], [0, 1], [1, 1]])
    }

    @Test("is bounded in bytes too")
    func bytes() {
        var spool = RecordSpool(limits: .init(records: 100, byteCount: 10))
        #expect(spool.append([UInt8](repeating: 0, count: 11), agent: "a") == "a")
        #expect(spool.append([UInt8](repeating: 0, count: 10), agent: "a") == nil)
        #expect(spool.append([1], agent: "b") == "a")
        #expect(drain(&spool) == [[1]])
    }

    private func drain(_ spool: inout RecordSpool) -> [[UInt8]] {
        var result: [[UInt8]] = []
        while let next = spool.first() {
            result.append(next)
            spool.removeFirst()
        }
        return result
    }
}
