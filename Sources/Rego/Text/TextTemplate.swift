/// The part of Go's `text/template` that policies use: `{{.a.b}}`, `{{if}}`, `{{else}}`, `{{range $i, $v := .x}}`,
/// `{{end}}`, variables, strings and numbers, white space trimmed by `{{-` and `-}}`.
enum TextTemplate {
    private indirect enum Node {
        case text(String)
        case output(String)
        case condition(String, [Node], [Node])
        case loop(key: String?, value: String?, String, [Node], [Node])
    }

    static func render(_ text: String, _ data: Value, _ machine: Machine) throws(BuiltinFailure) -> String {
        var parser = Parser(pieces: try pieces(text))
        let nodes = try parser.nodes(depth: 0)
        var out = ""
        try write(nodes, data, data, [:], machine, &out)
        return out
    }

    private enum Piece {
        case text(String)
        case action(String)
    }

    private static func pieces(_ text: String) throws(BuiltinFailure) -> [Piece] {
        var result: [Piece] = []
        var rest = text[...]
        var trimNext = false
        func trimmedStart(_ part: Substring) -> Substring { part.drop { $0.isWhitespace } }
        while let open = range(of: "{{", in: rest) {
            var before = rest[..<open]
            if trimNext { before = trimmedStart(before) }
            rest = rest[rest.index(open, offsetBy: 2)...]
            guard let close = range(of: "}}", in: rest) else { throw .failed("template: unclosed action") }
            var action = rest[..<close]
            rest = rest[rest.index(close, offsetBy: 2)...]
            if action.hasPrefix("- ") {
                action = action.dropFirst()
                while let last = before.last, last.isWhitespace { before.removeLast() }
            }
            trimNext = action.hasSuffix(" -")
            if trimNext { action = action.dropLast() }
            if !before.isEmpty { result.append(.text(String(before))) }
            let body = action.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            if !body.hasPrefix("/*") { result.append(.action(body)) }
        }
        let last = trimNext ? trimmedStart(rest) : rest
        if !last.isEmpty { result.append(.text(String(last))) }
        return result
    }

    private static func range(of mark: String, in text: Substring) -> Substring.Index? {
        var index = text.startIndex
        while index < text.endIndex {
            if text[index...].hasPrefix(mark) { return index }
            index = text.index(after: index)
        }
        return nil
    }

    private struct Parser {
        let pieces: [Piece]
        var index = 0
        /// What ended the last run of nodes.
        var ending = ""

        mutating func nodes(depth: Int) throws(BuiltinFailure) -> [Node] {
            guard depth < 64 else { throw .failed("template: nested too deeply") }
            var result: [Node] = []
            while index < pieces.count {
                let piece = pieces[index]
                index += 1
                switch piece {
                case .text(let text): result.append(.text(text))
                case .action(let action):
                    let word = action.prefix { $0 != " " }
                    let rest = String(action.dropFirst(word.count).drop { $0 == " " })
                    switch word {
                    case "end", "else":
                        ending = action
                        return result
                    case "if":
                        let (body, other) = try branches(depth)
                        result.append(.condition(rest, body, other))
                    case "range":
                        var key: String?
                        var value: String?
                        var source = rest
                        if let assign = TextTemplate.range(of: ":=", in: rest[...]) {
                            let names = rest[..<assign].split(separator: ",").map {
                                String($0.filter { $0 != " " })
                            }
                            source = String(rest[rest.index(assign, offsetBy: 2)...].drop { $0 == " " })
                            if names.count > 1 { key = names[0] }
                            value = names.last
                        }
                        let (body, other) = try branches(depth)
                        result.append(.loop(key: key, value: value, source, body, other))
                    default: result.append(.output(action))
                    }
                }
            }
            if depth > 0 { throw .failed("template: unexpected EOF") }
            return result
        }

        private mutating func branches(_ depth: Int) throws(BuiltinFailure) -> ([Node], [Node]) {
            let body = try nodes(depth: depth + 1)
            if ending == "end" { return (body, []) }
            if ending.hasPrefix("else if ") {
                let condition = String(ending.dropFirst(8))
                let (inner, other) = try branches(depth)
                return (body, [.condition(condition, inner, other)])
            }
            return (body, try nodes(depth: depth + 1))
        }
    }

    private static func evaluate(
        _ text: String, _ dot: Value, _ root: Value, _ variables: [String: Value], _ machine: Machine
    ) throws(BuiltinFailure) -> Value {
        if text == "." { return dot }
        if text.hasPrefix("\""), text.hasSuffix("\""), text.utf8.count >= 2 {
            return machine.arena.string(String(text.dropFirst().dropLast()))
        }
        if Builtins.isNumber(Array(text.utf8)) { return machine.arena.number(text) }
        if text == "true" || text == "false" { return Value(text == "true") }
        var value = dot
        var path = text[...]
        if path.hasPrefix("$") {
            let name = String(path.prefix { $0 != "." })
            path = path.dropFirst(name.count)
            guard let found = name == "$" ? root : variables[name] else {
                throw .failed("template: undefined variable \"\(name)\"")
            }
            value = found
        }
        guard path.isEmpty || path.hasPrefix(".") else { throw .failed("template: function \"\(text)\" not defined") }
        for part in path.split(separator: ".") {
            value = value.lookup(machine.arena.string(String(part)))
        }
        return value
    }

    private static func isTrue(_ value: Value) -> Bool {
        switch value.tag {
        case .undefined, .null, .false: false
        case .true: true
        case .int: value.integer != 0
        case .number: true
        default: value.count > 0
        }
    }

    private static func write(
        _ nodes: [Node], _ dot: Value, _ root: Value, _ variables: [String: Value], _ machine: Machine,
        _ out: inout String
    ) throws(BuiltinFailure) {
        for node in nodes {
            try machine.charge(1 + out.utf8.count / 4096)
            switch node {
            case .text(let text): out += text
            case .output(let text):
                let value = try evaluate(text, dot, root, variables, machine)
                if value.isUndefined {
                    out += "<undefined>"
                } else {
                    out += value.tag == .string ? value.text : goText(value)
                }
            case .condition(let text, let body, let other):
                let value = try evaluate(text, dot, root, variables, machine)
                try write(isTrue(value) ? body : other, dot, root, variables, machine, &out)
            case .loop(let key, let name, let source, let body, let other):
                let collection = try evaluate(source, dot, root, variables, machine)
                if !collection.isComposite || collection.count == 0 {
                    try write(other, dot, root, variables, machine, &out)
                    continue
                }
                for index in 0..<collection.count {
                    var inner = variables
                    if let key { inner[key] = collection.key(index) }
                    if let name { inner[name] = collection.element(index) }
                    try write(body, collection.element(index), root, inner, machine, &out)
                }
            }
        }
    }

    /// Collections as Go's `%v` prints them.
    private static func goText(_ value: Value) -> String {
        switch value.tag {
        case .array, .set: "[" + value.elements.map { goText($0) }.joined(separator: " ") + "]"
        case .object: "map[" + value.pairs.map { goText($0.key) + ":" + goText($0.value) }.joined(separator: " ") + "]"
        case .string: value.text
        case .null: "<nil>"
        default: RegoWriter.text(value)
        }
    }
}
