import CNetfilter
import Glibc
import Octets

/// Connection marks in the kernel's table (linux/netfilter/nfnetlink_conntrack.h).
public enum Conntrack {
    /// Clears the bits of `mask` from the mark of every connection that carries the lowest of them.
    public static func clearMarks(mask: UInt32) throws(NetlinkError) {
        let lowest = mask & (~mask &+ 1)
        for family in [UInt8(AF_INET), UInt8(AF_INET6)] {
            let tuples = try originalTuples(family: family, mark: lowest, mask: lowest)
            guard !tuples.isEmpty else { continue }
            var socket = try ConntrackSocket.open()
            for tuple in tuples {
                let number = socket.setMark(originalTuple: tuple.span.bytes, family: family, 0, mask: mask)
                // A connection that has ended meanwhile is none of ours any more.
                guard number == 0 || number == ENOENT else { throw NetlinkError(what: what, errorNumber: number) }
            }
        }
    }

    /// The original tuple, as the attribute's payload, of each connection whose mark under `mask` is `mark`.
    private static func originalTuples(family: UInt8, mark: UInt32, mask: UInt32) throws(NetlinkError) -> [[UInt8]] {
        var tuples: [[UInt8]] = []
        try dump(family: family, mark: mark, mask: mask) { body in
            if let tuple = originalTuple(in: body) { tuples.append(tuple) }
        }
        return tuples
    }

    /// Calls `visit` with the message of each connection whose mark under `mask` is `mark`.
    static func dump(
        family: UInt8, mark: UInt32, mask: UInt32, _ visit: (RawSpan) -> Void
    ) throws(NetlinkError) {
        let descriptor = try NetlinkDescriptor.open(family: NETLINK_NETFILTER, what: what)
        var request = MessageBuffer(capacity: 256)
        let message = request.begin(
            subsystem: NFNL_SUBSYS_CTNETLINK, type: IPCTNL_MSG_CT_GET.rawValue, flags: NLM_F_DUMP, family: family)
        request.append(attribute: CTA_MARK.rawValue, mark.bigEndian)
        request.append(attribute: CTA_MARK_MASK.rawValue, mask.bigEndian)
        request.end(message: message)
        let number = descriptor.send(request.start, request.count)
        guard number == 0 else { throw NetlinkError(what: what, errorNumber: number) }

        let room = 64 << 10
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = descriptor.receive(buffer, room)
            guard count >= 0 else { throw NetlinkError(what: what, errorNumber: Int32(-count)) }
            var messages = MessageReader(RawSpan(_unsafeStart: buffer, byteCount: min(count, room)))
            while let header = messages.next() {
                switch Int32(header.nlmsg_type) {
                case NLMSG_DONE: return
                case NLMSG_ERROR:
                    throw NetlinkError(what: what, errorNumber: messages.errorNumber)
                default: visit(messages.body)
                }
            }
        }
    }

    static func originalTuple(in body: RawSpan) -> [UInt8]? {
        var attributes = AttributeReader(body, from: MemoryLayout<nfgenmsg>.size)
        while let type = attributes.next() {
            guard type == CTA_TUPLE_ORIG.rawValue else { continue }
            let payload = attributes.payload
            return (0..<payload.byteCount).map { payload.byte(at: $0) }
        }
        return nil
    }

    /// What errors name.
    static let what = "connection tracking"
}
