import Octets

/// What a client stream's first bytes are.
public enum DetectedProtocol: Hashable, Sendable {
    /// A TLS record, or what a TLS parser must name and refuse (an SSLv2 hello, another record first).
    case tls
    /// An HTTP/1 request line.
    case http1
    /// The HTTP/2 connection preface (RFC 9113 §3.4).
    case http2
    /// None of these; no further byte can change that.
    case unknown
    /// Too few bytes to tell.
    case needMore
}

/// Recognises a protocol by its bytes, never by its port.
public enum ProtocolDetector {
    /// What `bytes`, the beginning of a client's stream, are. Looks at no more than some 50 bytes.
    public static func detect(_ bytes: RawSpan) -> DetectedProtocol {
        guard bytes.byteCount > 0 else { return .needMore }
        let first = bytes.byte(at: 0)
        if (20...23).contains(first) { return detectRecord(bytes) }
        if first & 0x80 != 0 { return detectSSL2(bytes) }
        if bytes.matchesPrefix(http2Preface) {
            // A method of its own: `PRI` alone could still be any other HTTP/1 method.
            return bytes.byteCount >= http2Preface.utf8CodeUnitCount ? .http2 : .needMore
        }
        return detectRequestLine(bytes)
    }

    /// RFC 8446 §5.1: type, major version 3, minor version.
    private static func detectRecord(_ bytes: RawSpan) -> DetectedProtocol {
        if bytes.byteCount > 1, bytes.byte(at: 1) != 3 { return .unknown }
        if bytes.byteCount > 2, bytes.byte(at: 2) > 4 { return .unknown }
        return bytes.byteCount > 2 ? .tls : .needMore
    }

    /// RFC 6101 appendix E: a two-byte length with the high bit, CLIENT-HELLO, version 2 or 3.
    private static func detectSSL2(_ bytes: RawSpan) -> DetectedProtocol {
        if bytes.byteCount > 2, bytes.byte(at: 2) != 1 { return .unknown }
        if bytes.byteCount > 3, bytes.byte(at: 3) != 0, bytes.byte(at: 3) != 3 { return .unknown }
        return bytes.byteCount > 3 ? .tls : .needMore
    }

    /// RFC 9112 §3: a token, one space, and the beginning of a target in one of its four forms.
    private static func detectRequestLine(_ bytes: RawSpan) -> DetectedProtocol {
        var start = 0
        var emptyLines = 0
        while start < bytes.byteCount, bytes.byte(at: start) == 0x0D {
            guard start + 1 < bytes.byteCount else { return .needMore }
            emptyLines += 1
            guard bytes.byte(at: start + 1) == 0x0A, emptyLines <= Limits.leadingEmptyLines else { return .unknown }
            start += 2
        }
        var end = start
        while end < bytes.byteCount, bytes.byte(at: end) != 0x20 {
            guard bytes.byte(at: end).isTokenByte, end - start < Limits.methodBytes else { return .unknown }
            end += 1
        }
        guard end < bytes.byteCount else { return .needMore }
        guard end > start else { return .unknown }
        let target = bytes.extracting(end + 1..<bytes.byteCount)
        guard target.byteCount > 0 else { return .needMore }
        if bytes.extracting(start..<end).equalsIgnoringCase("connect") { return .http1 }
        let first = target.byte(at: 0)
        // A second space is wrong, but wrong HTTP: lenient servers answer it.
        if first == UInt8(ascii: "/") || first == UInt8(ascii: "*") || first == 0x20 { return .http1 }
        for scheme in ["http://", "https://", "http/1."] as [StaticString] {
            let count = min(target.byteCount, scheme.utf8CodeUnitCount)
            guard target.extracting(0..<count).isPrefixIgnoringCase(of: scheme) else { continue }
            return count == scheme.utf8CodeUnitCount ? .http1 : .needMore
        }
        return .unknown
    }

    static let http2Preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
}

extension RawSpan {
    /// Whether the bytes begin `text`, letters compared without case. `text` is in lower case.
    func isPrefixIgnoringCase(of text: StaticString) -> Bool {
        guard byteCount <= text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { literal in
            for index in 0..<byteCount where asciiLowercased(byte(at: index)) != literal[index] { return false }
            return true
        }
    }
}
