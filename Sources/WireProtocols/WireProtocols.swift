// WireProtocols: what the first bytes of a flow say.
//
// A folder a protocol: `TLS` (the ClientHello, JA4), `QUIC` (Initial packets), `HTTP1`, `HTTP2` (frames, what a decoded header
// block asks for), `DNS`, `PostgreSQL`, `MySQL`, `SSH`, `Mail` (STARTTLS), `LDAP`, `SOCKS`, `Others`; above them what they share:
// `HostName`, `Authority`, `ProtocolDetector`, `Limits`. Imports `Octets`, `PacketHeaders` (addresses) and `CLibcrypto`
// (a digest for JA4, the keys of QUIC). Everything is a pure function over borrowed bytes with a small plain state between calls:
//
//     stream ─▶ ProtocolDetector ─▶ ClientHelloScanner ─▶ ClientHello ─▶ ClientHelloSummary (host, ALPN, version, JA4)
//                               └─▶ HTTP1RequestReader ─▶ HTTP1RequestHead ─▶ authority, method, path, fields
//
// The caller owns the bytes and hands over the contiguous part of the client's stream, again and longer each time; no byte
// is read twice but for a bounded few. Parsers are strict: what two programs could read in two ways is malformed, never a
// guess. Nothing allocates until a caller asks for text.
