import Octets
public import PacketHeaders

/// Puts fragmented packets together (RFC 791 §3.2, RFC 8200 §4.5), within bounds. Fragments that overlap end their packet (RFC 5722).
public struct FragmentAssembler: Sendable {
    private struct Key: Hashable, Sendable {
        let source: IPAddress
        let destination: IPAddress
        let transport: TransportProtocol
        let identification: UInt32
    }

    private struct Pieces: Sendable {
        var pieces: [(offset: Int, bytes: [UInt8])] = []
        var totalByteCount: Int?
        var header: [UInt8] = []
    }

    private var packets: [Key: Pieces] = [:]
    private var order: [Key] = []

    /// An assembler without fragments.
    public init() {}

    /// Takes a fragment; the whole packet if it completes one.
    public mutating func add(_ packet: Packet, _ bytes: RawSpan) -> [UInt8]? {
        guard case .fragment(let offset, let more) = packet.transport else { return nil }
        let isV4 = packet.flow.source.family == .v4
        let identification: UInt32 =
            isV4
            ? UInt32(UInt16(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: 4, as: UInt16.self)))
            : UInt32(
                bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: packet.transportOffset - 4, as: UInt32.self))
        let key = Key(
            source: packet.flow.source, destination: packet.flow.destination, transport: packet.flow.transport,
            identification: identification)
        let content = packet.payload.range.map { bytes.byte(at: $0) }
        let end = offset + content.count
        if packets[key] == nil {
            if order.count >= Self.packetLimit { packets[order.removeFirst()] = nil }
            order.append(key)
        }
        var pieces = packets[key] ?? Pieces()
        let overlaps = pieces.pieces.contains { $0.offset < end && offset < $0.offset + $0.bytes.count }
        guard !overlaps, end <= 65_535, !content.isEmpty, pieces.pieces.count < Self.pieceLimit else {
            // A repeated fragment changes nothing; any other overlap ends the packet.
            let isRepeated = pieces.pieces.contains { $0.offset == offset && $0.bytes == content }
            if !isRepeated { forget(key) }
            return nil
        }
        pieces.pieces.append((offset, content))
        if offset == 0 { pieces.header = (0..<(isV4 ? 20 : 40)).map { bytes.byte(at: $0) } }
        if !more { pieces.totalByteCount = end }
        packets[key] = pieces
        let count = pieces.pieces.reduce(0) { $0 + $1.bytes.count }
        guard let total = pieces.totalByteCount, count == total, !pieces.header.isEmpty else { return nil }
        forget(key)
        return Self.join(pieces, isV4: isV4, packet.flow.transport)
    }

    private mutating func forget(_ key: Key) {
        packets[key] = nil
        order.removeAll { $0 == key }
    }

    /// One packet without options or extension headers.
    private static func join(_ pieces: Pieces, isV4: Bool, _ transport: TransportProtocol) -> [UInt8] {
        var whole = pieces.header
        for piece in pieces.pieces.sorted(by: { $0.offset < $1.offset }) { whole += piece.bytes }
        let length = UInt16(clamping: isV4 ? whole.count : whole.count - 40)
        if isV4 {
            whole[0] = 0x45
            (whole[2], whole[3]) = (UInt8(length >> 8), UInt8(length & 255))
            (whole[6], whole[7], whole[10], whole[11]) = (0, 0, 0, 0)
            let sum = Checksum.internet(whole.span.bytes.extracting(0..<20))
            (whole[10], whole[11]) = (UInt8(sum >> 8), UInt8(sum & 255))
        } else {
            (whole[4], whole[5]) = (UInt8(length >> 8), UInt8(length & 255))
            whole[6] = transport.rawValue
        }
        return whole
    }

    private static let packetLimit = 1024
    private static let pieceLimit = 256
}
