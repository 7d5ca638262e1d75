import CNetfilter
import Glibc
import Octets

/// The few objects of our nftables table that nft(8) cannot write or that must be renewed without it: the xt target
/// NFQUEUE, and the elements of a set with a timeout.
///
/// Each change is one transaction (linux/netfilter/nf_tables.h): all of it or nothing.
public struct NFTables: ~Copyable {
    private let descriptor: NetlinkDescriptor
    private var message = MessageBuffer(capacity: 16 << 10)
    private var sequence: UInt32 = 1
    private var expectedAnswers = 0

    /// A socket for transactions in this network namespace. Throws without CAP_NET_ADMIN or nf_tables.
    public static func open() throws(NetlinkError) -> NFTables {
        NFTables(descriptor: try NetlinkDescriptor.open(family: NETLINK_NETFILTER, what: "nftables"))
    }

    private init(descriptor: NetlinkDescriptor) {
        self.descriptor = descriptor
    }

    /// The port of this socket: events of the watch that carry it are our own doing.
    public var port: UInt32 { descriptor.port }

    /// Appends to each chain a rule that hands packets to a queue by the xt target NFQUEUE, revision 3, without `bypass`.
    /// The way for kernels without `nft_queue`; it needs `nft_compat` and `xt_NFQUEUE`.
    public static func addQueueTargets(
        _ targets: [(chain: String, queue: UInt16)], table: String
    ) throws(NetlinkError) {
        var tables = try open()
        tables.begin()
        for (chain, queue) in targets { tables.addQueueTarget(chain: chain, queue: queue, table: table) }
        try tables.commit(what: "the xt target NFQUEUE in table inet \(table)")
    }

    /// Renews one-byte elements of a set whose elements time out. Throws `ENOENT` where the table or the set is gone.
    public mutating func renew(_ elements: [UInt8], set: String, table: String) throws(NetlinkError) {
        // An element that is there keeps its old deadline when it is added: it must be deleted first. One that is not there
        // cannot be deleted, and then the whole transaction fails.
        begin()
        change(NFT_MSG_DELSETELEM, elements, set: set, table: table)
        change(NFT_MSG_NEWSETELEM, elements, set: set, table: table)
        do throws(NetlinkError) {
            try commit(what: "set \(set) of table inet \(table)")
        } catch  where error.errorNumber == ENOENT {
            begin()
            change(NFT_MSG_NEWSETELEM, elements, set: set, table: table)
            try commit(what: "set \(set) of table inet \(table)")
        }
    }

    /// Deletes elements of a set; those that are not there are no error.
    public mutating func delete(_ elements: [UInt8], set: String, table: String) throws(NetlinkError) {
        begin()
        change(NFT_MSG_DELSETELEM, elements, set: set, table: table)
        do throws(NetlinkError) {
            try commit(what: "set \(set) of table inet \(table)")
        } catch  where error.errorNumber == ENOENT {
            return
        }
    }

    /// Whether the table is there.
    public mutating func holdsTable(_ table: String) throws(NetlinkError) -> Bool {
        message.removeAll()
        expectedAnswers = 0
        let offset = start(NFT_MSG_GETTABLE, flags: 0)
        message.append(attribute: NFTA_TABLE_NAME.rawValue, string: table)
        message.end(message: offset)
        do throws(NetlinkError) {
            try exchange(what: "table inet \(table)")
            return true
        } catch  where error.errorNumber == ENOENT {
            return false
        }
    }

    private mutating func begin() {
        message.removeAll()
        expectedAnswers = 0
        control(NFNL_MSG_BATCH_BEGIN)
    }

    private mutating func control(_ type: Int32) {
        let offset = message.begin(type: UInt16(truncatingIfNeeded: type), flags: 0, sequence: sequence)
        message.append(
            nfgenmsg(
                nfgen_family: 0, version: UInt8(NFNETLINK_V0), res_id: UInt16(NFNL_SUBSYS_NFTABLES).bigEndian))
        message.end(message: offset)
    }

    private mutating func start(_ type: nf_tables_msg_types, flags: Int32) -> Int {
        expectedAnswers += 1
        return message.begin(
            subsystem: NFNL_SUBSYS_NFTABLES, type: type.rawValue, flags: flags | NLM_F_ACK, family: Self.inetFamily,
            sequence: sequence)
    }

    private mutating func addQueueTarget(chain: String, queue: UInt16, table: String) {
        let rule = start(NFT_MSG_NEWRULE, flags: NLM_F_CREATE | NLM_F_APPEND)
        message.append(attribute: NFTA_RULE_TABLE.rawValue, string: table)
        message.append(attribute: NFTA_RULE_CHAIN.rawValue, string: chain)
        let expressions = message.begin(nested: NFTA_RULE_EXPRESSIONS.rawValue)
        let element = message.begin(nested: NFTA_LIST_ELEM.rawValue)
        message.append(attribute: NFTA_EXPR_NAME.rawValue, string: "target")
        let data = message.begin(nested: NFTA_EXPR_DATA.rawValue)
        message.append(attribute: UInt32(NFTA_TARGET_NAME.rawValue), string: "NFQUEUE")
        message.append(attribute: UInt32(NFTA_TARGET_REV.rawValue), UInt32(3).bigEndian)
        // struct xt_NFQ_info_v3 { queuenum, queues_total, flags }, padded to eight bytes; in host order.
        let target: (UInt16, UInt16, UInt16, UInt16) = (queue, 1, 0, 0)
        message.append(attribute: UInt32(NFTA_TARGET_INFO.rawValue), target)
        message.end(nested: data)
        message.end(nested: element)
        message.end(nested: expressions)
        message.end(message: rule)
    }

    private mutating func change(_ type: nf_tables_msg_types, _ elements: [UInt8], set: String, table: String) {
        let flags = type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0
        let offset = start(type, flags: flags)
        message.append(attribute: NFTA_SET_ELEM_LIST_TABLE.rawValue, string: table)
        message.append(attribute: NFTA_SET_ELEM_LIST_SET.rawValue, string: set)
        let list = message.begin(nested: NFTA_SET_ELEM_LIST_ELEMENTS.rawValue)
        for value in elements {
            let element = message.begin(nested: NFTA_LIST_ELEM.rawValue)
            let key = message.begin(nested: NFTA_SET_ELEM_KEY.rawValue)
            message.append(attribute: NFTA_DATA_VALUE.rawValue, value)
            message.end(nested: key)
            message.end(nested: element)
        }
        message.end(nested: list)
        message.end(message: offset)
    }

    private mutating func commit(what: String) throws(NetlinkError) {
        control(NFNL_MSG_BATCH_END)
        try exchange(what: what)
    }

    /// Sends what was written and takes the answer to each of its messages.
    private mutating func exchange(what: String) throws(NetlinkError) {
        guard !message.isOverflowed else { throw NetlinkError(what: what, errorNumber: EMSGSIZE) }
        let number = descriptor.send(message.start, message.count)
        guard number == 0 else { throw NetlinkError(what: what, errorNumber: number) }
        let own = sequence
        sequence &+= 1
        var failure: Int32 = 0
        var answers = 0
        let room = 8192
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 16)
        defer { buffer.deallocate() }
        // After a failure no acknowledgment comes for what the kernel has not looked at.
        while answers < expectedAnswers, failure == 0 {
            guard descriptor.waitReadable(milliseconds: 2000) else {
                throw NetlinkError(what: what, errorNumber: ETIMEDOUT)
            }
            let count = descriptor.receive(buffer, room)
            guard count >= 0 else { throw NetlinkError(what: what, errorNumber: Int32(-count)) }
            var messages = MessageReader(RawSpan(_unsafeStart: buffer, byteCount: min(count, room)))
            while let header = messages.next() {
                guard header.nlmsg_type == UInt16(NLMSG_ERROR), header.nlmsg_seq == own else { continue }
                answers += 1
                if failure == 0 { failure = messages.errorNumber }
            }
        }
        guard failure == 0 else {
            drain()
            throw NetlinkError(what: what, errorNumber: failure)
        }
    }

    /// Takes answers to a failed transaction that are still on their way, so that no later one is mistaken.
    private func drain() {
        let room = 8192
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 16)
        defer { buffer.deallocate() }
        while descriptor.receive(buffer, room, flags: Int32(MSG_DONTWAIT)) > 0 {}
    }

    /// `NFPROTO_INET`.
    static let inetFamily: UInt8 = 1
}

/// Hears of changes to nftables that others make.
public struct NFTablesWatch: ~Copyable {
    private let descriptor: NetlinkDescriptor

    /// Listens to every change of nftables in this network namespace.
    public static func open() throws(NetlinkError) -> NFTablesWatch {
        NFTablesWatch(
            descriptor: try NetlinkDescriptor.open(
                family: NETLINK_NETFILTER, what: "nftables events", groups: [UInt32(NFNLGRP_NFTABLES.rawValue)]))
    }

    private init(descriptor: NetlinkDescriptor) {
        self.descriptor = descriptor
    }

    /// Waits for a change that is not one of the set elements which a running daemon renews.
    /// - Returns: whether one came within the time. An overrun counts as one: what was lost may have been ours.
    public mutating func waitForChange(timeoutMilliseconds: Int32) -> Bool {
        guard descriptor.waitReadable(milliseconds: timeoutMilliseconds) else { return false }
        var hasChanged = false
        let room = 64 << 10
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = descriptor.receive(buffer, room, flags: Int32(MSG_DONTWAIT))
            guard count >= 0 else { return hasChanged || count == -Int(ENOBUFS) }
            var messages = MessageReader(RawSpan(_unsafeStart: buffer, byteCount: min(count, room)))
            while let header = messages.next() {
                switch UInt32(header.nlmsg_type & 0xFF) {
                case NFT_MSG_NEWSETELEM.rawValue, NFT_MSG_DELSETELEM.rawValue, NFT_MSG_NEWGEN.rawValue: continue
                default: hasChanged = true
                }
            }
        }
    }
}
