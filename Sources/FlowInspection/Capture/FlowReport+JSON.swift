import PacketHeaders
import WireProtocols

extension FlowReport {
    /// The report as one line of JSON. Keys of every flow stand first, in a fixed order; what a flow does not have is empty,
    /// false or null; further keys are there where they have a value.
    public var json: String {
        var writer = JSONLine()
        writer.member("proto", flow.transport.description)
        writer.member("src", flow.source.description)
        writer.member("sport", Int(flow.sourcePort))
        writer.member("dst", flow.destination.description)
        writer.member("dport", Int(flow.destinationPort))
        writer.member("app", application.rawValue)
        writer.member("hosts", hosts)
        writer.member("alpn", hello?.applicationProtocols ?? [])
        writer.member("ech", hello?.hasEncryptedClientHello ?? false)
        writer.member("ja4", hello?.ja4)
        writer.array("requests", requests) { request, writer in
            writer.member("method", request.method)
            writer.member("host", request.host)
            writer.member("path", request.path)
            if let query = request.query { writer.member("query", query) }
        }
        writer.array("questions", questions) { question, writer in
            writer.member("name", question.name)
            writer.member("type", question.type)
        }
        writer.array("answers", answers) { answer, writer in
            writer.member("name", answer.name)
            writer.member("type", answer.type)
            writer.member("data", answer.data)
        }
        writer.member("error", error)
        writer.member("first_packet", firstPacket)
        if layers.count > 1 { writer.member("layers", layers.map { $0.rawValue }) }
        if let hello { writer.member("tls_version", hello.version.description) }
        if let quicVersion { writer.member("quic_version", quicVersion.description) }
        if let user { writer.member("user", user) }
        if let database { writer.member("database", database) }
        if let proxyTarget { writer.member("proxy_target", proxyTarget.description) }
        if !software.isEmpty { writer.member("software", software) }
        if !firstBytes.isEmpty, application == .unknown {
            writer.member("first_bytes", firstBytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())
        }
        return writer.finish()
    }
}

/// Writes one JSON object (RFC 8259) on one line.
private struct JSONLine {
    private var bytes: [UInt8] = [UInt8(ascii: "{")]
    private var isEmpty = true

    init() {
        bytes.reserveCapacity(384)
    }

    mutating func finish() -> String {
        bytes.append(UInt8(ascii: "}"))
        return String(decoding: bytes, as: UTF8.self)
    }

    mutating func member(_ name: String, _ value: String?) {
        key(name)
        if let value { string(value) } else { raw("null") }
    }

    mutating func member(_ name: String, _ value: Int) {
        key(name)
        raw(String(value))
    }

    mutating func member(_ name: String, _ value: Bool) {
        key(name)
        raw(value ? "true" : "false")
    }

    mutating func member(_ name: String, _ values: [String]) {
        key(name)
        raw("[")
        for (index, value) in values.enumerated() {
            if index > 0 { raw(",") }
            string(value)
        }
        raw("]")
    }

    mutating func array<Element>(_ name: String, _ values: [Element], _ body: (Element, inout JSONLine) -> Void) {
        key(name)
        raw("[")
        for (index, value) in values.enumerated() {
            if index > 0 { raw(",") }
            raw("{")
            isEmpty = true
            body(value, &self)
            raw("}")
        }
        isEmpty = false
        raw("]")
    }

    private mutating func key(_ name: String) {
        if !isEmpty { raw(",") }
        isEmpty = false
        string(name)
        raw(":")
    }

    private mutating func raw(_ text: String) {
        bytes.append(contentsOf: text.utf8)
    }

    private mutating func string(_ text: String) {
        raw("\"")
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20, 0x7F:
                raw("\\u00" + (byte < 16 ? "0" : "") + String(byte, radix: 16))
            default: bytes.append(byte)
            }
        }
        raw("\"")
    }
}
