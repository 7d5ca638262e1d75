import Rego
import Yams

/// Reads YAML as OPA does: into JSON's kinds of values.
enum YAMLDocument {
    /// An alias stands for its whole value, so a few lines can spell a huge document; this many nodes are read.
    static let maximumNodes = 4_000_000
    /// Deepest nesting.
    static let maximumDepth = 128

    /// The value of one YAML document; `path` names it in errors.
    static func parse(_ bytes: [UInt8], path: String, maximumNodes: Int = maximumNodes) throws(PolicyLoadError)
        -> RegoValue
    {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw PolicyLoadError(path, "not UTF-8 text (save it as UTF-8)")
        }
        let root: Node?
        do {
            root = try compose(yaml: text, .default, .default, .utf8)
        } catch let error as YamlError {
            throw PolicyLoadError([problem(error, path)])
        } catch {
            throw PolicyLoadError(path, "not readable as YAML: \(error)")
        }
        guard let root else { return .object([]) }
        var reader = Reader(path: path, maximumNodes: maximumNodes)
        return try reader.value(root, depth: 0)
    }

    private struct Reader {
        let path: String
        let maximumNodes: Int
        var nodes = 0

        mutating func value(_ node: Node, depth: Int) throws(PolicyLoadError) -> RegoValue {
            nodes += 1
            guard nodes <= maximumNodes, depth <= maximumDepth else {
                throw failure(node, "more than \(maximumNodes) values, or nested more than \(maximumDepth) deep")
            }
            switch node {
            case .scalar(let scalar): return try self.scalar(scalar, node)
            case .alias: throw failure(node, "an alias that stands for nothing")
            case .sequence(let sequence):
                var elements: [RegoValue] = []
                for element in sequence { elements.append(try value(element, depth: depth + 1)) }
                return .array(elements)
            case .mapping(let mapping):
                var merged: [String: RegoValue] = [:]
                var own: [String: RegoValue] = [:]
                for (keyNode, inner) in mapping {
                    if keyNode.tag == Tag(.merge) {
                        for source in inner.sequence.map({ Array($0) }) ?? [inner] {
                            guard case .object(let pairs) = try value(source, depth: depth + 1) else {
                                throw failure(inner, "<< needs a mapping")
                            }
                            // The first of several sources wins, and the mapping's own keys win over all.
                            for case (.string(let name), let other) in pairs where merged[name] == nil {
                                merged[name] = other
                            }
                        }
                        continue
                    }
                    let name = try key(keyNode)
                    guard own.updateValue(try value(inner, depth: depth + 1), forKey: name) == nil else {
                        throw failure(keyNode, "the key \(name) is given twice (remove one)")
                    }
                }
                return .object(
                    merged.merging(own) { $1 }.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
                        .map { (.string($0.key), $0.value) })
            }
        }

        /// A key is text; a plain number is taken as it is written.
        private func key(_ node: Node) throws(PolicyLoadError) -> String {
            guard case .scalar(let scalar) = node, node.tag == Tag(.str) || Self.integer(scalar.string, node) != nil
            else {
                throw failure(node, "a key has to be text (put it in quotes)")
            }
            return scalar.string
        }

        private func scalar(_ scalar: Node.Scalar, _ node: Node) throws(PolicyLoadError) -> RegoValue {
            let tag = node.tag
            if tag == Tag(.str) || tag == Tag(.timestamp) { return .string(scalar.string) }
            if tag == Tag(.null) { return .null }
            if tag == Tag(.bool), let boolean = node.bool { return .boolean(boolean) }
            if tag == Tag(.int) {
                if let text = Self.integer(scalar.string, node) { return .number(text) }
                if let integer = node.int { return .number(String(integer)) }
            }
            if tag == Tag(.float), let number = node.float, number.isFinite {
                // JSON's own spelling where it is one, such as 0.10 or 1e3.
                return (try? RegoValue(json: scalar.string)) ?? .number("\(number)")
            }
            throw failure(node, "\(scalar.string) is no value that JSON has (put it in quotes)")
        }

        /// Decimal digits as JSON writes them, of any length.
        private static func integer(_ text: String, _ node: Node) -> String? {
            guard node.tag == Tag(.int) else { return nil }
            let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
            guard let first = digits.utf8.first, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                return nil
            }
            return first == 0x30 && digits.utf8.count > 1 ? nil : text
        }

        private func failure(_ node: Node, _ message: String) -> PolicyLoadError {
            PolicyLoadError([PolicyProblem(file: path, line: node.mark?.line, message: message)])
        }
    }

    private static func problem(_ error: YamlError, _ path: String) -> PolicyProblem {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            PolicyProblem(file: path, line: mark.line, message: "not valid YAML: \(problem), at column \(mark.column)")
        case .reader(let problem, _, _, _):
            PolicyProblem(file: path, line: nil, message: "not valid YAML: \(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            PolicyProblem(
                file: path, line: context.mark.line,
                message: "the key \(duplicates.joined(separator: ", ")) is given twice in one mapping (remove one)")
        case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
            PolicyProblem(file: path, line: nil, message: "not readable as YAML: \(error)")
        }
    }
}
