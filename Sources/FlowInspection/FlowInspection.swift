// FlowInspection: what a flow says, whatever it speaks.
//
// One engine for whoever has bytes: the offline inspector, the fuzzers and the live path. It owns no socket, clock or packet:
// the caller puts bytes in order (`Flow`) and asks for facts, and the inspectors remember plain values between calls.
//
//     TCP   client's bytes ─┐
//                           ├▶ StreamInspector ──▶ needMore | step(bytes covered, fact?) | opaque
//           server's bytes ─┘   (ApplicationDetector, then the reader of what was recognised)
//     UDP   datagram, side ──▶ DatagramInspector ─▶ facts
//
// A fact comes with the number of bytes that it covers, before they are consumed: whoever enforces asks policy about the fact
// and only then lets the bytes go. A thrown `WireError` means that the flow is refused. Protocols are recognised by their bytes,
// never by their port, and follow each other in one stream (SOCKS, CONNECT, STARTTLS, an upgrade): `layers` has them all.
//
// `Capture/` puts the packets of a capture file together as the kernel and the daemon would, and reports each flow.
// Imports `WireProtocols`, `Flow`, `HeaderCompression`; neither Foundation nor the C library.

/// What a flow speaks.
public enum ApplicationProtocol: String, Hashable, Sendable {
    /// TLS over TCP.
    case tls
    /// QUIC over UDP.
    case quic
    /// HTTP/1.
    case http
    /// HTTP/2 in the clear.
    case h2c
    /// What an HTTP/1 connection became by RFC 6455.
    case websocket
    /// DNS over UDP or TCP.
    case dns
    /// Multicast DNS (RFC 6762).
    case mdns
    /// RFC 4795.
    case llmnr
    /// PostgreSQL.
    case postgres
    /// MySQL and MariaDB.
    case mysql
    /// RFC 4253.
    case ssh
    /// RFC 5321.
    case smtp
    /// RFC 9051.
    case imap
    /// RFC 1939.
    case pop3
    /// RFC 959, the control connection.
    case ftp
    /// RFC 4511.
    case ldap
    /// RESP.
    case redis
    /// The wire protocol of MongoDB.
    case mongodb
    /// MQTT.
    case mqtt
    /// SOCKS 4, 4a and 5.
    case socks
    /// A peer's handshake, or a message of its hash table.
    case bittorrent
    /// None of these.
    case unknown
}

/// Which end of a connection sent some bytes.
public enum StreamSide: Hashable, Sendable {
    /// The one that opened the connection.
    case client
    /// The other one.
    case server
}
