import CNetfilter

/// Verdicts on packets that the kernel holds, packed into one datagram a flush, in the order in which they were given.
///
/// Give verdicts in the order of the packets' arrival: the kernel searches its list from the oldest. A packet of any
/// earlier batch may be named, as long as it has had no verdict. A full batch flushes itself.
public struct VerdictBatch: ~Copyable {
    /// What became of the verdicts.
    public private(set) var counters = VerdictCounters()
    private let descriptor: NetlinkDescriptor
    private var buffer: MessageBuffer

    init(descriptor: NetlinkDescriptor, capacity: Int) {
        self.descriptor = descriptor
        buffer = MessageBuffer(capacity: capacity)
    }

    /// Lets the packet go on as the kernel holds it.
    /// - Parameter mark: the packet's new mark, whole word; nil leaves it as it is.
    public mutating func accept(queue: UInt16, id: UInt32, mark: UInt32? = nil) {
        put(queue: queue, id: id, verdict: Self.accept, mark: mark, room: 0)
    }

    /// Lets the packet go on with `payload`, from the IP header on and with complete checksums, in place of its own bytes.
    /// A payload that the kernel cannot take (over 65,531 bytes) becomes a drop and is counted.
    public mutating func accept(queue: UInt16, id: UInt32, mark: UInt32? = nil, payload: RawSpan) {
        guard payload.byteCount <= Self.largestPayload else {
            counters.oversizedPayloads += 1
            drop(queue: queue, id: id)
            return
        }
        let message = begin(queue: queue, id: id, verdict: Self.accept, mark: mark, room: payload.byteCount + 4)
        buffer.append(attribute: NFQA_PAYLOAD.rawValue, bytes: payload)
        end(message)
    }

    /// Drops the packet.
    public mutating func drop(queue: UInt16, id: UInt32) {
        put(queue: queue, id: id, verdict: Self.drop, mark: nil, room: 0)
    }

    /// Puts the packet into another queue, where it comes up again under a new id; a queue without segment batches gets a
    /// GSO packet as its segments (net/netfilter/nfnetlink_queue.c, `nfqnl_enqueue_packet`).
    public mutating func requeue(queue: UInt16, id: UInt32, to target: UInt16) {
        put(queue: queue, id: id, verdict: Self.queue | UInt32(target) << 16, mark: nil, room: 0)
    }

    /// Sends what has gathered. A datagram that the kernel cannot take whole is sent verdict by verdict; one that still
    /// does not go is counted in `unsentVerdicts`, and its packet stays held.
    public mutating func flush() {
        guard buffer.count > 0 else { return }
        if descriptor.send(buffer.start, buffer.count) == 0 {
            counters.datagrams += 1
            counters.verdicts += UInt64(pending)
        } else {
            sendOneByOne()
        }
        pending = 0
        buffer.removeAll()
    }

    /// How many verdicts wait for the next flush.
    public private(set) var pending = 0

    private mutating func put(queue: UInt16, id: UInt32, verdict: UInt32, mark: UInt32?, room: Int) {
        end(begin(queue: queue, id: id, verdict: verdict, mark: mark, room: room))
    }

    private mutating func begin(queue: UInt16, id: UInt32, verdict: UInt32, mark: UInt32?, room: Int) -> Int {
        if buffer.count + Self.largestHeader + room > buffer.capacity { flush() }
        let message = buffer.begin(
            subsystem: NFNL_SUBSYS_QUEUE, type: NFQNL_MSG_VERDICT.rawValue, flags: 0, family: 0, resource: queue)
        buffer.append(
            attribute: NFQA_VERDICT_HDR.rawValue,
            nfqnl_msg_verdict_hdr(verdict: verdict.bigEndian, id: id.bigEndian))
        if let mark { buffer.append(attribute: NFQA_MARK.rawValue, mark.bigEndian) }
        return message
    }

    private mutating func end(_ message: Int) {
        buffer.end(message: message)
        pending += 1
    }

    private mutating func sendOneByOne() {
        var offset = 0
        while offset < buffer.count {
            let length = Int(buffer.start.loadUnaligned(fromByteOffset: offset, as: UInt32.self) + 3) & ~3
            if descriptor.send(buffer.start + offset, length) == 0 {
                counters.datagrams += 1
                counters.verdicts += 1
            } else {
                counters.unsentVerdicts += 1
            }
            offset += length
        }
    }

    /// `NF_DROP`, `NF_ACCEPT`, `NF_QUEUE` (linux/netfilter.h).
    private static let drop: UInt32 = 0
    private static let accept: UInt32 = 1
    private static let queue: UInt32 = 3
    /// nlmsghdr 16, nfgenmsg 4, NFQA_VERDICT_HDR 12, NFQA_MARK 8.
    private static let largestHeader = 40
    /// An attribute's 16-bit length less its header.
    private static let largestPayload = 65_531
    /// Room for a verdict with the largest payload, and for a whole batch with payloads of an ordinary MTU.
    static let defaultCapacity = 192 << 10
}
