import Octets

/// What a request asks to turn the connection into (RFC 9110 §7.8).
public struct HTTP1Upgrade: OptionSet, Hashable, Sendable, BitwiseCopyable {
    /// The bits.
    public let rawValue: UInt8

    /// Wraps the bits.
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// RFC 6455.
    public static let webSocket = HTTP1Upgrade(rawValue: 1)
    /// HTTP/2 in cleartext (RFC 7540 §3.2, obsolete), or an HTTP2-Settings field.
    public static let http2 = HTTP1Upgrade(rawValue: 2)
    /// Any other protocol.
    public static let other = HTTP1Upgrade(rawValue: 4)
}

/// How many bytes follow a request's head (RFC 9112 §6).
public enum HTTP1BodyLength: Hashable, Sendable, BitwiseCopyable {
    /// This many; 0 where neither field is there.
    case fixed(UInt64)
    /// As the chunks say.
    case chunked
}

/// The head of one request (RFC 9112 §3, §5): offsets into its bytes, nothing copied. Every accessor takes the bytes that it
/// was parsed from, which begin where the previous request ended.
///
/// A head exists only if no two servers read it in two ways: one Host that agrees with the target, one way to know the
/// body's length, CR LF at every line's end, no folded line, no space before a colon.
public struct HTTP1RequestHead: Hashable, Sendable, BitwiseCopyable {
    /// Bytes of the head with its last empty line, and of empty lines before it.
    public let byteCount: Int
    /// The target's form.
    public var form: HTTP1TargetForm { line.form }
    /// 0 or 1 of `HTTP/1.x`.
    public var minorVersion: Int { Int(line.minorVersion) }
    /// What follows the head.
    public private(set) var bodyLength = HTTP1BodyLength.fixed(0)
    /// What the connection is to become, if the server agrees.
    public private(set) var upgrade: HTTP1Upgrade = []
    /// Whether this is CONNECT: what follows a 2xx answer is another stream.
    public var isConnect: Bool { line.form == .authority }
    /// Whether the absolute form's scheme is https.
    public var isHTTPS: Bool { line.isHTTPS }

    let line: HTTP1RequestLine
    let fields: ByteRange
    private(set) var authorityPlace: AuthorityPlace?

    /// Reads a whole head: `lineRange` is the request line in `bytes`, `fields` the lines behind it with their ends, which the
    /// reader has found by CR LF.
    init(parsing bytes: RawSpan, line lineRange: Range<Int>, fields: Range<Int>) throws(WireError) {
        line = try HTTP1RequestLine(parsing: bytes, at: lineRange)
        self.fields = ByteRange(fields)
        byteCount = fields.upperBound + 2
        authorityPlace = line.authority

        var host: AuthorityPlace?
        var contentLength: UInt64?
        var isChunked = false
        var cursor = HTTP1FieldCursor(bytes, fields)
        while let field = try cursor.next() {
            let name = bytes.extracting(field.name)
            let value = bytes.extracting(field.value)
            let offset = field.name.lowerBound
            switch name.byteCount {
            case 4 where name.equalsIgnoringCase("host"):
                guard host == nil else { throw .malformed("two Host fields", offset: offset) }
                host = try AuthorityPlace(parsing: value, base: field.value.lowerBound)
            case 7 where name.equalsIgnoringCase("upgrade"):
                upgrade.formUnion(Self.upgrades(value))
            case 14 where name.equalsIgnoringCase("content-length"):
                guard contentLength == nil else { throw .malformed("two Content-Length fields", offset: offset) }
                contentLength = try Self.length(value, at: field.value.lowerBound)
            case 14 where name.equalsIgnoringCase("http2-settings"):
                upgrade.insert(.http2)
            case 17 where name.equalsIgnoringCase("transfer-encoding"):
                guard !isChunked else { throw .malformed("two Transfer-Encoding fields", offset: offset) }
                guard value.equalsIgnoringCase("chunked") else {
                    throw .malformed("Transfer-Encoding other than chunked", offset: field.value.lowerBound)
                }
                isChunked = true
            default:
                guard !Self.isLookalike(name) else {
                    throw .malformed("field name that some programs read as another", offset: offset)
                }
            }
        }
        if isChunked {
            guard contentLength == nil else {
                throw .malformed("Content-Length with Transfer-Encoding", offset: lineRange.lowerBound)
            }
            guard line.minorVersion == 1 else {
                throw .malformed("Transfer-Encoding in HTTP/1.0", offset: lineRange.lowerBound)
            }
            bodyLength = .chunked
        } else {
            bodyLength = .fixed(contentLength ?? 0)
        }
        if isConnect, bodyLength != .fixed(0) {
            throw .malformed("CONNECT with a body", offset: lineRange.lowerBound)
        }
        try settleAuthority(host, bytes, lineRange.lowerBound)
    }

    /// RFC 9112 §3.2: HTTP/1.1 needs a Host, and a target that names one too must name the same.
    private mutating func settleAuthority(_ host: AuthorityPlace?, _ bytes: RawSpan, _ offset: Int) throws(WireError) {
        guard let host else {
            // CONNECT names its authority in full, and clients leave Host out of it.
            guard line.minorVersion == 0 || isConnect else { throw .malformed("HTTP/1.1 without Host", offset: offset) }
            return
        }
        guard let named = line.authority else {
            authorityPlace = host
            return
        }
        let standard: UInt16? = isConnect ? nil : line.isHTTPS ? 443 : 80
        let agree = (named.port ?? standard) == (host.port ?? (isConnect ? named.port : standard))
        guard agree, named.hasSameHost(as: host, in: bytes) else {
            throw .malformed("Host differs from the request target", offset: host.range.lowerBound)
        }
    }

    private static func length(_ value: RawSpan, at offset: Int) throws(WireError) -> UInt64 {
        guard (1...Limits.contentLengthDigits).contains(value.byteCount) else {
            throw .malformed("Content-Length", offset: offset)
        }
        var number: UInt64 = 0
        for index in 0..<value.byteCount {
            let byte = value.byte(at: index)
            guard byte.isDigit else { throw .malformed("Content-Length", offset: offset + index) }
            // At most 18 digits: below 10^18 < 2^63.
            number = number &* 10 &+ UInt64(byte - 0x30)
        }
        return number
    }

    private static func upgrades(_ value: RawSpan) -> HTTP1Upgrade {
        var result: HTTP1Upgrade = []
        var start = 0
        for index in 0...value.byteCount where index == value.byteCount || value.byte(at: index) == UInt8(ascii: ",") {
            let token = HTTP1FieldCursor.trimmed(value, start..<index)
            start = index + 1
            if token.isEmpty { continue }
            let name = value.extracting(token)
            if name.equalsIgnoringCase("websocket") {
                result.insert(.webSocket)
            } else if name.equalsIgnoringCase("h2c") || name.equalsIgnoringCase("h2") {
                result.insert(.http2)
            } else {
                result.insert(.other)
            }
        }
        return result.isEmpty ? .other : result
    }

    /// `Content_Length`, `Transfer_Encoding`: CGI and its heirs read the underscore as a hyphen.
    private static func isLookalike(_ name: RawSpan) -> Bool {
        guard name.byteCount == 14 || name.byteCount == 17 else { return false }
        let text: StaticString = name.byteCount == 14 ? "content-length" : "transfer-encoding"
        return text.withUTF8Buffer { literal in
            for index in 0..<name.byteCount {
                let byte = name.byte(at: index) == UInt8(ascii: "_") ? UInt8(ascii: "-") : name.byte(at: index)
                if asciiLowercased(byte) != literal[index] { return false }
            }
            return true
        }
    }
}

extension HTTP1RequestHead {
    /// The host and port asked for: of the target, else of Host; nil in HTTP/1.0 without either.
    public func authority(in bytes: RawSpan) -> Authority? {
        guard let authorityPlace, let host = authorityPlace.host(in: bytes) else { return nil }
        return Authority(host: host, port: authorityPlace.port)
    }

    /// The method token as sent.
    public func method(in bytes: RawSpan) -> String { bytes.extracting(line.method).text }

    /// The target as sent.
    public func target(in bytes: RawSpan) -> String { bytes.extracting(line.target).text }

    /// The target's path without the query: `/` where an absolute form has none, `*`, or the authority of CONNECT.
    public func path(in bytes: RawSpan) -> String {
        if isConnect { return target(in: bytes) }
        return line.path.isEmpty ? "/" : bytes.extracting(line.path).text
    }

    /// The query without its `?`; nil without one.
    public func query(in bytes: RawSpan) -> String? { line.query.map { bytes.extracting($0).text } }

    /// `http://host[:port]/path?query`, with the scheme of an absolute form; nil for CONNECT, `*` and a request without host.
    public func url(in bytes: RawSpan) -> String? {
        guard form == .origin || form == .absolute, let authority = authority(in: bytes) else { return nil }
        return (isHTTPS ? "https://" : "http://") + authority.description + path(in: bytes)
            + (query(in: bytes).map { "?" + $0 } ?? "")
    }

    /// The fields by lower-case name; values of a repeated one joined by `, ` in their order (RFC 9110 §5.3).
    public func fields(in bytes: RawSpan) -> [String: String] {
        var result: [String: String] = [:]
        var cursor = HTTP1FieldCursor(bytes, fields.range)
        // The fields were read once when the head was made: a second reading throws nothing.
        while let field = try? cursor.next() {
            let name = bytes.extracting(field.name).text.lowercased()
            let value = bytes.extracting(field.value).text
            result[name] = result[name].map { $0 + ", " + value } ?? value
        }
        return result
    }
}
