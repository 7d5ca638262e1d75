import Glibc
import Testing

@testable import DecisionLog

@Suite("RecordRing")
struct RecordRingTests {
    @Test("gives records back in order, over and over")
    func order() {
        let ring = RecordRing(capacity: 4)
        for number in 0..<100 as Range<UInt64> {
            ring.push(decision(number: 2 * number))
            ring.push(decision(number: 2 * number + 1))
            #expect(ring.pop()?.id == decision(number: 2 * number).id)
            #expect(ring.pop()?.id == decision(number: 2 * number + 1).id)
            #expect(ring.pop() == nil)
        }
    }

    @Test("counts what finds it full, and goes on")
    func full() {
        let ring = RecordRing(capacity: 3)
        #expect(ring.capacity == 4)
        for number in 0..<4 as Range<UInt64> { #expect(ring.push(decision(number: number))) }
        #expect(!ring.push(decision(number: 4)))
        #expect(!ring.push(decision(number: 5)))
        #expect(ring.lost == 2)
        #expect(ring.pop()?.id == decision(number: 0).id)
        #expect(ring.push(decision(number: 6)))
        #expect(ring.count == 4)
    }

    @Test("leaves half of its room to records that are not of a flood")
    func dispensable() {
        let ring = RecordRing(capacity: 4)
        #expect(ring.push(decision(number: 0), isDispensable: true))
        #expect(ring.push(decision(number: 1), isDispensable: true))
        #expect(!ring.push(decision(number: 2), isDispensable: true))
        #expect(ring.push(decision(number: 3)))
        #expect(ring.push(decision(number: 4)))
        #expect(ring.lost == 1)
    }

    @Test("loses nothing between two threads but what it counts")
    func threads() {
        let ring = RecordRing(capacity: 64)
        let total: UInt64 = 20_000
        let producer = TestThread {
            for number in 0..<total { ring.push(decision(number: number)) }
            // The end mark must arrive.
            while !ring.push(decision(number: total)) { sched_yield() }
        }
        var received: UInt64 = 0
        var last: UInt64?
        while last != total {
            guard let record = ring.pop() else {
                sched_yield()
                continue
            }
            let number = record.id.low & 0xFFFF_FFFF
            #expect(last.map { number > $0 } ?? true)
            last = number
            received += 1
        }
        producer.join()
        // Attempts to push the end mark into a full ring count as lost too.
        #expect(received + ring.lost >= total + 1)
        #expect(received <= total + 1)
    }

    @Test("drops what still waits when it goes")
    func deinitialisation() {
        weak var label: Label?
        do {
            let ring = RecordRing(capacity: 4)
            var record = decision()
            let kept = Label()
            label = kept
            record.policyRevision = kept.text
            ring.push(record)
        }
        #expect(label == nil)
    }

    private final class Label {
        let text = "0123456789ab"
    }
}
