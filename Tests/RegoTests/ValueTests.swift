import Testing

@testable import Rego

/// OPA's order of values, written down naively.
private func naiveOrder(_ a: RegoValue, _ b: RegoValue) -> Int {
    func kind(_ value: RegoValue) -> Int {
        switch value {
        case .null: 0
        case .boolean: 1
        case .number: 2
        case .string: 3
        case .array: 4
        case .object: 5
        case .set: 6
        }
    }
    func lists(_ a: [RegoValue], _ b: [RegoValue]) -> Int {
        for (x, y) in zip(a, b) {
            let order = naiveOrder(x, y)
            if order != 0 { return order }
        }
        return a.count - b.count
    }
    if kind(a) != kind(b) { return kind(a) - kind(b) }
    switch (a, b) {
    case (.boolean(let x), .boolean(let y)): return (x ? 1 : 0) - (y ? 1 : 0)
    case (.number(let x), .number(let y)):
        let (m, n) = (Double(x) ?? 0, Double(y) ?? 0)
        return m < n ? -1 : m > n ? 1 : 0
    case (.string(let x), .string(let y)):
        let (m, n) = (Array(x.utf8), Array(y.utf8))
        return m == n ? 0 : m.lexicographicallyPrecedes(n) ? -1 : 1
    case (.array(let x), .array(let y)): return lists(x, y)
    case (.set(let x), .set(let y)): return lists(naiveSet(x), naiveSet(y))
    case (.object(let x), .object(let y)):
        return lists(naivePairs(x).flatMap { [$0.key, $0.value] }, naivePairs(y).flatMap { [$0.key, $0.value] })
    default: return 0
    }
}

private func naiveSet(_ elements: [RegoValue]) -> [RegoValue] {
    var result: [RegoValue] = []
    for element in elements where !result.contains(where: { naiveOrder($0, element) == 0 }) { result.append(element) }
    return result.sorted { naiveOrder($0, $1) < 0 }
}

private func naivePairs(
    _ pairs: [(key: RegoValue, value: RegoValue)]
) -> [(key: RegoValue, value: RegoValue)] {
    var result: [(key: RegoValue, value: RegoValue)] = []
    for pair in pairs {
        if let place = result.firstIndex(where: { naiveOrder($0.key, pair.key) == 0 }) {
            result[place].value = pair.value
        } else {
            result.append(pair)
        }
    }
    return result.sorted { naiveOrder($0.key, $1.key) < 0 }
}

private func randomValue(_ chance: inout Chance, depth: Int) -> RegoValue {
    func list() -> [RegoValue] {
        (0..<chance.below(depth == 0 ? 24 : 4)).map { _ in randomValue(&chance, depth: depth + 1) }
    }
    switch chance.below(depth > 2 ? 5 : 9) {
    case 0: return .null
    case 1: return .boolean(chance.below(2) == 0)
    case 2: return .number(["0", "1", "1.0", "1e0", "-2", "2.5", "25e-1", "100", "1e2", "-0.5", "3"][chance.below(11)])
    case 3: return .number(String(chance.below(40) - 20))
    case 4: return .string(["", "a", "b", "ab", "é", "e\u{301}", "z", "日本", "aa"][chance.below(9)])
    case 5: return .array(list())
    case 6: return .set(list())
    default: return .object(list().map { ($0, randomValue(&chance, depth: depth + 1)) })
    }
}

@Suite struct ValueTests {
    @Test func ordersAsTheNaiveTwin() {
        var chance = Chance(1)
        let arena = Arena()
        let samples = (0..<220).map { _ in randomValue(&chance, depth: 0) }
        let values = samples.map { arena.make($0) }
        for (x, a) in zip(samples, values) {
            for (y, b) in zip(samples, values) {
                let order = Value.compare(a, b)
                #expect(order.signum() == naiveOrder(x, y).signum(), "\(x.json) against \(y.json)")
                #expect(Value.equal(a, b) == (order == 0), "\(x.json) against \(y.json)")
                if order == 0 { #expect(a.hash == b.hash, "\(x.json) against \(y.json)") }
            }
        }
    }

    @Test func findsMembersAsTheNaiveTwin() {
        var chance = Chance(2)
        for _ in 0..<150 {
            let arena = Arena(capacity: 1024)
            let elements = (0..<chance.below(40)).map { _ in randomValue(&chance, depth: 2) }
            let set = arena.set(elements.map { arena.make($0) })
            let object = arena.object(elements.enumerated().map { (arena.make($0.element), Value($0.offset)) })
            let naive = naiveSet(elements)
            #expect(set.count == naive.count)
            #expect(object.count == naive.count)
            for candidate in elements + (0..<10).map({ _ in randomValue(&chance, depth: 2) }) {
                let key = arena.make(candidate)
                let place = naive.firstIndex { naiveOrder($0, candidate) == 0 }
                #expect(set.place(of: key) == place ?? -1)
                // Of equal keys the last one's value counts.
                let last = elements.lastIndex { naiveOrder($0, candidate) == 0 }
                #expect(object.lookup(key).isDefined == (last != nil))
                if let last { #expect(object.lookup(key).integer == last) }
            }
        }
    }

    @Test func copiesAreEqualAndOutliveTheirOrigin() {
        var chance = Chance(3)
        let target = Arena()
        var copies: [(RegoValue, Value)] = []
        for _ in 0..<60 {
            let arena = Arena(capacity: 1024)
            let sample = randomValue(&chance, depth: 0)
            copies.append((sample, target.copy(arena.make(sample))))
        }
        for (sample, copy) in copies { #expect(RegoValue(copy) == sample) }
    }

    @Test func forgetsEverythingAtAReset() {
        let arena = Arena(capacity: 1024)
        for _ in 0..<3 {
            _ = arena.array((0..<5000).map { Value($0) })
            #expect(arena.used > 5000 * 16)
            arena.reset()
            #expect(arena.used == 0)
        }
    }

    @Test func saysWhenAValueIsTooDeep() {
        let arena = Arena()
        var value = Value.null
        for _ in 0..<RegoLimits.maximumValueDepth { value = arena.array([value]) }
        #expect(!arena.isTooDeep)
        _ = arena.array([value])
        #expect(arena.isTooDeep)
    }

    @Test func accessorsAreBounded() {
        let arena = Arena()
        let array = arena.array([Value(1)])
        #expect(array.element(1).isUndefined)
        #expect(array.element(-1).isUndefined)
        #expect(Value(1).element(0).isUndefined)
        #expect(Value.null.count == 0)
        #expect(arena.string("x").lookup(Value(0)).isUndefined)
    }
}
