import Testing

@testable import Netlink

@Suite("Backlog")
struct BacklogWatchTests {
    @Test("a burst is no backlog; full batches in a row are, until a second without one")
    func watch() {
        var watch = BacklogWatch()
        var now: UInt64 = 5_000_000_000
        /// Notes batches; the changes of `isBehind`.
        func note(_ batches: Bool..., after nanoseconds: UInt64 = 0) -> [Bool] {
            now += nanoseconds
            return batches.map { watch.note(isFull: $0, now: now) }
        }
        let burst = [Bool](repeating: true, count: BacklogWatch.fullBatchCount - 1)
        for _ in 0..<3 {
            for _ in burst { #expect(note(true) == [false]) }
            #expect(note(false) == [false])
        }
        for _ in burst { #expect(note(true) == [false]) }
        #expect(note(true, true) == [true, false])
        #expect(watch.isBehind)
        // A single full batch keeps it, a second of others ends it.
        #expect(note(false, true, after: BacklogWatch.calmNanoseconds - 1) == [false, false])
        #expect(note(false, after: BacklogWatch.calmNanoseconds - 1) == [false])
        #expect(note(false, after: 1) == [true])
        #expect(!watch.isBehind)
    }
}
