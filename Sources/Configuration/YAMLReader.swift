import Yams

/// Collects what is wrong while one file is read.
final class ProblemList {
    let file: String
    private(set) var problems: [ConfigurationProblem] = []

    init(file: String) {
        self.file = file
    }

    func add(line: Int?, key: String, _ message: String) {
        problems.append(ConfigurationProblem(file: file, line: line, key: key, message: message))
    }

    /// Every problem, by line.
    var sorted: [ConfigurationProblem] {
        problems.enumerated()
            .sorted { ($0.element.line ?? 0, $0.offset) < ($1.element.line ?? 0, $1.offset) }
            .map(\.element)
    }
}

/// A cursor over a YAML node that knows its key path. A value of the wrong type is reported and read as nil; nothing is
/// put in its place.
struct YAMLReader {
    let node: Node
    /// `agents[0].uid`; empty at the root.
    let key: String
    let line: Int?
    private let list: ProblemList

    init(root: Node, list: ProblemList) {
        self.init(node: root, key: "", line: root.mark?.line, list: list)
    }

    private init(node: Node, key: String, line: Int?, list: ProblemList) {
        self.node = node
        self.key = key
        self.line = line
        self.list = list
    }

    /// Reports that this value is wrong.
    func report(_ message: String) {
        list.add(line: line, key: key, message)
    }

    /// What this node is, for messages.
    var kind: String {
        switch node {
        case .mapping: "a mapping"
        case .sequence: "a list"
        case .alias: "an alias"
        case .scalar(let scalar):
            switch scalar.style {
            case .any, .plain: isNull ? "empty" : "the value \(scalar.string.quoted)"
            case .singleQuoted, .doubleQuoted, .literal, .folded: "the text \(scalar.string.quoted)"
            }
        }
    }

    /// Whether this is a mapping.
    var isMapping: Bool { node.mapping != nil }

    /// Whether this is a list without elements.
    var isEmptyList: Bool { node.sequence?.isEmpty == true }

    /// Whether the value is missing or `null`.
    var isNull: Bool { node.tag == Tag(.null) }

    /// The values of a mapping by key; reports a value that is no mapping, keys outside `known`, and keys given twice.
    func mapping(_ known: [String]) -> [String: YAMLReader] {
        let entries = freeMapping(what: "a mapping with the keys \(known.joined(separator: ", "))")
        for (name, reader) in entries where !known.contains(name) {
            let remedy =
                Spelling.closest(to: name, in: known).map { "did you mean \($0)?" }
                ?? "known keys: \(known.joined(separator: ", "))"
            reader.report("unknown key (\(remedy))")
        }
        return Dictionary(entries) { first, _ in first }.filter { known.contains($0.key) }
    }

    /// The entries of a mapping with any keys, in order; reports a value that is no mapping, and keys given twice.
    func freeMapping(what: String) -> [(key: String, value: YAMLReader)] {
        guard case .mapping(let mapping) = node else {
            report("expected \(what), found \(kind)")
            return []
        }
        var lines: [String: Int?] = [:]
        var result: [(key: String, value: YAMLReader)] = []
        for (keyNode, value) in mapping {
            guard case .scalar(let scalar) = keyNode else {
                report("a key must be plain text")
                continue
            }
            let name = scalar.string
            let path = key.isEmpty ? name : "\(key).\(name)"
            let child = YAMLReader(node: value, key: path, line: keyNode.mark?.line ?? value.mark?.line, list: list)
            if let first = lines.updateValue(child.line, forKey: name) {
                child.report("the key is given twice, first in line \(first ?? 0) (remove one)")
            } else {
                result.append((name, child))
            }
        }
        return result
    }

    /// The elements of a list; reports a value that is none.
    func list(of what: String) -> [YAMLReader] {
        guard case .sequence(let sequence) = node else {
            report("expected a list of \(what), found \(kind)")
            return []
        }
        return sequence.enumerated().map { position, element in
            YAMLReader(node: element, key: "\(key)[\(position)]", line: element.mark?.line ?? line, list: list)
        }
    }

    /// The elements of a list, or the one value that stands for a list of one.
    func oneOrMore(of what: String) -> [YAMLReader] {
        if case .scalar = node { return isNull ? list(of: what) : [self] }
        return list(of: what)
    }

    /// Text; a plain number, boolean or empty value is none. Reports and returns nil for anything else.
    func text(_ what: String) -> String? {
        guard case .scalar(let scalar) = node, !isNull else {
            report("expected \(what), found \(kind)")
            return nil
        }
        guard node.tag == Tag(.str) else {
            report("expected \(what), found \(kind), which YAML takes for something other than text (put it in quotes)")
            return nil
        }
        guard !scalar.string.utf8.contains(0) else {
            report("a NUL byte in \(what)")
            return nil
        }
        return scalar.string
    }

    /// The text of any plain or quoted scalar, for values that check their own form, such as addresses. Reports and
    /// returns nil for anything else.
    func scalar(_ what: String) -> String? {
        guard case .scalar(let scalar) = node, !isNull else {
            report("expected \(what), found \(kind)")
            return nil
        }
        return scalar.string
    }

    /// A whole number in `range`, decimal or `0x` hexadecimal.
    func integer(_ range: ClosedRange<Int>) -> Int? {
        let what = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        guard case .scalar(let scalar) = node, !isNull, scalar.style == .plain || scalar.style == .any,
            let value = Self.number(scalar.string)
        else {
            report("expected \(what), found \(kind)")
            return nil
        }
        guard range.contains(value) else {
            report("\(scalar.string) is out of range (\(what))")
            return nil
        }
        return value
    }

    /// `true` or `false`.
    func boolean() -> Bool? {
        switch scalar("true or false") {
        case "true": return true
        case "false": return false
        case .some(let other): report("\(other.quoted) is neither true nor false")
        case nil: break
        }
        return nil
    }

    /// One of the names of an enum.
    func choice<Choice: RawRepresentable & CaseIterable>(_: Choice.Type) -> Choice? where Choice.RawValue == String {
        let names = Choice.allCases.map(\.rawValue)
        guard let text = text("one of \(names.joined(separator: ", "))") else { return nil }
        guard let choice = Choice(rawValue: text) else {
            let remedy =
                Spelling.closest(to: text, in: names).map { "did you mean \($0)?" }
                ?? "use one of \(names.joined(separator: ", "))"
            report("unknown value \(text.quoted) (\(remedy))")
            return nil
        }
        return choice
    }

    /// An absolute path of at most `limit` bytes.
    func path(limit: Int = 4095) -> String? {
        guard let text = text("an absolute path") else { return nil }
        guard text.hasPrefix("/") else {
            report("\(text.quoted) is not an absolute path (begin with /)")
            return nil
        }
        guard text.utf8.count <= limit else {
            report("the path has \(text.utf8.count) bytes (at most \(limit))")
            return nil
        }
        return text
    }

    /// Decimal without leading zeros, or `0x` and hexadecimal digits: YAML's octal forms mean different things to
    /// different programs and are none.
    private static func number(_ text: String) -> Int? {
        if text.hasPrefix("0x"), text.dropFirst(2).allSatisfy(\.isHexDigit) { return Int(text.dropFirst(2), radix: 16) }
        guard let value = Int(text), String(value) == text else { return nil }
        return value
    }
}
