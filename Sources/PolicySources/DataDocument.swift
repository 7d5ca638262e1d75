public import Rego
import Yams

/// The base document `data`, from the data files of a policy directory. A file's directory says where its content stands;
/// two files that give one key two values are an error, as is content that is no mapping.
public struct DataDocument: Sendable {
    /// The whole document: an object.
    public var value: RegoValue { root.value }
    private var root = Branch()

    /// An empty document.
    public init() {}

    /// The document of these files; every problem at once.
    public init(_ directory: PolicyDirectory) throws(PolicyLoadError) {
        var problems: [PolicyProblem] = []
        for file in directory.data {
            problems += add(file, path: directory.path(of: file), below: [])
        }
        guard problems.isEmpty else { throw PolicyLoadError(problems) }
    }

    /// Adds what a file says below `prefix` and its directories; what is wrong with it. `path` names it in errors.
    mutating func add(_ file: PolicyDirectory.File, path: String, below prefix: [String]) -> [PolicyProblem] {
        do throws(PolicyLoadError) {
            let value = try Self.parse(file, path: path)
            let place = prefix + file.name.split(separator: "/").dropLast().map(String.init)
            return [root.merge(value, at: place[...], file: path)].compactMap { $0 }
        } catch {
            return error.problems
        }
    }

    private static func parse(_ file: PolicyDirectory.File, path: String) throws(PolicyLoadError) -> RegoValue {
        let value: RegoValue
        if file.name.hasSuffix(".json") {
            do throws(RegoError) {
                value = try RegoValue(json: file.bytes)
            } catch {
                throw PolicyLoadError(path, "not valid JSON: \(error.message)")
            }
        } else {
            value = try YAMLDocument.parse(file.bytes, path: path)
        }
        guard case .object = value else {
            throw PolicyLoadError(path, "the content is no mapping (write key: value)")
        }
        return value
    }
}

/// An object while it is put together.
private struct Branch: Sendable {
    private var children: [(key: String, node: Node)] = []
    private var places: [String: Int] = [:]

    private indirect enum Node: Sendable {
        case branch(Branch)
        case leaf(RegoValue, file: String)
    }

    var value: RegoValue {
        .object(
            children.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map { child in
                switch child.node {
                case .branch(let branch): (.string(child.key), branch.value)
                case .leaf(let value, _): (.string(child.key), value)
                }
            })
    }

    /// Puts `value` below `keys`. Returns the conflict with an earlier file, if there is one.
    mutating func merge(_ value: RegoValue, at keys: ArraySlice<String>, file: String, below: String = "data")
        -> PolicyProblem?
    {
        if let key = keys.first {
            return insert(.object([(.string(key), Self.nest(value, keys.dropFirst()))]), file: file, below: below)
        }
        return insert(value, file: file, below: below)
    }

    private static func nest(_ value: RegoValue, _ keys: ArraySlice<String>) -> RegoValue {
        keys.reversed().reduce(value) { .object([(.string($1), $0)]) }
    }

    private mutating func insert(_ value: RegoValue, file: String, below: String) -> PolicyProblem? {
        guard case .object(let pairs) = value else { return nil }
        for pair in pairs {
            // JSON and YAML documents have texts as keys only.
            guard case .string(let key) = pair.key else { continue }
            let path = "\(below).\(key)"
            guard let place = places[key] else {
                places[key] = children.count
                if case .object = pair.value {
                    var branch = Branch()
                    let conflict = branch.insert(pair.value, file: file, below: path)
                    children.append((key, .branch(branch)))
                    if let conflict { return conflict }
                } else {
                    children.append((key, .leaf(pair.value, file: file)))
                }
                continue
            }
            switch children[place].node {
            case .branch(var branch):
                guard case .object = pair.value else {
                    return Self.conflict(path, file, "another data file")
                }
                let conflict = branch.insert(pair.value, file: file, below: path)
                children[place].node = .branch(branch)
                if let conflict { return conflict }
            case .leaf(_, let other):
                return Self.conflict(path, file, other)
            }
        }
        return nil
    }

    private static func conflict(_ path: String, _ file: String, _ other: String) -> PolicyProblem {
        PolicyProblem(file: file, line: nil, message: "\(path) is defined in \(other) too (keep one of them)")
    }
}
