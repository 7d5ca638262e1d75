import Octets
import PacketHeaders

@testable import FlowInspection

/// Writes capture files of IPv4 packets for tests: one client, one server.
struct CaptureBuilder {
    /// What a TCP segment says besides its payload.
    struct Segment {
        var flags: TCPFlags = [.ack, .psh]
        var isFromClient = true
        var sequence: UInt32
        var acknowledgment: UInt32 = 0
        var hasWrongChecksum = false
        var timestamp: UInt32?
        var clientPort: UInt16 = 40_000
    }

    private(set) var file: [UInt8] = []

    init() {
        file = [0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0] + [UInt8](repeating: 0, count: 8)
        file += [0xFF, 0xFF, 0, 0, 101, 0, 0, 0]
    }

    static func big(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) }
    }

    static func little(_ value: Int) -> [UInt8] { big(UInt32(value)).reversed() }

    /// Adds a packet as it is. `originalByteCount` is its length before the capture cut it.
    mutating func add(packet: [UInt8], originalByteCount: Int? = nil) {
        file += [UInt8](repeating: 0, count: 8) + Self.little(packet.count)
        file += Self.little(originalByteCount ?? packet.count) + packet
    }

    /// An IPv4 packet with right checksums.
    static func packet(_ transport: UInt8, _ content: [UInt8], isFromClient: Bool = true, fragment: UInt16 = 0)
        -> [UInt8]
    {
        let length = 20 + content.count
        let ends: [UInt8] = isFromClient ? [198, 18, 0, 2, 198, 18, 0, 1] : [198, 18, 0, 1, 198, 18, 0, 2]
        var packet: [UInt8] = [0x45, 0, UInt8(length >> 8), UInt8(length & 255), 0, 7]
        packet += [UInt8(fragment >> 8), UInt8(fragment & 255), 64, transport, 0, 0]
        packet += ends + content
        guard fragment == 0 else { return packet }
        let parsed = try? Packet(parsing: packet.span.bytes)
        if let parsed {
            var span = packet.mutableSpan
            var raw = span.mutableBytes
            Checksum.write(parsed, into: &raw)
        }
        return packet
    }

    static func datagram(_ payload: [UInt8], port: UInt16 = 53, isFromClient: Bool = true) -> [UInt8] {
        let ends: [UInt16] = isFromClient ? [40_000, port] : [port, 40_000]
        var content = ends.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }
        content += [UInt8((payload.count + 8) >> 8), UInt8((payload.count + 8) & 255), 0, 0] + payload
        return packet(17, content, isFromClient: isFromClient)
    }

    static func segment(_ segment: Segment, _ payload: [UInt8] = []) -> [UInt8] {
        let ends: [UInt16] = segment.isFromClient ? [segment.clientPort, 443] : [443, segment.clientPort]
        var options: [UInt8] = []
        if let timestamp = segment.timestamp { options = [1, 1, 8, 10] + big(timestamp) + [0, 0, 0, 0] }
        var content = ends.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }
        content += big(segment.sequence) + big(segment.acknowledgment)
        content += [UInt8(((20 + options.count) / 4) << 4), segment.flags.rawValue, 0xFF, 0xFF, 0, 0, 0, 0]
        content += options + payload
        var packet = packet(6, content, isFromClient: segment.isFromClient)
        if segment.hasWrongChecksum { packet[36] ^= 0x55 }
        return packet
    }

    mutating func add(_ one: Segment, _ payload: [UInt8] = []) {
        add(packet: Self.segment(one, payload))
    }

    /// A handshake whose first bytes have the numbers 1001 and 5001.
    mutating func shakeHands(timestamp: UInt32? = nil) {
        add(Segment(flags: .syn, sequence: 1000, timestamp: timestamp))
        add(Segment(flags: [.syn, .ack], isFromClient: false, sequence: 5000, acknowledgment: 1001))
    }

    /// The reports of what was written.
    var reports: [FlowReport] {
        var inspector = CaptureInspector()
        inspector.read(file.span.bytes)
        return inspector.reports
    }
}
