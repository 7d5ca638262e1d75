/// The annotations of all modules: what stands in comments that begin with `METADATA`.
struct Annotations {
    private enum Scope: String {
        case rule
        case document
        case package
        case subpackages
    }

    private struct Entry {
        let scope: Scope
        /// The path below `data` of what is annotated.
        let path: [RegoValue]
        /// The rule, for the scope `rule`.
        let rule: ObjectIdentifier?
        let value: RegoValue
    }

    private var entries: [Entry] = []

    init(_ modules: [Module]) {
        for module in modules { read(module) }
    }

    // MARK: Reading

    private mutating func read(_ module: Module) {
        let comments = module.comments.sorted { $0.location.row < $1.location.row }
        var index = 0
        while index < comments.count {
            let first = comments[index]
            index += 1
            guard text(first).trimmed == "METADATA" else { continue }
            var lines: [String] = []
            var row = first.location.row
            while index < comments.count, comments[index].location.row == row + 1,
                comments[index].location.column == first.location.column
            {
                lines.append(text(comments[index]))
                row += 1
                index += 1
            }
            attach(lines, behind: row, in: module)
        }
    }

    private func text(_ comment: Comment) -> String { String(decoding: comment.text, as: UTF8.self) }

    private mutating func attach(_ lines: [String], behind row: Int, in module: Module) {
        let yaml = lines.joined(separator: "\n")
        guard case .object(let pairs)? = try? RegoValue(yaml: yaml) else { return }
        let following = module.rules.filter { $0.location.row > row }.min { $0.location.row < $1.location.row }
        let isPackage =
            module.packageLocation.row > row
            && module.packageLocation.row <= following?.location.row ?? Int.max
        if !isPackage, following == nil { return }
        // Statements between the comment and the rule take the annotation from it.
        if !isPackage, let following,
            module.imports.contains(where: { $0.location.row > row && $0.location.row < following.location.row })
        {
            return
        }
        var fields: [(key: RegoValue, value: RegoValue)] = []
        var scope: Scope = isPackage ? .package : .rule
        for (key, value) in pairs {
            guard case .string(let name) = key else { continue }
            switch name {
            case "scope": if let known = value.string.flatMap({ Scope(rawValue: $0) }) { scope = known }
            case "title", "description": if value.string != "" { fields.append((key, value)) }
            case "entrypoint":
                if value.boolean == true {
                    fields.append((key, value))
                    if !isPackage, !pairs.contains(where: { $0.key.string == "scope" }) { scope = .document }
                }
            case "organizations", "custom", "schemas": fields.append((key, value))
            case "related_resources":
                fields.append((key, .array((value.elements ?? []).map { Self.resource($0) })))
            case "authors": fields.append((key, .array((value.elements ?? []).map { Self.author($0) })))
            default: continue
            }
        }
        fields.append((.string("scope"), .string(scope.rawValue)))
        let package = module.package.compactMap { ConstantTerm.value($0) }
        let path = isPackage ? package : package + (following.map { Self.path($0) } ?? [])
        entries.append(
            Entry(
                scope: scope, path: path, rule: following.map { ObjectIdentifier($0) }, value: .object(fields)))
    }

    private static func resource(_ value: RegoValue) -> RegoValue {
        value.string == nil ? value : .object([(.string("ref"), value)])
    }

    /// `Name <mail>`, or an object.
    private static func author(_ value: RegoValue) -> RegoValue {
        guard let text = value.string else { return value }
        var words = text.split(separator: " ").map(String.init)
        var mail: String?
        if let last = words.last, last.hasPrefix("<"), last.hasSuffix(">") {
            mail = String(last.dropFirst().dropLast())
            words.removeLast()
        }
        var fields: [(key: RegoValue, value: RegoValue)] = []
        if let mail { fields.append((.string("email"), .string(mail))) }
        if !words.isEmpty { fields.append((.string("name"), .string(words.joined(separator: " ")))) }
        return .object(fields)
    }

    /// The constant beginning of a rule's name.
    private static func path(_ rule: Rule) -> [RegoValue] {
        var path: [RegoValue] = []
        for (index, term) in rule.head.reference.enumerated() {
            if index == 0, case .variable(let name) = term.value {
                path.append(.string(name))
            } else if let value = ConstantTerm.value(term) {
                path.append(value)
            } else {
                break
            }
        }
        return path
    }

    // MARK: Asking

    /// What `rego.metadata.rule` says in a rule: its own annotations, or nothing.
    func rule(_ rule: Rule) -> RegoValue {
        entries.first { $0.scope == .rule && $0.rule == ObjectIdentifier(rule) }?.value ?? .object([])
    }

    /// The `schemas` that hold in a rule, path and schema, those of what is nearest to it last.
    func schemas(_ rule: Rule, package: [RegoValue]) -> [(path: String, schema: RegoValue)] {
        let path = package + Self.path(rule)
        var found = entries.filter { $0.scope == .subpackages && package.starts(with: $0.path) }
            .sorted { $0.path.count < $1.path.count }
        found += entries.filter { $0.scope == .package && $0.path == package }
        found += entries.filter { $0.scope == .document && $0.path == path }
        found += entries.filter { $0.scope == .rule && $0.rule == ObjectIdentifier(rule) }
        return found.flatMap { ($0.value["schemas"]?.elements ?? []) }.flatMap { entry in
            guard case .object(let pairs) = entry else { return [(path: String, schema: RegoValue)]() }
            return pairs.compactMap { pair in pair.key.string.map { ($0, pair.value) } }
        }
    }

    /// What `rego.metadata.chain` says in a rule: from the rule to the root.
    func chain(_ rule: Rule, package: [RegoValue]) -> RegoValue {
        let path = package + Self.path(rule)
        var links: [RegoValue] = []
        func link(_ path: [RegoValue], _ annotations: RegoValue?) {
            var fields: [(key: RegoValue, value: RegoValue)] = []
            if let annotations { fields.append((.string("annotations"), annotations)) }
            fields.append((.string("path"), .array(path)))
            links.append(.object(fields))
        }
        let own = entries.filter { $0.scope == .rule && $0.rule == ObjectIdentifier(rule) }
        if own.isEmpty { link(path, nil) } else { for entry in own { link(path, entry.value) } }
        func add(_ scope: Scope, _ path: [RegoValue]) {
            for entry in entries where entry.scope == scope && entry.path == path { link(path, entry.value) }
        }
        add(.document, path)
        add(.package, package)
        for count in stride(from: package.count, through: 0, by: -1) { add(.subpackages, Array(package.prefix(count))) }
        return .array(links)
    }
}

extension String {
    /// Without spaces at both ends.
    fileprivate var trimmed: String {
        var view = self[...]
        while let first = view.first, first.isWhitespace { view.removeFirst() }
        while let last = view.last, last.isWhitespace { view.removeLast() }
        return String(view)
    }
}
