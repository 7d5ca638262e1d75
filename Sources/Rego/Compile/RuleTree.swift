/// The rules of all modules by their paths.
final class RuleTree {
    /// The last part of the path; a constant.
    let key: RegoValue
    /// The path from below `data`.
    let path: [RegoValue]
    /// Rules whose heads end here, before their first variable part.
    var rules: [Rule] = []
    /// In order of insertion.
    private(set) var children: [RuleTree] = []
    private var index: [Symbol: Int] = [:]
    /// Number of the compiled procedure of the rules here, and of the whole document here.
    var group: Int?
    var document: Int?

    init(key: RegoValue = .null, path: [RegoValue] = []) {
        self.key = key
        self.path = path
    }

    /// A constant key that compares by its bytes.
    struct Symbol: Hashable {
        private let bytes: [UInt8]
        init(_ value: RegoValue) {
            if case .string(let text) = value {
                bytes = [0x22] + text.utf8
            } else {
                bytes = Array(value.json.utf8)
            }
        }
    }

    /// The child of a key.
    func child(_ key: RegoValue) -> RuleTree? {
        guard let place = index[Symbol(key)] else { return nil }
        return children[place]
    }

    /// The child of a key, made where there is none.
    func makeChild(_ key: RegoValue) -> RuleTree {
        if let child = child(key) { return child }
        let child = RuleTree(key: key, path: path + [key])
        index[Symbol(key)] = children.count
        children.append(child)
        return child
    }

    /// A module's package ends here: the document is an object, even without rules.
    var isPackage = false

    /// Whether there are rules here or below.
    var hasRules: Bool { !rules.isEmpty || isPackage || children.contains { $0.hasRules } }

    /// The path as OPA writes it: `data.a.b`.
    var name: String {
        TermPrinter.text([Term(.variable("data"))] + path.map { ConstantTerm.term($0) })
    }
}

/// Constants as terms and back.
enum ConstantTerm {
    static func term(_ value: RegoValue) -> Term {
        switch value {
        case .null: Term(.null)
        case .boolean(let boolean): Term(.boolean(boolean))
        case .number(let text): Term(.number(text))
        case .string(let text): Term(.string(text))
        case .array(let elements): Term(.array(elements.map { term($0) }))
        case .set(let elements): Term(.set(elements.map { term($0) }))
        case .object(let pairs): Term(.object(pairs.map { (term($0.key), term($0.value)) }))
        }
    }

    /// The value of a constant term; nil for other terms.
    static func value(_ term: Term) -> RegoValue? {
        switch term.value {
        case .null: return .null
        case .boolean(let boolean): return .boolean(boolean)
        case .number(let text): return .number(text)
        case .string(let text): return .string(text)
        case .array(let terms):
            let values = terms.compactMap { value($0) }
            return values.count == terms.count ? .array(values) : nil
        case .set(let terms):
            let values = terms.compactMap { value($0) }
            return values.count == terms.count ? .set(values) : nil
        case .object(let pairs):
            var result: [(key: RegoValue, value: RegoValue)] = []
            for pair in pairs {
                guard let key = value(pair.key), let inner = value(pair.value) else { return nil }
                result.append((key, inner))
            }
            return .object(result)
        default: return nil
        }
    }
}
