/// Parses a module or a query into its tree, with OPA's errors. Recursive descent with look-ahead by saving the state;
/// parsed terms are remembered by offset, so that looking ahead stays linear.
struct Parser {
    /// Everything that looking ahead must be able to take back.
    struct State {
        var scanner: Scanner
        var token = Token.illegal
        var text: [UInt8] = []
        var location = Location()
        var lastEnd = 0
        var tokenEnd = 0
        var wildcards = 0
        var skippedNewline = false
        var errors: [RegoError] = []
        var comments: [Comment] = []
        var hints: [String] = []
    }

    var state: State
    var notBodies = false
    /// Parsed terms by offset, in ascending order: a term drops those inside it.
    private var cache: [(offset: Int, term: Term?, state: State)] = []

    /// How often a token may still be taken. Beyond it the source seems to end, and is refused.
    private var scansLeft: Int

    var depth = 0
    /// Deepest nesting of grammar rules: each level of source nesting takes about ten.
    static let maximumDepth = 1600

    init(_ source: Source) {
        var keywords = Token.keywords
        for (name, token) in Token.keywordsOfVersion1 { keywords[name] = token }
        scansLeft = RegoLimits.scans(source.bytes.count)
        state = State(scanner: Scanner(source, keywords: keywords))
        state.location.source = source
    }

    /// Parses a module.
    static func module(_ source: Source) throws(RegoErrors) -> Module {
        guard source.bytes.count <= RegoLimits.maximumSourceBytes else {
            throw RegoErrors([
                RegoError(
                    code: "rego_limit_error",
                    message: "module has more than \(RegoLimits.maximumSourceBytes) bytes (split it)",
                    file: source.name, row: 1, column: 1)
            ])
        }
        var parser = Parser(source)
        let module = Module(source: source)
        parser.parseModule(into: module)
        try parser.checkWork(source)
        if !parser.state.errors.isEmpty { throw RegoErrors(parser.state.errors) }
        return module
    }

    /// Parses a query.
    static func query(_ text: String, imports: [String] = []) throws(RegoErrors) -> Body {
        let source = Source(name: "", bytes: Array(text.utf8))
        var parser = Parser(source)
        for name in imports {
            if let token = Token.futureKeywords[name] { parser.state.scanner.keywords[name] = token }
            if name == "not" { parser.notBodies = true }
        }
        parser.scan()
        var body: Body = []
        while parser.state.token != .eof {
            guard let part = parser.parseQuery(requireSemicolon: true, end: .eof) else { break }
            body += part
        }
        try parser.checkWork(source)
        if !parser.state.errors.isEmpty { throw RegoErrors(parser.state.errors) }
        if body.isEmpty {
            throw RegoErrors([RegoError(code: "rego_parse_error", message: "empty query", row: 1, column: 1)])
        }
        for (index, expression) in body.enumerated() { expression.index = index }
        return body
    }

    private func checkWork(_ source: Source) throws(RegoErrors) {
        guard scansLeft < 0 else { return }
        throw RegoErrors([
            RegoError(
                code: "rego_limit_error",
                message: "more than \(RegoLimits.scans(source.bytes.count)) steps to parse it: brackets, braces and "
                    + "parentheses are nested too deeply (give the inner ones a name of their own)",
                file: source.name, row: 1, column: 1)
        ])
    }

    // MARK: Tokens

    var token: Token { state.token }
    var literal: String { String(decoding: state.text, as: UTF8.self) }

    mutating func scan() { scan(skipWhitespace: true, .none) }
    mutating func scanWhitespace() { scan(skipWhitespace: false, .none) }

    mutating func scan(skipWhitespace: Bool, _ continuation: Scanner.Continuation) {
        if state.token != .whitespace {
            state.lastEnd = state.tokenEnd
            state.skippedNewline = false
        }
        scansLeft -= 1
        guard scansLeft >= 0 else {
            // Everything that looks ahead comes to its end.
            scansLeft = -1
            state.token = .eof
            return
        }
        while true {
            let item = state.scanner.scan(continuation)
            state.token = item.token
            state.text = item.text
            state.tokenEnd = item.end
            state.location.row = item.row
            state.location.column = item.column
            state.location.offset = item.offset
            state.location.end = item.end
            for message in item.errors { error(state.location, message) }
            if !item.errors.isEmpty { state.token = .illegal }
            if state.token == .whitespace {
                if item.text == [0x0A] { state.skippedNewline = true }
                if skipWhitespace { continue }
            }
            if state.token != .comment { return }
            state.comments.append(Comment(text: Array(item.text.dropFirst()), location: state.location))
        }
    }

    mutating func enter() -> Bool {
        depth += 1
        if depth > Parser.maximumDepth {
            error(state.location, "max parsing recursion depth exceeded")
            depth -= 1
            return false
        }
        return true
    }

    mutating func leave() { depth -= 1 }

    /// A location from `start` to the last token.
    func extended(_ start: Location) -> Location {
        var location = start
        location.end = max(start.offset, state.lastEnd)
        return location
    }

    // MARK: Errors

    mutating func error(_ location: Location, _ reason: String) {
        var message = reason
        if state.hints.count == 1 {
            message += " (hint: \(state.hints[0]))"
        } else if state.hints.count > 1 {
            message += " (hints: \(state.hints.joined(separator: ", ")))"
        }
        state.hints = []
        var details: [String] = []
        if let source = location.source {
            let (line, column) = source.line(before: location.offset)
            if !source.bytes.isEmpty {
                // Leading tabs are dropped, the caret stands below the character.
                let tabs = line.utf8.prefix { $0 == 9 }.count
                details = [
                    String(decoding: line.utf8.dropFirst(tabs), as: UTF8.self),
                    String(repeating: " ", count: max(0, column - tabs)) + "^",
                ]
            }
        }
        state.errors.append(RegoError("rego_parse_error", location, message, details: details))
    }

    mutating func illegal(_ note: String = "") {
        if token == .illegal {
            error(state.location, "illegal token")
            return
        }
        let kind = token.isKeyword ? "keyword" : "token"
        let suffix = note.isEmpty ? "" : ": " + note
        error(state.location, "unexpected \(token.text) \(kind)\(suffix)")
    }

    // MARK: Remembered terms

    func cached(_ offset: Int) -> (Term?, State)? {
        for entry in cache.reversed() {
            if entry.offset == offset { return (entry.term, entry.state) }
            if entry.offset < offset { return nil }
        }
        return nil
    }

    mutating func remember(_ term: Term?, _ offset: Int) {
        while let last = cache.last, last.offset >= offset { cache.removeLast() }
        cache.append((offset, term, state))
    }

    mutating func forget() { cache = [] }

    // MARK: Keywords in references

    func isAllowedReferenceKeyword(_ token: Token) -> Bool {
        let text = token.text
        return Token.keywords[text] != nil || Token.keywordsOfVersion1[text] != nil
            || state.scanner.keywords[text] != nil
    }

    /// Takes a keyword that begins a reference (`else.foo`) as an identifier.
    @discardableResult
    mutating func scanAheadReference() -> Bool {
        guard isAllowedReferenceKeyword(token) else { return false }
        let saved = state
        scanWhitespace()
        let next = token
        state = saved
        if next == .dot || next == .leftBracket {
            state.token = .identifier
            return true
        }
        return false
    }

    mutating func takeIdentifierOrKeyword() -> Bool {
        if token == .identifier { return true }
        if isAllowedReferenceKeyword(token) {
            state.token = .identifier
            return true
        }
        return false
    }

    mutating func wildcard() -> String {
        let name = "$\(state.wildcards)"
        state.wildcards += 1
        return name
    }
}
