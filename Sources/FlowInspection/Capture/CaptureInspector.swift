import Octets
import PacketHeaders
import WireProtocols

/// Inspects the flows of a capture file: the same parsers as the daemon's, without root and without a decision.
public struct CaptureInspector: ~Copyable {
    /// Why the file could not be read to its end; the flows up to there are reported all the same.
    public private(set) var fileError: String?
    /// The number of the packet that was read last.
    private var packetCount = 0

    private enum Tracker {
        case tcp(ConnectionTracker)
        case udp(DatagramInspector)
        /// While it is worked on.
        case none
    }

    private struct Flow {
        var report: FlowReport
        var tracker: Tracker
        /// Whether a message has shown which side is the client.
        var isOriented = false
        /// A SYN that came in the middle of the connection.
        var attempt: Attempt?
    }

    private struct Attempt {
        let flow: FiveTuple
        let sequence: SequenceNumber
        let packet: Int
    }

    private var flows: [Flow] = []
    private var indices: [FiveTuple: Int] = [:]
    private var fragments = FragmentAssembler()
    private var scratch = InspectionScratch()

    /// An inspector of a capture.
    public init() {}

    /// The flows in order of their first packet.
    public var reports: [FlowReport] { flows.map { $0.report } }

    /// Reads a whole file. `progress` is told now and then at which byte the reading is.
    public mutating func read(_ file: RawSpan, progress: (Int) -> Void = { _ in }) {
        do throws(WireError) {
            try CapturedPackets.read(file, progress: progress) { bytes, facts in
                packetCount = facts.number
                add(bytes, isCut: facts.isCut)
            }
        } catch {
            fileError = error.text
        }
        finish()
    }

    /// Takes a packet that begins with its IP header; `isCut` where the file holds its beginning only.
    private mutating func add(_ bytes: RawSpan, isCut: Bool, isAssembled: Bool = false) {
        do throws(WireError) {
            take(try Packet(parsing: bytes, isOffloaded: true), bytes, isCut: false, isAssembled: isAssembled)
        } catch .truncated {
            guard let packet = try? Packet(parsing: bytes, isOffloaded: true, isCut: true) else { return }
            take(packet, bytes, isCut: true, isAssembled: isAssembled)
            // If the file has all that was there, the packet lies about its length, and no host takes it.
            if !isCut, let index = find(packet.flow).index {
                flows[index].report.fail("IP length beyond the packet's end")
            }
        } catch {}
    }

    private mutating func take(_ packet: Packet, _ bytes: RawSpan, isCut: Bool, isAssembled: Bool) {
        switch packet.transport {
        case .tcp(let tcp): add(packet, tcp, bytes, isCut: isCut)
        case .udp: addDatagram(packet, bytes, isCut: isCut)
        case .fragment(let offset, _):
            guard !isAssembled else { return }
            if !isCut, let whole = fragments.add(packet, bytes) {
                return add(whole.span.bytes, isCut: false, isAssembled: true)
            }
            if offset == 0 { addBeginning(packet, bytes) }
        case .icmp, .other: break
        }
    }

    /// The first fragment of a datagram: its flow and, in DNS, its question are known before the rest, if that ever comes.
    private mutating func addBeginning(_ fragment: Packet, _ bytes: RawSpan) {
        guard fragment.flow.transport == .udp, fragment.payload.byteCount >= 8 else { return }
        let start = fragment.transportOffset
        func port(_ offset: Int) -> UInt16 {
            UInt16(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: start + offset, as: UInt16.self))
        }
        let flow = FiveTuple(
            source: fragment.flow.source, sourcePort: port(0), destination: fragment.flow.destination,
            destinationPort: port(2), transport: .udp)
        readDatagram(flow, bytes.extracting(start + 8..<fragment.payload.upperBound), isCut: true)
    }

    private mutating func add(_ packet: Packet, _ tcp: TCPHeader, _ bytes: RawSpan, isCut: Bool) {
        var (index, isForward) = find(packet.flow)
        if let known = index, let reopening = reopening(known, packet, tcp, isForward) {
            switch reopening {
            case .awaited: return
            case .confirmed(let attempt):
                // The attempt was of this packet's receiver or sender.
                indices[packet.flow] = nil
                indices[packet.flow.reversed] = nil
                index = append(attempt.flow, .tcp(.opened(by: attempt.sequence)), firstPacket: attempt.packet)
                isForward = attempt.flow == packet.flow
            case .answered: index = nil
            }
        }
        if index == nil {
            indices[packet.flow.reversed] = nil
            index = append(packet.flow, .tcp(ConnectionTracker()))
            isForward = true
        }
        guard let index, case .tcp(var tracker) = flows[index].tracker else { return }
        // Taken out, so that it is changed in place.
        flows[index].tracker = .none
        let wasReversed = tracker.isReversed
        tracker.add(packet, tcp, bytes, isForward: isForward, isCut: isCut, &flows[index].report, &scratch)
        if tracker.isReversed != wasReversed { turn(index) }
        flows[index].tracker = .tcp(tracker)
    }

    private enum Reopening {
        /// A SYN that may open another connection, if it is answered.
        case awaited
        /// The answer, or the first data, of a SYN before.
        case confirmed(Attempt)
        /// The answer to a SYN that was not captured.
        case answered
    }

    /// Whether a packet belongs to another connection between the same ports than the one that is known. A SYN alone proves
    /// nothing: anybody can throw one into a connection, where its receiver drops it.
    private mutating func reopening(
        _ index: Int, _ packet: Packet, _ tcp: TCPHeader, _ isForward: Bool
    ) -> Reopening? {
        guard case .tcp(let tracker) = flows[index].tracker else { return nil }
        let isSynchronisation = tcp.flags.contains(.syn)
        let isAnswer = isSynchronisation && tcp.flags.contains(.ack)
        if let attempt = flows[index].attempt {
            let isFromSender = attempt.flow == packet.flow
            let first = attempt.sequence.advanced(by: 1)
            let isConfirmed =
                isAnswer
                ? !isFromSender && tcp.acknowledgment == first
                : !isSynchronisation && isFromSender && !packet.payload.isEmpty && tcp.sequence == first
            if isConfirmed { return .confirmed(attempt) }
        }
        guard isSynchronisation,
            tracker.isReopened(by: tcp.sequence, isForward: isForward, isAnswer: isAnswer)
        else { return nil }
        if isAnswer {
            // A server answers, and without data.
            return packet.payload.isEmpty && isForward == tracker.isReversed ? .answered : nil
        }
        flows[index].attempt = Attempt(flow: packet.flow, sequence: tcp.sequence, packet: packetCount)
        return .awaited
    }

    private mutating func addDatagram(_ packet: Packet, _ bytes: RawSpan, isCut: Bool) {
        readDatagram(packet.flow, bytes.extracting(packet.payload), isCut: isCut)
    }

    private mutating func readDatagram(_ flow: FiveTuple, _ payload: RawSpan, isCut: Bool) {
        let (found, isForward) = find(flow)
        let index =
            found
            ?? append(
                flow, .udp(DatagramInspector(sourcePort: flow.sourcePort, destinationPort: flow.destinationPort)))
        guard case .udp(var inspector) = flows[index].tracker else { return }
        flows[index].tracker = .none
        var isFromClient: Bool?
        func take(_ fact: InspectionFact) {
            switch fact {
            case .dns(let message): isFromClient = isFromClient ?? !message.isResponse
            case .question(_, let isResponse): isFromClient = isFromClient ?? !isResponse
            case .hello: isFromClient = isFromClient ?? true
            default: break
            }
            flows[index].report.add(fact)
        }
        if isCut {
            inspector.readCut(payload, take)
        } else {
            do throws(WireError) {
                try inspector.read(payload, scratch: &scratch, take)
            } catch {
                flows[index].report.fail(error.text)
            }
        }
        if flows[index].report.firstBytes.isEmpty, inspector.application == .unknown {
            flows[index].report.firstBytes = (0..<min(8, payload.byteCount)).map { payload.byte(at: $0) }
        }
        flows[index].tracker = .udp(inspector)
        if let isFromClient, !flows[index].isOriented {
            flows[index].isOriented = true
            if isFromClient != isForward { turn(index) }
        }
    }

    private mutating func finish() {
        for index in flows.indices {
            guard case .tcp(var tracker) = flows[index].tracker else { continue }
            tracker.finish(&flows[index].report, &scratch)
            flows[index].tracker = .tcp(tracker)
        }
    }

    /// Makes the other side of a flow its client.
    private mutating func turn(_ index: Int) {
        flows[index].report.flow = flows[index].report.flow.reversed
        // The tracker counts directions from the first packet on, and so does the table.
    }

    /// The flow of a packet, and whether the packet goes the way of the flow's first one.
    private func find(_ key: FiveTuple) -> (index: Int?, isForward: Bool) {
        if let index = indices[key] { return (index, true) }
        if let index = indices[key.reversed] { return (index, false) }
        return (nil, true)
    }

    private mutating func append(_ key: FiveTuple, _ tracker: Tracker, firstPacket: Int? = nil) -> Int {
        flows.append(Flow(report: FlowReport(key, firstPacket: firstPacket ?? packetCount), tracker: tracker))
        indices[key] = flows.count - 1
        return flows.count - 1
    }
}
