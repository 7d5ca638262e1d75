import CNetfilter
import Glibc

extension NFTables {
    /// Whether a chain of an inet table holds one rule, the xt target NFQUEUE of revision 3 that `addQueueTargets` puts there
    /// for `queue`, and nothing else. False also where there is no such chain. nft(8) cannot tell: it prints the target's
    /// name at most.
    public static func holdsQueueTarget(chain: String, queue: UInt16, table: String) throws(NetlinkError) -> Bool {
        let what = "chain \(chain) of table inet \(table)"
        let descriptor = try NetlinkDescriptor.open(family: NETLINK_NETFILTER, what: what)
        var request = MessageBuffer(capacity: 1024)
        let message = request.begin(
            subsystem: NFNL_SUBSYS_NFTABLES, type: NFT_MSG_GETRULE.rawValue, flags: NLM_F_DUMP, family: inetFamily)
        request.append(attribute: NFTA_RULE_TABLE.rawValue, string: table)
        request.append(attribute: NFTA_RULE_CHAIN.rawValue, string: chain)
        request.end(message: message)
        guard !request.isOverflowed else { throw NetlinkError(what: what, errorNumber: ENAMETOOLONG) }
        let number = descriptor.send(request.start, request.count)
        guard number == 0 else { throw NetlinkError(what: what, errorNumber: number) }

        var rules = 0
        var targets = 0
        let room = 64 << 10
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = descriptor.receive(buffer, room)
            guard count >= 0 else { throw NetlinkError(what: what, errorNumber: Int32(-count)) }
            var messages = MessageReader(RawSpan(_unsafeStart: buffer, byteCount: min(count, room)))
            while let header = messages.next() {
                switch Int32(header.nlmsg_type) {
                case NLMSG_DONE: return rules == 1 && targets == 1
                case NLMSG_ERROR where messages.errorNumber == ENOENT: return false
                case NLMSG_ERROR: throw NetlinkError(what: what, errorNumber: messages.errorNumber)
                default:
                    rules += 1
                    if isQueueTarget(messages.body, queue) { targets += 1 }
                }
            }
        }
    }

    private static func isQueueTarget(_ rule: RawSpan, _ queue: UInt16) -> Bool {
        var attributes = AttributeReader(rule, from: MemoryLayout<nfgenmsg>.size)
        while let type = attributes.next() {
            guard type == NFTA_RULE_EXPRESSIONS.rawValue else { continue }
            var elements = AttributeReader(attributes.payload)
            guard elements.next() != nil else { return false }
            let isTarget = isQueueExpression(elements.payload, queue)
            return elements.next() == nil && isTarget
        }
        return false
    }

    private static func isQueueExpression(_ expression: RawSpan, _ queue: UInt16) -> Bool {
        var isTarget = false
        var isQueue = false
        var attributes = AttributeReader(expression)
        while let type = attributes.next() {
            switch type {
            case NFTA_EXPR_NAME.rawValue: isTarget = attributes.string == "target"
            case NFTA_EXPR_DATA.rawValue: isQueue = isQueueData(attributes.payload, queue)
            default: break
            }
        }
        return isTarget && isQueue
    }

    private static func isQueueData(_ data: RawSpan, _ queue: UInt16) -> Bool {
        var matches = 0
        var attributes = AttributeReader(data)
        while let type = attributes.next() {
            switch Int32(type) {
            case Int32(NFTA_TARGET_NAME.rawValue): matches += attributes.string == "NFQUEUE" ? 1 : 0
            case Int32(NFTA_TARGET_REV.rawValue): matches += attributes.bigEndian32 == 3 ? 1 : 0
            case Int32(NFTA_TARGET_INFO.rawValue):
                // struct xt_NFQ_info_v3: queue, one queue, no flags: no bypass.
                let information = attributes.value(as: (UInt16, UInt16, UInt16).self)
                if let information, information == (queue, 1, 0) { matches += 1 }
            default: break
            }
        }
        return matches == 3
    }
}
