import CNetfilter

/// A packet that the kernel holds in a queue, as NFQUEUE hands it over. Its payload is borrowed from the socket's buffer:
/// valid until the next `receive`.
public struct QueuedPacket: ~Escapable {
    /// What the kernel says of the packet.
    public let facts: QueuedPacketFacts
    /// The packet from its IP header on; the first `facts.capturedByteCount` bytes of it.
    public let payload: RawSpan

    @_lifetime(copy payload)
    init(facts: QueuedPacketFacts, payload: RawSpan) {
        self.facts = facts
        self.payload = payload
    }
}

/// What the kernel says of a queued packet beside its bytes (linux/netfilter/nfnetlink_queue.h).
public struct QueuedPacketFacts: Sendable, BitwiseCopyable {
    /// The NFQUEUE number that the packet is held in.
    public internal(set) var queue: UInt16 = 0
    /// The packet's id within its queue.
    public internal(set) var id: UInt32 = 0
    /// The netfilter hook: 1 input, 2 forward, 3 output (`enum nf_inet_hooks`).
    public internal(set) var hook: UInt8 = 0
    /// The protocol family of the rule's hook: 2 IPv4, 10 IPv6 (`NFPROTO_*`).
    public internal(set) var family: UInt8 = 0
    /// The EtherType: 0x0800 or 0x86DD.
    public internal(set) var hardwareProtocol: UInt16 = 0
    /// The packet's mark; 0 where it has none.
    public internal(set) var mark: UInt32 = 0
    /// The interface it came in by; 0 for locally generated packets.
    public internal(set) var inputInterface: UInt32 = 0
    /// The interface it will leave by; 0 in the input hook.
    public internal(set) var outputInterface: UInt32 = 0
    /// `NFQA_SKB_*` flags.
    var flags: UInt32 = 0
    /// The whole packet's length in bytes where the kernel copied less, else 0.
    var wholeByteCount: UInt32 = 0
    private var userID: UInt32 = .max
    private var groupID: UInt32 = .max
    private var hasUser = false
    private var hasGroup = false
    /// Where the payload lies in its slot.
    var payloadStart = 0
    /// How many bytes of the packet the kernel copied.
    public internal(set) var capturedByteCount = 0

    init() {}

    /// The uid of the process that opened the sending socket, where the socket still belongs to one.
    public internal(set) var uid: UInt32? {
        get { hasUser ? userID : nil }
        set {
            hasUser = newValue != nil
            userID = newValue ?? .max
        }
    }

    /// The gid of the process that opened the sending socket, where the socket still belongs to one.
    public internal(set) var gid: UInt32? {
        get { hasGroup ? groupID : nil }
        set {
            hasGroup = newValue != nil
            groupID = newValue ?? .max
        }
    }

    /// Whether the kernel has yet to write the transport checksum: the one in the payload is not complete.
    public var checksumNotReady: Bool { flags & UInt32(NFQA_SKB_CSUMNOTREADY) != 0 }

    /// Whether the packet is several segments in one. A payload put in its place would leave as one oversized packet:
    /// requeue it to a queue without segment batches first.
    public var isGSO: Bool { flags & UInt32(NFQA_SKB_GSO) != 0 }

    /// Whether the kernel copied less than the whole packet.
    public var isTruncated: Bool { wholeByteCount != 0 }

    /// The whole packet's length in bytes.
    public var originalLength: Int { isTruncated ? Int(wholeByteCount) : capturedByteCount }
}

extension QueuedPacketFacts {
    /// The facts in one `NFQNL_MSG_PACKET` message, whose body begins `base` bytes into its slot; nil where the message is
    /// malformed or without a packet header.
    static func parse(_ body: RawSpan, base: Int) -> QueuedPacketFacts? {
        let headerSize = MemoryLayout<nfgenmsg>.size
        guard body.byteCount >= headerSize else { return nil }
        let generic = body.unsafeLoadUnaligned(fromByteOffset: 0, as: nfgenmsg.self)
        var facts = QueuedPacketFacts()
        facts.queue = UInt16(bigEndian: generic.res_id)
        facts.family = generic.nfgen_family
        var hasHeader = false
        var attributes = AttributeReader(body, from: headerSize)
        while let type = attributes.next() {
            switch type {
            case NFQA_PACKET_HDR.rawValue:
                // Packed: packet_id 4, hw_protocol 2, hook 1.
                guard attributes.payload.byteCount >= 7 else { return nil }
                let header = attributes.payload
                facts.id = UInt32(bigEndian: header.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self))
                facts.hardwareProtocol = UInt16(
                    bigEndian: header.unsafeLoadUnaligned(fromByteOffset: 4, as: UInt16.self))
                facts.hook = header.unsafeLoad(fromByteOffset: 6, as: UInt8.self)
                hasHeader = true
            case NFQA_MARK.rawValue: facts.mark = attributes.bigEndian32 ?? 0
            case NFQA_IFINDEX_INDEV.rawValue: facts.inputInterface = attributes.bigEndian32 ?? 0
            case NFQA_IFINDEX_OUTDEV.rawValue: facts.outputInterface = attributes.bigEndian32 ?? 0
            case NFQA_CAP_LEN.rawValue: facts.wholeByteCount = attributes.bigEndian32 ?? .max
            case NFQA_SKB_INFO.rawValue: facts.flags = attributes.bigEndian32 ?? 0
            case NFQA_UID.rawValue: facts.uid = attributes.bigEndian32
            case NFQA_GID.rawValue: facts.gid = attributes.bigEndian32
            case NFQA_PAYLOAD.rawValue:
                facts.payloadStart = base + attributes.payloadRange.lowerBound
                facts.capturedByteCount = attributes.payloadRange.count
            default: break
            }
        }
        return hasHeader && !attributes.isMalformed ? facts : nil
    }
}
