/// A parsed template of Go's `text/template`.
struct TextTemplateTree {
    indirect enum Node {
        case text(String)
        case output(Pipeline)
        case condition(Pipeline, [Node], [Node])
        case with(Pipeline, [Node], [Node])
        case loop(Pipeline, [Node], [Node])
        case template(String, Pipeline?)
        case breakLoop
        case continueLoop
    }

    /// `$x := a | b c`.
    struct Pipeline {
        var variables: [String] = []
        /// `=` changes a variable that is there, `:=` makes one.
        var assigns = false
        var commands: [[Operand]] = []
    }

    indirect enum Operand {
        case dot
        case nothing
        case flag(Bool)
        case integer(Int)
        case float(Double)
        case text(String)
        case variable(String)
        case function(String)
        /// Fields of the dot.
        case field([String])
        case parenthesised(Pipeline)
        /// Fields of another operand.
        case chain(Operand, [String])
    }

    var nodes: [Node] = []
    var definitions: [String: [Node]] = [:]
}

/// Takes a template apart: texts and actions, and each action into its words.
struct TextTemplateParser {
    private enum Piece {
        case text(String)
        case action([Token])
    }

    enum Token: Equatable {
        case word(String)
        case field(String)
        case variable(String)
        case text(String)
        case integer(Int)
        case float(Double)
        case mark(Character)
        case declare
        case dot
        case space
    }

    private typealias Node = TextTemplateTree.Node
    private typealias Operand = TextTemplateTree.Operand

    private var pieces: [Piece] = []
    private var index = 0
    private var ending: (word: String, rest: [Token]) = ("", [])
    private var tree = TextTemplateTree()

    /// Throws where the text is no template.
    static func parse(_ text: String) throws(BuiltinFailure) -> TextTemplateTree {
        var parser = TextTemplateParser()
        try parser.split(Array(text.utf8))
        parser.tree.nodes = try parser.nodes(depth: 0, inLoop: false)
        return parser.tree
    }

    private static func failure(_ text: String) -> BuiltinFailure { .failed("template: \(text)") }

    // MARK: Texts and actions

    private mutating func split(_ bytes: [UInt8]) throws(BuiltinFailure) {
        var position = 0
        var trims = false
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }
        func add(_ range: Range<Int>, trimEnd: Bool, _ pieces: inout [Piece]) {
            var (start, end) = (range.lowerBound, range.upperBound)
            if trims { while start < end, isSpace(bytes[start]) { start += 1 } }
            if trimEnd { while end > start, isSpace(bytes[end - 1]) { end -= 1 } }
            if start < end { pieces.append(.text(String(decoding: bytes[start..<end], as: UTF8.self))) }
        }
        func begins(_ mark: String, at index: Int) -> Bool { bytes[index...].starts(with: mark.utf8) }
        var start = 0
        while position < bytes.count {
            guard begins("{{", at: position) else {
                position += 1
                continue
            }
            let text = start..<position
            position += 2
            let trimsBefore =
                position + 1 < bytes.count && bytes[position] == UInt8(ascii: "-") && isSpace(bytes[position + 1])
            add(text, trimEnd: trimsBefore, &pieces)
            if trimsBefore { position += 1 }
            var lexer = TextTemplateLexer(bytes: bytes, position: position)
            if lexer.skipComment() {
                guard let trimsAfter = lexer.close() else {
                    throw Self.failure("comment ends before closing delimiter")
                }
                trims = trimsAfter
            } else {
                var tokens: [Token] = []
                while true {
                    if let trimsAfter = lexer.close() {
                        trims = trimsAfter
                        break
                    }
                    guard let token = try lexer.next() else { throw Self.failure("unclosed action") }
                    if token == .space, tokens.last == .space { continue }
                    tokens.append(token)
                }
                while tokens.last == .space { tokens.removeLast() }
                pieces.append(.action(tokens.first == .space ? Array(tokens.dropFirst()) : tokens))
            }
            position = lexer.position
            start = position
        }
        add(start..<bytes.count, trimEnd: false, &pieces)
    }

    // MARK: Nodes

    private mutating func nodes(depth: Int, inLoop: Bool) throws(BuiltinFailure) -> [Node] {
        guard depth < 64 else { throw Self.failure("nested too deeply") }
        var result: [Node] = []
        while index < pieces.count {
            let piece = pieces[index]
            index += 1
            switch piece {
            case .text(let text): result.append(.text(text))
            case .action(let tokens):
                guard case .word(let word)? = tokens.first else {
                    result.append(.output(try pipeline(tokens[...])))
                    continue
                }
                let rest = tokens.dropFirst().drop { $0 == .space }
                switch word {
                case "end", "else":
                    guard depth > 0 else { throw Self.failure("unexpected {{\(word)}}") }
                    ending = (word, Array(rest))
                    return result
                case "if":
                    let (body, other) = try branches(depth, inLoop)
                    result.append(.condition(try pipeline(rest), body, other))
                case "with":
                    let (body, other) = try branches(depth, inLoop)
                    result.append(.with(try pipeline(rest), body, other))
                case "range":
                    let (body, other) = try branches(depth, true)
                    result.append(.loop(try pipeline(rest, forLoop: true), body, other))
                case "break", "continue":
                    guard inLoop, rest.isEmpty else { throw Self.failure("{{\(word)}} outside {{range}}") }
                    result.append(word == "break" ? .breakLoop : .continueLoop)
                case "define", "block":
                    guard case .text(let name)? = rest.first else { throw Self.failure("unexpected \(word) clause") }
                    let body = try nodes(depth: depth + 1, inLoop: false)
                    try expectEnd()
                    tree.definitions[name] = body
                    if word == "block" {
                        result.append(.template(name, try pipeline(rest.dropFirst().drop { $0 == .space })))
                    } else if depth > 0 {
                        throw Self.failure("unexpected {{define}}")
                    }
                case "template":
                    guard case .text(let name)? = rest.first else { throw Self.failure("unexpected template clause") }
                    let argument = rest.dropFirst().drop { $0 == .space }
                    result.append(.template(name, argument.isEmpty ? nil : try pipeline(argument)))
                default: result.append(.output(try pipeline(tokens[...])))
                }
            }
        }
        if depth > 0 { throw Self.failure("unexpected EOF") }
        return result
    }

    private func expectEnd() throws(BuiltinFailure) {
        guard ending.word == "end", ending.rest.isEmpty else { throw Self.failure("unexpected {{else}}") }
    }

    /// The body of an `if`, `with` or `range` and what stands behind its `else`.
    private mutating func branches(_ depth: Int, _ inLoop: Bool) throws(BuiltinFailure) -> ([Node], [Node]) {
        let body = try nodes(depth: depth + 1, inLoop: inLoop)
        guard ending.word == "else" else {
            try expectEnd()
            return (body, [])
        }
        if case .word(let word)? = ending.rest.first {
            guard word == "if" || word == "with" else { throw Self.failure("unexpected {{else \(word)}}") }
            let source = try pipeline(ending.rest.dropFirst().drop { $0 == .space })
            let (inner, other) = try branches(depth, inLoop)
            return (body, [word == "if" ? .condition(source, inner, other) : .with(source, inner, other)])
        }
        guard ending.rest.isEmpty else { throw Self.failure("unexpected content behind {{else") }
        let other = try nodes(depth: depth + 1, inLoop: inLoop)
        try expectEnd()
        return (body, other)
    }

    // MARK: Pipelines

    private func pipeline(
        _ tokens: ArraySlice<Token>, forLoop: Bool = false
    ) throws(BuiltinFailure) -> TextTemplateTree.Pipeline {
        var rest = tokens
        let result = try pipeline(&rest, forLoop: forLoop, depth: 0)
        guard rest.isEmpty else { throw Self.failure("unexpected \")\"") }
        return result
    }

    private func pipeline(
        _ tokens: inout ArraySlice<Token>, forLoop: Bool, depth: Int
    ) throws(BuiltinFailure) -> TextTemplateTree.Pipeline {
        guard depth < 64 else { throw Self.failure("nested too deeply") }
        var result = TextTemplateTree.Pipeline()
        declaration(&tokens, forLoop, &result)
        var command: [Operand] = []
        func finish(_ command: [Operand]) throws(BuiltinFailure) {
            guard let first = command.first else { throw Self.failure("missing value for command") }
            if case .nothing = first, command.count == 1 { throw Self.failure("nil is not a command") }
            result.commands.append(command)
        }
        while let token = tokens.first {
            switch token {
            case .space: tokens.removeFirst()
            case .mark("|"):
                tokens.removeFirst()
                try finish(command)
                command = []
            case .mark(")"):
                try finish(command)
                return result
            default: command.append(try operand(&tokens, depth))
            }
        }
        try finish(command)
        return result
    }

    /// `$x :=`, and in a loop `$i, $x :=`, where they stand.
    private func declaration(
        _ tokens: inout ArraySlice<Token>, _ forLoop: Bool, _ result: inout TextTemplateTree.Pipeline
    ) {
        var rest = tokens
        var names: [String] = []
        while case .variable(let name)? = rest.first {
            names.append(name)
            rest = rest.dropFirst().drop { $0 == .space }
            guard forLoop, names.count == 1, rest.first == .mark(",") else { break }
            rest = rest.dropFirst().drop { $0 == .space }
        }
        guard !names.isEmpty, rest.first == .declare || rest.first == .mark("=") else { return }
        result.variables = names
        result.assigns = rest.first == .mark("=")
        tokens = rest.dropFirst()
    }

    private func operand(_ tokens: inout ArraySlice<Token>, _ depth: Int) throws(BuiltinFailure) -> Operand {
        let first = tokens.removeFirst()
        func fields(_ tokens: inout ArraySlice<Token>) -> [String] {
            var names: [String] = []
            while case .field(let name)? = tokens.first {
                names.append(name)
                tokens.removeFirst()
            }
            return names
        }
        let base: Operand
        switch first {
        case .field(let name): return .field([name] + fields(&tokens))
        case .dot: base = .dot
        case .word("nil"): base = .nothing
        case .word("true"): base = .flag(true)
        case .word("false"): base = .flag(false)
        case .word(let name):
            guard TextTemplateFunctions.names.contains(name) else {
                throw Self.failure("function \"\(name)\" not defined")
            }
            base = .function(name)
        case .variable(let name): base = .variable(name)
        case .text(let text): base = .text(text)
        case .integer(let number): base = .integer(number)
        case .float(let number): base = .float(number)
        case .mark("("):
            let inner = try pipeline(&tokens, forLoop: false, depth: depth + 1)
            guard tokens.first == .mark(")") else { throw Self.failure("unclosed left paren") }
            tokens.removeFirst()
            base = .parenthesised(inner)
        case .mark(let mark): throw Self.failure("unexpected \"\(mark)\" in operand")
        case .declare: throw Self.failure("unexpected \":=\" in operand")
        case .space: throw Self.failure("unexpected space in operand")
        }
        let chain = fields(&tokens)
        return chain.isEmpty ? base : .chain(base, chain)
    }
}
