import CNetfilter
import Glibc

/// Binds queues to a socket, one acknowledged message each (`NFQNL_MSG_CONFIG`).
struct QueueConfiguration: ~Copyable {
    private let descriptor: NetlinkDescriptor
    private var request = MessageBuffer(capacity: 256)
    private let answer: UnsafeMutableRawPointer
    private var verdicts: VerdictBatch
    private var sequence: UInt32 = 0

    init(descriptor: NetlinkDescriptor) {
        self.descriptor = descriptor
        answer = .allocate(byteCount: Self.answerByteCount, alignment: 16)
        verdicts = VerdictBatch(descriptor: descriptor, capacity: 4096)
    }

    deinit {
        answer.deallocate()
    }

    /// Creates the queue with all its parameters in one message, so that no packet meets it half made.
    mutating func bind(_ queue: QueueParameters) throws(NetlinkError) {
        sequence += 1
        request.removeAll()
        let message = request.begin(
            subsystem: NFNL_SUBSYS_QUEUE, type: NFQNL_MSG_CONFIG.rawValue, flags: NLM_F_ACK, family: 0,
            resource: queue.number, sequence: sequence)
        request.append(
            attribute: NFQA_CFG_CMD.rawValue,
            nfqnl_msg_config_cmd(command: UInt8(NFQNL_CFG_CMD_BIND.rawValue), _pad: 0, pf: 0))
        request.append(
            attribute: NFQA_CFG_PARAMS.rawValue,
            nfqnl_msg_config_params(
                copy_range: UInt32(0xFFFF).bigEndian, copy_mode: UInt8(NFQNL_COPY_PACKET.rawValue)))
        // The mask names every flag, so that one which an earlier owner set is cleared: FAIL_OPEN above all.
        let flags = NFQA_CFG_F_UID_GID | (queue.takesSegmentBatches ? NFQA_CFG_F_GSO : 0)
        let mask = NFQA_CFG_F_UID_GID | NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN
        request.append(attribute: NFQA_CFG_FLAGS.rawValue, UInt32(flags).bigEndian)
        request.append(attribute: NFQA_CFG_MASK.rawValue, UInt32(mask).bigEndian)
        request.append(attribute: NFQA_CFG_QUEUE_MAXLEN.rawValue, queue.maximumLength.bigEndian)
        request.end(message: message)
        var number = descriptor.send(request.start, request.count)
        if number == 0 { number = acknowledgement() }
        guard number == 0 else { throw Self.error(queue.number, number) }
    }

    /// The error number that the kernel answered with. A packet that comes in between, for a queue bound a moment ago, is
    /// dropped: its sender sends it again.
    private mutating func acknowledgement() -> Int32 {
        while true {
            let byteCount = descriptor.receive(answer, Self.answerByteCount)
            if byteCount == -Int(ENOBUFS) { continue }
            guard byteCount >= 0 else { return Int32(truncatingIfNeeded: -byteCount) }
            let bytes = RawSpan(_unsafeStart: answer, byteCount: min(byteCount, Self.answerByteCount))
            var messages = MessageReader(bytes)
            guard let header = messages.next() else { continue }
            if header.nlmsg_type == UInt16(NLMSG_ERROR) {
                if header.nlmsg_seq == sequence { return messages.errorNumber }
            } else if let facts = QueuedPacketFacts.parse(messages.body, base: 0) {
                verdicts.drop(queue: facts.queue, id: facts.id)
                verdicts.flush()
            }
        }
    }

    private static func error(_ queue: UInt16, _ number: Int32) -> NetlinkError {
        let what = "queue \(queue)"
        // A queue that another socket owns answers EPERM, as a missing capability does.
        if number == EPERM || number == EBUSY, let owner = QueueStatistics.read(queue: queue) {
            return NetlinkError(
                what: what, why: "in use by \(owner.ownerDescription)",
                remedy: "stop that program, or choose another queues.base", errorNumber: EBUSY)
        }
        switch number {
        case EINVAL, EOPNOTSUPP, ENOENT, ENODEV:
            return NetlinkError(
                what: what, why: "this kernel has no nfnetlink_queue, or one that lacks a flag we need",
                remedy: "modprobe nfnetlink_queue; CONFIG_NETFILTER_NETLINK_QUEUE, Linux 3.14 or later",
                errorNumber: number)
        default: return NetlinkError(what: what, errorNumber: number)
        }
    }

    /// Room for an acknowledgement, and for any packet.
    private static let answerByteCount = 70 << 10
}
