import CNetfilter
import Glibc
import Octets
public import PacketHeaders

extension Conntrack {
    /// The connections that have not ended and whose mark under `mask` is `mark`, as their openers see them.
    public static func connections(
        _ transport: TransportProtocol, mark: UInt32, mask: UInt32
    ) throws(NetlinkError) -> [FiveTuple] {
        var flows: [FiveTuple] = []
        for family in [UInt8(AF_INET), UInt8(AF_INET6)] {
            try dump(family: family, mark: mark, mask: mask) { body in
                guard transport != .tcp || ConntrackSocket.isLive(body), let tuple = originalTuple(in: body) else {
                    return
                }
                if let flow = flow(tuple.span.bytes), flow.transport == transport { flows.append(flow) }
            }
        }
        return flows
    }

    /// Reads the payload of a tuple attribute.
    static func flow(_ payload: RawSpan) -> FiveTuple? {
        var source: IPAddress?
        var destination: IPAddress?
        var ports: (UInt16, UInt16)?
        var transport: UInt8?
        var tuple = AttributeReader(payload)
        while let type = tuple.next() {
            var facts = AttributeReader(tuple.payload)
            while let inner = facts.next() {
                switch (type, inner) {
                case (CTA_TUPLE_IP.rawValue, CTA_IP_V4_SRC.rawValue): source = v4(facts.payload)
                case (CTA_TUPLE_IP.rawValue, CTA_IP_V4_DST.rawValue): destination = v4(facts.payload)
                case (CTA_TUPLE_IP.rawValue, CTA_IP_V6_SRC.rawValue): source = v6(facts.payload)
                case (CTA_TUPLE_IP.rawValue, CTA_IP_V6_DST.rawValue): destination = v6(facts.payload)
                case (CTA_TUPLE_PROTO.rawValue, CTA_PROTO_NUM.rawValue): transport = facts.value(as: UInt8.self)
                case (CTA_TUPLE_PROTO.rawValue, CTA_PROTO_SRC_PORT.rawValue):
                    ports = (facts.value(as: UInt16.self).map { UInt16(bigEndian: $0) } ?? 0, ports?.1 ?? 0)
                case (CTA_TUPLE_PROTO.rawValue, CTA_PROTO_DST_PORT.rawValue):
                    ports = (ports?.0 ?? 0, facts.value(as: UInt16.self).map { UInt16(bigEndian: $0) } ?? 0)
                default: break
                }
            }
        }
        guard let source, let destination, let ports, let transport else { return nil }
        return FiveTuple(
            source: source, sourcePort: ports.0, destination: destination, destinationPort: ports.1,
            transport: TransportProtocol(rawValue: transport))
    }

    private static func v4(_ payload: RawSpan) -> IPAddress? {
        guard payload.byteCount == 4 else { return nil }
        return IPAddress(v4: UInt32(bigEndian: payload.unsafeLoadUnaligned(as: UInt32.self)))
    }

    private static func v6(_ payload: RawSpan) -> IPAddress? {
        guard payload.byteCount == 16 else { return nil }
        return IPAddress(
            v6: UInt64(bigEndian: payload.unsafeLoadUnaligned(as: UInt64.self)),
            UInt64(bigEndian: payload.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
}

/// Where the kernel would send a packet (linux/rtnetlink.h).
public struct RouteLookup: ~Copyable {
    /// What the routes say of an address.
    public enum Place: Hashable, Sendable {
        /// It is one of this host's.
        case local
        /// It lies behind this interface, by its kernel index.
        case interface(UInt32)
    }

    private let descriptor: NetlinkDescriptor
    private var sequence: UInt32 = 0
    private var known: [IPAddress: Place?] = [:]

    /// Opens the socket.
    public init() throws(NetlinkError) {
        descriptor = try NetlinkDescriptor.open(family: NETLINK_ROUTE, what: "routes")
    }

    /// Where an address is; nil where no route leads there.
    public mutating func place(of address: IPAddress) -> Place? {
        if let place = known[address] { return place }
        let place = ask(address)
        known[address] = place
        return place
    }

    private mutating func ask(_ address: IPAddress) -> Place? {
        sequence &+= 1
        let isV4 = address.family == .v4
        var request = MessageBuffer(capacity: 128)
        let message = request.begin(type: UInt16(RTM_GETROUTE), flags: NLM_F_REQUEST, sequence: sequence)
        var header = rtmsg()
        header.rtm_family = UInt8(isV4 ? AF_INET : AF_INET6)
        header.rtm_dst_len = isV4 ? 32 : 128
        request.append(header)
        if isV4 {
            request.append(attribute: UInt32(RTA_DST.rawValue), UInt32(truncatingIfNeeded: address.low).bigEndian)
        } else {
            request.append(attribute: UInt32(RTA_DST.rawValue), (address.high.bigEndian, address.low.bigEndian))
        }
        request.end(message: message)
        guard descriptor.send(request.start, request.count) == 0 else { return nil }
        return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { buffer -> Place? in
            guard let start = buffer.baseAddress else { return nil }
            let count = descriptor.receive(start, buffer.count, flags: Int32(MSG_DONTWAIT))
            guard count > 0, count <= buffer.count else { return nil }
            var messages = MessageReader(RawSpan(_unsafeStart: start, byteCount: count))
            guard let answer = messages.next(), answer.nlmsg_type == UInt16(RTM_NEWROUTE),
                messages.body.byteCount >= MemoryLayout<rtmsg>.size
            else { return nil }
            let route = messages.body.unsafeLoadUnaligned(as: rtmsg.self)
            if Int(route.rtm_type) == RTN_LOCAL { return .local }
            var attributes = AttributeReader(messages.body, from: MemoryLayout<rtmsg>.size)
            while let type = attributes.next() {
                if type == UInt32(RTA_OIF.rawValue) { return attributes.value(as: UInt32.self).map { .interface($0) } }
            }
            return nil
        }
    }
}
