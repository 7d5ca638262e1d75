/// The functions that Go's `text/template` knows without being told.
enum TextTemplateFunctions {
    typealias Item = TextTemplate.Item

    static let names: Set<String> = [
        "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
        "println", "slice", "urlquery",
    ]

    static func call(_ name: String, _ arguments: [Item], _ machine: Machine) throws(BuiltinFailure) -> Item {
        func need(_ count: Int) throws(BuiltinFailure) {
            guard arguments.count == count else {
                throw failure("wrong number of args for \(name): want \(count) got \(arguments.count)")
            }
        }
        switch name {
        case "not":
            try need(1)
            return .flag(!arguments[0].isTrue)
        case "html": return .text(escapeHTML(joined(arguments)))
        case "js": return .text(escapeScript(joined(arguments)))
        case "urlquery":
            return .text(String(decoding: URLQuery.escape(Array(joined(arguments).utf8)), as: UTF8.self))
        case "print": return .text(joined(arguments))
        case "println": return .text(arguments.map { text($0, nothing: "<nil>") }.joined(separator: " ") + "\n")
        case "printf":
            guard case .text(let format)? = arguments.first else { throw failure("printf wants a text first") }
            let values = arguments.dropFirst().map { value($0, machine) }
            return .text(String(decoding: try GoFormat.format(Array(format.utf8), values, machine), as: UTF8.self))
        case "len":
            try need(1)
            switch arguments[0] {
            case .text(let text): return .integer(text.utf8.count)
            case .json(let value): return .integer(value.isComposite ? value.count : value.text.utf8.count)
            default: throw failure("error calling len: no length")
            }
        case "index":
            guard var item = arguments.first else { throw failure("wrong number of args for index: want at least 1") }
            for key in arguments.dropFirst() { item = try index(item, key, machine) }
            return item
        case "slice": return try slice(arguments, machine)
        case "eq":
            guard arguments.count >= 2 else { throw failure("error calling eq: missing argument for comparison") }
            for other in arguments.dropFirst() where try equal(arguments[0], other) { return .flag(true) }
            return .flag(false)
        case "ne":
            try need(2)
            return .flag(try !equal(arguments[0], arguments[1]))
        case "lt", "le", "gt", "ge":
            try need(2)
            let order = try compare(arguments[0], arguments[1])
            switch name {
            case "lt": return .flag(order < 0)
            case "le": return .flag(order <= 0)
            case "gt": return .flag(order > 0)
            default: return .flag(order >= 0)
            }
        default: throw failure("error calling \(name): no function is given")
        }
    }

    /// An item as Go's `fmt.Fprint` writes it.
    static func text(_ item: Item, nothing: String = "<undefined>") -> String {
        switch item {
        case .nothing: nothing
        case .flag(let flag): flag ? "true" : "false"
        case .integer(let number): String(number)
        case .float(let number): GoFloat.general(number, precision: nil, threshold: 21)
        case .text(let text): text
        case .json(let value): text(value)
        }
    }

    private static func text(_ value: Value) -> String {
        switch value.tag {
        case .array, .set: "[" + value.elements.map { text($0) }.joined(separator: " ") + "]"
        case .object: "map[" + value.pairs.map { text($0.key) + ":" + text($0.value) }.joined(separator: " ") + "]"
        case .string: value.text
        case .null: "<nil>"
        default: RegoWriter.text(value)
        }
    }

    /// `fmt.Sprint`: a space between two operands of which neither is a text; the data's numbers are texts.
    private static func joined(_ items: [Item]) -> String {
        func isText(_ item: Item) -> Bool {
            switch item {
            case .text: true
            case .json(let value): !value.isComposite
            default: false
            }
        }
        var result = ""
        for (position, item) in items.enumerated() {
            if position > 0, !isText(item), !isText(items[position - 1]) { result += " " }
            result += text(item, nothing: "<nil>")
        }
        return result
    }

    /// For `printf`: numbers of the data are texts there.
    private static func value(_ item: Item, _ machine: Machine) -> Value {
        switch item {
        case .integer(let number): Value(number)
        case .float(let number): machine.arena.number(GoFloat.json(number))
        default: machine.arena.string(text(item, nothing: "<nil>"))
        }
    }

    // MARK: Elements

    private static func index(_ item: Item, _ key: Item, _ machine: Machine) throws(BuiltinFailure) -> Item {
        switch (item, key) {
        case (.json(let value), .integer(let position)) where value.tag == .array || value.tag == .set:
            guard (0..<value.count).contains(position) else {
                throw failure("error calling index: reflect: slice index out of range")
            }
            return Item(value.element(position))
        case (.json(let value), .text(let name)) where value.tag == .object:
            return Item(value.lookup(machine.arena.string(name)))
        case (.text(let text), .integer(let position)):
            guard (0..<text.utf8.count).contains(position) else {
                throw failure("error calling index: index out of range: \(position)")
            }
            return .integer(Int(Array(text.utf8)[position]))
        case (.nothing, _): throw failure("error calling index: index of untyped nil")
        default: throw failure("error calling index: it has no such elements")
        }
    }

    private static func slice(_ arguments: [Item], _ machine: Machine) throws(BuiltinFailure) -> Item {
        guard let item = arguments.first, arguments.count <= 4 else {
            throw failure("error calling slice: too many slice indexes")
        }
        let count: Int
        switch item {
        case .text(let text): count = text.utf8.count
        case .json(let value) where value.tag == .array: count = value.count
        default: throw failure("error calling slice: can't slice it")
        }
        var bounds: [Int] = []
        for argument in arguments.dropFirst() {
            guard case .integer(let bound) = argument, (0...count).contains(bound) else {
                throw failure("error calling slice: index out of range")
            }
            bounds.append(bound)
        }
        let start = bounds.first ?? 0
        let end = bounds.count > 1 ? bounds[1] : count
        guard start <= end else { throw failure("error calling slice: invalid slice index: \(start) > \(end)") }
        if case .text(let text) = item {
            guard bounds.count < 3 else { throw failure("error calling slice: cannot 3-index slice a string") }
            return .text(String(decoding: Array(text.utf8)[start..<end], as: UTF8.self))
        }
        guard case .json(let value) = item else { return .nothing }
        return .json(machine.arena.array((start..<end).map { value.element($0) }))
    }

    // MARK: Comparison

    /// What can be compared: Go's basic kinds.
    private enum Kind: Equatable {
        case flag
        case integer
        case float
        case text
    }

    private static func basic(_ item: Item) throws(BuiltinFailure) -> (kind: Kind, text: String) {
        switch item {
        case .flag(let flag): (.flag, flag ? "true" : "false")
        case .integer: (.integer, "")
        case .float: (.float, "")
        case .text(let text): (.text, text)
        case .json(let value) where !value.isComposite: (.text, value.text)
        case .json, .nothing: throw failure("error calling eq: non-comparable type")
        }
    }

    private static func equal(_ left: Item, _ right: Item) throws(BuiltinFailure) -> Bool {
        if case .nothing = left { if case .nothing = right { return true } else { return false } }
        if case .nothing = right { return false }
        let (first, second) = (try basic(left), try basic(right))
        guard first.kind == second.kind else {
            throw failure("error calling eq: incompatible types for comparison")
        }
        switch (left, right) {
        case (.integer(let left), .integer(let right)): return left == right
        case (.float(let left), .float(let right)): return left == right
        default: return first.text.utf8.elementsEqual(second.text.utf8)
        }
    }

    /// Negative, zero or positive.
    private static func compare(_ left: Item, _ right: Item) throws(BuiltinFailure) -> Int {
        let (first, second) = (try basic(left), try basic(right))
        guard first.kind == second.kind, first.kind != .flag else {
            throw failure("error calling lt: incompatible types for comparison")
        }
        switch (left, right) {
        case (.integer(let left), .integer(let right)): return left < right ? -1 : left == right ? 0 : 1
        case (.float(let left), .float(let right)): return left < right ? -1 : left == right ? 0 : 1
        default:
            if first.text.utf8.elementsEqual(second.text.utf8) { return 0 }
            return first.text.utf8.lexicographicallyPrecedes(second.text.utf8) ? -1 : 1
        }
    }

    // MARK: Escapes

    private static func escapeHTML(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\0": result.append("\u{FFFD}")
            case "\"": result.append(contentsOf: "&#34;".unicodeScalars)
            case "'": result.append(contentsOf: "&#39;".unicodeScalars)
            case "&": result.append(contentsOf: "&amp;".unicodeScalars)
            case "<": result.append(contentsOf: "&lt;".unicodeScalars)
            case ">": result.append(contentsOf: "&gt;".unicodeScalars)
            default: result.append(scalar)
            }
        }
        return String(result)
    }

    private static func escapeScript(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\", "'", "\"":
                result.append("\\")
                result.append(scalar)
            case "<", ">", "&", "=", "\0"..<" ":
                let digits = String(scalar.value, radix: 16, uppercase: true)
                let padded = String(repeating: "0", count: 4 - digits.count) + digits
                result.append(contentsOf: ("\\u" + padded).unicodeScalars)
            default: result.append(scalar)
            }
        }
        return String(result)
    }

    private static func failure(_ text: String) -> BuiltinFailure { .failed("template: \(text)") }
}
