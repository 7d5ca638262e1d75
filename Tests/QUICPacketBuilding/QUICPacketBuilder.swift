import CLibcrypto
import CQUICSealer
import Octets
public import WireProtocols

/// Writes protected Initial packets for tests, right ones by default and wrong ones by its knobs.
public struct QUICPacketBuilder {
    /// The version.
    public var version = QUICVersion.v1
    /// The destination id.
    public var destination: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
    /// The source id.
    public var source: [UInt8] = [9, 9]
    /// The token.
    public var token: [UInt8] = []
    /// The packet number.
    public var packetNumber: UInt32 = 0
    /// In how many bytes it is written.
    public var packetNumberByteCount = 2
    /// The id that the keys come from; the destination unless something else is said.
    public var keyID: [UInt8]?
    /// Bits of the first byte that are turned over.
    public var firstByteFlips: UInt8 = 0
    /// The datagram's least size.
    public var paddedByteCount = 1200

    /// A packet of version 1 with the first packet number.
    public init(version: QUICVersion = .v1) {
        self.version = version
    }

    /// A number as QUIC writes it (RFC 9000 §16).
    public static func variableLength(_ value: Int) -> [UInt8] {
        value < 64
            ? [UInt8(value)]
            : value < 16384
                ? [0x40 | UInt8(value >> 8), UInt8(value & 255)]
                : [0x80 | UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
    }

    /// A CRYPTO frame.
    public static func crypto(_ content: [UInt8], at offset: Int) -> [UInt8] {
        [6] + variableLength(offset) + variableLength(content.count) + content
    }

    /// The packet with these frames, padded to a whole datagram.
    public func packet(_ frames: [UInt8]) -> [UInt8] {
        let typeBits: UInt8 = version == .v2 ? 0x10 : 0
        let first = 0xC0 | typeBits | UInt8(packetNumberByteCount - 1)
        let number = (0..<packetNumberByteCount).map {
            UInt8(truncatingIfNeeded: packetNumber >> UInt32(8 * (packetNumberByteCount - 1 - $0)))
        }
        let versionBytes = (0..<4).map { UInt8(truncatingIfNeeded: version.rawValue >> UInt32(24 - 8 * $0)) }
        var header =
            [first ^ firstByteFlips] + versionBytes + [UInt8(destination.count)] + destination + [UInt8(source.count)]
            + source + Self.variableLength(token.count) + token
        var payload = frames
        let overhead = header.count + 2 + number.count + 16
        if payload.count + overhead < paddedByteCount {
            payload += Array(repeating: 0, count: paddedByteCount - overhead - payload.count)
        }
        if payload.count + number.count < 20 { payload += Array(repeating: 0, count: 20) }
        let length = number.count + payload.count + 16
        header += [0x40 | UInt8(length >> 8), UInt8(length & 255)] + number
        var keys = clc_quic_keys()
        guard let salt = version.salt else { return header + payload }
        salt.bytes.span.withUnsafeBufferPointer {
            clc_quic_initial_keys(
                $0.baseAddress, version == .v2 ? 1 : 0, keyID ?? destination, (keyID ?? destination).count, 0, &keys)
        }
        var packet = header + payload + Array(repeating: 0, count: 16)
        let parts = withUnsafeBytes(of: keys) { Array($0) }
        let isSealed = quic_seal(
            Array(parts[0..<16]), Array(parts[16..<28]), Array(parts[28..<44]), UInt64(packetNumber), &packet,
            header.count, number.count, payload.count)
        precondition(isSealed == 1)
        return packet
    }
}
