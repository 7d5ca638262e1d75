import CLibcrypto
import Octets

/// The keys of a client's Initial packets on one connection (RFC 9001 §5.2): anybody who sees the first packet can derive them.
struct QUICInitialKeys: BitwiseCopyable {
    fileprivate var keys = clc_quic_keys()

    /// Derives the keys from the destination connection id of the client's first Initial packet. Nil for a version that is not known.
    init?(version: QUICVersion, destination id: RawSpan) {
        guard let salt = version.salt else { return nil }
        salt.bytes.span.withUnsafeBufferPointer { salt in
            id.withUnsafeBytes { id in
                clc_quic_initial_keys(
                    salt.baseAddress, version == .v2 ? 1 : 0, id.bindMemory(to: UInt8.self).baseAddress, id.count, 0,
                    &keys)
            }
        }
    }
}

/// An opened packet.
struct QUICOpenedPacket {
    /// The packet number as it stood, without the upper bits.
    let packetNumber: UInt32
    /// Bytes of payload in the opener's room.
    let byteCount: Int
}

/// Takes the protection off Initial packets: cipher contexts and room for one payload, one a thread, no allocation a packet.
public struct QUICInitialOpener: ~Copyable {
    private let contexts: OpaquePointer?
    private let payload: UnsafeMutableRawBufferPointer
    private let header: UnsafeMutableRawBufferPointer

    /// Takes its memory: the only allocations.
    public init() {
        contexts = clc_quic_new()
        payload = .allocate(byteCount: 65_536, alignment: 16)
        header = .allocate(byteCount: 65_536, alignment: 16)
    }

    deinit {
        clc_quic_free(contexts)
        payload.deallocate()
        header.deallocate()
    }

    /// Opens the Initial packet `packet`, which has the header `long`, into `opened(_:)`. Nil where the keys do not fit:
    /// the packet is of another connection, or noise.
    mutating func open(_ packet: RawSpan, _ long: QUICLongHeader, _ keys: QUICInitialKeys) -> QUICOpenedPacket? {
        guard let contexts, long.byteCount <= packet.byteCount, long.byteCount <= header.count else { return nil }
        let start = long.packetNumberOffset
        let end = long.byteCount
        // The header's parser has made sure of 20 bytes behind `start`.
        guard end - start >= 20 else { return nil }
        return packet.withUnsafeBytes { bytes -> QUICOpenedPacket? in
            guard let base = bytes.bindMemory(to: UInt8.self).baseAddress,
                let head = header.assumingMemoryBound(to: UInt8.self).baseAddress,
                let out = payload.assumingMemoryBound(to: UInt8.self).baseAddress
            else { return nil }
            var protection = keys.keys
            var mask: (UInt8, UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0, 0)
            let isMasked = withUnsafeMutableBytes(of: &mask) { mask in
                clc_quic_mask(
                    contexts, &protection, base + start + 4, mask.assumingMemoryBound(to: UInt8.self).baseAddress)
            }
            guard isMasked == 1 else { return nil }
            let first = bytes[0] ^ (mask.0 & 0x0F)
            let numberByteCount = Int(first & 3) + 1
            let headerByteCount = start + numberByteCount
            UnsafeMutableRawBufferPointer(rebasing: header[..<headerByteCount]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: bytes[..<headerByteCount]))
            head[0] = first
            var number: UInt32 = 0
            for index in 0..<numberByteCount {
                head[start + index] ^= withUnsafeBytes(of: mask) { $0[index + 1] }
                number = number << 8 | UInt32(head[start + index])
            }
            let sealedByteCount = end - headerByteCount
            guard sealedByteCount >= 16 else { return nil }
            let isOpen = clc_quic_open(
                contexts, &protection, UInt64(number), head, headerByteCount, base + headerByteCount, sealedByteCount,
                out)
            guard isOpen == 1 else { return nil }
            return QUICOpenedPacket(packetNumber: number, byteCount: sealedByteCount - 16)
        }
    }

    /// The payload that was opened last.
    @_lifetime(borrow self)
    func opened(_ packet: QUICOpenedPacket) -> RawSpan {
        let whole = RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: payload[0..<packet.byteCount]))
        return _overrideLifetime(whole, borrowing: self)
    }
}
