import CLibcrypto
import Octets

extension RefusalMessage {
    /// A datagram with one server Initial packet (RFC 9000 §17.2.2, RFC 9369) that closes the connection: CONNECTION_CLOSE of
    /// type 0x1c with the error CRYPTO_ERROR of the TLS alert access_denied (RFC 9001 §4.8) and the sentence in UTF-8 as its
    /// reason phrase (RFC 9000 §19.19). Packet number 0, no token. It asks for no acknowledgment and so needs no padding
    /// (§14.1); with some 450 bytes it is always smaller than the client's datagram (§8.1).
    ///
    /// The ids are those that the client's first Initial packet carries, and go back exchanged. The keys come from its
    /// destination id (RFC 9001 §5.2): of a client that had a server's answer already, or a Retry, the ids of later packets
    /// are others, and it drops what this builds from them.
    ///
    /// Nil for a version that is not known, an id of more than 20 bytes, or where libcrypto has no AES.
    public static func quicClose(
        version: QUICVersion, destinationConnectionID: RawSpan, sourceConnectionID: RawSpan, _ text: RefusalText
    ) -> [UInt8]? {
        let maximum = QUICConnectionID.maximumByteCount
        guard destinationConnectionID.byteCount <= maximum, sourceConnectionID.byteCount <= maximum,
            let sealer = QUICServerSealer(version: version, clientDestination: destinationConnectionID)
        else { return nil }
        let sentence = text.sentence(.utf8)
        // The error, and 0 for the frame's type: it is not known (RFC 9000 §19.19).
        let payload =
            [0x1C] + twoByteNumber(0x0100 + Int(accessDenied)) + [0] + twoByteNumber(sentence.count) + sentence
        let destination = sourceConnectionID.withUnsafeBytes { Array($0) }
        let source = destinationConnectionID.withUnsafeBytes { Array($0) }
        // Long header, fixed bit, type Initial (RFC 9369 §3.2 counts from one), a packet number of one byte.
        let header =
            [version == .v2 ? 0xD0 : 0xC0] + bigEndian(version.rawValue) + [UInt8(destination.count)] + destination
            + [UInt8(source.count)] + source + [0]
            + twoByteNumber(1 + payload.count + QUICServerSealer.tagByteCount) + [0]
        return sealer.seal(header: header, packetNumber: 0, packetNumberByteCount: 1, payload: payload)
    }

    /// The same in answer to a client's first datagram, whose first packet must be an Initial. Nil otherwise as well.
    public static func quicClose(refusing datagram: RawSpan, _ text: RefusalText) -> [UInt8]? {
        guard let header = try? QUICLongHeader(parsing: datagram), header.type == .initial else { return nil }
        let source = header.destinationRange.upperBound + 1
        return quicClose(
            version: header.version, destinationConnectionID: datagram.extracting(header.destinationRange),
            sourceConnectionID: datagram.extracting(source..<source + header.source.byteCount), text)
    }

    /// A number below 16384 in the two bytes of RFC 9000 §16.
    private static func twoByteNumber(_ value: Int) -> [UInt8] {
        bigEndian(0x4000 | UInt16(truncatingIfNeeded: value & 0x3FFF))
    }
}

/// Protects a server's Initial packets (RFC 9001 §5): cipher contexts of its own, since refusals are rare.
struct QUICServerSealer: ~Copyable {
    static let tagByteCount = 16

    private let contexts: OpaquePointer
    private let keys: clc_quic_keys

    /// Nil for a version that is not known, or where libcrypto has no AES.
    init?(version: QUICVersion, clientDestination id: RawSpan) {
        guard let salt = version.salt else { return nil }
        var keys = clc_quic_keys()
        salt.bytes.span.withUnsafeBufferPointer { salt in
            id.withUnsafeBytes { id in
                clc_quic_initial_keys(
                    salt.baseAddress, version == .v2 ? 1 : 0, id.bindMemory(to: UInt8.self).baseAddress, id.count, 1,
                    &keys)
            }
        }
        guard let contexts = clc_quic_new() else { return nil }
        self.contexts = contexts
        self.keys = keys
    }

    deinit {
        clc_quic_free(contexts)
    }

    /// The packet of `header`, which ends with a packet number of `packetNumberByteCount` bytes, and `payload`, which has as
    /// many bytes more than that as a sample needs: 4 together (RFC 9001 §5.4.2). Nil where they are fewer or libcrypto fails.
    func seal(
        header: [UInt8], packetNumber: UInt64, packetNumberByteCount: Int, payload: [UInt8]
    ) -> [UInt8]? {
        guard packetNumberByteCount > 0, header.count > packetNumberByteCount,
            packetNumberByteCount + payload.count >= 4
        else { return nil }
        var protection = keys
        var sealed: [UInt8] = Array(repeating: 0, count: payload.count + Self.tagByteCount)
        guard
            clc_quic_seal(
                contexts, &protection, packetNumber, header, header.count, payload, payload.count, &sealed) == 1
        else { return nil }
        var packet = header + sealed
        let start = header.count - packetNumberByteCount
        var mask: [UInt8] = Array(repeating: 0, count: 5)
        guard clc_quic_mask(contexts, &protection, Array(packet[start + 4..<start + 20]), &mask) == 1 else {
            return nil
        }
        packet[0] ^= mask[0] & 0x0F
        for index in 0..<packetNumberByteCount { packet[start + index] ^= mask[index + 1] }
        return packet
    }
}
