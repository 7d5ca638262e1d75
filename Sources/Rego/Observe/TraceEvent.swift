/// What an instrumented program tells at an `observe` instruction.
enum TraceOperation: UInt8 {
    case enter
    case exit
    /// An exit behind which no other solution is looked for.
    case exitEarly
    case eval
    case redo
    case fail
    case note
    case index
    case indexEarly
}

/// One step of an evaluation, as OPA's tracer tells it.
public struct TraceEvent: Sendable, Hashable {
    /// What happens; the raw value is OPA's word.
    public enum Operation: String, Sendable {
        /// A query, a body or a rule begins.
        case enter = "Enter"
        /// It has a solution.
        case exit = "Exit"
        /// An expression is tried.
        case eval = "Eval"
        /// Another solution is looked for.
        case redo = "Redo"
        /// An expression has no solution.
        case fail = "Fail"
        /// The policy called `trace`.
        case note = "Note"
        /// The rules of a document were looked up.
        case index = "Index"
    }

    /// What the step is about.
    public enum Kind: String, Sendable {
        /// A query, or the body of a comprehension, of `every` or of a negation.
        case body
        case rule
        case expression = "expr"
        /// A look-up or a note.
        case none = ""
    }

    /// What happens.
    public let operation: Operation
    /// What it happens to.
    public let kind: Kind
    /// The rule's path, the expression or the body; of notes nothing.
    public let text: String
    /// The module's name; empty for the query.
    public let file: String
    /// Line, from 1.
    public let row: Int
    /// Column in characters, from 1.
    public let column: Int
    /// The query, body or rule that the step belongs to, from 1.
    public let queryID: Int
    /// The one around it; 0 for the query itself.
    public let parentID: Int
    /// How many queries, bodies and rules are around, this one included.
    public let depth: Int
    /// What `trace` was called with, `(matched 2 rules)`, `early`; mostly empty.
    public let message: String

    /// `| Eval x = 1`, as OPA writes it.
    public var line: String {
        let isOutside = operation == .enter || (operation == .redo && kind != .expression)
        let padding = String(repeating: "| ", count: max(0, isOutside ? depth - 1 : depth))
        if operation == .note { return padding + operation.rawValue + " " + RegoWriter.quoted(message) }
        return padding + operation.rawValue + " " + text + (message.isEmpty ? "" : " " + message)
    }

    /// `query:1` or `egress.rego:12`.
    public var place: String { (file.isEmpty ? "query" : file) + ":\(row)" }

    /// As `opa eval --format json --explain full` has it, bodies and expressions as text.
    public var value: RegoValue {
        var fields: [(key: RegoValue, value: RegoValue)] = [
            (.string("Op"), .string(operation.rawValue)), (.string("Type"), .string(kind.rawValue)),
            (.string("Node"), .string(text)), (.string("QueryID"), RegoValue(queryID)),
            (.string("ParentID"), RegoValue(parentID)),
            (
                .string("Location"),
                .object([
                    (.string("file"), .string(file)), (.string("row"), RegoValue(row)),
                    (.string("col"), RegoValue(column)),
                ])
            ),
        ]
        if !message.isEmpty { fields.append((.string("Message"), .string(message))) }
        return .object(fields)
    }
}

extension [TraceEvent] {
    /// The events of some operations, each behind the begins of the rules and bodies that lead to it, as OPA's `notes` and
    /// `fails` have them.
    public func explaining(_ operations: Set<TraceEvent.Operation>) -> [TraceEvent] {
        var begins: [Int: TraceEvent] = [:]
        var result: [TraceEvent] = []
        for event in self {
            if operations.contains(event.operation) {
                var path = [event]
                var id = event.queryID
                while let begin = begins[id] {
                    path.append(begin)
                    if begin.parentID == id { break }
                    id = begin.parentID
                }
                result += path.reversed()
                begins = [:]
            }
            if event.operation == .enter || event.operation == .redo, event.kind == .rule || event.kind == .body {
                begins[event.queryID] = event
            }
        }
        return result
    }

    /// Lines with places in front, as OPA prints a trace.
    public var lines: [String] {
        let width = (map { $0.place.utf8.count }.max() ?? 0) + 4
        return map { event in
            event.place + String(repeating: " ", count: width - event.place.utf8.count) + " " + event.line
        }
    }
}
