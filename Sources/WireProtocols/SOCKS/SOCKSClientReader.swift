public import Octets
import PacketHeaders

/// Where a SOCKS client asks a proxy to connect to.
public struct SOCKSRequest: Hashable, Sendable {
    /// 4 or 5.
    public let version: UInt8
    /// 1 is CONNECT.
    public let command: UInt8
    /// The host by name or address.
    public let host: Host
    /// The port.
    public let port: UInt16
}

/// Reads a client's part of a SOCKS negotiation (RFC 1928, RFC 1929; SOCKS 4 and 4a as OpenSSH describes them).
public struct SOCKSClientReader: Hashable, Sendable, BitwiseCopyable {
    /// What the next bytes are.
    public enum Event: Hashable, Sendable {
        /// More bytes are needed.
        case needMore
        /// The methods offered, or a user's name and password, of `byteCount` bytes.
        case negotiation(byteCount: Int)
        /// The request; what follows is another stream, if the proxy agrees.
        case request(SOCKSRequest, byteCount: Int)
    }

    private enum Phase: UInt8, BitwiseCopyable {
        case start
        case negotiated
        case authenticated
    }

    private var phase = Phase.start

    /// A reader at the beginning of a stream.
    public init() {}

    /// Whether `bytes`, a stream's beginning, are a client's; nil where more are needed.
    public static func matches(_ bytes: RawSpan) -> Bool? {
        guard bytes.byteCount > 0 else { return nil }
        switch bytes.byte(at: 0) {
        case 5:
            guard bytes.byteCount >= 2 else { return nil }
            let count = Int(bytes.byte(at: 1))
            guard (1...10).contains(count) else { return false }
            for index in 2..<2 + count where index < bytes.byteCount {
                // Registered methods (0...9), private ones (0x80...0xFE), each once.
                let method = bytes.byte(at: index)
                guard method <= 9 || (0x80...0xFE).contains(method) else { return false }
                for before in 2..<index where bytes.byte(at: before) == method { return false }
            }
            // The client sends no more before the proxy has answered.
            return bytes.byteCount >= 2 + count ? true : nil
        case 4:
            if bytes.byteCount >= 2, !(1...2).contains(bytes.byte(at: 1)) { return false }
            guard bytes.byteCount >= 9 else { return nil }
            for index in 8..<min(bytes.byteCount, 264) {
                let byte = bytes.byte(at: index)
                if byte == 0 { return true }
                guard (0x20...0x7E).contains(byte) else { return false }
            }
            return bytes.byteCount >= 264 ? false : nil
        default: return false
        }
    }

    /// Reads on. Throws `.malformed` only.
    public mutating func next(_ bytes: RawSpan) throws(WireError) -> Event {
        var reader = ByteReader(bytes)
        do throws(WireError) {
            let version = try reader.readUInt8()
            switch (phase, version) {
            case (.start, 4): return try Self.readVersion4(&reader)
            case (.start, 5):
                let count = Int(try reader.readUInt8())
                guard count > 0 else { throw reader.malformed("SOCKS without methods") }
                try reader.skip(count)
                phase = .negotiated
                return .negotiation(byteCount: reader.position)
            case (.negotiated, 1):
                try reader.skip(Int(try reader.readUInt8()))
                try reader.skip(Int(try reader.readUInt8()))
                phase = .authenticated
                return .negotiation(byteCount: reader.position)
            case (.negotiated, 5), (.authenticated, 5): return try Self.readVersion5(&reader)
            default: throw reader.malformed("SOCKS version")
            }
        } catch {
            if case .truncated = error { return .needMore }
            throw error
        }
    }

    private static func readVersion5(_ reader: inout ByteReader) throws(WireError) -> Event {
        let command = try reader.readUInt8()
        guard (1...3).contains(command), try reader.readUInt8() == 0 else { throw reader.malformed("SOCKS command") }
        let host: Host
        switch try reader.readUInt8() {
        case 1: host = .address(IPAddress(v4: try reader.readUInt32()))
        case 3: host = try self.host(try reader.readSpan(Int(try reader.readUInt8())))
        case 4: host = .address(IPAddress(v6: try reader.readUInt64(), try reader.readUInt64()))
        default: throw reader.malformed("SOCKS address type")
        }
        let port = try reader.readUInt16()
        return .request(
            SOCKSRequest(version: 5, command: command, host: host, port: port), byteCount: reader.position)
    }

    private static func readVersion4(_ reader: inout ByteReader) throws(WireError) -> Event {
        let command = try reader.readUInt8()
        guard (1...2).contains(command) else { throw reader.malformed("SOCKS command") }
        let port = try reader.readUInt16()
        let bits = try reader.readUInt32()
        _ = try text(&reader, "SOCKS 4 user")
        // 0.0.0.x with x other than 0 says that a name follows.
        let host: Host =
            bits != 0 && bits < 256
            ? try self.host(try text(&reader, "SOCKS 4 name")) : .address(IPAddress(v4: bits))
        return .request(
            SOCKSRequest(version: 4, command: command, host: host, port: port), byteCount: reader.position)
    }

    /// A text of at most 255 bytes and its zero byte; what follows it is another's.
    @_lifetime(copy reader)
    private static func text(_ reader: inout ByteReader, _ reason: StaticReason) throws(WireError) -> RawSpan {
        let limit = 255
        do throws(WireError) {
            let start = reader.position
            let text = try reader.readTerminated()
            guard text.byteCount <= limit else { throw .malformed(reason, offset: start) }
            return text
        } catch {
            if case .truncated = error, reader.remaining > limit { throw reader.malformed(reason) }
            throw error
        }
    }

    private static func host(_ bytes: RawSpan) throws(WireError) -> Host {
        do {
            return .name(try HostName(validating: bytes))
        } catch {
            guard error == .addressLiteral, let address = IPAddress(bytes.text) else {
                throw .malformed(error.reason, offset: 0)
            }
            return .address(address)
        }
    }
}
