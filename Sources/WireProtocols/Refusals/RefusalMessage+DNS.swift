import Octets

extension RefusalMessage {
    /// The response to the DNS message `query`, all of it (without the length of TCP, RFC 1035 §4.2.2): REFUSED, and for a query
    /// with an OPT record an OPT with the extended error Blocked and the sentence in UTF-8 as its text (RFC 8914 §4.16). Within
    /// the UDP size that the client takes: 512 bytes, or what its OPT record says; the text is cut to that.
    ///
    /// Id, opcode, the bits RD and CD (RFC 4035 §3.2.2) and DO (RFC 3225 §3) and the question's bytes, letters' case and all,
    /// are the query's. Nil for what is no query with exactly one question, or malformed.
    public static func dns(refusing query: RawSpan, _ text: RefusalText) -> [UInt8]? {
        guard let parts = DNSParts(query), !parts.isResponse else { return nil }
        return response(to: parts, query, responseCode: 5) { room in
            let sentence = text.sentence(.utf8, atMost: room - 6)
            return bigEndian(extendedError) + bigEndian(UInt16(2 + sentence.count)) + bigEndian(blocked) + sentence
        }
    }

    /// The same with NXDOMAIN (RFC 1035 §4.1.1) and no extended error, as if there were no such name: for canary names, whose
    /// absence tells a program to leave encrypted DNS alone. Without an SOA record nobody keeps the answer (RFC 2308 §5).
    public static func dnsNameError(_ query: RawSpan) -> [UInt8]? {
        guard let parts = DNSParts(query), !parts.isResponse else { return nil }
        return response(to: parts, query, responseCode: 3) { _ in [] }
    }

    /// The DNS message `response` without what it says: NOERROR, its id, opcode, question and flags, no records but a bare OPT
    /// where it had one (RFC 6891 §6.1.1), to withhold answers with `ech`. TC is cleared, so that nobody asks again over TCP, and
    /// AD, since nobody has proved this answer (RFC 4035 §3.2.3). Without an SOA record nobody keeps it (RFC 2308 §5).
    ///
    /// Nil for what is no response with a question, or malformed.
    public static func dnsNoData(_ response: RawSpan) -> [UInt8]? {
        guard let parts = DNSParts(response), parts.isResponse else { return nil }
        return header(parts.id, flags: parts.flags & ~(truncated | authenticated | 15), hasOPT: parts.options != nil)
            + parts.question(of: response)
            + (parts.options.map { optRecord(size: $0.size, isSecure: $0.isSecure, []) } ?? [])
    }
}

extension RefusalMessage {
    private static let truncated: UInt16 = 0x0200
    private static let authenticated: UInt16 = 0x0020
    /// EDE in the IANA registry "DNS EDNS0 Option Codes".
    private static let extendedError: UInt16 = 15
    /// Blocked, for an internal policy of the operator (RFC 8914 §4.16).
    private static let blocked: UInt16 = 15
    /// The UDP size that we say we take, and the most that we send: it fits every path with IPv6.
    private static let udpByteCount: UInt16 = 1232

    /// A response of a header, the question and, if the query had one, an OPT record with what `option` gives for its room.
    private static func response(
        to parts: DNSParts, _ query: RawSpan, responseCode: UInt16, option: (_ room: Int) -> [UInt8]
    ) -> [UInt8] {
        // QR and RA set; opcode, RD and CD as they were.
        let flags = 0x8080 | parts.flags & 0x7910 | responseCode
        let start = header(parts.id, flags: flags, hasOPT: parts.options != nil) + parts.question(of: query)
        guard let options = parts.options else { return start }
        // RFC 6891 §6.2.3: less than 512 means 512. A question has at most 259 bytes: 230 are left.
        let size = Int(Swift.min(Swift.max(options.size, 512), udpByteCount))
        return start
            + optRecord(size: udpByteCount, isSecure: options.isSecure, option(size - start.count - optByteCount))
    }

    private static func header(_ id: UInt16, flags: UInt16, hasOPT: Bool) -> [UInt8] {
        [id, flags, 1, 0, 0, hasOPT ? 1 : 0].flatMap { bigEndian($0) }
    }

    private static let optByteCount = 11

    /// RFC 6891 §6.1.2, of version 0.
    private static func optRecord(size: UInt16, isSecure: Bool, _ content: [UInt8]) -> [UInt8] {
        [0] + bigEndian(DNSType.opt.rawValue) + bigEndian(size) + [0, 0, isSecure ? 0x80 : 0, 0]
            + bigEndian(UInt16(content.count)) + content
    }
}

/// What a response takes over from a message with one question.
private struct DNSParts {
    let id: UInt16
    let flags: UInt16
    let questionRange: Range<Int>
    /// The UDP size and the bit DO of the OPT record; nil without one.
    let options: (size: UInt16, isSecure: Bool)?

    var isResponse: Bool { flags & 0x8000 != 0 }

    /// Nil where the message is malformed, as `DNSMessage` has it, or has no question.
    init?(_ bytes: RawSpan) {
        do throws(WireError) {
            guard try DNSMessage(parsing: bytes).question != nil else { return nil }
            var reader = ByteReader(bytes)
            id = try reader.readUInt16()
            flags = try reader.readUInt16()
            try reader.skip(2)
            var recordCount = 0
            for _ in 0..<3 { recordCount += Int(try reader.readUInt16()) }
            let start = reader.position
            // At the message's first name there is nothing to point back to: its bytes are plain labels, good in any message.
            _ = try DNSName(parsing: &reader)
            try reader.skip(4)
            questionRange = start..<reader.position
            var options: (size: UInt16, isSecure: Bool)?
            for _ in 0..<recordCount {
                _ = try DNSName(parsing: &reader)
                let type = DNSType(rawValue: try reader.readUInt16())
                let size = try reader.readUInt16()
                let extendedFlags = try reader.readUInt32()
                try reader.skip(Int(try reader.readUInt16()))
                if type == .opt { options = (size, extendedFlags & 0x8000 != 0) }
            }
            self.options = options
        } catch {
            return nil
        }
    }

    func question(of message: RawSpan) -> [UInt8] {
        message.extracting(questionRange).withUnsafeBytes { Array($0) }
    }
}
