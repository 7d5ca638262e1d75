import PacketHeaders
import Testing

@testable import Flow

@Suite("NameBindings")
struct NameBindingsTests {
    private static let second: UInt64 = 1_000_000_000

    private func address(_ last: UInt32) -> IPAddress { IPAddress(v4: 0xC612_0000 | last) }

    private func limits(floor: UInt32 = 60, grace: UInt32 = 100, use: UInt32 = 1000, pairs: Int = 8)
        -> NameBindings.Limits
    {
        var limits = NameBindings.Limits()
        limits.floorSeconds = floor
        limits.graceSeconds = grace
        limits.useSeconds = use
        limits.pairsPerAgent = pairs
        return limits
    }

    @Test("binds for one agent alone, sorted, each name once")
    func bind() {
        let bindings = NameBindings(limits: limits())
        for name in ["b.test", "a.test", "b.test"] {
            bindings.bind(name, to: address(1), agent: "one", timeToLive: 60, now: 0)
        }
        #expect(bindings.names(of: address(1), agent: "one", now: 1) == ["a.test", "b.test"])
        #expect(bindings.names(of: address(2), agent: "one", now: 1) == [])
        #expect(bindings.names(of: address(1), agent: "two", now: 1) == [])
        #expect(bindings.changeCount == 3)
    }

    @Test("a binding lasts for its time to live, at least the floor, and the grace")
    func expiry() {
        let bindings = NameBindings(limits: limits())
        bindings.bind("zero.test", to: address(1), agent: "a", timeToLive: 0, now: 0)
        bindings.bind("long.test", to: address(2), agent: "a", timeToLive: 300, now: 0)
        bindings.bind("ages.test", to: address(3), agent: "a", timeToLive: .max, now: 0)
        #expect(bindings.all(now: 160 * Self.second - 1).count == 3)
        #expect(bindings.names(of: address(1), agent: "a", now: 160 * Self.second) == [])
        #expect(bindings.all(now: 400 * Self.second - 1).count == 2)
        #expect(bindings.names(of: address(2), agent: "a", now: 400 * Self.second) == [])
        // An endless time to live ends where use would.
        #expect(bindings.names(of: address(3), agent: "a", now: 1100 * Self.second) == [])
    }

    @Test("use keeps a binding for the grace, but not for ever")
    func use() {
        let bindings = NameBindings(limits: limits())
        bindings.bind("a.test", to: address(1), agent: "a", timeToLive: 0, now: 0)
        for time in stride(from: UInt64(100), to: 1000, by: 90) {
            #expect(bindings.names(of: address(1), agent: "a", now: time * Self.second) == ["a.test"])
        }
        #expect(bindings.names(of: address(1), agent: "a", now: 1000 * Self.second) == [])
    }

    @Test("a shorter answer takes nothing from an earlier one, and one name's end leaves the other")
    func several() {
        let bindings = NameBindings(limits: limits())
        bindings.bind("a.test", to: address(1), agent: "a", timeToLive: 500, now: 0)
        bindings.bind("a.test", to: address(1), agent: "a", timeToLive: 0, now: 0)
        bindings.bind("b.test", to: address(1), agent: "a", timeToLive: 0, now: 0)
        #expect(bindings.names(of: address(1), agent: "a", now: 200 * Self.second) == ["a.test"])
    }

    @Test("one agent's flood pushes out its own oldest bindings, nobody else's")
    func bound() {
        let bindings = NameBindings(limits: limits(pairs: 8))
        bindings.bind("mine.test", to: address(1), agent: "quiet", timeToLive: 60, now: 0)
        for number in UInt32(0)..<1000 {
            bindings.bind("n\(number).test", to: address(number % 3), agent: "loud", timeToLive: 60, now: 0)
        }
        #expect(bindings.names(of: address(1), agent: "quiet", now: 1) == ["mine.test"])
        let left = bindings.all(now: 1).filter { $0.agent == "loud" }.map(\.name)
        #expect(Set(left) == Set((992..<1000).map { "n\($0).test" }))
    }

    @Test("bindings that come and go leave no more behind than there may be")
    func turnover() {
        let bindings = NameBindings(limits: limits(pairs: 8))
        for round in UInt64(0)..<200 {
            let now = round * 1000 * Self.second
            bindings.bind("a.test", to: address(1), agent: "a", timeToLive: 0, now: now)
            #expect(bindings.names(of: address(1), agent: "a", now: now + 500 * Self.second) == [])
        }
        for number in UInt32(0)..<8 {
            bindings.bind(
                "n\(number).test", to: address(number), agent: "a", timeToLive: 60, now: 300_000 * Self.second)
        }
        #expect(bindings.all(now: 300_001 * Self.second).count == 8)
    }

    @Test("what an earlier run knew counts as long as it did there")
    func handedOn() {
        let first = NameBindings(limits: limits())
        first.bind("a.test", to: address(1), agent: "a", timeToLive: 60, now: 0)
        first.bind("b.test", to: IPAddress(v6: 1, 2), agent: "b", timeToLive: 900, now: 0)
        let second = NameBindings(limits: limits())
        for binding in first.all(now: 10) { second.keep(binding, now: 200 * Self.second) }
        #expect(second.all(now: 200 * Self.second) == first.all(now: 200 * Self.second))
        #expect(second.all(now: 200 * Self.second).map(\.name) == ["b.test"])
    }

    @Test("counts distinct names in the last minute, by agent")
    func rate() {
        let bindings = NameBindings()
        for number in UInt32(1)...10 {
            #expect(bindings.ask("n\(number).test", agent: "a", now: 0) == number)
        }
        #expect(bindings.ask("n1.test", agent: "a", now: 59 * Self.second) == 10)
        #expect(bindings.ask("n1.test", agent: "b", now: 59 * Self.second) == 1)
        // Half of the minute before lies in the last sixty seconds.
        #expect(bindings.ask("n1.test", agent: "a", now: 90 * Self.second) == 6)
        #expect(bindings.ask("n1.test", agent: "a", now: 200 * Self.second) == 1)
    }

    @Test("an address has a bounded number of names: the one that ends first goes")
    func crowdedAddress() {
        let bindings = NameBindings()
        let address = IPAddress(v4: 0xC612_0001)
        for number in 0..<600 {
            bindings.bind("n\(number).example", to: address, agent: "bot", timeToLive: 60 + UInt32(number), now: 0)
        }
        let names = bindings.names(of: address, agent: "bot", now: 1)
        #expect(names.count == 512)
        #expect(names.contains("n599.example") && !names.contains("n0.example"))
        bindings.bind("other.example", to: IPAddress(v4: 0xC612_0002), agent: "bot", timeToLive: 60, now: 1)
        #expect(bindings.all(of: "bot", now: 1).count == 513)
        #expect(bindings.all(of: "nobody", now: 1).isEmpty)
    }
}
