import CLibcrypto
import Octets
import Testing

@testable import WireProtocols

@Suite struct RefusalMessageTests {
    static let text = RefusalText(
        reason: "name_not_at_ip", policyReason: "no \"uploads\" here", host: "a.example", decisionID: "d-17")
    static let sentence = "refused by Sallyport: no \"uploads\" here (decision d-17)"

    /// What a peer or a policy may put into every part: line ends, NUL, quotes, escapes, marks that turn text around.
    static let hostileParts = [
        "a\r\nSet-Cookie: b=c\r\n\r\n<html>", "\0\0\0", "\u{7F}\u{1B}[2J\u{85}\u{2028}\u{202E}txt", "\\\" , \\", "é漢😀",
        String(repeating: "x", count: 10_000), String(repeating: "\"\\", count: 5000),
        String(repeating: "漢", count: 4000), String(repeating: "\r\n", count: 5000), "",
    ]
    static let hostile = hostileParts.map { RefusalText(reason: $0, policyReason: $0, host: $0, decisionID: $0) }

    static func string(_ bytes: some Sequence<UInt8>) -> String { String(decoding: Array(bytes), as: UTF8.self) }

    static func isPrintableASCII(_ bytes: some Sequence<UInt8>) -> Bool {
        bytes.allSatisfy { (0x20...0x7E).contains($0) }
    }

    // MARK: The text

    @Test("the policy's words, or without any the reason")
    func words() {
        var text = Self.text
        #expect(Self.string(text.sentence(.utf8)) == Self.sentence)
        text.policyReason = nil
        #expect(Self.string(text.sentence(.utf8)) == "refused by Sallyport: name_not_at_ip (decision d-17)")
        text.policyReason = ""
        #expect(Self.string(text.sentence(.utf8)) == "refused by Sallyport: name_not_at_ip (decision d-17)")
    }

    @Test(
        "controls, line ends and marks that turn text around become question marks",
        arguments: [
            ("a\r\n\0\t\u{1B}\u{7F}b", "a??????b", "a??????b"),
            ("\u{80}\u{9F}\u{2028}\u{2029}\u{202E}\u{2066}\u{FEFF}\u{E000}", "????????", "????????"),
            ("é漢😀", "???", "é漢😀"), ("\"\\", "\"\\", "\"\\"),
        ])
    func harmless(text: String, ascii: String, utf8: String) {
        #expect(Self.string(RefusalText.written(text, .ascii, atMost: 100)) == ascii)
        #expect(Self.string(RefusalText.written(text, .utf8, atMost: 100)) == utf8)
    }

    @Test("cuts between characters, within any bound", arguments: [RefusalText.Encoding.ascii, .utf8, .json])
    func cuts(encoding: RefusalText.Encoding) {
        for text in ["abcdefghij", "漢漢漢漢", "\"\"\"\"\"", "a漢\"\\😀é"] {
            let whole = RefusalText.written(text, encoding, atMost: 1000)
            for bound in 0..<whole.count {
                let cut = RefusalText.written(text, encoding, atMost: bound)
                let kept = cut.dropLast(min(bound, 3))
                #expect(cut.count <= bound)
                #expect(Self.string(cut).utf8.elementsEqual(cut), "broken character: \(cut)")
                #expect(whole.starts(with: kept))
                #expect(cut.suffix(min(bound, 3)).allSatisfy { $0 == UInt8(ascii: ".") })
                // Escapes are kept whole.
                if encoding == .json { #expect(!kept.reduce(false) { $1 == 0x5C && !$0 }, "broken escape: \(cut)") }
            }
            #expect(RefusalText.written(text, encoding, atMost: whole.count) == whole)
        }
    }

    @Test("the decision's id outlives the cut")
    func sentenceBound() {
        let long = RefusalText(
            reason: "policy", policyReason: String(repeating: "x", count: 10_000), decisionID: "0123456789abcdef")
        let cut = Self.string(long.sentence(.utf8, atMost: 128))
        #expect(cut.utf8.count == 128)
        #expect(cut.hasPrefix("refused by Sallyport: xxx"))
        #expect(cut.hasSuffix("xxx... (decision 0123456789abcdef)"))
        #expect(long.sentence(.utf8).count == 22 + 300 + 11 + 16 + 1)
    }

    // MARK: TLS, mail, databases

    @Test("a fatal alert access_denied")
    func tls() {
        #expect(RefusalMessage.tlsAlert() == [21, 3, 3, 0, 2, 2, 49])
    }

    @Test("one SMTP line")
    func smtp() {
        #expect(Self.string(RefusalMessage.smtp(Self.text)) == "550 5.7.1 \(Self.sentence)\r\n")
    }

    @Test("hostile text stays within its SMTP line", arguments: hostile)
    func smtpHostile(text: RefusalText) {
        let line = RefusalMessage.smtp(text)
        #expect(line.suffix(2) == [0x0D, 0x0A])
        #expect(Self.isPrintableASCII(line.dropLast(2)))
        #expect(line.count <= 512)
    }

    /// The fields of an ErrorResponse; nil where it is none.
    static func postgreSQLFields(_ bytes: [UInt8]) -> [String]? {
        guard bytes.count > 6, bytes[0] == UInt8(ascii: "E"), bytes.suffix(2) == [0, 0] else { return nil }
        let length = bytes[1...4].reduce(0) { $0 << 8 | Int($1) }
        guard length == bytes.count - 1 else { return nil }
        return bytes[5...].dropLast(2).split(separator: 0, omittingEmptySubsequences: false).map { string($0) }
    }

    @Test("a PostgreSQL ErrorResponse")
    func postgreSQL() {
        #expect(
            Self.postgreSQLFields(RefusalMessage.postgreSQL(Self.text))
                == ["SFATAL", "VFATAL", "C28000", "M" + Self.sentence])
    }

    @Test("hostile text adds no PostgreSQL field", arguments: hostile)
    func postgreSQLHostile(text: RefusalText) throws {
        let fields = try #require(Self.postgreSQLFields(RefusalMessage.postgreSQL(text)))
        #expect(fields.map(\.first) == ["S", "V", "C", "M"])
        #expect(Self.isPrintableASCII(fields.joined().utf8))
    }

    @Test("a MySQL ERR packet")
    func mySQL() {
        let packet = RefusalMessage.mySQL(Self.text, sequence: 2)
        #expect(packet[0...3] == [UInt8(Self.sentence.utf8.count + 9), 0, 0, 2])
        #expect(packet[4...6] == [0xFF, 0x15, 0x04])
        #expect(Self.string(packet[7...]) == "#28000" + Self.sentence)
    }

    @Test("hostile text stays within its MySQL packet", arguments: hostile)
    func mySQLHostile(text: RefusalText) {
        let packet = RefusalMessage.mySQL(text, sequence: 0)
        #expect(Int(packet[0]) | Int(packet[1]) << 8 | Int(packet[2]) << 16 == packet.count - 4)
        #expect(packet.count < 512)
        #expect(Self.isPrintableASCII(packet[7...]))
    }

    // MARK: HTTP

    /// The head's lines and the body of a response.
    static func httpParts(_ bytes: [UInt8]) -> (lines: [String], body: String)? {
        for index in bytes.indices.dropLast(3) where bytes[index..<index + 4] == [13, 10, 13, 10] {
            var lines: [[UInt8]] = [[]]
            for byte in bytes[..<index] where byte != 13 {
                if byte == 10 { lines.append([]) } else { lines[lines.count - 1].append(byte) }
            }
            return (lines.map { string($0) }, string(bytes[(index + 4)...]))
        }
        return nil
    }

    static func httpHead(_ bodyByteCount: Int) -> [String] {
        [
            "HTTP/1.1 403 Forbidden", "Content-Type: application/problem+json", "Content-Length: \(bodyByteCount)",
            "Cache-Control: no-store", "Connection: close",
        ]
    }

    @Test("403 with problem details")
    func http() throws {
        let parts = try #require(Self.httpParts(RefusalMessage.http(Self.text, isHead: false)))
        #expect(parts.lines == Self.httpHead(parts.body.utf8.count))
        #expect(
            parts.body == #"{"type":"urn:sallyport:refused","title":"Refused by Sallyport","status":403,"#
                + #""detail":"refused by Sallyport: no \"uploads\" here (decision d-17)","reason":"name_not_at_ip","#
                + #""policy_reason":"no \"uploads\" here","host":"a.example","decision_id":"d-17"}"# + "\n")
    }

    @Test("leaves out what there is not")
    func httpWithout() throws {
        let text = RefusalText(reason: "policy", decisionID: "7")
        let parts = try #require(Self.httpParts(RefusalMessage.http(text, isHead: false)))
        #expect(
            parts.body == #"{"type":"urn:sallyport:refused","title":"Refused by Sallyport","status":403,"#
                + #""detail":"refused by Sallyport: policy (decision 7)","reason":"policy","decision_id":"7"}"# + "\n")
    }

    @Test("HEAD gets the head of the same response", arguments: hostile + [text])
    func httpHead(text: RefusalText) throws {
        let whole = RefusalMessage.http(text, isHead: false)
        let head = RefusalMessage.http(text, isHead: true)
        #expect(whole.starts(with: head))
        #expect(head.suffix(4) == [13, 10, 13, 10])
        let body = try #require(Self.httpParts(whole)).body
        #expect(whole.count == head.count + body.utf8.count)
    }

    @Test("hostile text stays within its JSON string, in 1200 bytes", arguments: hostile)
    func httpHostile(text: RefusalText) throws {
        let response = RefusalMessage.http(text, isHead: false)
        #expect(response.count <= 1200)
        let parts = try #require(Self.httpParts(response))
        #expect(parts.lines == Self.httpHead(parts.body.utf8.count))
        let names = try #require(Self.memberNames(parts.body))
        #expect(
            names == ["type", "title", "status", "detail", "reason", "policy_reason", "host", "decision_id"])
    }

    @Test("uses the room there is")
    func httpRoom() {
        let long = String(repeating: "\"", count: 9999)
        let full = RefusalText(reason: long, policyReason: long, host: long, decisionID: long)
        #expect((1190...1200).contains(RefusalMessage.http(full, isHead: false).count))
    }

    /// The names of a flat JSON object of strings and numbers on one line; nil where it is none.
    static func memberNames(_ text: String) -> [String]? {
        var rest = Array(text.utf8)[...]
        func take(_ byte: Character) -> Bool {
            guard let first = rest.first, first == byte.asciiValue else { return false }
            rest.removeFirst()
            return true
        }
        func takeString() -> String? {
            guard take("\"") else { return nil }
            var content: [UInt8] = []
            while let byte = rest.popFirst(), byte >= 0x20 {
                if byte == 0x22 { return string(content) }
                if byte == 0x5C {
                    guard let escaped = rest.popFirst(), escaped == 0x22 || escaped == 0x5C else { return nil }
                    content.append(escaped)
                } else {
                    content.append(byte)
                }
            }
            return nil
        }
        guard take("{") else { return nil }
        var names: [String] = []
        repeat {
            guard let name = takeString(), take(":") else { return nil }
            names.append(name)
            if rest.first == 0x22 {
                guard takeString() != nil else { return nil }
            } else {
                rest = rest.drop { (0x30...0x39).contains($0) }
            }
        } while take(",")
        return take("}") && rest.elementsEqual([10]) ? names : nil
    }
}

@Suite struct RefusalMessageDNSTests {
    static let text = RefusalText(
        reason: "policy", policyReason: "é is \"blocked\"", host: "a.example", decisionID: "d-17")
    static let sentence = "refused by Sallyport: é is \"blocked\" (decision d-17)"

    /// `wWw.eXample` A, of class IN, in mixed case as resolvers send it against forgery.
    static let question: [UInt8] = [3] + Array("wWw".utf8) + [7] + Array("eXample".utf8) + [0, 0, 1, 0, 1]
    static let bareOPT: [UInt8] = [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0]

    /// An OPT record with a client subnet option in it.
    static func opt(size: Int, flags: UInt8 = 0) -> [UInt8] {
        [0, 0, 41, UInt8(size >> 8), UInt8(size & 255), 0, 0, flags, 0, 0, 8, 0, 8, 0, 4, 0, 1, 0, 0]
    }

    static func message(
        flags: [UInt8] = [0x01, 0x00], counts: [UInt8] = [1, 0, 0, 0], _ rest: [UInt8]
    ) -> [UInt8] {
        [0xAB, 0xCD] + flags + counts.flatMap { [0, $0] } + rest
    }

    static func refused(_ query: [UInt8], _ text: RefusalText = text) -> [UInt8]? {
        RefusalMessage.dns(refusing: query.span.bytes, text)
    }

    static func nameError(_ query: [UInt8]) -> [UInt8]? { RefusalMessage.dnsNameError(query.span.bytes) }

    static func noData(_ response: [UInt8]) -> [UInt8]? { RefusalMessage.dnsNoData(response.span.bytes) }

    @Test("REFUSED without EDNS is a header and the question")
    func refuses() throws {
        let answer = try #require(Self.refused(Self.message(Self.question)))
        #expect(answer == Self.message(flags: [0x81, 0x85], Self.question))
        let message = try DNSMessage(parsing: answer.span.bytes)
        #expect(message.isResponse)
        #expect(message.responseCode == 5)
        #expect(message.id == 0xABCD)
        #expect(message.question?.name.description == "www.example")
        #expect(message.maximumUDPByteCount == nil)
    }

    @Test("a query with EDNS gets the extended error Blocked with the sentence")
    func extendedError() throws {
        let query = Self.message(counts: [1, 0, 0, 1], Self.question + Self.opt(size: 4096, flags: 0x80))
        let answer = try #require(Self.refused(query))
        let sentence = Array(Self.sentence.utf8)
        let count = UInt8(sentence.count)
        let option: [UInt8] = [0, 15, 0, 2 + count, 0, 15] + sentence
        #expect(
            answer
                == Self.message(
                    flags: [0x81, 0x85], counts: [1, 0, 0, 1],
                    Self.question + [0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 6 + count] + option))
        let message = try DNSMessage(parsing: answer.span.bytes)
        #expect(message.responseCode == 5)
        #expect(message.maximumUDPByteCount == 1232)
    }

    @Test(
        "opcode, RD and CD are the query's, AA, TC, Z and AD are not",
        arguments: [
            ([0x00, 0x00], [0x80, 0x85]), ([0x01, 0x10], [0x81, 0x95]), ([0x07, 0x7F], [0x81, 0x95]),
            ([0x20, 0x00], [0xA0, 0x85]), ([0x29, 0x00], [0xA9, 0x85]),
        ] as [([UInt8], [UInt8])])
    func flags(query: [UInt8], answer: [UInt8]) {
        #expect(Self.refused(Self.message(flags: query, Self.question)) == Self.message(flags: answer, Self.question))
    }

    @Test("records behind the question are left out, an OPT among others is found")
    func otherRecords() throws {
        let record: [UInt8] = [0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, 2, 1, 97]
        let query = Self.message(
            counts: [1, 0, 1, 2], Self.question + record + Self.opt(size: 512) + record)
        let name = Self.nameError(query)
        #expect(name == Self.message(flags: [0x81, 0x83], counts: [1, 0, 0, 1], Self.question + Self.bareOPT))
    }

    @Test("stays within the size that the client takes, and whole UTF-8", arguments: [0, 512, 600, 1232, 4096, 65535])
    func sizes(size: Int) throws {
        let label: [UInt8] = [63] + Array(repeating: 97, count: 63)
        let longest = label + label + label + [61] + Array(repeating: 97, count: 61) + [0, 0, 1, 0, 1]
        let query = Self.message(counts: [1, 0, 0, 1], longest + Self.opt(size: size))
        for part in RefusalMessageTests.hostileParts {
            let hostile = RefusalText(reason: part, policyReason: part, host: part, decisionID: part)
            let answer = try #require(Self.refused(query, hostile))
            #expect(answer.count <= min(max(size, 512), 1232))
            #expect(try DNSMessage(parsing: answer.span.bytes).responseCode == 5)
            let extra = answer[(12 + longest.count + 11 + 6)...]
            let text = String(decoding: extra, as: UTF8.self)
            #expect(text.utf8.elementsEqual(extra))
            #expect(text.hasPrefix("refused by Sallyport: "))
            #expect(text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control })
        }
    }

    @Test("NXDOMAIN says nothing more")
    func nameError() throws {
        #expect(
            Self.nameError(Self.message(Self.question))
                == Self.message(flags: [0x81, 0x83], Self.question))
        let query = Self.message(counts: [1, 0, 0, 1], Self.question + Self.opt(size: 1400))
        let answer = try #require(Self.nameError(query))
        #expect(answer == Self.message(flags: [0x81, 0x83], counts: [1, 0, 0, 1], Self.question + Self.bareOPT))
        #expect(try DNSMessage(parsing: answer.span.bytes).responseCode == 3)
    }

    static let binding: [UInt8] =
        [0xC0, 12, 0, 65, 0, 1, 0, 0, 0, 60, 0, 10, 0, 1, 0, 0, 5, 0, 3, 1, 2, 3]

    @Test("an answer without its records")
    func noData() throws {
        let question = Array(Self.question.dropLast(4)) + [0, 65, 0, 1]
        let plain = Self.message(flags: [0x87, 0xB0], counts: [1, 1, 0, 0], question + Self.binding)
        #expect(
            Self.noData(plain) == Self.message(flags: [0x85, 0x90], question))
        let extended = Self.message(
            flags: [0x81, 0x83], counts: [1, 2, 1, 1],
            question + Self.binding + Self.binding + Self.binding + [0, 0, 41, 2, 0, 1, 0, 0x80, 0, 0, 0])
        let answer = try #require(Self.noData(extended))
        #expect(
            answer
                == Self.message(
                    flags: [0x81, 0x80], counts: [1, 0, 0, 1], question + [0, 0, 41, 2, 0, 0, 0, 0x80, 0, 0, 0]))
        let message = try DNSMessage(parsing: answer.span.bytes)
        #expect(message.responseCode == 0)
        #expect(message.answers.isEmpty)
        #expect(message.question?.type == .https)
    }

    @Test("nil for what is not one question")
    func others() {
        let response = Self.message(flags: [0x81, 0x80], Self.question)
        #expect(Self.refused(response) == nil)
        #expect(Self.nameError(response) == nil)
        #expect(Self.noData(Self.message(Self.question)) == nil)
        #expect(
            Self.noData(Self.message(flags: [0x81, 0x80], counts: [0, 0, 0, 0], [])) == nil)
        for query in [
            [], Self.message(counts: [0, 0, 0, 0], []),
            Self.message(counts: [2, 0, 0, 0], Self.question + Self.question),
            Self.message(Self.question + [0]), Self.message([0xC0, 12, 0, 1, 0, 1]),
        ] {
            #expect(Self.refused(query) == nil)
            #expect(Self.nameError(query) == nil)
        }
    }

    @Test("every truncation is nil, every flipped byte is nil or a message")
    func damage() throws {
        let query = Self.message(counts: [1, 0, 0, 1], Self.question + Self.opt(size: 4096))
        for count in 0..<query.count { #expect(Self.refused(Array(query[..<count])) == nil) }
        for index in query.indices {
            for bit in 0..<8 {
                var changed = query
                changed[index] ^= 1 << UInt8(bit)
                guard let answer = Self.refused(changed) else { continue }
                #expect(try DNSMessage(parsing: answer.span.bytes).isResponse)
            }
        }
    }
}

@Suite struct RefusalMessageQUICTests {
    /// The ids of RFC 9001 §A.2 and RFC 9369 §A.2.
    static let clientDestination: [UInt8] = [0x83, 0x94, 0xC8, 0xF0, 0x3E, 0x51, 0x57, 0x08]

    /// The payload of the server's Initial packet in RFC 9001 §A.3 and RFC 9369 §A.3: ACK and CRYPTO.
    static let samplePayload = """
        02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a1200
        130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00020304
        """

    @Test(
        "seals the samples of the RFCs",
        arguments: [
            (
                QUICVersion.v1, "c1000000010008f067a5502a4262b50040750001",
                """
                cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb3
                8cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84
                022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee
                """
            ),
            (
                QUICVersion.v2, "d16b3343cf0008f067a5502a4262b50040750001",
                """
                dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bbf872630
                17915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2
                c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140
                """
            ),
        ])
    func samples(version: QUICVersion, header: String, packet: String) throws {
        let header = try #require(Hex.decode(header))
        let payload = try #require(Hex.decode(Self.samplePayload))
        let expected = try #require(Hex.decode(packet))
        guard let sealer = QUICServerSealer(version: version, clientDestination: Self.clientDestination.span.bytes)
        else {
            Issue.record("no sealer")
            return
        }
        let sealed = sealer.seal(header: header, packetNumber: 1, packetNumberByteCount: 2, payload: payload)
        #expect(sealed == expected)
        // A sealer's contexts are good for more than one packet.
        #expect(
            sealer.seal(header: header, packetNumber: 1, packetNumberByteCount: 2, payload: payload) == expected)
        #expect(sealer.seal(header: header, packetNumber: 1, packetNumberByteCount: 2, payload: [1]) == nil)
        #expect(sealer.seal(header: [1], packetNumber: 1, packetNumberByteCount: 2, payload: payload) == nil)
    }

    /// The header without its protection and the payload of a server's Initial packet with a packet number of one byte.
    static func open(_ packet: [UInt8], version: QUICVersion, clientDestination: [UInt8]) throws -> (
        header: [UInt8], payload: [UInt8]
    )? {
        let header = try QUICLongHeader(parsing: packet.span.bytes)
        guard header.type == .initial, header.version == version, header.byteCount == packet.count,
            let salt = version.salt
        else { return nil }
        var keys = clc_quic_keys()
        salt.bytes.span.withUnsafeBufferPointer {
            clc_quic_initial_keys(
                $0.baseAddress, version == .v2 ? 1 : 0, clientDestination, clientDestination.count, 1, &keys)
        }
        let contexts = clc_quic_new()
        defer { clc_quic_free(contexts) }
        let start = header.packetNumberOffset
        var mask: [UInt8] = Array(repeating: 0, count: 5)
        guard clc_quic_mask(contexts, &keys, Array(packet[start + 4..<start + 20]), &mask) == 1 else { return nil }
        var plain = Array(packet[...start])
        plain[0] ^= mask[0] & 0x0F
        plain[start] ^= mask[1]
        let sealed = Array(packet[(start + 1)...])
        var payload: [UInt8] = Array(repeating: 0, count: sealed.count - 16)
        let isOpen = clc_quic_open(
            contexts, &keys, UInt64(plain[start]), plain, plain.count, sealed, sealed.count, &payload)
        return isOpen == 1 ? (plain, payload) : nil
    }

    static func close(
        _ version: QUICVersion, _ destination: [UInt8], _ source: [UInt8],
        _ text: RefusalText = RefusalMessageDNSTests.text
    ) -> [UInt8]? {
        RefusalMessage.quicClose(
            version: version, destinationConnectionID: destination.span.bytes,
            sourceConnectionID: source.span.bytes, text)
    }

    @Test("opens with the server's keys, field by field", arguments: [QUICVersion.v1, .v2, .draft29])
    func fields(version: QUICVersion) throws {
        for count in [0, 1, 8, 20] {
            let source: [UInt8] = Array(repeating: 0xA5, count: count)
            let destination = count == 8 ? Self.clientDestination : Array(repeating: 0x5A, count: 20 - count)
            let packet = try #require(Self.close(version, destination, source))
            let opened = try #require(
                try Self.open(packet, version: version, clientDestination: destination))
            let number = version.rawValue
            let sentence = Array(RefusalMessageDNSTests.sentence.utf8)
            let payload: [UInt8] =
                [0x1C, 0x41, 0x31, 0x00, 0x40, UInt8(sentence.count)] + sentence
            #expect(opened.payload == payload)
            let versionBytes: [UInt8] = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> UInt32($0)) }
            let length = 1 + payload.count + 16
            let header: [UInt8] =
                [version == .v2 ? 0xD0 : 0xC0] + versionBytes + [UInt8(source.count)] + source
                + [UInt8(destination.count)] + destination + [0, 0x40 | UInt8(length >> 8), UInt8(length & 255), 0]
            #expect(opened.header == header)
        }
    }

    @Test("no client's keys open it, nor those of another id")
    func otherKeys() throws {
        let packet = try #require(Self.close(.v1, Self.clientDestination, [7]))
        #expect(try Self.open(packet, version: .v1, clientDestination: [1, 2, 3]) == nil)
        let header = try QUICLongHeader(parsing: packet.span.bytes)
        guard let client = QUICInitialKeys(version: .v1, destination: Self.clientDestination.span.bytes) else {
            Issue.record("no keys")
            return
        }
        var opener = QUICInitialOpener()
        let opened = opener.open(packet.span.bytes, header, client)
        #expect(opened == nil)
    }

    @Test(
        "hostile text stays a reason phrase, in less than a client's datagram", arguments: RefusalMessageTests.hostile)
    func hostile(text: RefusalText) throws {
        let packet = try #require(Self.close(.v1, Self.clientDestination, Array(repeating: 1, count: 20), text))
        #expect(packet.count < 600)
        let payload = try #require(
            try Self.open(packet, version: .v1, clientDestination: Self.clientDestination)
        ).payload
        let phrase = payload[6...]
        #expect(Int(payload[4] & 0x3F) << 8 | Int(payload[5]) == phrase.count)
        let written = String(decoding: phrase, as: UTF8.self)
        #expect(written.utf8.elementsEqual(phrase))
        #expect(written.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control })
    }

    @Test("answers a client's datagram with its ids exchanged")
    func datagram() throws {
        let header: [UInt8] =
            [0xC3, 0, 0, 0, 1, 8] + Self.clientDestination + [3, 7, 8, 9, 0, 0x44, 0x9E]
        let datagram = header + Array(repeating: 0, count: 0x49E)
        let packet = RefusalMessage.quicClose(refusing: datagram.span.bytes, RefusalMessageDNSTests.text)
        #expect(packet != nil)
        #expect(packet == Self.close(.v1, Self.clientDestination, [7, 8, 9]))
    }

    @Test("nil for other versions, longer ids and what is no Initial packet")
    func others() {
        #expect(Self.close(.negotiation, [1], [2]) == nil)
        #expect(Self.close(QUICVersion(rawValue: 0x5130_3433), [1], [2]) == nil)
        #expect(Self.close(.v1, Array(repeating: 1, count: 21), [2]) == nil)
        #expect(Self.close(.v1, [1], Array(repeating: 1, count: 21)) == nil)
        let handshake = [0xE3, 0, 0, 0, 1, 1, 1, 1, 2, 0x40, 30] + [UInt8](repeating: 0, count: 30)
        for datagram in [[], [0x40, 1, 2, 3], handshake, Array(handshake.prefix(6))] {
            #expect(RefusalMessage.quicClose(refusing: datagram.span.bytes, RefusalMessageDNSTests.text) == nil)
        }
    }
}
