public import Octets
import PacketHeaders

/// What is asked (RFC 1035 §4.1.2).
public struct DNSQuestion: Hashable, Sendable {
    /// The name.
    public let name: DNSName
    /// The type asked for.
    public let type: DNSType
    /// 1 is the internet's; the top bit is a request of multicast DNS (RFC 6762 §5.4).
    public let recordClass: UInt16
}

/// One DNS message (RFC 1035 §4), all of it read strictly: every section to its last record and not a byte more.
///
///     |              id               |
///     |Q|  opcode |A|T|R|R|Z|A|C|  rcode  |
///     |  questions    |    answers    |
///     |  authorities  |   additional  |
///
/// Refused as malformed: a query with other than one question, a response with more than one, a query with answers, a name
/// whose compression does not end, data of A, AAAA, CNAME, SVCB or HTTPS that is no such data, two OPT records, bytes left over.
public struct DNSMessage: Hashable, Sendable {
    /// The number that an answer must repeat.
    public let id: UInt16
    /// Whether this is a response.
    public let isResponse: Bool
    /// What the message is for.
    public let opcode: DNSOpcode
    /// The response code with the upper bits of EDNS; 0 is no error.
    public let responseCode: UInt16
    /// Whether the sender says that more would not fit.
    public let isTruncated: Bool
    /// The question; a response may come without (zone transfers, RFC 5936 §2.2.2).
    public let question: DNSQuestion?
    /// The records of the answer section.
    public let answers: [DNSRecord]
    /// Whether a record behind the answer section carries keys of Encrypted ClientHello (RFC 9460 §4.1: servers may add them).
    public let hidesNamesBeside: Bool
    /// The largest UDP answer that the sender takes, by its OPT record; nil without EDNS.
    public let maximumUDPByteCount: UInt16?

    static let headerByteCount = 12

    /// Reads a message that is all of `bytes`. Throws `.truncated` where they end within it.
    public init(parsing bytes: RawSpan) throws(WireError) {
        var reader = ByteReader(bytes)
        id = try reader.readUInt16()
        let flags = try reader.readUInt16()
        isResponse = flags & 0x8000 != 0
        opcode = DNSOpcode(rawValue: UInt8(truncatingIfNeeded: flags >> 11 & 15))
        isTruncated = flags & 0x0200 != 0
        let questionCount = Int(try reader.readUInt16())
        let answerCount = Int(try reader.readUInt16())
        let authorityCount = Int(try reader.readUInt16())
        let additionalCount = Int(try reader.readUInt16())
        guard questionCount == 1 || (isResponse && questionCount == 0) else {
            throw reader.malformed("DNS message without exactly one question")
        }
        if !isResponse, opcode == .query || opcode.rawValue > 5, answerCount > 0 {
            throw reader.malformed("DNS query with answers")
        }
        if !isResponse, opcode == .query, authorityCount + additionalCount > Limits.dnsQueryRecords {
            throw reader.malformed("DNS query with many records behind its question")
        }
        question =
            questionCount == 0
            ? nil
            : DNSQuestion(
                name: try DNSName(parsing: &reader), type: DNSType(rawValue: try reader.readUInt16()),
                recordClass: try reader.readUInt16())

        // Each record takes at least eleven bytes: the counts cannot ask for more work than the message has room for.
        let readsData = isResponse && opcode == .query
        var answers: [DNSRecord] = []
        for _ in 0..<answerCount {
            let record = try Self.readRecord(&reader, readsData: readsData)
            guard record.type != .opt else { throw reader.malformed("OPT outside the additional section") }
            if readsData { answers.append(record) }
        }
        var hidesNames = false
        for _ in 0..<authorityCount { try Self.skipRecord(&reader, &hidesNames) }
        var edns: (size: UInt16, ttl: UInt32)?
        for _ in 0..<additionalCount {
            guard let found = try Self.readAdditional(&reader, &hidesNames) else { continue }
            guard edns == nil else { throw reader.malformed("two OPT records") }
            edns = found
        }
        try reader.expectEnd("bytes behind a DNS message")
        self.answers = answers
        hidesNamesBeside = isResponse && hidesNames
        responseCode = UInt16(edns.map { $0.ttl >> 24 } ?? 0) << 4 | flags & 15
        maximumUDPByteCount = edns?.size
    }

    /// The question of a message of which only the beginning is there, such as a capture keeps; nil where not even that is.
    /// For showing only: nothing is known of the rest.
    public static func question(ofCut bytes: RawSpan) -> DNSQuestion? {
        var reader = ByteReader(bytes)
        do throws(WireError) {
            try reader.skip(4)
            guard try reader.readUInt16() == 1 else { return nil }
            try reader.skip(6)
            return DNSQuestion(
                name: try DNSName(parsing: &reader), type: DNSType(rawValue: try reader.readUInt16()),
                recordClass: try reader.readUInt16())
        } catch {
            return nil
        }
    }

    private static func readRecord(_ reader: inout ByteReader, readsData: Bool) throws(WireError) -> DNSRecord {
        let owner = try DNSName(parsing: &reader)
        let type = DNSType(rawValue: try reader.readUInt16())
        let recordClass = try reader.readUInt16()
        let timeToLive = try reader.readUInt32()
        let length = Int(try reader.readUInt16())
        try reader.require(length)
        let end = reader.position + length
        let data: DNSRecordData
        // Other classes (RFC 2136 uses ANY and NONE) have data of their own rules.
        switch type {
        case .a where readsData && recordClass == 1:
            guard length == 4 else { throw reader.malformed("length of an A record") }
            data = .address(IPAddress(v4: try reader.readUInt32()))
        case .aaaa where readsData && recordClass == 1:
            guard length == 16 else { throw reader.malformed("length of an AAAA record") }
            data = .address(IPAddress(v6: try reader.readUInt64(), try reader.readUInt64()))
        case .cname where readsData && recordClass == 1:
            data = .alias(try DNSName(parsing: &reader))
        case .svcb where readsData && recordClass == 1, .https where readsData && recordClass == 1:
            var content = try reader.readSlice(length)
            do throws(WireError) {
                data = .service(try DNSServiceBinding(parsing: &content))
            } catch {
                throw content.sealed(error, "service binding longer than its record")
            }
        default:
            try reader.skip(length)
            data = .other(byteCount: length)
        }
        guard reader.position == end else { throw reader.malformed("length of a record's data") }
        return DNSRecord(owner: owner, type: type, timeToLive: timeToLive, data: data)
    }

    private static func skipRecord(_ reader: inout ByteReader, _ hidesNames: inout Bool) throws(WireError) {
        _ = try DNSName(parsing: &reader)
        let type = DNSType(rawValue: try reader.readUInt16())
        try reader.skip(6)
        var content = try reader.readSlice(Int(try reader.readUInt16()))
        hidesNames = hidesNames || carriesKeys(type, &content)
    }

    /// Whether a record carries keys of Encrypted ClientHello; one that is no service binding may, to others.
    private static func carriesKeys(_ type: DNSType, _ content: inout ByteReader) -> Bool {
        guard type == .https || type == .svcb, !content.isAtEnd else { return false }
        return (try? DNSServiceBinding(parsing: &content))?.hasEncryptedClientHello ?? true
    }

    /// Skips a record, or reads an OPT record (RFC 6891 §6.1.2): its size and its TTL field.
    private static func readAdditional(
        _ reader: inout ByteReader, _ hidesNames: inout Bool
    ) throws(WireError) -> (size: UInt16, ttl: UInt32)? {
        let owner = try DNSName(parsing: &reader)
        let type = DNSType(rawValue: try reader.readUInt16())
        let size = try reader.readUInt16()
        let ttl = try reader.readUInt32()
        var content = try reader.readSlice(Int(try reader.readUInt16()))
        guard type == .opt else {
            hidesNames = hidesNames || carriesKeys(type, &content)
            return nil
        }
        guard owner.isRoot else { throw reader.malformed("OPT record with a name") }
        do throws(WireError) {
            while !content.isAtEnd {
                try content.skip(2)
                try content.skip(Int(try content.readUInt16()))
            }
        } catch {
            throw content.sealed(error, "EDNS option longer than its record")
        }
        return (size, ttl)
    }
}
