/// Bounds on what a peer's bytes can make the parsers do. Every loop over wire bytes consumes or counts to one of these.
public enum Limits {
    /// Bytes of stream in which a ClientHello must end, its record headers counted. The largest real ones (post-quantum key
    /// shares, padding) stay below 17 KiB; cut into 1-byte records the usual 1.8 KB become 11 KB.
    public static let clientHelloBytes = 65_536
    /// Extensions in one ClientHello. Some 60 types are registered and browsers send 20; OpenSSL refuses more than 128 too.
    static let extensions = 128
    /// ChangeCipherSpec and alert records before a second ClientHello. RFC 8446 §D.4 has one; OpenSSL gives up after 32.
    static let recordsBetweenHellos = 8
    /// Bytes of early data before a second ClientHello; the usual server limit (RFC 8446 §4.2.10) with room for records.
    static let earlyDataBytes = 65_536

    /// Bytes of one request's line and fields. nginx takes 32 KiB, Node and Python 64 KiB by their defaults.
    public static let requestHeadBytes = 65_536
    /// Bytes of a method. The longest registered one, UPDATEREDIRECTREF, has 17.
    static let methodBytes = 32
    /// Fields of one request or trailer section. Python takes 100, httpd 100, nginx as many as fit.
    static let fields = 128
    /// Empty lines before a request line (RFC 9112 §2.2 asks for at least one).
    static let leadingEmptyLines = 4
    /// Bytes of one trailer section.
    static let trailerBytes = 8192
    /// Hexadecimal digits of a chunk size: 60 bits, so that no sum of sizes in a flow overflows.
    static let chunkSizeDigits = 15
    /// Bytes of a chunk below which its content counts as framing: keeping it costs less than a piece of its own.
    static let smallChunkBytes = 64
    /// Decimal digits of a Content-Length: below 2^63.
    static let contentLengthDigits = 18

    /// Compression pointers in one DNS name. Writers need one, two after a CNAME; chains of them are work for nothing.
    static let dnsPointers = 16
    /// Records behind the question of a DNS query: OPT, and a signature of the transaction.
    static let dnsQueryRecords = 4

    /// Pieces of CRYPTO stream ahead of holes. Clients that cut their ClientHello on purpose make some 25 of them.
    static let cryptoRanges = 128
    /// Connections on one five-tuple, Retry and version negotiation counted. Each may keep a ClientHello.
    static let quicConnections = 8
    /// Initial packets that open with no key, before the rest is taken for noise unopened: each costs two derivations.
    static let quicAttempts = 64

    /// Bytes of a database client's first messages, and of an LDAP message before TLS. PostgreSQL takes 10,000, MySQL's have
    /// attributes of up to 64 KiB.
    static let startupBytes = 65_536
    /// Bytes of an SSH identification line; RFC 4253 §4.2 says 255, and lines before it have no bound of their own.
    static let identificationBytes = 1024
    /// Lines that an SSH server may send before it; OpenSSH gives up after 1024.
    static let linesBeforeIdentification = 64
    /// Bytes of a command line; RFC 4954 §4 asks SMTP servers for 12,288.
    static let commandBytes = 16_384
    /// Commands of mail and FTP before TLS. A client that wants TLS asks for it among its first few.
    static let commandsBeforeTLS: UInt16 = 64
    /// LDAP messages before StartTLS.
    static let messagesBeforeTLS: UInt8 = 16
}
