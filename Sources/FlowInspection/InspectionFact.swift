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
