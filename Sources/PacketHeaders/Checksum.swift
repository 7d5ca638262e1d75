import Octets

/// The internet checksum (RFC 1071) of IPv4, TCP, UDP and ICMPv6 headers.
public enum Checksum {
    /// The checksum of `bytes`, with `initial` (an unfolded sum) before them; 0 over bytes that hold a right checksum.
    public static func internet(_ bytes: RawSpan, initial: UInt64 = 0) -> UInt16 {
        ~fold(sum(bytes, initial: initial))
    }

    /// Whether the IPv4 header checksum and the TCP, UDP or ICMP checksum of `packet` are right. A UDP checksum of 0 in IPv4
    /// (none sent, RFC 768), a fragment's and an unread transport's count as right.
    ///
    /// `bytes` are those that `packet` was parsed from.
    public static func isValid(_ packet: Packet, in bytes: RawSpan) -> Bool {
        if packet.flow.source.family == .v4 {
            guard fold(sum(bytes.extracting(0..<packet.ipv4HeaderByteCount(in: bytes)))) == 0xFFFF else { return false }
        }
        guard let place = packet.checksumOffset else { return true }
        if packet.transport == .udp, packet.flow.source.family == .v4, bytes.loadUInt16(at: place) == 0 { return true }
        return fold(
            sum(bytes.extracting(packet.transportOffset..<packet.transportEnd), initial: packet.pseudoHeaderSum))
            == 0xFFFF
    }

    /// Writes the right IPv4 header checksum and TCP, UDP or ICMP checksum into `bytes`, which hold `packet`; the length
    /// fields stay as they are. A fragment and an unread transport get the header's checksum only.
    ///
    /// Needed where the kernel hands over a packet whose checksum it meant to leave to the card (`NFQA_SKB_CSUMNOTREADY`).
    public static func write(_ packet: Packet, into bytes: inout MutableRawSpan) {
        if packet.flow.source.family == .v4 {
            bytes.storeUInt16(0, at: 10)
            let headerByteCount = packet.ipv4HeaderByteCount(in: bytes.bytes)
            let value = internet(bytes.bytes.extracting(0..<headerByteCount))
            bytes.storeUInt16(value, at: 10)
        }
        guard let place = packet.checksumOffset else { return }
        bytes.storeUInt16(0, at: place)
        let value = internet(
            bytes.bytes.extracting(packet.transportOffset..<packet.transportEnd), initial: packet.pseudoHeaderSum)
        // RFC 768: a sum of 0 is sent as all ones, since 0 says that there is none.
        bytes.storeUInt16(value == 0 && packet.transport == .udp ? 0xFFFF : value, at: place)
    }

    /// The unfolded sum of 16-bit words in network order; an odd last byte counts as the high one.
    static func sum(_ bytes: RawSpan, initial: UInt64 = 0) -> UInt64 {
        // Ones' complement sums do not care about byte order but for a final swap (RFC 1071 §2 B): words of four bytes are
        // added as they lie. A packet has at most 2^14 of them, so 64 bits cannot overflow; `initial` is below 2^40.
        var total: UInt64 = 0
        var offset = 0
        let end = bytes.byteCount
        while offset + 4 <= end {
            total &+= UInt64(bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self).bigEndian)
            offset += 4
        }
        if offset + 2 <= end {
            total &+= UInt64(bytes.loadUInt16(at: offset))
            offset += 2
        }
        if offset < end {
            total &+= UInt64(bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)) << 8
        }
        return total &+ initial
    }

    /// The sum with its carries added back: 16 bits.
    static func fold(_ sum: UInt64) -> UInt16 {
        var value = sum
        while value > 0xFFFF { value = (value & 0xFFFF) + (value >> 16) }
        return UInt16(truncatingIfNeeded: value)
    }
}

extension Packet {
    /// Where the transport checksum lies; nil where there is none that we know.
    var checksumOffset: Int? {
        switch transport {
        case .tcp: transportOffset + 16
        case .udp: transportOffset + 6
        case .icmp: transportOffset + 2
        case .fragment, .other: nil
        }
    }

    /// Where the bytes under the transport checksum end.
    var transportEnd: Int { payload.upperBound }

    /// RFC 9293 §3.1 and RFC 8200 §8.1; ICMP over IPv4 has none.
    var pseudoHeaderSum: UInt64 {
        if flow.transport == .icmp { return 0 }
        return flow.source.wordSum + flow.destination.wordSum + UInt64(flow.transport.rawValue)
            + UInt64(transportEnd - transportOffset)
    }

    fileprivate func ipv4HeaderByteCount(in bytes: RawSpan) -> Int {
        Int(bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self) & 15) * 4
    }
}

extension IPAddress {
    /// The address as a sum of 32-bit words: below 2^34.
    fileprivate var wordSum: UInt64 {
        (high >> 32) + (high & 0xFFFF_FFFF) + (low >> 32) + (low & 0xFFFF_FFFF)
    }
}

extension RawSpan {
    func loadUInt16(at offset: Int) -> UInt16 {
        UInt16(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
}

extension MutableRawSpan {
    @_lifetime(self: copy self)
    mutating func storeUInt16(_ value: UInt16, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
}
