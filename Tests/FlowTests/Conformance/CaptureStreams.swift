import Octets
import PacketHeaders

/// The TCP segments of a capture, by connection, in the order in which they were captured.
struct CaptureStreams {
    struct Segment {
        /// The packet's number in the file, from 1.
        let frame: Int
        let sequence: SequenceNumber
        let payload: [UInt8]
        let isFromClient: Bool
        /// Whether the kernel's rules let it reach the queue: a right checksum, ACK, no SYN, no urgent byte.
        let reachesQueue: Bool

        /// The same, with the sides exchanged.
        var turned: Segment {
            Segment(
                frame: frame, sequence: sequence, payload: payload, isFromClient: !isFromClient,
                reachesQueue: reachesQueue)
        }
    }

    struct Connection {
        let flow: FiveTuple
        /// The sequence number of the client's first byte.
        var first: SequenceNumber?
        var hasSYN = false
        var segments: [Segment] = []
    }

    private var frameCount = 0
    /// Why the file could not be read to its end.
    private(set) var error: String?
    /// Connections of one five-tuple, whichever side the key names first, in order of their SYNs.
    private(set) var connections: [FiveTuple: [Connection]] = [:]

    init(_ file: [UInt8]) {
        do throws(WireError) {
            var reader = try CaptureReader(file.span.bytes)
            while let captured = try reader.next() {
                frameCount += 1
                let frame = file.span.bytes.extracting(captured.bytes)
                guard let offset = captured.link.networkOffset(in: frame) else { continue }
                let bytes = frame.extracting(offset..<frame.byteCount)
                guard let packet = try? Packet(parsing: bytes, isOffloaded: true), let tcp = packet.tcp else {
                    continue
                }
                add(packet, tcp, bytes)
            }
        } catch {
            self.error = "\(error)"
        }
    }

    private mutating func add(_ packet: Packet, _ tcp: TCPHeader, _ bytes: RawSpan) {
        let isReversed = connections[packet.flow] == nil && connections[packet.flow.reversed] != nil
        let key = isReversed ? packet.flow.reversed : packet.flow
        var list = connections[key] ?? [Connection(flow: packet.flow)]
        let isOpening = tcp.flags.contains(.syn) && !tcp.flags.contains(.ack)
        let first = tcp.sequence.advanced(by: 1)
        if isOpening {
            let last = list[list.count - 1]
            let isNew =
                last.hasSYN
                ? last.first != first || last.flow != packet.flow : last.segments.contains { !$0.payload.isEmpty }
            if isNew { list.append(Connection(flow: packet.flow)) }
        }
        var last = list.removeLast()
        if isOpening {
            last = Connection(
                flow: packet.flow, first: first, hasSYN: true,
                segments: last.flow == packet.flow ? last.segments : last.segments.map(\.turned))
        }
        last.segments.append(
            Segment(
                frame: frameCount, sequence: isOpening ? first : tcp.sequence,
                payload: packet.payload.range.map { bytes.byte(at: $0) }, isFromClient: packet.flow == last.flow,
                reachesQueue: tcp.flags.isSuperset(of: .ack) && tcp.flags.isDisjoint(with: [.syn, .urg])
                    && Checksum.isValid(packet, in: bytes)))
        connections[key] = list + [last]
    }

    /// The connections between two endpoints, seen with `flow`'s source as the client.
    func connections(of flow: FiveTuple) -> [Connection] {
        let list = connections[flow] ?? connections[flow.reversed] ?? []
        return list.map { connection in
            guard connection.flow != flow else { return connection }
            var turned = Connection(flow: flow)
            turned.segments = connection.segments.map(\.turned)
            return turned
        }
    }
}
