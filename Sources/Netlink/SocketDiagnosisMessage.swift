import CNetfilter
import Identity
import PacketHeaders

/// One answer of sock_diag(7) about one socket: `struct inet_diag_msg` and the attributes behind it.
struct SocketDiagnosisMessage {
    /// The socket's TCP state (include/net/tcp_states.h); UDP sockets are `established` when connected, else `close`.
    let state: UInt8
    /// The socket's own end first. IPv4-mapped addresses are IPv4 here, an unset address is the family's zero.
    let flow: FiveTuple
    /// Whether the socket is of IPv6.
    let isIPv6: Bool
    /// Whether the socket is of IPv6 and takes no IPv4.
    private(set) var isIPv6Only = false
    /// The cgroup in which the socket was made.
    private(set) var cgroup: CgroupID?
    /// `tcpi_bytes_acked`.
    private(set) var bytesAcknowledged: UInt64?
    private let cookie: SocketCookie
    private let uid: UInt32
    private let inode: UInt32

    /// Parses the body of a `SOCK_DIAG_BY_FAMILY` message; nil where it is too short.
    init?(_ body: RawSpan, transport: TransportProtocol) {
        guard body.byteCount >= MemoryLayout<inet_diag_msg>.size else { return nil }
        let message = body.unsafeLoadUnaligned(fromByteOffset: 0, as: inet_diag_msg.self)
        state = message.idiag_state
        isIPv6 = message.idiag_family == UInt8(AF_INET6)
        flow = FiveTuple(
            source: Self.address(message.id.idiag_src, isIPv6), sourcePort: UInt16(bigEndian: message.id.idiag_sport),
            destination: Self.address(message.id.idiag_dst, isIPv6),
            destinationPort: UInt16(bigEndian: message.id.idiag_dport), transport: transport)
        cookie = SocketCookie(
            rawValue: UInt64(message.id.idiag_cookie.1) << 32 | UInt64(message.id.idiag_cookie.0))
        uid = message.idiag_uid
        inode = message.idiag_inode
        var attributes = AttributeReader(body, from: MemoryLayout<inet_diag_msg>.size)
        while let type = attributes.next() {
            switch Int32(type) {
            case Int32(INET_DIAG_CGROUP_ID):
                cgroup = attributes.value(as: UInt64.self).map { CgroupID(rawValue: $0) }
            case Int32(INET_DIAG_SKV6ONLY):
                isIPv6Only = attributes.value(as: UInt8.self) == 1
            case Int32(INET_DIAG_INFO):
                // Older kernels have a shorter tcp_info, without the field.
                guard attributes.payload.byteCount >= tcp_info_bytes_acked_offset + 8 else { break }
                bytesAcknowledged = attributes.payload.unsafeLoadUnaligned(
                    fromByteOffset: Int(tcp_info_bytes_acked_offset), as: UInt64.self)
            default: break
            }
        }
        if attributes.isMalformed { return nil }
    }

    /// Who owns the socket. Kernels before 6.17 say uid 0 for a socket that its process has closed (no inode), so 0 is no
    /// answer there.
    var owner: SocketOwner {
        SocketOwner(cgroup: cgroup, cookie: cookie, uid: inode == 0 && uid == 0 ? nil : uid, inode: inode)
    }

    /// An address of `inet_diag_sockid`: four words in network order, of which IPv4 uses the first.
    private static func address(_ words: (UInt32, UInt32, UInt32, UInt32), _ isIPv6: Bool) -> IPAddress {
        guard isIPv6 else { return IPAddress(v4: UInt32(bigEndian: words.0)) }
        return IPAddress(
            v6: UInt64(UInt32(bigEndian: words.0)) << 32 | UInt64(UInt32(bigEndian: words.1)),
            UInt64(UInt32(bigEndian: words.2)) << 32 | UInt64(UInt32(bigEndian: words.3))
        ).unmapped
    }

    /// The words of `inet_diag_sockid` for an address.
    static func words(_ address: IPAddress) -> (UInt32, UInt32, UInt32, UInt32) {
        guard address.family == .v6 else {
            return (UInt32(truncatingIfNeeded: address.low).bigEndian, 0, 0, 0)
        }
        return (
            UInt32(truncatingIfNeeded: address.high >> 32).bigEndian,
            UInt32(truncatingIfNeeded: address.high).bigEndian,
            UInt32(truncatingIfNeeded: address.low >> 32).bigEndian, UInt32(truncatingIfNeeded: address.low).bigEndian
        )
    }
}

/// The TCP states that sock_diag(7) reports (include/net/tcp_states.h).
enum TCPState {
    static let established: UInt8 = 1
    static let synReceived: UInt8 = 3
    static let finWait2: UInt8 = 5
    static let timeWait: UInt8 = 6
    static let close: UInt8 = 7
    static let closeWait: UInt8 = 8
    static let lastAck: UInt8 = 9
    static let listen: UInt8 = 10
    static let closing: UInt8 = 11
}
