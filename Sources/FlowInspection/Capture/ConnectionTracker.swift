import Flow
import Octets
import PacketHeaders
import WireProtocols

/// One TCP connection of a capture: both sides put in order, and what they say.
struct ConnectionTracker {
    /// Whether a wrong checksum means something: where the capturing host left checksums to its card, those of what it sent
    /// are all wrong.
    private enum Checksums {
        case unknown
        /// The SYN's was right.
        case expected
        /// A segment with data had a right one.
        case proven
        case absent
    }

    /// A segment whose checksum is wrong, before one with data was right.
    private struct Doubtful {
        let sequence: SequenceNumber
        let payload: [UInt8]
    }

    /// One direction.
    private struct Direction {
        var stream: StreamReassembler?
        /// The sequence number of its SYN.
        var synchronisation: SequenceNumber?
        /// Whether that SYN was no answer.
        var hasOpened = false
        var checksums = Checksums.unknown
        /// Whether a byte of it was looked at.
        var hasData = false
        var doubtful: [Doubtful] = []
        /// The timestamp of the last segment in order, or of the SYN.
        var timestamp: UInt32?
    }

    /// Of the report's source.
    private var forward = Direction()
    /// Of the report's destination.
    private var backward = Direction()
    private var inspector = StreamInspector(seesBeginning: false)
    /// Whether the sender of the first packet turned out to be the server.
    private(set) var isReversed = false
    private var isRefused = false

    private var sawSynchronisation: Bool { forward.synchronisation != nil || backward.synchronisation != nil }

    /// Whether a SYN with this number, from the sender of the first packet if `isForward`, would open another connection than
    /// this one. Attempts that were not answered and carried no data are one with the attempt that is.
    func isReopened(by sequence: SequenceNumber, isForward: Bool, isAnswer: Bool) -> Bool {
        let hasData = forward.hasData || backward.hasData
        guard hasData || isAnswered else { return false }
        let direction = isForward ? forward : backward
        guard direction.synchronisation != sequence else { return false }
        // A SYN may overtake its answer; an answer whose number was not known comes behind the client's data.
        return direction.synchronisation != nil || (isAnswer ? direction.hasData : hasData)
    }

    private var isAnswered: Bool { forward.synchronisation != nil && backward.synchronisation != nil }

    /// A connection that the first packet's sender opened by a SYN with this number.
    static func opened(by sequence: SequenceNumber) -> ConnectionTracker {
        var tracker = ConnectionTracker()
        tracker.forward.synchronisation = sequence
        tracker.forward.hasOpened = true
        tracker.forward.stream = StreamReassembler(first: sequence.advanced(by: 1), byteLimit: byteLimit)
        tracker.inspector = StreamInspector()
        return tracker
    }

    /// Takes a segment.
    mutating func add(
        _ packet: Packet, _ tcp: TCPHeader, _ bytes: RawSpan, isForward: Bool, isCut: Bool,
        _ report: inout FlowReport, _ scratch: inout InspectionScratch
    ) {
        if isRefused { return }
        let isOpening = tcp.flags.contains(.syn)
        if isOpening { open(tcp, bytes, isForward) }
        if tcp.flags.contains(.ack) {
            // The other side has what it acknowledges: no retransmission of that can matter.
            note(!isForward) { direction in
                guard let stream = direction.stream, stream.hasJudgedBytes else { return }
                direction.stream?.acknowledge(upTo: stream.offset(of: tcp.acknowledgment))
            }
        }
        guard !packet.payload.isEmpty else {
            if isOpening, !isCut, (isForward ? forward : backward).checksums == .unknown {
                let isRight = Checksum.isValid(packet, in: bytes)
                note(isForward) { $0.checksums = isRight ? .expected : .absent }
            }
            return
        }
        let isClient = isForward != isReversed
        let isFinished = isClient ? inspector.isClientFinished : inspector.isServerFinished
        guard !isFinished || rolesAreOpen else { return }
        guard isAcceptable(tcp, isForward, isOpening) else {
            if tcp.flags.contains(.urg) { report.fail("urgent data, which servers read in different ways") }
            return
        }
        guard isTimely(tcp, bytes, isForward) else { return }
        let payload = bytes.extracting(packet.payload)
        let sequence = isOpening ? tcp.sequence.advanced(by: 1) : tcp.sequence
        if !isCut, (isForward ? forward : backward).checksums != .absent {
            guard isProven(packet, bytes, isForward) else {
                note(isForward) {
                    guard $0.checksums == .expected, $0.doubtful.count < Self.doubtfulLimit else { return }
                    $0.doubtful.append(Doubtful(sequence: sequence, payload: payload.withUnsafeBytes { Array($0) }))
                }
                return
            }
        }
        take(sequence, payload, isForward, &report, &scratch)
    }

    /// The capture has ended: where no checksum of a direction was ever right, they were the card's business.
    mutating func finish(_ report: inout FlowReport, _ scratch: inout InspectionScratch) {
        for isForward in [true, false] {
            let direction = isForward ? forward : backward
            guard direction.checksums == .expected, !direction.doubtful.isEmpty else { continue }
            note(isForward) {
                $0.checksums = .absent
                $0.doubtful = []
            }
            for segment in direction.doubtful where !isRefused {
                take(segment.sequence, segment.payload.span.bytes, isForward, &report, &scratch)
            }
        }
    }

    /// A SYN: where its direction begins, and who is the client.
    private mutating func open(_ tcp: TCPHeader, _ bytes: RawSpan, _ isForward: Bool) {
        let direction = isForward ? forward : backward
        let isAnswer = tcp.flags.contains(.ack)
        guard !direction.hasData, !(isAnswer && direction.hasOpened) else { return }
        let first = tcp.sequence.advanced(by: 1)
        note(isForward) {
            $0.synchronisation = tcp.sequence
            $0.hasOpened = !isAnswer
            $0.stream = StreamReassembler(first: first, byteLimit: Self.byteLimit)
            $0.timestamp = tcp.timestamp(in: bytes)
        }
        guard !forward.hasData, !backward.hasData else { return }
        if isForward == isAnswer { isReversed = true } else if !isAnswer { isReversed = !isForward }
        inspector = StreamInspector()
    }

    /// What the kernel's rules and conntrack let through: ACK, no urgent byte, data in no SYN but the first.
    private func isAcceptable(_ tcp: TCPHeader, _ isForward: Bool, _ isOpening: Bool) -> Bool {
        if tcp.flags.contains(.urg) || tcp.flags.contains(.rst) { return false }
        if isOpening {
            // TCP Fast Open (RFC 7413); a SYN within a connection is no part of it.
            let direction = isForward ? forward : backward
            return !direction.hasData && direction.synchronisation == tcp.sequence
                && direction.hasOpened != tcp.flags.contains(.ack)
        }
        return tcp.flags.contains(.ack)
    }

    /// Whether a segment is not older than one that came in order before it (PAWS, RFC 7323 §5). A receiver drops old ones.
    private mutating func isTimely(_ tcp: TCPHeader, _ bytes: RawSpan, _ isForward: Bool) -> Bool {
        guard let timestamp = tcp.timestamp(in: bytes) else { return true }
        let direction = isForward ? forward : backward
        // Linux bears with one tick.
        if let latest = direction.timestamp, Int32(bitPattern: latest &- timestamp) > 1 { return false }
        if direction.stream.map({ $0.offset(of: tcp.sequence) <= $0.end }) ?? true {
            note(isForward) { $0.timestamp = timestamp }
        }
        return true
    }

    /// Whether a segment's checksum is right, or says nothing.
    private mutating func isProven(_ packet: Packet, _ bytes: RawSpan, _ isForward: Bool) -> Bool {
        let isRight = Checksum.isValid(packet, in: bytes)
        switch (isForward ? forward : backward).checksums {
        case .absent: return true
        case .unknown:
            note(isForward) { $0.checksums = isRight ? .proven : .absent }
            return true
        case .expected where isRight:
            note(isForward) {
                $0.checksums = .proven
                $0.doubtful = []
            }
            return true
        case .expected, .proven: return isRight
        }
    }

    private mutating func take(
        _ sequence: SequenceNumber, _ payload: RawSpan, _ isForward: Bool, _ report: inout FlowReport,
        _ scratch: inout InspectionScratch
    ) {
        do throws(ReassemblyError) {
            try insert(sequence, payload, isForward)
        } catch {
            isRefused = true
            switch error {
            case .conflict: report.fail("a byte came twice with different values")
            case .full: report.fail("more bytes than are kept before a decision")
            }
            return
        }
        read(isForward, &report, &scratch)
    }

    private mutating func insert(
        _ sequence: SequenceNumber, _ payload: RawSpan, _ isForward: Bool
    ) throws(ReassemblyError) {
        if isForward {
            forward.hasData = true
            if forward.stream == nil { forward.stream = StreamReassembler(first: sequence, byteLimit: Self.byteLimit) }
            try forward.stream?.insert(sequence, payload)
        } else {
            backward.hasData = true
            if backward.stream == nil {
                backward.stream = StreamReassembler(first: sequence, byteLimit: Self.byteLimit)
            }
            try backward.stream?.insert(sequence, payload)
        }
    }

    private mutating func note(_ isForward: Bool, _ change: (inout Direction) -> Void) {
        if isForward { change(&forward) } else { change(&backward) }
    }

    /// Reads what is new, and the other side's bytes that waited for it.
    private mutating func read(_ isForward: Bool, _ report: inout FlowReport, _ scratch: inout InspectionScratch) {
        settleRoles(isForward)
        let before = inspector.layers.count
        let wasFinished = inspector.isServerFinished
        readStream(isForward, &report, &scratch)
        // A greeting or a new layer may tell what the other side's bytes are.
        guard inspector.layers.count != before || inspector.isServerFinished != wasFinished, !isRefused else { return }
        readStream(!isForward, &report, &scratch)
    }

    private mutating func readStream(
        _ isForward: Bool, _ report: inout FlowReport, _ scratch: inout InspectionScratch
    ) {
        // Taken out, so that its bytes may be borrowed while the inspector changes.
        guard var open = isForward ? forward.stream.take() : backward.stream.take() else { return }
        defer { note(isForward) { $0.stream = open } }
        let side: StreamSide = isForward != isReversed ? .client : .server
        do throws(WireError) {
            while true {
                switch try inspector.next(side, open.bytes, scratch: &scratch) {
                case .needMore: return
                case .opaque:
                    // Where the roles may yet turn out to be others the bytes are looked at again.
                    if !rolesAreOpen { open.pass(upTo: open.end) }
                    return
                case .step(let fact, let byteCount, let isBody):
                    if let fact {
                        if case .speaks(.unknown) = fact, report.firstBytes.isEmpty {
                            report.firstBytes = (0..<min(8, open.bytes.byteCount)).map { open.bytes.byte(at: $0) }
                        }
                        report.add(fact)
                    }
                    guard byteCount > 0 else { continue }
                    if isBody {
                        open.pass(upTo: open.start + byteCount)
                    } else {
                        // Without acknowledgments in the capture nothing is ever forgotten: then it is no longer compared.
                        do throws(ReassemblyError) { try open.judge(upTo: open.start + byteCount) } catch {
                            open.pass(upTo: open.start + byteCount)
                        }
                    }
                }
            }
        } catch {
            isRefused = true
            if side == .server, inspector.layers == [.http] {
                report.contradict(error.text)
            } else {
                report.fail(error.text)
            }
        }
    }

    /// Whether the sender of the first packet may be the server: no SYN was captured, and nothing was recognised.
    private var rolesAreOpen: Bool {
        !sawSynchronisation && !isReversed && (inspector.layers.isEmpty || inspector.layers == [.unknown])
    }

    /// Where no SYN was captured the first sender may be the server: the bytes tell.
    private mutating func settleRoles(_ isForward: Bool) {
        guard rolesAreOpen, let stream = isForward ? forward.stream : backward.stream else { return }
        let isServer =
            isForward
            ? StreamInspector.isServerBeginning(stream.bytes) : StreamInspector.isClientBeginning(stream.bytes)
        guard isServer else { return }
        isReversed = true
        inspector = StreamInspector(seesBeginning: false)
    }

    /// Bytes of each part of a stream.
    private static let byteLimit = Limits.clientHelloBytes + 65_536
    /// Segments with a wrong checksum that are kept until one is right.
    private static let doubtfulLimit = 64
}
