/// A resource record or question type (IANA "Resource Record (RR) TYPEs"). Unknown values are data.
public struct DNSType: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// The number on the wire.
    public let rawValue: UInt16

    /// Wraps a number.
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// An IPv4 address (RFC 1035 §3.4.1).
    public static let a = DNSType(rawValue: 1)
    /// Another name for the same (RFC 1035 §3.3.1).
    public static let cname = DNSType(rawValue: 5)
    /// An IPv6 address (RFC 3596 §2.1).
    public static let aaaa = DNSType(rawValue: 28)
    /// The pseudo-record of EDNS (RFC 6891 §6.1).
    public static let opt = DNSType(rawValue: 41)
    /// A service binding (RFC 9460 §2).
    public static let svcb = DNSType(rawValue: 64)
    /// A service binding of HTTPS (RFC 9460 §9).
    public static let https = DNSType(rawValue: 65)

    /// The mnemonic, or `TYPE` and the number (RFC 3597 §5).
    public var description: String {
        for (number, name) in Self.mnemonics where number == rawValue { return name }
        return "TYPE\(rawValue)"
    }

    private static let mnemonics: [(UInt16, String)] = [
        (1, "A"), (28, "AAAA"), (65, "HTTPS"), (5, "CNAME"), (12, "PTR"), (15, "MX"), (16, "TXT"), (33, "SRV"),
        (2, "NS"), (6, "SOA"), (10, "NULL"), (11, "WKS"), (13, "HINFO"), (14, "MINFO"), (17, "RP"), (18, "AFSDB"),
        (24, "SIG"), (25, "KEY"), (29, "LOC"), (35, "NAPTR"), (36, "KX"), (37, "CERT"), (39, "DNAME"), (41, "OPT"),
        (42, "APL"), (43, "DS"), (44, "SSHFP"), (45, "IPSECKEY"), (46, "RRSIG"), (47, "NSEC"), (48, "DNSKEY"),
        (49, "DHCID"), (50, "NSEC3"), (51, "NSEC3PARAM"), (52, "TLSA"), (53, "SMIMEA"), (55, "HIP"), (59, "CDS"),
        (60, "CDNSKEY"), (61, "OPENPGPKEY"), (62, "CSYNC"), (63, "ZONEMD"), (64, "SVCB"), (99, "SPF"),
        (108, "EUI48"), (109, "EUI64"), (249, "TKEY"), (250, "TSIG"), (251, "IXFR"), (252, "AXFR"), (255, "ANY"),
        (256, "URI"), (257, "CAA"),
    ]
}

/// What a message is for (RFC 1035 §4.1.1, RFC 6895 §2.2). Unknown values are data.
public struct DNSOpcode: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    /// The four bits.
    public let rawValue: UInt8

    /// Wraps the bits.
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// A question.
    public static let query = DNSOpcode(rawValue: 0)
    /// RFC 1996.
    public static let notify = DNSOpcode(rawValue: 4)
    /// RFC 2136.
    public static let update = DNSOpcode(rawValue: 5)
}
