import CAllocationCounter
import PacketHeaders
import Testing

@testable import Flow

@Suite struct FlowTableTests {
    private func tuple(_ number: Int) -> FiveTuple {
        FiveTuple(
            source: IPAddress(v4: 0xC612_0002), sourcePort: UInt16(number & 0xFFFF),
            destination: IPAddress(v4: 0xC612_0000 + UInt32(number >> 16)), destinationPort: 443, transport: .tcp)
    }

    @Test("answers as a dictionary does, through thousands of random insertions and removals")
    func twin() {
        var table = FlowTable<Int>(capacity: 512, placeholder: 0, hashKey: (3, 5))
        var twin: [FiveTuple: Int] = [:]
        var random = SystemRandomNumberGenerator()
        for step in 0..<20_000 {
            let key = tuple(Int.random(in: 0..<700, using: &random))
            if let slot = table.find(key) {
                let entry = table[slot]
                #expect(entry == twin[key])
                if step % 3 == 0 {
                    table.remove(slot)
                    twin[key] = nil
                } else if step % 7 == 0 {
                    table.move(slot, to: .decided)
                }
            } else {
                #expect(twin[key] == nil)
                let evictions = table.evictionCount
                var evicted: Int?
                if table.insert(key, step, group: UInt16(step % 8), evicting: { evicted = $0 }) != nil {
                    twin[key] = step
                    if table.evictionCount > evictions {
                        let gone = twin.first { $0.value == evicted }?.key
                        #expect(gone != nil)
                        if let gone { twin[gone] = nil }
                    }
                }
            }
            let count = table.count
            #expect(count == twin.count)
        }
    }

    @Test("evicts decided entries first, oldest first, then waiting ones, and never those that are being read")
    func eviction() throws {
        var table = FlowTable<Int>(capacity: 16, placeholder: -1, hashKey: (1, 2))
        for number in 0..<16 {
            let inserted = table.insert(tuple(number), number, group: UInt16(number), evicting: { _ in })
            let slot = try #require(inserted)
            if number < 2 { table.move(slot, to: .decided) }
            if number >= 4 { table.move(slot, to: .reading, deadline: UInt64(number)) }
        }
        var order: [Int] = []
        for number in 100..<105 {
            let slot = table.insert(tuple(number), number, group: UInt16(number)) { order.append($0) }
            if let slot { table.move(slot, to: .reading, deadline: UInt64(number)) }
        }
        #expect(order == [0, 1, 2, 3])
        let (refused, kept) = (table.find(tuple(104)), table.find(tuple(4)))
        #expect(refused == nil)
        #expect(kept != nil)
    }

    @Test("finds the entries of an owner as a list of them would, through random changes")
    func owners() {
        var table = FlowTable<Int>(capacity: 64, placeholder: 0, hashKey: (3, 5))
        var twin: [FiveTuple: UInt32] = [:]
        var random = SystemRandomNumberGenerator()
        for step in 0..<5000 {
            let key = tuple(Int.random(in: 0..<100, using: &random))
            if let slot = table.find(key) {
                if step % 3 == 0 {
                    table.remove(slot)
                    twin[key] = nil
                } else {
                    let owner = UInt32.random(in: 0..<5, using: &random)
                    table.setOwner(slot, owner)
                    twin[key] = owner
                }
            } else {
                var evicted: Int?
                let inserted = table.insert(key, step, group: UInt16(step % 8), evicting: { evicted = $0 })
                if evicted != nil { twin = twin.filter { table.find($0.key) != nil } }
                if inserted != nil { twin[key] = 0 }
            }
            let owner = UInt32(step % 5)
            var found: Set<FiveTuple> = []
            var next = table.firstOwned(by: owner)
            while let slot = next {
                found.insert(table.key(of: slot))
                next = table.nextOwned(after: slot)
            }
            let expected = owner == 0 ? [] : Set(twin.filter { $0.value == owner }.keys)
            #expect(found == expected)
        }
    }

    @Test("evicts no decided entry where it is told not to")
    func protected() throws {
        var table = FlowTable<Int>(capacity: 2, placeholder: 0, hashKey: (3, 5))
        for number in 0..<2 {
            let slot = table.insert(tuple(number), number, group: UInt16(number), evicting: { _ in })
            table.move(try #require(slot), to: .decided)
        }
        let refused = table.insert(tuple(2), 2, group: 2, mayEvictDecided: false, evicting: { _ in })
        #expect(refused == nil)
        let admitted = table.insert(tuple(2), 2, group: 2, evicting: { _ in })
        #expect(admitted != nil)
    }

    @Test("gives one group a quarter of the table and no more")
    func groupShare() {
        var table = FlowTable<Int>(capacity: 64, placeholder: 0, hashKey: (1, 2))
        var admitted = 0
        for number in 0..<64 where table.insert(tuple(number), number, group: 1, evicting: { _ in }) != nil {
            admitted += 1
        }
        #expect(admitted == 16)
        let other = table.insert(tuple(1000), 1, group: 2, evicting: { _ in })
        #expect(other != nil)
    }

    @Test("hands out expired entries by deadline")
    func expiry() throws {
        var table = FlowTable<Int>(capacity: 8, placeholder: 0, hashKey: (1, 2))
        for number in 1...2 {
            let inserted = table.insert(tuple(number), number, group: UInt16(number), evicting: { _ in })
            let slot = try #require(inserted)
            table.move(slot, to: .reading, deadline: UInt64(number * 10))
        }
        let early = table.expired(.reading, now: 9)
        #expect(early == nil)
        let due = table.expired(.reading, now: 10)
        let slot = try #require(due)
        let entry = table[slot]
        #expect(entry == 1)
        table.remove(slot)
        let none = table.expired(.reading, now: 19)
        #expect(none == nil)
        let second = table.expired(.reading, now: 20).map { table[$0] }
        #expect(second == 2)
    }

    @Test(
        "nothing is allocated once the table is made",
        .disabled(if: _isDebugAssertConfiguration(), "needs an optimised build: unspecialised generic code allocates"))
    func allocations() {
        var table = FlowTable<Int>(capacity: 64, placeholder: 0, hashKey: (1, 2))
        let flows = (0..<1000).map { number in
            FiveTuple(
                source: IPAddress(v4: 1), sourcePort: UInt16(number), destination: IPAddress(v6: 1, 2),
                destinationPort: 443, transport: .tcp)
        }
        var before: UInt64 = 0
        for (number, flow) in flows.enumerated() {
            // The first evictions let the runtime make its own tables.
            if number == 100 { before = allocation_count() }
            guard let slot = table.insert(flow, number, group: UInt16(number % 8), evicting: { _ in }) else { continue }
            table[slot] += 1
            table.move(slot, to: .reading, deadline: UInt64(number))
            table.move(slot, to: .decided)
            _ = table.find(flows[number / 2])
            _ = table.expired(.reading, now: .max)
        }
        let after = allocation_count()
        #expect(after == before)
        #expect(table.count == 64)
    }
}
