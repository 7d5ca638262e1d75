public import Octets

/// A field of a decoded header block.
public struct HTTP2Field: Hashable, Sendable {
    /// The name; pseudo-fields with their colon.
    public let name: String
    /// The value.
    public let value: String

    /// A field from its parts.
    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

/// What a request's header block asks for (RFC 9113 §8.3.1).
///
/// Refused as malformed: pseudo-fields that are missing, repeated, unknown or behind others, a `host` that differs from
/// `:authority`, names in upper case, fields of a connection, control characters.
public struct HTTP2Request: Hashable, Sendable {
    /// The method.
    public let method: String
    /// The authority of `:authority`, else of `host`; nil without either.
    public let authority: Authority?
    /// The path without the query; `*`, or the authority of CONNECT.
    public let path: String
    /// The query without its `?`; nil without one.
    public let query: String?
    /// `http` or `https`; nil for CONNECT.
    public let scheme: String?
    /// The other fields in their order.
    public let fields: [HTTP2Field]

    /// Reads the fields of a block.
    public init(_ block: [HTTP2Field]) throws(WireError) {
        var pseudo: [String: String] = [:]
        var host: Authority?
        var others: [HTTP2Field] = []
        for field in block {
            try Self.check(field)
            if field.name.utf8.first == UInt8(ascii: ":") {
                guard others.isEmpty else { throw .malformed("pseudo-field behind other fields", offset: 0) }
                guard Self.pseudoFields.contains(field.name) else {
                    throw .malformed("unknown pseudo-field", offset: 0)
                }
                guard pseudo.updateValue(field.value, forKey: field.name) == nil else {
                    throw .malformed("pseudo-field twice", offset: 0)
                }
                continue
            }
            guard !Self.connectionFields.contains(field.name) else {
                throw .malformed("field of a connection in HTTP/2", offset: 0)
            }
            if field.name == "host" {
                guard host == nil else { throw .malformed("two host fields", offset: 0) }
                host = try Self.authority(field.value)
            }
            others.append(field)
        }
        guard let method = pseudo[":method"], !method.isEmpty, method.utf8.allSatisfy(\.isTokenByte),
            method.utf8.count <= Limits.methodBytes
        else { throw .malformed("HTTP/2 request without method", offset: 0) }
        let named = try pseudo[":authority"].map { text throws(WireError) in try Self.authority(text) }
        if let named, let host, named != host { throw .malformed("host differs from :authority", offset: 0) }
        let target = pseudo[":path"]
        if method == "CONNECT", pseudo[":protocol"] == nil {
            guard named?.port != nil, target == nil, pseudo[":scheme"] == nil else {
                throw .malformed("CONNECT with a path, or without port", offset: 0)
            }
        } else {
            guard let target, let first = target.utf8.first else {
                throw .malformed("HTTP/2 request without path", offset: 0)
            }
            guard first == UInt8(ascii: "/") || (target == "*" && method == "OPTIONS") else {
                throw .malformed("HTTP/2 path", offset: 0)
            }
            guard !target.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "#") }) else {
                throw .malformed("byte in the HTTP/2 path", offset: 0)
            }
            guard pseudo[":scheme"] != nil else { throw .malformed("HTTP/2 request without scheme", offset: 0) }
        }
        self.method = method
        authority = named ?? host
        scheme = pseudo[":scheme"]
        let parts = (target ?? pseudo[":authority"] ?? "").split(
            separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = parts.first.map(String.init) ?? ""
        query = parts.count > 1 ? String(parts[1]) : nil
        fields = others
    }

    /// Trailers: fields without a pseudo-field (RFC 9113 §8.1).
    public static func checkTrailers(_ block: [HTTP2Field]) throws(WireError) {
        for field in block {
            try check(field)
            guard field.name.utf8.first != UInt8(ascii: ":") else {
                throw .malformed("pseudo-field in trailers", offset: 0)
            }
        }
    }

    private static func check(_ field: HTTP2Field) throws(WireError) {
        let name = field.name.utf8
        for (index, byte) in name.enumerated() {
            let isColon = index == 0 && byte == UInt8(ascii: ":") && name.count > 1
            guard isColon || (byte.isTokenByte && !(0x41...0x5A).contains(byte)) else {
                throw .malformed("byte in an HTTP/2 field name", offset: 0)
            }
        }
        guard !name.isEmpty else { throw .malformed("HTTP/2 field without name", offset: 0) }
        guard !field.value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) else {
            throw .malformed("control character in an HTTP/2 field", offset: 0)
        }
    }

    private static func authority(_ text: String) throws(WireError) -> Authority {
        let bytes = Array(text.utf8)
        return try Authority(parsing: bytes.span.bytes)
    }

    private static let pseudoFields: Set<String> = [":method", ":scheme", ":authority", ":path", ":protocol"]
    /// RFC 9113 §8.2.2.
    private static let connectionFields: Set<String> = [
        "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade",
    ]
}
