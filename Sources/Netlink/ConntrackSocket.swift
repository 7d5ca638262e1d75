import CNetfilter
import Glibc
public import Identity
import Octets
public import PacketHeaders

/// Asks about single connections in the kernel's table and changes their marks (linux/netfilter/nfnetlink_conntrack.h). For
/// one thread; allocates nothing after `open`.
public struct ConntrackSocket: ~Copyable {
    /// Requests that failed for another reason than that there is no such connection.
    public private(set) var failureCount: UInt64 = 0
    private let descriptor: NetlinkDescriptor
    private var request = MessageBuffer(capacity: 1024)
    private let answer: UnsafeMutableRawPointer
    private var sequence: UInt32 = 0

    /// Opens the socket.
    /// - Throws: where the kernel has no ctnetlink (`CONFIG_NF_CT_NETLINK`).
    public static func open() throws(NetlinkError) -> ConntrackSocket {
        ConntrackSocket(
            descriptor: try NetlinkDescriptor.open(family: NETLINK_NETFILTER, what: Conntrack.what))
    }

    private init(descriptor: NetlinkDescriptor) {
        self.descriptor = descriptor
        answer = .allocate(byteCount: Self.answerByteCount, alignment: 16)
    }

    deinit {
        answer.deallocate()
    }

    /// Changes the bits of `mask` in the mark of the connection that `flow` opened, or whose packets look like it after
    /// translation. False where there is none, or the kernel refused.
    public mutating func setMark(of flow: FiveTuple, _ mark: UInt32, mask: UInt32) -> Bool {
        setMark(CTA_TUPLE_ORIG.rawValue, flow, mark, mask)
            || setMark(CTA_TUPLE_REPLY.rawValue, flow.reversed, mark, mask)
    }

    /// What is known of a flow that has not ended, by its own addresses or as it looks after translation; nil where there is
    /// none.
    public mutating func tracked(_ flow: FiveTuple) -> TrackedFlow? {
        ask(CTA_TUPLE_ORIG.rawValue, flow, about: flow) ?? ask(CTA_TUPLE_REPLY.rawValue, flow.reversed, about: flow)
    }

    /// Changes the mark of the connection with an original tuple, given as the attribute's payload. 0, or the errno.
    mutating func setMark(originalTuple tuple: RawSpan, family: UInt8, _ mark: UInt32, mask: UInt32) -> Int32 {
        let message = begin(IPCTNL_MSG_CT_NEW.rawValue, flags: NLM_F_ACK, family: family)
        request.append(attribute: CTA_TUPLE_ORIG.rawValue | UInt32(1 << 15), bytes: tuple)
        return finish(message, mark, mask)
    }

    private mutating func setMark(_ direction: UInt32, _ flow: FiveTuple, _ mark: UInt32, _ mask: UInt32) -> Bool {
        let message = begin(IPCTNL_MSG_CT_NEW.rawValue, flags: NLM_F_ACK, family: Self.family(of: flow))
        appendTuple(direction, flow)
        let number = finish(message, mark, mask)
        if number != 0, number != ENOENT { failureCount &+= 1 }
        return number == 0
    }

    private mutating func ask(_ direction: UInt32, _ tuple: FiveTuple, about flow: FiveTuple) -> TrackedFlow? {
        let message = begin(IPCTNL_MSG_CT_GET.rawValue, flags: 0, family: Self.family(of: tuple))
        appendTuple(direction, tuple)
        request.end(message: message)
        guard !request.isOverflowed, descriptor.send(request.start, request.count) == 0 else { return nil }
        while true {
            let byteCount = descriptor.receive(answer, Self.answerByteCount, flags: Int32(MSG_DONTWAIT))
            guard byteCount > 0, byteCount <= Self.answerByteCount else { return nil }
            var messages = MessageReader(RawSpan(_unsafeStart: answer, byteCount: byteCount))
            guard let header = messages.next(), header.nlmsg_seq == sequence else { continue }
            guard header.nlmsg_type != UInt16(NLMSG_ERROR) else { return nil }
            return Self.tracked(messages.body, flow)
        }
    }

    private static func tracked(_ body: RawSpan, _ flow: FiveTuple) -> TrackedFlow? {
        guard isLive(body) else { return nil }
        var isOpenedBySource = false
        var attributes = AttributeReader(body, from: MemoryLayout<nfgenmsg>.size)
        while let type = attributes.next() {
            switch type {
            case CTA_TUPLE_ORIG.rawValue:
                isOpenedBySource = isOpenedBySource || Conntrack.flow(attributes.payload) == flow
            case CTA_TUPLE_REPLY.rawValue:
                isOpenedBySource = isOpenedBySource || Conntrack.flow(attributes.payload) == flow.reversed
            default: break
            }
        }
        return TrackedFlow(
            isStanding: tcpState(body).map { standing.contains($0) } ?? false, isOpenedBySource: isOpenedBySource)
    }

    /// From the answer to the SYN to the last acknowledgment.
    private static let standing =
        UInt8(TCP_CONNTRACK_SYN_RECV.rawValue)...UInt8(TCP_CONNTRACK_LAST_ACK.rawValue)

    /// Whether a connection has not ended: of TCP by its state, which connection tracking follows.
    static func isLive(_ body: RawSpan) -> Bool {
        tcpState(body).map { $0 < UInt8(TCP_CONNTRACK_TIME_WAIT.rawValue) } ?? true
    }

    /// Where a TCP connection stands (`enum tcp_conntrack`); nil for other transports.
    private static func tcpState(_ body: RawSpan) -> UInt8? {
        var attributes = AttributeReader(body, from: MemoryLayout<nfgenmsg>.size)
        while let type = attributes.next() {
            guard type == CTA_PROTOINFO.rawValue else { continue }
            var protocols = AttributeReader(attributes.payload)
            while let type = protocols.next() {
                guard type == CTA_PROTOINFO_TCP.rawValue else { continue }
                var facts = AttributeReader(protocols.payload)
                while let type = facts.next() {
                    if type == CTA_PROTOINFO_TCP_STATE.rawValue { return facts.value(as: UInt8.self) }
                }
            }
        }
        return nil
    }

    private mutating func begin(_ type: UInt32, flags: Int32, family: UInt8) -> Int {
        sequence &+= 1
        request.removeAll()
        return request.begin(
            subsystem: NFNL_SUBSYS_CTNETLINK, type: type, flags: flags, family: family, sequence: sequence)
    }

    private mutating func appendTuple(_ direction: UInt32, _ flow: FiveTuple) {
        let tuple = request.begin(nested: direction)
        let addresses = request.begin(nested: CTA_TUPLE_IP.rawValue)
        if flow.source.family == .v4 {
            request.append(
                attribute: CTA_IP_V4_SRC.rawValue, UInt32(truncatingIfNeeded: flow.source.low).bigEndian)
            request.append(
                attribute: CTA_IP_V4_DST.rawValue, UInt32(truncatingIfNeeded: flow.destination.low).bigEndian)
        } else {
            request.append(attribute: CTA_IP_V6_SRC.rawValue, Self.words(flow.source))
            request.append(attribute: CTA_IP_V6_DST.rawValue, Self.words(flow.destination))
        }
        request.end(nested: addresses)
        let ports = request.begin(nested: CTA_TUPLE_PROTO.rawValue)
        request.append(attribute: CTA_PROTO_NUM.rawValue, flow.transport.rawValue)
        request.append(attribute: CTA_PROTO_SRC_PORT.rawValue, flow.sourcePort.bigEndian)
        request.append(attribute: CTA_PROTO_DST_PORT.rawValue, flow.destinationPort.bigEndian)
        request.end(nested: ports)
        request.end(nested: tuple)
    }

    /// Appends mark and mask and sends. 0, or the errno.
    private mutating func finish(_ message: Int, _ mark: UInt32, _ mask: UInt32) -> Int32 {
        request.append(attribute: CTA_MARK.rawValue, mark.bigEndian)
        request.append(attribute: CTA_MARK_MASK.rawValue, mask.bigEndian)
        request.end(message: message)
        guard !request.isOverflowed else { return EMSGSIZE }
        let number = descriptor.send(request.start, request.count)
        guard number == 0 else { return number }
        while true {
            let byteCount = descriptor.receive(answer, Self.answerByteCount, flags: Int32(MSG_DONTWAIT))
            guard byteCount > 0, byteCount <= Self.answerByteCount else { return EPROTO }
            var messages = MessageReader(RawSpan(_unsafeStart: answer, byteCount: byteCount))
            guard let header = messages.next(), header.nlmsg_seq == sequence else { continue }
            return header.nlmsg_type == UInt16(NLMSG_ERROR) ? messages.errorNumber : 0
        }
    }

    private static func family(of flow: FiveTuple) -> UInt8 {
        UInt8(flow.source.family == .v4 ? AF_INET : AF_INET6)
    }

    /// The 16 bytes of an IPv6 address in network order, as two words.
    private static func words(_ address: IPAddress) -> (UInt64, UInt64) {
        (address.high.bigEndian, address.low.bigEndian)
    }

    private static let answerByteCount = 8192
}
