import Identity
import PacketHeaders
import Policy

/// Turns records and events into the journal's native protocol
/// (systemd, "Native Journal Protocol") and into JSON. Values are escaped by `JournalText` and bounded by
/// `RecordField.limit`, so nothing that an agent sends can end a field, open another one or reach a terminal raw.
public enum RecordFormat {
    /// Appends the datagram of a record.
    public static func appendJournal(_ record: DecisionRecord, to bytes: inout [UInt8]) {
        var sink = JournalSink(bytes: bytes)
        bytes = []
        sink.standard(
            message: message(of: record), identifier: messageID(of: record),
            priority: record.decision.allow ? 6 : 4)
        visit(record, &sink)
        bytes = sink.bytes
    }

    /// Appends the datagram of an event.
    public static func appendJournal(_ event: LogEvent, to bytes: inout [UInt8]) {
        var sink = JournalSink(bytes: bytes)
        bytes = []
        sink.standard(
            message: JournalText.escape(event.message, as: .sentence, limit: eventValueLimit),
            identifier: event.kind.messageID, priority: event.kind.priority)
        sink.text(.event, event.kind.rawValue, as: .name)
        sink.time(.time, event.time)
        for (name, value) in event.fields.sorted(by: { $0.key < $1.key }) {
            sink.field(
                RecordField.prefix + fieldName(name),
                JournalText.escape(value, as: .sentence, limit: eventValueLimit))
        }
        bytes = sink.bytes
    }

    /// Appends a record as one JSON object without a newline: the fields in lower case, numbers as numbers, and `message`.
    public static func appendJSON(_ record: DecisionRecord, to bytes: inout [UInt8]) {
        var sink = JSONSink(bytes: bytes)
        bytes = []
        sink.open()
        sink.pair("message", message(of: record))
        visit(record, &sink)
        sink.close()
        bytes = sink.bytes
    }

    /// The readable line: `allow research-bot -> api.example.com:443 tls (rule web)`.
    public static func message(of record: DecisionRecord) -> String {
        var line = record.decision.allow ? "allow " : "deny "
        line +=
            record.input.agent.id.isEmpty
            ? "unknown" : JournalText.escape(record.input.agent.id, as: .name, limit: RecordField.agent.limit)
        let isMixed = record.repeats?.isMixed ?? false
        if !isMixed, let customer = record.input.customer {
            line += " for " + JournalText.escape(customer.id, as: .sentence, limit: RecordField.customer.limit)
        }
        line += isMixed ? " -> several destinations" : destination(of: record)
        if record.isInbound { line += " inbound" }
        if record.flow == nil { line += " asked" }
        line += " ("
        line += record.decision.allow ? "" : record.decision.reason.rawValue + ", "
        line += "stage " + record.input.stage.rawValue
        if let rule = record.decision.rule {
            line += ", rule " + JournalText.escape(rule, as: .name, limit: RecordField.rule.limit)
        }
        line += ")"
        if !record.decision.allow, !isMixed, let text = record.decision.policyReason {
            line += ": " + JournalText.escape(text, as: .sentence, limit: messagePartLimit)
        }
        if let repeats = record.repeats {
            let span = (repeats.last.nanoseconds &- repeats.first.nanoseconds) / 1_000_000_000
            line += ", \(repeats.count) more in \(span + 1) s"
        }
        return line
    }

    /// The record's MESSAGE_ID.
    public static func messageID(of record: DecisionRecord) -> String {
        guard record.decision.allow else { return DecisionMessageID.refused }
        return record.isInbound ? DecisionMessageID.inbound : DecisionMessageID.allowed
    }

    private static func destination(of record: DecisionRecord) -> String {
        let input = record.input
        var line = " -> "
        if let host = input.host {
            line += JournalText.escape(host, as: .name, limit: RecordField.host.limit)
        } else {
            line += input.address.family == .v6 ? "[\(input.address)]" : input.address.description
        }
        line += ":\(input.port) " + (input.protocol?.name ?? input.transport.description)
        if let request = input.request, record.decision.logging != .summary {
            line += " " + JournalText.escape(request.method, as: .name, limit: RecordField.method.limit)
            line += " " + JournalText.escape(request.path, as: .name, limit: messagePartLimit)
        }
        return line
    }

    private static func visit(_ record: DecisionRecord, _ sink: inout some RecordSink) {
        let input = record.input
        let isMixed = record.repeats?.isMixed ?? false
        let isFull = record.decision.logging != .summary && !isMixed
        sink.text(.decisionID, record.id.description, as: .name)
        sink.time(.time, input.time)
        sink.text(.verdict, record.decision.allow ? "allow" : "deny", as: .name)
        sink.text(.reason, record.decision.reason.rawValue, as: .name)
        if !isMixed, let text = record.decision.policyReason { sink.text(.policyReason, text, as: .sentence) }
        if let rule = record.decision.rule { sink.text(.rule, rule, as: .name) }
        if !record.policyRevision.isEmpty { sink.text(.policyRevision, record.policyRevision, as: .name) }
        sink.text(.stage, input.stage.rawValue, as: .name)
        if !input.agent.id.isEmpty { sink.text(.agent, input.agent.id, as: .name) }
        if !isMixed, let customer = input.customer {
            sink.text(.customer, customer.id, as: .sentence)
            if let session = customer.session { sink.text(.session, session, as: .name) }
        }
        if record.isInbound { sink.text(.direction, "inbound", as: .name) }
        if record.flow == nil { sink.text(.direction, "asked", as: .name) }
        if !isMixed { visitDestination(record, &sink) }
        if isFull { visitDetail(record, &sink) }
        if let repeats = record.repeats {
            sink.number(.repeats, repeats.count)
            sink.time(.firstTime, repeats.first.nanoseconds)
            sink.time(.lastTime, repeats.last.nanoseconds)
            sink.text(.firstDecisionID, repeats.first.description, as: .name)
            sink.text(.lastDecisionID, repeats.last.description, as: .name)
        }
    }

    private static func visitDestination(_ record: DecisionRecord, _ sink: inout some RecordSink) {
        let input = record.input
        if let host = input.host { sink.text(.host, host, as: .name) }
        if let source = input.hostSource { sink.text(.hostSource, source.rawValue, as: .name) }
        if input.isAddressKnown { sink.text(.address, input.address.description, as: .name) }
        sink.number(.port, UInt64(input.port))
        sink.text(.transport, input.transport.description, as: .name)
        if let name = input.protocol?.name { sink.text(.protocol, name, as: .name) }
    }

    private static func visitDetail(_ record: DecisionRecord, _ sink: inout some RecordSink) {
        let input = record.input
        if let names = input.names {
            sink.text(.addressNames, names.prefix(addressNameCount).joined(separator: ","), as: .name)
        }
        if let matches = input.addressMatchesHost {
            sink.text(.addressMatchesHost, matches ? "true" : "false", as: .name)
        }
        if let flow = record.flow {
            sink.text(.sourceAddress, flow.source.description, as: .name)
            sink.number(.sourcePort, UInt64(flow.sourcePort))
        }
        if let facts = input.protocol {
            if let layers = facts.layers { sink.text(.protocolLayers, layers.joined(separator: ","), as: .name) }
            if let version = facts.version { sink.text(.protocolVersion, version, as: .name) }
            if let alpn = facts.alpn { sink.text(.alpn, alpn.joined(separator: ","), as: .name) }
            if let present = facts.encryptedClientHello {
                sink.text(.encryptedClientHello, present ? "true" : "false", as: .name)
            }
            if let ja4 = facts.ja4 { sink.text(.ja4, ja4, as: .name) }
        }
        if let request = input.request {
            sink.text(.method, request.method, as: .name)
            sink.text(.path, request.path, as: .name)
        }
        if let question = input.question {
            sink.text(.question, question.name, as: .name)
            sink.text(.questionType, question.type, as: .name)
        }
        if let database = input.database {
            if let name = database.name { sink.text(.database, name, as: .name) }
            sink.text(.databaseUser, database.user, as: .name)
        }
        if let uid = input.uid { sink.number(.uid, UInt64(uid)) }
        if let process = record.process {
            sink.number(.pid, UInt64(max(0, process.pid)))
            if let executable = process.executable { sink.text(.executable, executable, as: .sentence) }
        }
        if let cgroup = input.cgroup { sink.text(.cgroup, cgroup, as: .sentence) }
        sink.number(.latency, UInt64(record.latencyMicroseconds))
    }

    /// A journal field's name allows capitals, digits and underscores, 64 bytes in all; every other byte becomes `_`.
    private static func fieldName(_ name: String) -> String {
        let upper = name.uppercased().utf8.prefix(64 - RecordField.prefix.utf8.count).map { byte -> UInt8 in
            let isAllowed = (0x41...0x5A).contains(byte) || (0x30...0x39).contains(byte)
            return isAllowed ? byte : 0x5F
        }
        return String(decoding: upper, as: UTF8.self)
    }

    /// How many of an address's names are written: an address of a large host has thousands.
    private static let addressNameCount = 64
    private static let messagePartLimit = 256
    private static let eventValueLimit = 4080
}
