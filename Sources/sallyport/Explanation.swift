import Control
import DecisionLog

/// What a record says about its decision, for a reader.
struct Explanation {
    private let id: DecisionID
    private let entry: JournalEntry
    private let revisionInForce: String?

    init(id: DecisionID, entry: JournalEntry, revisionInForce: String?) {
        self.id = id
        self.entry = entry
        self.revisionInForce = revisionInForce
    }

    /// Whether the record stands for the decision among others.
    private var isFolded: Bool { entry[.decisionID] != id.description }

    var text: [String] {
        var lines: [String] = []
        func add(_ name: String, _ value: String?, _ style: Console.Style = .plain) {
            guard let value else { return }
            lines.append(TextTable.line([.init(name, .bold), .init(value, style)], widths: [9]))
        }
        add("decision", id.description)
        add("time", Timestamp.text(nanoseconds: id.nanoseconds))
        add("verdict", entry[.verdict], entry[.verdict] == "allow" ? .green : .red)
        add("reason", entry[.reason])
        add("because", entry[.policyReason])
        add("rule", entry[.rule] ?? "none: the policy named none")
        add("policy", policy)
        add("stage", entry[.stage])
        // Found after the decision, so it is no part of the input.
        add("process", entry[.pid].map { "pid \($0)" + (entry[.executable].map { ", \($0)" } ?? "") })
        add("latency", entry[.latency].map { "\($0) µs from the packet's arrival to its verdict" })
        if isFolded {
            add(
                "record",
                "\(entry[.decisionID] ?? "-") stands for this decision and \(others) like it; what follows is its own")
        } else if let count = entry[.repeats] {
            add("repeats", "\(count) further decisions have no record of their own")
        }
        lines.append(Console.styled("input", .bold))
        return lines
    }

    /// The record, the input and what is known of the policy as one JSON object.
    func json() throws -> String {
        let report = Report(
            record: Dictionary(
                uniqueKeysWithValues: RecordField.allCases.compactMap { field in
                    entry[field].map { (field.rawValue.lowercased(), $0) }
                }),
            folded: isFolded, policyRevisionInForce: revisionInForce, input: input)
        return String(decoding: try ControlCoding.encode(report, pretty: true), as: UTF8.self)
    }

    /// The input as indented JSON.
    func inputText() throws -> String {
        String(decoding: try ControlCoding.encode(input, pretty: true), as: UTF8.self)
    }

    private var others: String {
        entry[.repeats].flatMap { UInt64($0) }.map { String($0 - min(1, $0)) } ?? "others"
    }

    private var policy: String? {
        guard let revision = entry[.policyRevision] else { return nil }
        guard let inForce = revisionInForce else {
            return "revision \(revision) (sallyportd does not say which is in force)"
        }
        return inForce == revision
            ? "revision \(revision), in force now" : "revision \(revision); in force now is \(inForce)"
    }

    private var input: ExplainedInput { ExplainedInput(entry) }

    private struct Report: Encodable {
        let record: [String: String]
        let folded: Bool
        let policyRevisionInForce: String?
        let input: ExplainedInput
    }
}

/// The policy's input as far as a record keeps it, in the shape of `policies/schema/input.schema.json`.
struct ExplainedInput: Encodable {
    struct Agent: Encodable {
        let id: String
        let process: Process?
    }

    struct Process: Encodable {
        let uid: UInt32?
        let cgroup: String?
    }

    struct Customer: Encodable {
        let id: String
        let session: String?
    }

    struct Destination: Encodable {
        let host: String?
        let hostSource: String?
        let address: String?
        let port: UInt16?
        let transport: String?
        let names: [String]?
        let addressMatchesHost: Bool?
    }

    struct ProtocolFacts: Encodable {
        let name: String
        let layers: [String]?
        let version: String?
        let alpn: [String]?
        let encryptedClientHello: Bool?
        let ja4: String?
    }

    struct Request: Encodable {
        let method: String
        let path: String?
    }

    struct Question: Encodable {
        let name: String
        let type: String?
    }

    struct Database: Encodable {
        let user: String
        let name: String?
    }

    let time: String?
    let stage: String?
    let agent: Agent?
    let customer: Customer?
    let destination: Destination?
    let `protocol`: ProtocolFacts?
    let request: Request?
    let question: Question?
    let database: Database?

    init(_ entry: JournalEntry) {
        time = entry[.time]
        stage = entry[.stage]
        agent = entry[.agent].map { id in
            let isKnown = entry[.uid] != nil || entry[.cgroup] != nil
            let process = Process(uid: entry[.uid].flatMap { UInt32($0) }, cgroup: entry[.cgroup])
            return Agent(id: id, process: isKnown ? process : nil)
        }
        customer = entry[.customer].map { Customer(id: $0, session: entry[.session]) }
        destination = entry[.port].map { port in
            Destination(
                host: entry[.host], hostSource: entry[.hostSource], address: entry[.address], port: UInt16(port),
                transport: entry[.transport],
                // A name that was cut is none.
                names: entry[.addressNames].map { Self.list($0).filter { !$0.contains("\\+") } },
                addressMatchesHost: entry[.addressMatchesHost].map { $0 == "true" })
        }
        `protocol` = entry[.protocol].map { name in
            ProtocolFacts(
                name: name, layers: entry[.protocolLayers].map(Self.list), version: entry[.protocolVersion],
                alpn: entry[.alpn].map(Self.list),
                encryptedClientHello: entry[.encryptedClientHello].map { $0 == "true" }, ja4: entry[.ja4])
        }
        request = entry[.method].map { Request(method: $0, path: entry[.path]) }
        question = entry[.question].map { Question(name: $0, type: entry[.questionType]) }
        database = entry[.databaseUser].map { Database(user: $0, name: entry[.database]) }
    }

    private static func list(_ text: String) -> [String] {
        text.split(separator: ",").map { String($0) }
    }
}
