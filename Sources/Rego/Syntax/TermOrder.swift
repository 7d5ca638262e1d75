/// OPA's order of terms: by kind, then by content. Sets and objects are written in it.
enum TermOrder {
    private static func rank(_ term: Term) -> Int {
        switch term.value {
        case .null: 0
        case .boolean: 1
        case .number: 2
        case .string: 3
        case .variable: 4
        case .reference: 5
        case .array: 6
        case .object: 7
        case .set: 8
        case .arrayComprehension: 9
        case .objectComprehension: 10
        case .setComprehension: 11
        case .call: 12
        case .template: 13
        }
    }

    static func compare(_ a: Term, _ b: Term) -> Int {
        let (x, y) = (rank(a), rank(b))
        if x != y { return x < y ? -1 : 1 }
        switch (a.value, b.value) {
        case (.boolean(let x), .boolean(let y)): return x == y ? 0 : y ? -1 : 1
        case (.number(let x), .number(let y)):
            return x == y ? 0 : Decimal.compare(Decimal(Array(x.utf8)), Decimal(Array(y.utf8)))
        case (.string(let x), .string(let y)), (.variable(let x), .variable(let y)): return compare(x, y)
        case (.reference(let x), .reference(let y)), (.array(let x), .array(let y)), (.call(let x), .call(let y)):
            return compare(x, y)
        case (.set(let x), .set(let y)): return compare(sorted(x), sorted(y))
        case (.object(let x), .object(let y)):
            let (left, right) = (sorted(x), sorted(y))
            for (l, r) in zip(left, right) {
                let keys = compare(l.key, r.key)
                if keys != 0 { return keys }
                let values = compare(l.value, r.value)
                if values != 0 { return values }
            }
            return x.count == y.count ? 0 : x.count < y.count ? -1 : 1
        case (.null, .null): return 0
        default: return compare(TermPrinter.text(a), TermPrinter.text(b))
        }
    }

    private static func compare(_ a: String, _ b: String) -> Int {
        a.utf8.elementsEqual(b.utf8) ? 0 : a.utf8.lexicographicallyPrecedes(b.utf8) ? -1 : 1
    }

    private static func compare(_ a: [Term], _ b: [Term]) -> Int {
        for (x, y) in zip(a, b) {
            let order = compare(x, y)
            if order != 0 { return order }
        }
        return a.count == b.count ? 0 : a.count < b.count ? -1 : 1
    }

    /// The elements of a set, in order.
    static func sorted(_ terms: [Term]) -> [Term] {
        terms.count < 2 ? terms : terms.sorted { compare($0, $1) < 0 }
    }

    /// The pairs of an object, in order of their keys.
    static func sorted(_ pairs: [(key: Term, value: Term)]) -> [(key: Term, value: Term)] {
        pairs.count < 2 ? pairs : pairs.sorted { compare($0.key, $1.key) < 0 }
    }
}
