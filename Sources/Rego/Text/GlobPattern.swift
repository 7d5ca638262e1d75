/// A glob in gobwas's grammar: `*` (no delimiter), `**` (anything), `?`, `[abc]`, `[!a-z]`, `{one,two}`, `\x`.
struct GlobPattern {
    private indirect enum Node {
        case literal([UnicodeScalar])
        case any
        case anyDeep
        case single
        case list(Set<UnicodeScalar>, negated: Bool)
        case range(UnicodeScalar, UnicodeScalar, negated: Bool)
        case alternatives([[Node]])
    }

    private let nodes: [Node]
    private let delimiters: Set<UnicodeScalar>

    init(_ text: String, delimiters: [UnicodeScalar]) throws(BuiltinFailure) {
        var parser = Parser(text: Array(text.unicodeScalars))
        nodes = try parser.parse(nested: 0).nodes
        self.delimiters = Set(delimiters)
    }

    private struct Parser {
        let text: [UnicodeScalar]
        var index = 0

        mutating func parse(nested: Int) throws(BuiltinFailure) -> (nodes: [Node], end: UnicodeScalar?) {
            guard nested < 64 else { throw .failed("glob is nested too deeply") }
            var nodes: [Node] = []
            var literal: [UnicodeScalar] = []
            func flush() {
                if !literal.isEmpty { nodes.append(.literal(literal)) }
                literal = []
            }
            while index < text.count {
                let scalar = text[index]
                index += 1
                switch scalar {
                case "\\":
                    guard index < text.count else {
                        literal.append(scalar)
                        continue
                    }
                    literal.append(text[index])
                    index += 1
                case "*":
                    flush()
                    if index < text.count, text[index] == "*" {
                        index += 1
                        nodes.append(.anyDeep)
                    } else {
                        nodes.append(.any)
                    }
                case "?":
                    flush()
                    nodes.append(.single)
                case "[":
                    flush()
                    nodes.append(try list())
                case "{":
                    flush()
                    var branches: [[Node]] = []
                    while true {
                        let (branch, end) = try parse(nested: nested + 1)
                        branches.append(branch)
                        if end == "," { continue }
                        // An end of the pattern closes what is open, as gobwas has it.
                        break
                    }
                    nodes.append(.alternatives(branches))
                case "," where nested > 0, "}" where nested > 0:
                    flush()
                    return (nodes, scalar)
                default: literal.append(scalar)
                }
            }
            flush()
            return (nodes, nil)
        }

        private mutating func list() throws(BuiltinFailure) -> Node {
            var negated = false
            if index < text.count, text[index] == "!" {
                negated = true
                index += 1
            }
            var members: [UnicodeScalar] = []
            while index < text.count, text[index] != "]" {
                if text[index] == "\\", index + 1 < text.count { index += 1 }
                members.append(text[index])
                index += 1
            }
            guard index < text.count, !members.isEmpty else { throw .failed("unexpected end of input") }
            index += 1
            if members.count == 2, members[1] == "-" { throw .failed("unexpected end of input") }
            if members.count == 3, members[1] == "-" {
                guard members[0] <= members[2] else {
                    throw .failed("hi character '\(members[2])' should be greater than lo '\(members[0])'")
                }
                return .range(members[0], members[2], negated: negated)
            }
            return .list(Set(members), negated: negated)
        }
    }

    /// Whether the whole of `text` matches; `steps` counts down and stops the search at zero.
    func matches(_ text: [UnicodeScalar], steps: inout Int) -> Bool {
        // A pattern of one negated class alone matches the empty text, as in gobwas.
        if text.isEmpty, nodes.count == 1 {
            switch nodes[0] {
            case .list(_, negated: true), .range(_, _, negated: true): return true
            default: break
            }
        }
        var positions: Set<Int> = [0]
        positions = advance(nodes, positions, text, &steps)
        return positions.contains(text.count)
    }

    private func advance(
        _ nodes: [Node], _ from: Set<Int>, _ text: [UnicodeScalar], _ steps: inout Int
    ) -> Set<Int> {
        var positions = from
        for node in nodes {
            steps -= positions.count + 1
            if positions.isEmpty || steps < 0 { return [] }
            var next: Set<Int> = []
            switch node {
            case .literal(let literal):
                for position in positions
                where position + literal.count <= text.count
                    && text[position..<position + literal.count].elementsEqual(literal)
                {
                    next.insert(position + literal.count)
                }
            case .single:
                for position in positions where position < text.count && !delimiters.contains(text[position]) {
                    next.insert(position + 1)
                }
            case .list(let members, let negated):
                for position in positions where position < text.count && members.contains(text[position]) != negated {
                    next.insert(position + 1)
                }
            case .range(let low, let high, let negated):
                for position in positions where position < text.count {
                    let inside = text[position] >= low && text[position] <= high
                    if inside != negated { next.insert(position + 1) }
                }
            case .any:
                for position in positions {
                    var end = position
                    next.insert(end)
                    while end < text.count, !delimiters.contains(text[end]) {
                        end += 1
                        if !next.insert(end).inserted { break }
                        steps -= 1
                    }
                }
            case .anyDeep:
                if let first = positions.min() {
                    for end in first...text.count { next.insert(end) }
                    steps -= text.count - first
                }
            case .alternatives(let branches):
                for branch in branches { next.formUnion(advance(branch, positions, text, &steps)) }
            }
            positions = next
        }
        return positions
    }
}
