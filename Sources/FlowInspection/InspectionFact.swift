import Octets
public import WireProtocols

/// A request of HTTP/1 or HTTP/2.
public struct InspectedRequest: Hashable, Sendable {
    /// The method as sent.
    public let method: String
    /// Host and port asked for; nil in HTTP/1.0 without Host.
    public let authority: Authority?
    /// The path without the query; the authority of CONNECT.
    public let path: String
    /// The query without its `?`.
    public let query: String?
    /// The version of HTTP: `1.0`, `1.1`, `2`.
    public let version: String
    /// Whether this asks for a tunnel: what follows is another stream.
    public let isTunnel: Bool
    /// The whole URL; nil for CONNECT, `*` and a request without host.
    public let url: String?
    /// Header fields by lower-case name, values of a repeated one joined by `, `; empty where they were not asked for.
    public let fields: [String: String]
}

extension InspectedRequest {
    /// A request of HTTP/1, of which `bytes` are the head.
    init(_ head: HTTP1RequestHead, in bytes: RawSpan, readsFields: Bool) {
        self.init(
            method: head.method(in: bytes), authority: head.authority(in: bytes), path: head.path(in: bytes),
            query: head.query(in: bytes), version: "1.\(head.minorVersion)", isTunnel: head.isConnect,
            url: readsFields ? head.url(in: bytes) : nil, fields: readsFields ? head.fields(in: bytes) : [:])
    }

    /// A request of HTTP/2.
    init(_ request: HTTP2Request, readsFields: Bool) {
        var fields: [String: String] = [:]
        var url: String?
        if readsFields {
            for field in request.fields {
                fields[field.name] = fields[field.name].map { $0 + ", " + field.value } ?? field.value
            }
            if let scheme = request.scheme, let authority = request.authority, request.path.hasPrefix("/") {
                url = "\(scheme)://\(authority)\(request.path)" + (request.query.map { "?" + $0 } ?? "")
            }
        }
        self.init(
            method: request.method, authority: request.authority, path: request.path, query: request.query,
            version: "2", isTunnel: request.method == "CONNECT" && request.scheme == nil, url: url, fields: fields)
    }
}

/// Something that a flow said.
public enum InspectionFact: Hashable, Sendable {
    /// What the flow, or what it carries from here on, speaks.
    case speaks(ApplicationProtocol)
    /// A whole ClientHello; over QUIC with the version.
    case hello(ClientHelloSummary, quic: QUICVersion?)
    /// A request.
    case request(InspectedRequest)
    /// A DNS message, either way.
    case dns(DNSMessage)
    /// The question of a DNS message whose rest is not there.
    case question(DNSQuestion, isResponse: Bool)
    /// A database login in the clear. MySQL's database may be nil.
    case login(user: String, database: String?)
    /// What a server or client calls itself: an SSH identification, a MySQL version.
    case software(String, StreamSide)
    /// Where a SOCKS proxy is asked to connect to.
    case proxyRequest(SOCKSRequest)
    /// A QUIC version that cannot be read.
    case unknownVersion(QUICVersion)
}
