/// Whether two simple patterns (`.`, `[a-z]`, characters, each with `*` or `+`) have a text in common
/// (`regex.globs_match`).
enum GlobIntersection {
    private struct Token {
        /// Nil for any character.
        var set: [ClosedRange<UInt32>]?
        /// 0 for once, `*` or `+`.
        var flag: UnicodeScalar?
    }

    static func intersects(_ a: String, _ b: String, _ machine: Machine) throws(BuiltinFailure) -> Bool {
        let x = try tokens(a)
        let y = try tokens(b)
        try machine.charge(1 + (x.count + 1) * (y.count + 1))
        // A breadth-first search over pairs of places in the two patterns.
        let left = automaton(x)
        let right = automaton(y)
        var seen: Set<Int> = []
        var queue = [(0, 0)]
        while let (p, q) = queue.popLast() {
            guard seen.insert(p * (right.count + 1) + q).inserted else { continue }
            if left[p].accepts, right[q].accepts { return true }
            for (setA, nextA) in left[p].moves {
                for (setB, nextB) in right[q].moves where overlap(setA, setB) { queue.append((nextA, nextB)) }
            }
        }
        return false
    }

    private struct State {
        var moves: [(set: [ClosedRange<UInt32>]?, next: Int)] = []
        var accepts = false
    }

    /// State i stands before token i; repeated tokens loop.
    private static func automaton(_ tokens: [Token]) -> [State] {
        var states = [State](repeating: State(), count: tokens.count * 2 + 1)
        // State 2i: before token i; state 2i+1: inside a repeated token i.
        func fill(_ state: Int, from index: Int) {
            var index = index
            while index < tokens.count {
                let token = tokens[index]
                states[state].moves.append((token.set, token.flag == nil ? 2 * (index + 1) : 2 * index + 1))
                if token.flag != "*" { return }
                index += 1
            }
            states[state].accepts = true
        }
        for index in 0...tokens.count { fill(2 * index, from: index) }
        for index in tokens.indices where tokens[index].flag != nil {
            states[2 * index + 1].moves.append((tokens[index].set, 2 * index + 1))
            fill(2 * index + 1, from: index + 1)
        }
        return states
    }

    private static func overlap(_ a: [ClosedRange<UInt32>]?, _ b: [ClosedRange<UInt32>]?) -> Bool {
        guard let a, let b else { return true }
        return a.contains { x in b.contains { $0.overlaps(x) } }
    }

    private static func tokens(_ text: String) throws(BuiltinFailure) -> [Token] {
        let scalars = Array(text.unicodeScalars)
        var tokens: [Token] = []
        var index = 0
        while index < scalars.count {
            let scalar = scalars[index]
            index += 1
            switch scalar {
            case "*", "+":
                guard !tokens.isEmpty, tokens[tokens.count - 1].flag == nil else {
                    throw .failed("failed to parse glob: flag \(scalar) must follow a character")
                }
                tokens[tokens.count - 1].flag = scalar
            case ".": tokens.append(Token(set: nil))
            case "[":
                var set: [ClosedRange<UInt32>] = []
                var members: [UnicodeScalar] = []
                while index < scalars.count, scalars[index] != "]" {
                    if scalars[index] == "\\", index + 1 < scalars.count { index += 1 }
                    members.append(scalars[index])
                    index += 1
                }
                guard index < scalars.count else { throw .failed("failed to parse glob: set is not closed") }
                index += 1
                var place = 0
                while place < members.count {
                    if place + 2 < members.count, members[place + 1] == "-" {
                        guard members[place] <= members[place + 2] else {
                            throw .failed("failed to parse glob: range is inverted")
                        }
                        set.append(members[place].value...members[place + 2].value)
                        place += 3
                    } else {
                        set.append(members[place].value...members[place].value)
                        place += 1
                    }
                }
                tokens.append(Token(set: set))
            case "\\":
                guard index < scalars.count else { throw .failed("failed to parse glob: trailing backslash") }
                tokens.append(Token(set: [scalars[index].value...scalars[index].value]))
                index += 1
            case "]": throw .failed("failed to parse glob: set was not opened")
            default: tokens.append(Token(set: [scalar.value...scalar.value]))
            }
        }
        return tokens
    }
}
