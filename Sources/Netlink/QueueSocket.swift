import CNetfilter
import Glibc

/// How one queue is to be bound.
public struct QueueParameters: Hashable, Sendable {
    /// The NFQUEUE number.
    public let number: UInt16
    /// Whether the queue takes several segments in one packet (`NFQA_CFG_F_GSO`): for TCP only, since a UDP batch hides
    /// all but its first datagram.
    public let takesSegmentBatches: Bool
    /// How many packets the kernel holds at most; further ones are dropped.
    public let maximumLength: UInt32

    /// Parameters of one queue.
    public init(number: UInt16, takesSegmentBatches: Bool, maximumLength: UInt32) {
        self.number = number
        self.takesSegmentBatches = takesSegmentBatches
        self.maximumLength = maximumLength
    }
}

/// One netlink socket that owns several NFQUEUE queues, for one thread.
///
///     var queues = try QueueSocket.open([...])
///     var verdicts = queues.makeVerdictBatch()
///     while running {
///         let count = try queues.receive(timeoutMilliseconds: 50)
///         for index in 0..<count {
///             let packet = queues.packet(at: index)
///             verdicts.accept(queue: packet.facts.queue, id: packet.facts.id)
///         }
///         verdicts.flush()
///     }
///
/// The queues never fail open (`NFQA_CFG_F_FAIL_OPEN` is never asked for): when the process ends, the kernel drops what
/// it held, and rules without `bypass` drop what follows. Nothing is allocated after `open`.
public struct QueueSocket: ~Copyable {
    /// What was lost to sight since `open`.
    public private(set) var counters = QueueCounters()
    /// Whether the last `receive` took as many packets as it can: more may be waiting.
    public private(set) var wasFull = false
    private let descriptor: NetlinkDescriptor
    private let memory: UnsafeMutableRawPointer
    private let slots: UnsafeMutablePointer<datagram_slot>
    private let vectors: UnsafeMutablePointer<iovec>
    private let records: UnsafeMutablePointer<Record>

    /// Where a received packet lies.
    private struct Record: BitwiseCopyable {
        var facts: QueuedPacketFacts
        var slot: Int
    }

    /// Opens one socket and binds `queues` to it.
    /// - Parameter receiveBufferBytes: the socket's receive buffer. What overruns it is dropped by the kernel and counted.
    /// - Throws: `EPERM` without CAP_NET_ADMIN, `EBUSY` where another program owns a queue (which one is in the message),
    ///   `EOPNOTSUPP` and others where the kernel has no nfnetlink_queue.
    public static func open(_ queues: [QueueParameters], receiveBufferBytes: Int32 = 64 << 20) throws(NetlinkError)
        -> QueueSocket
    {
        let socket = QueueSocket(
            descriptor: try NetlinkDescriptor.open(family: NETLINK_NETFILTER, what: "netfilter queue socket"))
        if !socket.descriptor.setOption(SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes) {
            throw NetlinkError(what: "netfilter queue socket: receive buffer", errorNumber: errno)
        }
        if !socket.descriptor.setOption(SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20) {
            throw NetlinkError(what: "netfilter queue socket: send buffer", errorNumber: errno)
        }
        var configuration = QueueConfiguration(descriptor: socket.descriptor)
        for queue in queues { try configuration.bind(queue) }
        return socket
    }

    private init(descriptor: NetlinkDescriptor) {
        self.descriptor = descriptor
        memory = .allocate(byteCount: Self.slotCount * Self.slotByteCount, alignment: 64)
        slots = .allocate(capacity: Self.slotCount)
        vectors = .allocate(capacity: Self.slotCount)
        records = .allocate(capacity: Self.slotCount)
        slots.initialize(repeating: datagram_slot(), count: Self.slotCount)
        for index in 0..<Self.slotCount {
            (vectors + index).initialize(
                to: iovec(iov_base: memory + index * Self.slotByteCount, iov_len: Self.slotByteCount))
            slots[index].header.msg_iov = vectors + index
            slots[index].header.msg_iovlen = 1
        }
    }

    deinit {
        records.deallocate()
        vectors.deallocate()
        slots.deallocate()
        memory.deallocate()
    }

    /// A batch for the verdicts on this socket's packets. It keeps the socket, and so the queues, open.
    public borrowing func makeVerdictBatch() -> VerdictBatch {
        VerdictBatch(descriptor: descriptor, capacity: VerdictBatch.defaultCapacity)
    }

    /// Wakes the thread that waits in `receive`, from any thread.
    public func makeWaker() throws(NetlinkError) -> QueueWaker {
        QueueWaker(
            descriptor: try NetlinkDescriptor.open(family: NETLINK_NETFILTER, what: "netfilter queue waker"),
            port: descriptor.port)
    }

    /// The file descriptor, for a caller that polls it beside others. Ready to read means that `receive` will not wait.
    public var fileDescriptor: Int32 { descriptor.rawValue }

    /// Waits for packets and takes up to 64.
    /// - Parameter timeoutMilliseconds: how long to wait; 0 looks without waiting.
    /// - Returns: how many packets `packet(at:)` now has; 0 after the time, a signal, an overrun or messages that were no
    ///   packets (see `counters`).
    /// - Throws: where the socket itself is broken, so that asking again is of no use.
    public mutating func receive(timeoutMilliseconds: Int32) throws(NetlinkError) -> Int {
        // One system call waits for the first packet and takes those behind it.
        var flags = Int32(MSG_WAITFORONE)
        if timeoutMilliseconds == 0 {
            flags = Int32(MSG_DONTWAIT)
        } else if timeoutMilliseconds != waitMilliseconds {
            waitMilliseconds = timeoutMilliseconds
            descriptor.setReceiveTimeout(milliseconds: timeoutMilliseconds)
        }
        let received = receive_datagrams(descriptor.rawValue, slots, UInt32(Self.slotCount), flags)
        wasFull = received == Self.slotCount
        guard received >= 0 else {
            switch errno {
            case EAGAIN, EINTR: return 0
            case ENOBUFS:
                counters.overruns += 1
                return 0
            case let number:
                counters.receiveFailures += 1
                throw NetlinkError(what: "netfilter queue socket: receive", errorNumber: number)
            }
        }
        var count = 0
        for slot in 0..<Int(received) where read(slot, into: records + count) { count += 1 }
        counters.packets += UInt64(count)
        available = count
        return count
    }

    /// A packet of the last `receive`.
    /// - Parameter index: 0 ..< what `receive` returned.
    @_lifetime(borrow self)
    public borrowing func packet(at index: Int) -> QueuedPacket {
        precondition(index >= 0 && index < available)
        let record = records[index]
        let start = UnsafeRawPointer(memory) + record.slot * Self.slotByteCount + record.facts.payloadStart
        // The attribute walk found payloadStart and capturedByteCount inside the bytes that the slot holds.
        let payload = RawSpan(_unsafeStart: start, byteCount: record.facts.capturedByteCount)
        return QueuedPacket(facts: record.facts, payload: _overrideLifetime(payload, borrowing: self))
    }

    private var available = 0
    /// The receive timeout that the socket has; 0 until it was set.
    private var waitMilliseconds: Int32 = 0

    /// Reads one received datagram; true where it was a packet, whose record is then in `record`.
    private mutating func read(_ slot: Int, into record: UnsafeMutablePointer<Record>) -> Bool {
        let byteCount = Int(slots[slot].byte_count)
        guard slots[slot].header.msg_flags & Int32(MSG_TRUNC) == 0, byteCount <= Self.slotByteCount else {
            counters.truncatedDatagrams += 1
            return false
        }
        let start = UnsafeRawPointer(memory) + slot * Self.slotByteCount
        let bytes = RawSpan(_unsafeStart: start, byteCount: byteCount)
        // The kernel sends each packet, and each error, as a datagram of its own.
        var messages = MessageReader(bytes)
        guard let header = messages.next() else {
            counters.malformedMessages += 1
            return false
        }
        switch header.nlmsg_type {
        case Self.packetType:
            guard let facts = QueuedPacketFacts.parse(messages.body, base: MemoryLayout<nlmsghdr>.size) else {
                counters.malformedMessages += 1
                return false
            }
            if facts.isTruncated { counters.truncatedPackets += 1 }
            record.initialize(to: Record(facts: facts, slot: slot))
            return true
        case UInt16(NLMSG_NOOP):
            // A waker's.
            return false
        case UInt16(NLMSG_ERROR):
            switch messages.errorNumber {
            case 0: break
            case ENOENT: counters.lateVerdicts += 1
            default: counters.refusedVerdicts += 1
            }
            return false
        default:
            counters.malformedMessages += 1
            return false
        }
    }

    /// How many packets one system call takes.
    static let slotCount = 64
    /// A netlink message with the longest payload (65,531 bytes) and every attribute, in whole pages.
    static let slotByteCount = 17 * 4096
    private static let packetType = UInt16(NFNL_SUBSYS_QUEUE) << 8 | UInt16(NFQNL_MSG_PACKET.rawValue)
}
