public import Octets
public import PacketHeaders

/// A host as a request names it: by name or by address.
public enum Host: Hashable, Sendable, CustomStringConvertible {
    /// A normalised name.
    case name(HostName)
    /// An IPv4 or IPv6 literal.
    case address(IPAddress)

    /// The name, or the address without brackets.
    public var description: String {
        switch self {
        case .name(let name): name.description
        case .address(let address): address.description
        }
    }
}

/// `host[:port]` (RFC 3986 §3.2 without user information).
public struct Authority: Hashable, Sendable, CustomStringConvertible {
    /// The host.
    public let host: Host
    /// The port, where one is written: 1...65535.
    public let port: UInt16?

    /// Reads an authority that is the whole span. Throws `.malformed` for anything else.
    public init(parsing bytes: RawSpan) throws(WireError) {
        let place = try AuthorityPlace(parsing: bytes, base: 0)
        guard let host = place.host(in: bytes) else { throw .malformed("host name is an address", offset: 0) }
        self.host = host
        port = place.port
    }

    /// An authority from its parts.
    public init(host: Host, port: UInt16?) {
        self.host = host
        self.port = port
    }

    /// `host`, `host:port`, `[address]:port`.
    public var description: String {
        let text = if case .address(let address) = host, address.family == .v6 { "[\(address)]" } else { "\(host)" }
        return port.map { "\(text):\($0)" } ?? text
    }
}

/// Where an authority's parts lie in the bytes it was read from: checked, without allocation for names.
struct AuthorityPlace: Hashable, Sendable, BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable {
        case name
        case address
    }

    let kind: Kind
    /// The host without brackets.
    let range: ByteRange
    let port: UInt16?

    /// Reads an authority that is all of `bytes`; `base` is added to every offset kept or thrown.
    init(parsing bytes: RawSpan, base: Int) throws(WireError) {
        var hostEnd = bytes.byteCount
        var hostStart = 0
        var portStart: Int?
        if bytes.byteCount > 0, bytes.byte(at: 0) == UInt8(ascii: "[") {
            var close = 1
            while close < bytes.byteCount, bytes.byte(at: close) != UInt8(ascii: "]") { close += 1 }
            guard close < bytes.byteCount else { throw .malformed("address without closing bracket", offset: base) }
            hostStart = 1
            hostEnd = close
            if close + 1 < bytes.byteCount {
                guard bytes.byte(at: close + 1) == UInt8(ascii: ":") else {
                    throw .malformed("bytes behind an address", offset: base + close + 1)
                }
                portStart = close + 2
            }
            kind = .address
            range = ByteRange(base + hostStart..<base + hostEnd)
            let address = IPAddress(bytes.extracting(hostStart..<hostEnd).text)
            guard address?.family == .v6 else { throw .malformed("no IPv6 address in brackets", offset: base) }
        } else {
            for index in 0..<bytes.byteCount where bytes.byte(at: index) == UInt8(ascii: ":") {
                hostEnd = index
                portStart = index + 1
                break
            }
            let host = bytes.extracting(0..<hostEnd)
            do {
                _ = try HostName.check(host)
                kind = .name
            } catch .addressLiteral {
                guard IPAddress(host.text)?.family == .v4 else {
                    throw .malformed("number that may be read as an address", offset: base)
                }
                kind = .address
            } catch {
                throw .malformed(error.reason, offset: base)
            }
            range = ByteRange(base..<base + hostEnd)
        }
        guard let portStart else {
            port = nil
            return
        }
        guard (1...5).contains(bytes.byteCount - portStart) else { throw .malformed("port", offset: base + portStart) }
        var value = 0
        for index in portStart..<bytes.byteCount {
            let byte = bytes.byte(at: index)
            guard byte.isDigit else { throw .malformed("port", offset: base + index) }
            value = value * 10 + Int(byte - 0x30)
        }
        guard value > 0, let number = UInt16(exactly: value) else {
            throw .malformed("port", offset: base + portStart)
        }
        port = number
    }

    /// The host as a value; `bytes` are those that the place counts in.
    func host(in bytes: RawSpan) -> Host? {
        let span = bytes.extracting(range)
        switch kind {
        case .name: return (try? HostName(validating: span)).map(Host.name)
        case .address: return IPAddress(span.text).map(Host.address)
        }
    }

    /// Whether both name the same host: case and one trailing dot do not count.
    func hasSameHost(as other: AuthorityPlace, in bytes: RawSpan) -> Bool {
        guard kind == other.kind else { return false }
        if kind == .address { return host(in: bytes) == other.host(in: bytes) }
        let mine = Self.withoutTrailingDot(bytes.extracting(range))
        let its = Self.withoutTrailingDot(bytes.extracting(other.range))
        guard mine.byteCount == its.byteCount else { return false }
        for index in 0..<mine.byteCount
        where asciiLowercased(mine.byte(at: index)) != asciiLowercased(its.byte(at: index)) {
            return false
        }
        return true
    }

    @_lifetime(copy bytes)
    private static func withoutTrailingDot(_ bytes: RawSpan) -> RawSpan {
        let end = bytes.byteCount
        guard end > 0, bytes.byte(at: end - 1) == UInt8(ascii: ".") else { return bytes }
        return bytes.extracting(0..<end - 1)
    }
}
