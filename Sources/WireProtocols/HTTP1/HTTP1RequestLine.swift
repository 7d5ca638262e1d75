import Octets

/// The form of a request target (RFC 9112 §3.2).
public enum HTTP1TargetForm: UInt8, Hashable, Sendable, BitwiseCopyable {
    /// `/path?query`
    case origin
    /// `http://host/path?query`
    case absolute
    /// `host:port`, with CONNECT only.
    case authority
    /// `*`, with OPTIONS only.
    case asterisk
}

/// A request line: method, one space, target, one space, version (RFC 9112 §3), no byte more.
struct HTTP1RequestLine: Hashable, BitwiseCopyable {
    let method: ByteRange
    let target: ByteRange
    let form: HTTP1TargetForm
    /// The path within the target: empty in an absolute form without one, and in the authority form.
    let path: ByteRange
    /// The query without its `?`.
    let query: ByteRange?
    /// The authority within the target: absolute and authority forms.
    let authority: AuthorityPlace?
    /// Whether the absolute form's scheme is https.
    let isHTTPS: Bool
    /// 0 or 1 of `HTTP/1.x`.
    let minorVersion: UInt8

    /// Reads a line without its CR LF that lies at `line` in `bytes`; throws `.malformed` only.
    init(parsing bytes: RawSpan, at line: Range<Int>) throws(WireError) {
        var space = line.lowerBound
        while space < line.upperBound, bytes.byte(at: space) != 0x20 {
            guard bytes.byte(at: space).isTokenByte else { throw .malformed("byte in the method", offset: space) }
            space += 1
        }
        guard space > line.lowerBound else { throw .malformed("request line without method", offset: space) }
        guard space - line.lowerBound <= Limits.methodBytes else { throw .malformed("method too long", offset: space) }
        method = ByteRange(line.lowerBound..<space)
        let start = space + 1
        var end = start
        while end < line.upperBound, bytes.byte(at: end) != 0x20 {
            let byte = bytes.byte(at: end)
            // RFC 3986: visible ASCII without the fragment. Raw UTF-8, which clients do send, names nothing but a path.
            guard byte > 0x20, byte != 0x7F, byte != UInt8(ascii: "#") else {
                throw .malformed("byte in the request target", offset: end)
            }
            end += 1
        }
        guard end > start else { throw .malformed("request line without target", offset: end) }
        guard end < line.upperBound else { throw .malformed("request line without version", offset: end) }
        target = ByteRange(start..<end)

        let version = bytes.extracting(end + 1..<line.upperBound)
        guard version.byteCount == 8, version.matchesPrefix("HTTP/1.") else {
            throw .malformed("HTTP version", offset: end + 1)
        }
        guard version.byte(at: 7) == 0x30 || version.byte(at: 7) == 0x31 else {
            throw .malformed("HTTP version", offset: end + 8)
        }
        minorVersion = version.byte(at: 7) - 0x30

        let text = bytes.extracting(target)
        var pathStart = start
        if bytes.extracting(method).equalsIgnoringCase("connect") {
            guard bytes.extracting(method).matchesPrefix("CONNECT") else {
                throw .malformed("CONNECT in other letters", offset: method.lowerBound)
            }
            form = .authority
            let place = try AuthorityPlace(parsing: text, base: start)
            guard place.port != nil else { throw .malformed("CONNECT without port", offset: start) }
            authority = place
            isHTTPS = false
            pathStart = end
        } else if text.byte(at: 0) == UInt8(ascii: "/") {
            (form, authority, isHTTPS) = (.origin, nil, false)
        } else if text.byteCount == 1, text.byte(at: 0) == UInt8(ascii: "*") {
            guard bytes.extracting(method).equalsIgnoringCase("options") else {
                throw .malformed("asterisk without OPTIONS", offset: start)
            }
            (form, authority, isHTTPS) = (.asterisk, nil, false)
        } else {
            let schemeByteCount: Int
            if Self.hasScheme("http://", text) {
                (schemeByteCount, isHTTPS) = (7, false)
            } else if Self.hasScheme("https://", text) {
                (schemeByteCount, isHTTPS) = (8, true)
            } else {
                throw .malformed("request target in no known form", offset: start)
            }
            var hostEnd = start + schemeByteCount
            while hostEnd < end, bytes.byte(at: hostEnd) != UInt8(ascii: "/"),
                bytes.byte(at: hostEnd) != UInt8(ascii: "?")
            {
                hostEnd += 1
            }
            form = .absolute
            authority = try AuthorityPlace(
                parsing: bytes.extracting(start + schemeByteCount..<hostEnd), base: start + schemeByteCount)
            pathStart = hostEnd
        }
        var question = pathStart
        while question < end, bytes.byte(at: question) != UInt8(ascii: "?") { question += 1 }
        path = ByteRange(pathStart..<question)
        query = question < end ? ByteRange(question + 1..<end) : nil
    }

    private static func hasScheme(_ scheme: StaticString, _ text: RawSpan) -> Bool {
        text.byteCount >= scheme.utf8CodeUnitCount
            && text.extracting(0..<scheme.utf8CodeUnitCount).isPrefixIgnoringCase(of: scheme)
    }
}
