import Foundation
import Rego

/// Compares what the compiler says of modules with what OPA says of them.
struct ModuleErrorScore {
    /// Modules and OPA's whole answer; nil where OPA accepts them.
    struct Item {
        let note: String
        let modules: [String]
        let error: String?

        /// What a list of differences shows.
        var text: String { modules.joined(separator: "\n====\n") }
    }

    /// An error as printed: its code, its line and its text without the place.
    struct Printed: Equatable {
        var code = ""
        var row = 0
        /// Message and detail lines.
        var text = ""

        /// The first error of OPA's answer.
        init(first answer: String) {
            var rest = Substring(answer)
            for prefix in ["parse_error: ", "prepare_error: bundle activation failed: "] where rest.hasPrefix(prefix) {
                rest = rest.dropFirst(prefix.count)
            }
            if let end = rest.range(of: "occurred:"), rest.distance(from: rest.startIndex, to: end.lowerBound) < 16 {
                rest = rest[end.upperBound...].drop { $0 == " " || $0 == "\n" }
            }
            var lines: [Substring] = []
            for line in rest.split(separator: "\n", omittingEmptySubsequences: false) {
                if !lines.isEmpty, line.hasPrefix("test-") || line.hasPrefix("rego_") { break }
                lines.append(line)
            }
            let head = lines.first ?? ""
            guard let code = head.range(of: "rego_") else {
                text = String(head)
                return
            }
            row = Int(head[..<code.lowerBound].split(separator: ":").dropFirst().first ?? "0") ?? 0
            let words = head[code.lowerBound...]
            let colon = words.firstIndex(of: ":") ?? words.endIndex
            self.code = String(words[..<colon])
            let message = words[colon...].dropFirst(2)
            text = ([message] + lines.dropFirst()).joined(separator: "\n")
            while text.last == "\n" { text.removeLast() }
        }

        init(_ error: RegoError) {
            code = error.code
            row = error.row
            text = ([error.message] + error.details.map { "\t" + $0 }).joined(separator: "\n")
        }

        /// The message with names and numbers taken out.
        var kind: String {
            var message = String(text.prefix { $0 != "\n" })
            let substitutions = [
                ("`[^`]*`", "Q"), ("\"[^\"]*\"", "Q"), ("\\{[^}]*\\}", "Q"), ("\\[[^\\]]*\\]", "Q"),
                ("^[a-z_][a-z0-9_.]*: ", "F: "), ("(data|input)(\\.[A-Za-z0-9_]+|\\[[^\\]]*\\])+", "R"),
                ("(var|arg|argument|variables|import|function|rule|ref:|got:|rules) [A-Za-z_][^ ]*", "$1 NAME"),
                ("[0-9]+", "N"),
            ]
            for (pattern, replacement) in substitutions {
                message = message.replacingOccurrences(of: pattern, with: replacement, options: .regularExpression)
            }
            return code + ": " + message
        }
    }

    private(set) var accepted = 0
    private(set) var refused = 0
    private(set) var agreed = 0
    private(set) var samePlace = 0
    private(set) var sameText: [String: (right: Int, all: Int)] = [:]
    private(set) var differences: [String] = []

    /// Reads `[{"note", "module", "error"}]`, or `[{"note", "modules", "error"}]`.
    static func items(json: [UInt8]) throws -> [Item] {
        let value = try RegoValue(json: json)
        return (value.elements ?? []).map { item in
            Item(
                note: item["note"]?.string ?? "",
                modules: (item["modules"]?.elements ?? [item["module"]].compactMap { $0 }).compactMap(\.string),
                error: item["error"]?.string)
        }
    }

    /// Compiles and counts.
    mutating func add(_ item: Item) {
        var ours: Printed?
        do {
            _ = try CompiledPolicy(modules: item.modules.enumerated().map { ("test-\($0).rego", $1) })
        } catch {
            // Functions that an embedded engine does not have are refused behind OPA's own checks.
            ours = error.errors.first.flatMap { $0.code == "rego_unavailable_error" ? nil : Printed($0) }
        }
        guard let answer = item.error else {
            accepted += 1
            if let ours {
                differences.append("\(item.note): OPA accepts, we refuse: \(ours)\n\(item.text)")
            } else {
                agreed += 1
            }
            return
        }
        refused += 1
        let theirs = Printed(first: answer)
        let kind = theirs.kind
        var counts = sameText[kind] ?? (0, 0)
        counts.all += 1
        if let ours {
            agreed += 1
            if ours.code == theirs.code, ours.row == theirs.row { samePlace += 1 }
            if ours == theirs {
                counts.right += 1
            } else {
                differences.append("\(item.note): OPA: \(theirs)\n  ours: \(ours)\n\(item.text)")
            }
        } else {
            differences.append("\(item.note): we accept, OPA: \(theirs)\n\(item.text)")
        }
        sameText[kind] = counts
    }

    /// Shares in percent: agreement, code and line, text over distinct messages.
    var percentages: (agreement: Double, place: Double, text: Double) {
        let macro = sameText.values.reduce(0.0) { $0 + Double($1.right) / Double($1.all) }
        return (
            100 * Double(agreed) / Double(max(1, accepted + refused)),
            100 * Double(samePlace) / Double(max(1, refused)),
            100 * macro / Double(max(1, sameText.count))
        )
    }

    /// The figures, one a line.
    var summary: String {
        let (agreement, place, text) = percentages
        return """
            \(accepted + refused) modules, \(refused) refused by OPA
            accepted or refused alike: \(String(format: "%.2f", agreement)) %
            code and line of the first error: \(String(format: "%.2f", place)) %
            its text, over \(sameText.count) distinct messages: \(String(format: "%.2f", text)) %
            """
    }
}
