/// The bytes with which Sallyport refuses in the protocol's own words, so that the program behind sees an error that it can
/// show and no mere silence. Pure functions: who sends the bytes, and whether at all, is the caller's business.
///
/// The sentence is the same everywhere: `refused by Sallyport: <why> (decision <id>)`. `RefusalText` says what becomes of
/// hostile text; of no builder's result can a peer's text be more than a text.
public enum RefusalMessage {
    /// A TLS record of 7 bytes with the fatal alert access_denied (RFC 8446 §6.2, §5.1), for a server's answer to a ClientHello.
    /// Alerts carry no text. Version 0x0303 is the one that every client of TLS 1.0 and later takes in a record before the
    /// version is agreed on.
    public static func tlsAlert() -> [UInt8] {
        [21, 0x03, 0x03, 0x00, 0x02, 2, accessDenied]
    }

    /// An HTTP/1.1 response 403 (RFC 9112, RFC 9110 §15.5.4) with problem details (RFC 9457) as its body, 1200 bytes in all at
    /// most: the policy's words are cut where they would be more. The members `reason`, `policy_reason`, `host` and
    /// `decision_id` are `text`'s; those that `text` has not are left out. The type is `urn:sallyport:refused`: it tells our
    /// refusals from a server's own.
    ///
    /// With `isHead`, the header alone, with the Content-Length that the body would have (RFC 9110 §8.6, §9.3.2).
    public static func http(_ text: RefusalText, isHead: Bool) -> [UInt8] {
        let response = httpParts(text)
        return isHead ? response.head : response.head + response.body
    }

    /// The same as a server's first frames of HTTP/2 (RFC 9113 §3.4, §4.1): empty SETTINGS, the response on `stream`, GOAWAY with
    /// that stream as the last one.
    public static func http2(_ text: RefusalText, stream: UInt32, isHead: Bool) -> [UInt8] {
        let body = httpParts(text).body
        // Literals without indexing (RFC 7541 §6.2.2) by names of the static table: :status, content-length, content-type.
        let block =
            [0x08, 3] + Array("403".utf8) + [0x0F, 0x0D] + counted("\(body.count)")
            + [0x0F, 0x10] + counted("application/problem+json")
        return frame(type: 4, []) + frame(type: 1, flags: isHead ? 5 : 4, stream: stream, block)
            + (isHead ? [] : frame(type: 0, flags: 1, stream: stream, body))
            + frame(type: 7, bigEndian(stream) + bigEndian(UInt32(0)))
    }

    /// A PostgreSQL ErrorResponse (PostgreSQL protocol 3.0, "Message Formats", "Error and Notice Message Fields"): FATAL,
    /// SQLSTATE 28000 (invalid_authorization_specification), the text in ASCII. Right in place of any message of the server's;
    /// in answer to an SSLRequest libpq shows it in old versions only.
    public static func postgreSQL(_ text: RefusalText) -> [UInt8] {
        var fields: [UInt8] = []
        for (code, value) in [
            (UInt8(ascii: "S"), Array("FATAL".utf8)), (UInt8(ascii: "V"), Array("FATAL".utf8)),
            (UInt8(ascii: "C"), Array("28000".utf8)), (UInt8(ascii: "M"), text.sentence(.ascii)),
        ] {
            fields.append(code)
            fields += value
            fields.append(0)
        }
        fields.append(0)
        return [UInt8(ascii: "E")] + bigEndian(UInt32(fields.count + 4)) + fields
    }

    /// A MySQL ERR packet of protocol 4.1 (MySQL internals, "ERR_Packet"): error 1045 (ER_ACCESS_DENIED_ERROR), SQLSTATE 28000,
    /// the text in ASCII.
    ///
    /// `sequence` is one more than that of the client's packet that is refused: 2 in answer to its first after a server's
    /// greeting. In place of a greeting it is 0.
    public static func mySQL(_ text: RefusalText, sequence: UInt8) -> [UInt8] {
        let payload = [0xFF, 0x15, 0x04, UInt8(ascii: "#")] + Array("28000".utf8) + text.sentence(.ascii)
        return [UInt8(payload.count & 0xFF), UInt8(payload.count >> 8 & 0xFF), 0, sequence] + payload
    }

    /// One SMTP reply line: 550 with the enhanced status 5.7.1, delivery not authorised (RFC 5321 §4.2, RFC 3463 §3.8, RFC 2034),
    /// in ASCII and in less than the 512 bytes of RFC 5321 §4.5.3.1.5.
    public static func smtp(_ text: RefusalText) -> [UInt8] {
        Array("550 5.7.1 ".utf8) + text.sentence(.ascii) + [0x0D, 0x0A]
    }
}

extension RefusalMessage {
    /// access_denied in the IANA registry "TLS Alerts".
    static let accessDenied: UInt8 = 49

    /// Bytes of an HTTP response: it goes into one segment on every path.
    private static let httpByteCount = 1200

    private static func httpParts(_ text: RefusalText) -> (head: [UInt8], body: [UInt8]) {
        let response = httpParts(text, reasonByteCount: RefusalText.policyReasonByteCount)
        let excess = response.head.count + response.body.count - httpByteCount
        guard excess > 0 else { return response }
        // The words stand in the response twice, in as many bytes as they have or at most as were allowed.
        let words = RefusalText.written(text.policyReason ?? "", .json, atMost: RefusalText.policyReasonByteCount)
        return httpParts(text, reasonByteCount: Swift.max(words.count - (excess + 1) / 2, 0))
    }

    private static func httpParts(_ text: RefusalText, reasonByteCount: Int) -> (head: [UInt8], body: [UInt8]) {
        var members = [
            ("detail", text.sentence(.json, reasonByteCount: reasonByteCount)),
            ("reason", RefusalText.written(text.reason, .json, atMost: RefusalText.reasonByteCount)),
        ]
        if let policyReason = text.policyReason {
            members.append(("policy_reason", RefusalText.written(policyReason, .json, atMost: reasonByteCount)))
        }
        if let host = text.host {
            members.append(("host", RefusalText.written(host, .json, atMost: RefusalText.hostByteCount)))
        }
        members.append(
            ("decision_id", RefusalText.written(text.decisionID, .json, atMost: RefusalText.decisionByteCount)))
        var body = Array(
            "{\"type\":\"urn:sallyport:refused\",\"title\":\"Refused by Sallyport\",\"status\":403".utf8)
        for (name, value) in members {
            body += Array(",\"\(name)\":\"".utf8) + value + [UInt8(ascii: "\"")]
        }
        body += Array("}\n".utf8)
        let head =
            "HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: \(body.count)\r\n"
            + "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        return (Array(head.utf8), body)
    }

    /// A frame of HTTP/2; its length is below 2^16.
    private static func frame(type: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8]) -> [UInt8] {
        [0] + bigEndian(UInt16(payload.count)) + [type, flags] + bigEndian(stream) + payload
    }

    /// A string of HPACK without Huffman code (RFC 7541 §5.2), of less than 127 bytes.
    private static func counted(_ text: String) -> [UInt8] {
        [UInt8(text.utf8.count)] + Array(text.utf8)
    }

    static func bigEndian(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) }
    }

    static func bigEndian(_ value: UInt16) -> [UInt8] {
        [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)]
    }
}
