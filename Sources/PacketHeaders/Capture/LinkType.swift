import Octets

/// What the packets of a capture begin with (tcpdump.org "Link-layer header types"). Unknown values are data.
public struct LinkType: RawRepresentable, Hashable, Sendable {
    /// The number in the file.
    public let rawValue: UInt16

    /// Wraps a number.
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// BSD loopback: the address family in four bytes, in the byte order of the capturing machine.
    public static let null = LinkType(rawValue: 0)
    /// IEEE 802.3.
    public static let ethernet = LinkType(rawValue: 1)
    /// PPP, with or without its HDLC header.
    public static let ppp = LinkType(rawValue: 9)
    /// FDDI (ISO 9314-2) with LLC and SNAP.
    public static let fddi = LinkType(rawValue: 10)
    /// IPv4 or IPv6 by its first four bits.
    public static let raw = LinkType(rawValue: 101)
    /// Cisco PPP with HDLC framing.
    public static let ciscoHDLC = LinkType(rawValue: 104)
    /// OpenBSD loopback: the address family in four bytes, in network order.
    public static let loop = LinkType(rawValue: 108)
    /// IEEE 802.11 without what the radio says.
    public static let wireless = LinkType(rawValue: 105)
    /// Linux "cooked" capture.
    public static let linuxCooked = LinkType(rawValue: 113)
    /// IEEE 802.11 behind a radiotap header (radiotap.org).
    public static let radiotap = LinkType(rawValue: 127)
    /// Apple's capture with metadata, under the number that it had before it got its own.
    public static let packetTapPrivate = LinkType(rawValue: 149)
    /// IPv4.
    public static let ipv4 = LinkType(rawValue: 228)
    /// IPv6.
    public static let ipv6 = LinkType(rawValue: 229)
    /// Netfilter's log, in attributes of the capturing machine's byte order.
    public static let netfilterLog = LinkType(rawValue: 239)
    /// Apple's capture with metadata: a header that says its length and what follows.
    public static let packetTap = LinkType(rawValue: 258)
    /// Linux "cooked" capture, version 2.
    public static let linuxCooked2 = LinkType(rawValue: 276)

    /// Where the IP header begins in a captured frame; nil where it carries none, or one inside something else.
    ///
    /// VLAN tags (IEEE 802.1Q, 802.1ad), PPPoE sessions (RFC 2516) and MPLS labels are stepped over; tunnels are not opened.
    public func networkOffset(in frame: RawSpan) -> Int? {
        switch self {
        case .ethernet: return Self.networkOffset(in: frame, typeAt: 12)
        case .linuxCooked: return Self.networkOffset(in: frame, typeAt: 14)
        case .linuxCooked2:
            return Self.networkOffset(in: frame, typeAt: 0) == 2 && Self.isIP(frame, at: 20) ? 20 : nil
        case .ciscoHDLC: return Self.networkOffset(in: frame, typeAt: 2)
        case .null, .loop: return Self.isIP(frame, at: 4) ? 4 : nil
        case .ppp:
            let hasHDLC = frame.byteCount > 2 && frame.byte(at: 0) == 0xFF && frame.byte(at: 1) == 0x03
            return Self.pppOffset(in: frame, at: hasHDLC ? 2 : 0)
        case .fddi: return Self.snapOffset(in: frame, at: 13)
        case .wireless: return Self.wirelessOffset(in: frame, at: 0)
        case .radiotap:
            guard frame.byteCount >= 4 else { return nil }
            return Self.wirelessOffset(in: frame, at: Int(frame.uint16(at: 2, littleEndian: true)))
        case .packetTap, .packetTapPrivate: return Self.packetTapOffset(in: frame)
        case .netfilterLog: return Self.netfilterLogOffset(in: frame)
        case .raw, .ipv4, .ipv6, LinkType(rawValue: 12), LinkType(rawValue: 14):
            return Self.isIP(frame, at: 0) ? 0 : nil
        default: return nil
        }
    }

    /// Follows EtherTypes from the one at `position`.
    private static func networkOffset(in frame: RawSpan, typeAt position: Int) -> Int? {
        var position = position
        for _ in 0..<Self.tagLimit {
            guard position + 2 <= frame.byteCount else { return nil }
            switch frame.uint16(at: position, littleEndian: false) {
            case 0x0800, 0x86DD: return position + 2
            case 0x8100, 0x88A8, 0x9100: position += 4
            case 0x8864: return pppOffset(in: frame, at: position + 8)
            case 0x8847, 0x8848: return mplsOffset(in: frame, at: position + 2)
            default: return nil
            }
        }
        return nil
    }

    /// Behind a PPP protocol number (RFC 1661 §2), which may be cut to its odd byte.
    private static func pppOffset(in frame: RawSpan, at position: Int) -> Int? {
        guard position < frame.byteCount else { return nil }
        let offset = frame.byte(at: position) & 1 == 1 ? position + 1 : position + 2
        guard offset <= frame.byteCount, [0x21, 0x57].contains(frame.byte(at: offset - 1)) else { return nil }
        return isIP(frame, at: offset) ? offset : nil
    }

    /// Behind the label stack (RFC 3032 §2.1).
    private static func mplsOffset(in frame: RawSpan, at position: Int) -> Int? {
        var position = position
        for _ in 0..<tagLimit where position + 4 <= frame.byteCount {
            position += 4
            if frame.byte(at: position - 2) & 1 == 1 { return isIP(frame, at: position) ? position : nil }
        }
        return nil
    }

    /// Behind LLC and SNAP (RFC 1042) with the EtherType of IP.
    private static func snapOffset(in frame: RawSpan, at position: Int) -> Int? {
        guard position >= 0, position + 8 <= frame.byteCount,
            frame.uint32(at: position, littleEndian: false) == 0xAAAA_0300, frame.byte(at: position + 4) == 0,
            frame.byte(at: position + 5) == 0
        else { return nil }
        return networkOffset(in: frame, typeAt: position + 6)
    }

    /// Behind the MAC header of a data frame that is not encrypted (IEEE 802.11 §9.2.4).
    private static func wirelessOffset(in frame: RawSpan, at position: Int) -> Int? {
        guard position + 24 <= frame.byteCount else { return nil }
        let control = frame.byte(at: position)
        let flags = frame.byte(at: position + 1)
        guard control & 0x0C == 0x08, control & 0x40 == 0, flags & 0x40 == 0 else { return nil }
        let hasFourAddresses = flags & 3 == 3
        let hasQualityOfService = control & 0x80 != 0
        return snapOffset(in: frame, at: position + 24 + (hasFourAddresses ? 6 : 0) + (hasQualityOfService ? 2 : 0))
    }

    /// Behind the header of `pktap`: its length, what kind of record it is, the link type of what follows.
    private static func packetTapOffset(in frame: RawSpan) -> Int? {
        guard frame.byteCount >= 12 else { return nil }
        let length = Int(frame.uint32(at: 0, littleEndian: true))
        let inner = LinkType(rawValue: UInt16(truncatingIfNeeded: frame.uint32(at: 8, littleEndian: true)))
        guard length >= 12, length < frame.byteCount, inner != .packetTap, inner != .packetTapPrivate else {
            return nil
        }
        return inner.networkOffset(in: frame.extracting(length..<frame.byteCount)).map { length + $0 }
    }

    /// The attribute NFULA_PAYLOAD (9): length and type of two bytes each, the length with both.
    private static func netfilterLogOffset(in frame: RawSpan) -> Int? {
        var position = 4
        while position + 4 <= frame.byteCount {
            let length = Int(frame.uint16(at: position, littleEndian: true))
            guard length >= 4 else { return nil }
            if frame.uint16(at: position + 2, littleEndian: true) == 9 {
                return isIP(frame, at: position + 4) ? position + 4 : nil
            }
            position += (length + 3) / 4 * 4
        }
        return nil
    }

    private static func isIP(_ frame: RawSpan, at offset: Int) -> Bool {
        guard offset < frame.byteCount else { return false }
        let version = frame.byte(at: offset) >> 4
        return version == 4 || version == 6
    }

    /// Tags in a row that are stepped over.
    private static let tagLimit = 4
}
