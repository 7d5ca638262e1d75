import PacketHeaders
import Policy
import Identity
import Testing

@testable import DecisionLog

@Suite("RecordFormat")
struct RecordFormatTests {
    @Test("writes the fields of the contract")
    func fields() throws {
        #expect(
            try journal(full()).map { "\($0.name)=\($0.value)" } == [
                "MESSAGE=deny bot -> api.example.com:443 tls GET /v1/items (policy, stage hello, rule web): not on the list",
                "MESSAGE_ID=\(DecisionMessageID.refused)", "PRIORITY=4", "SYSLOG_IDENTIFIER=sallyport",
                "SALLYPORT_DECISION_ID=01a3185c-5000-7000-8000-000000000000",
                "SALLYPORT_TIME=2027-01-15T08:00:00.000000Z", "SALLYPORT_VERDICT=deny", "SALLYPORT_REASON=policy",
                "SALLYPORT_POLICY_REASON=not on the list", "SALLYPORT_RULE=web",
                "SALLYPORT_POLICY_REVISION=0123456789ab", "SALLYPORT_STAGE=hello", "SALLYPORT_AGENT=bot",
                "SALLYPORT_HOST=api.example.com", "SALLYPORT_HOST_SOURCE=sni", "SALLYPORT_ADDRESS=198.18.0.1",
                "SALLYPORT_PORT=443", "SALLYPORT_TRANSPORT=tcp", "SALLYPORT_PROTOCOL=tls",
                "SALLYPORT_ADDRESS_NAMES=api.example.com,cdn.example.net", "SALLYPORT_ADDRESS_MATCHES_HOST=true",
                "SALLYPORT_SOURCE_ADDRESS=198.18.0.2", "SALLYPORT_SOURCE_PORT=40000", "SALLYPORT_PROTOCOL_VERSION=1.3",
                "SALLYPORT_ALPN=h2,http/1.1", "SALLYPORT_ENCRYPTED_CLIENT_HELLO=false", "SALLYPORT_JA4=t13d1516h2",
                "SALLYPORT_METHOD=GET", "SALLYPORT_PATH=/v1/items", "SALLYPORT_UID=1001", "SALLYPORT_PID=4242",
                "SALLYPORT_EXECUTABLE=/usr/bin/curl", "SALLYPORT_CGROUP=/sallyport.slice/a.service",
                "SALLYPORT_LATENCY_US=87",
            ])
    }

    @Test("writes the same names in lower case as JSON, numbers as numbers")
    func json() throws {
        var bytes: [UInt8] = []
        RecordFormat.appendJSON(full(), to: &bytes)
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.hasPrefix(#"{"message":"deny bot "#))
        #expect(text.contains(#""decision_id":"01a3185c-5000-7000-8000-000000000000","#))
        #expect(text.contains(#""port":443,"#))
        #expect(text.hasSuffix(#""latency_us":87}"#))
    }

    @Test("names customer and session, but not where a record stands for several destinations")
    func customer() throws {
        var record = decision(allow: true)
        record.input.customer = Customer(id: "acme\n x", session: "0123")
        #expect(
            RecordFormat.message(of: record)
                == "allow bot for acme\\x0a x -> api.example.com:443 tls (stage hello, rule web)")
        let fields = try journal(record).map { "\($0.name)=\($0.value)" }
        #expect(fields.contains("SALLYPORT_CUSTOMER=acme\\x0a x"))
        #expect(fields.contains("SALLYPORT_SESSION=0123"))
        record.repeats = RecordRepeats(count: 2, first: record.id, last: record.id, isMixed: true)
        #expect(try journal(record).allSatisfy { $0.name != "SALLYPORT_CUSTOMER" && $0.name != "SALLYPORT_SESSION" })
        #expect(!RecordFormat.message(of: record).contains("acme"))
    }

    @Test("says of a decision that was asked for that it was, without the addresses that it does not have")
    func asked() throws {
        var record = decision(allow: true)
        record.flow = nil
        record.input.isAddressKnown = false
        let names = try journal(record).map(\.name)
        #expect(try journal(record).contains { $0.name == "SALLYPORT_DIRECTION" && $0.value == "asked" })
        for name in ["ADDRESS", "SOURCE_ADDRESS", "SOURCE_PORT"] { #expect(!names.contains("SALLYPORT_" + name)) }
        #expect(RecordFormat.message(of: record).contains(" asked ("))
    }

    @Test("tells allowed, refused and inbound apart by MESSAGE_ID and priority")
    func messageIDs() {
        #expect(RecordFormat.messageID(of: decision(allow: true)) == DecisionMessageID.allowed)
        #expect(RecordFormat.messageID(of: decision(allow: false)) == DecisionMessageID.refused)
        var inbound = decision(allow: true)
        inbound.isInbound = true
        #expect(RecordFormat.messageID(of: inbound) == DecisionMessageID.inbound)
        #expect(
            RecordFormat.message(of: decision(allow: true))
                == "allow bot -> api.example.com:443 tls (stage hello, rule web)")
    }

    @Test("leaves unknown facts out")
    func absent() throws {
        var record = decision(agent: "", host: nil, reason: .noIdentity, rule: nil)
        record.policyRevision = ""
        let names = try journal(record).map { $0.name }
        for name in ["AGENT", "HOST", "HOST_SOURCE", "RULE", "POLICY_REVISION", "UID", "PID", "CGROUP", "DIRECTION"] {
            #expect(!names.contains("SALLYPORT_" + name))
        }
        #expect(RecordFormat.message(of: record) == "deny unknown -> 198.18.0.1:443 tls (no_identity, stage hello)")
    }

    @Test("keeps the request's details out of a summary")
    func summary() throws {
        var record = full()
        record.decision.logging = .summary
        let fields = try journal(record)
        #expect(!fields.contains { $0.name == "SALLYPORT_PATH" || $0.value.contains("/v1/items") })
        #expect(fields.contains { $0.name == "SALLYPORT_HOST" })
    }

    @Test("never carries header fields or the query, where credentials are")
    func credentials() throws {
        let input = full(headers: ["authorization": "Bearer s3cret"], query: "key=s3cret").input
        let record = DecisionRecord(
            id: decision().id, input: input, decision: PolicyDecision(), flow: decision().flow, policyRevision: "",
            latencyMicroseconds: 1)
        #expect(!(try journal(record)).contains { $0.value.contains("s3cret") })
        #expect(record.input.request?.headers == [:])
    }

    @Test("writes one clean, bounded record whatever bytes a name has")
    func hostile() throws {
        let evil = "a\nSALLYPORT_VERDICT=allow\n\u{0}\u{1B}[2J" + String(repeating: "x", count: 300_000)
        var record = full()
        record.input.host = evil
        record.input.names = [evil, evil]
        record.input.agent = .init(id: evil, labels: [:], selectors: [])
        record.input.cgroup = evil
        record.input.protocol?.alpn = [evil, evil]
        record.input.protocol?.ja4 = evil
        record.input.protocol?.version = evil
        record.input.request?.method = evil
        record.input.request?.path = evil
        record.decision.policyReason = evil
        record.decision.rule = evil
        record.process = ProcessFacts(pid: 1, executable: evil)
        let fields = try journal(record)
        #expect(Set(fields.map { $0.name }).count == fields.count)
        #expect(fields.filter { $0.name == "SALLYPORT_VERDICT" }.map { $0.value } == ["deny"])
        #expect(fields.allSatisfy { field in field.value.utf8.allSatisfy { $0 >= 0x20 } })
        #expect(
            fields.first { $0.name == "SALLYPORT_HOST" }?.value.hasPrefix(
                #"a\x0aSALLYPORT_VERDICT=allow\x0a\x00\x1b[2J"#) == true)
        var bytes: [UInt8] = []
        RecordFormat.appendJournal(record, to: &bytes)
        #expect(bytes.count < 16_384)
        #expect(!bytes.contains(0))
    }

    @Test("gives an event its fields under names that the journal takes")
    func event() throws {
        let event = LogEvent(
            kind: .policyRejected, message: "policy: a.rego:3: bad\nSALLYPORT_VERDICT=allow",
            fields: ["file": "a.rego", "bad name=": "x\ny"], time: 1_800_000_000_000_000_000)
        var bytes: [UInt8] = []
        RecordFormat.appendJournal(event, to: &bytes)
        #expect(
            try NativeProtocol.parse(bytes).map { "\($0.name)=\($0.value)" } == [
                #"MESSAGE=policy: a.rego:3: bad\x0aSALLYPORT_VERDICT=allow"#,
                "MESSAGE_ID=\(EventKind.policyRejected.messageID)", "PRIORITY=3", "SYSLOG_IDENTIFIER=sallyport",
                "SALLYPORT_EVENT=policy_rejected", "SALLYPORT_TIME=2027-01-15T08:00:00.000000Z",
                #"SALLYPORT_BAD_NAME_=x\x0ay"#, "SALLYPORT_FILE=a.rego",
            ])
    }

    @Test("gives a value with control bytes its length instead of trusting its newlines")
    func binary() throws {
        var sink = JournalSink(bytes: [])
        sink.field("A", "x\nB=y")
        #expect(sink.bytes == Array("A\n".utf8) + [5, 0, 0, 0, 0, 0, 0, 0] + Array("x\nB=y\n".utf8))
        #expect(try NativeProtocol.parse(sink.bytes).map { $0.name } == ["A"])
    }

    private func journal(_ record: DecisionRecord) throws -> [(name: String, value: String)] {
        var bytes: [UInt8] = []
        RecordFormat.appendJournal(record, to: &bytes)
        return try NativeProtocol.parse(bytes)
    }

    private func full(headers: [String: String] = [:], query: String? = nil) -> DecisionRecord {
        var record = decision()
        record.decision.policyReason = "not on the list"
        record.input.names = ["api.example.com", "cdn.example.net"]
        record.input.addressMatchesHost = true
        record.input.uid = 1001
        record.input.cgroup = "/sallyport.slice/a.service"
        record.input.protocol?.version = "1.3"
        record.input.protocol?.alpn = ["h2", "http/1.1"]
        record.input.protocol?.encryptedClientHello = false
        record.input.protocol?.ja4 = "t13d1516h2"
        record.input.request = RequestFacts(method: "GET", path: "/v1/items", query: query, url: nil, headers: headers)
        record.process = ProcessFacts(pid: 4242, executable: "/usr/bin/curl")
        return record
    }
}
