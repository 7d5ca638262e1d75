// WireProtocols: what the first bytes of a flow say.
//
// A folder a protocol: `TLS` (the ClientHello over TCP, JA4) and `HTTP1` (requests of a connection), and above them what
// they share: `HostName`, `Authority`, `ProtocolDetector`. Imports `Octets`, `PacketHeaders` (addresses) and `CLibcrypto`
// (one digest, for JA4). Everything is a pure function over borrowed bytes with a small plain state between calls:
//
//     stream ─▶ ProtocolDetector ─▶ ClientHelloScanner ─▶ ClientHello ─▶ ClientHelloSummary (host, ALPN, version, JA4)
//                               └─▶ HTTP1RequestReader ─▶ HTTP1RequestHead ─▶ authority, method, path, fields
//
// The caller owns the bytes and hands over the contiguous part of the client's stream, again and longer each time; no byte
// is read twice but for a bounded few. Parsers are strict: what two programs could read in two ways is malformed, never a
// guess. Nothing allocates until a caller asks for text.
