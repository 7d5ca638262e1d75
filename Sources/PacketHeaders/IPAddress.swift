// PacketHeaders: what the network and transport headers of a packet say.
//
// Pure functions over borrowed bytes: IPv4, IPv6 with extension headers, TCP, UDP and ICMP, their checksums, and the
// values that the rest of the program keys on (`IPAddress`, `IPPrefix`, `FiveTuple`). It also builds the few packets that
// Sallyport sends itself. Imports `Octets` only; no Foundation, no C library. Addresses are kept in 16 bytes without
// allocation, so that a five-tuple is a plain value on the packet path.

/// An IPv4 or IPv6 address: a plain 17-byte value, in network order, compared family first.
public struct IPAddress: Hashable, Sendable, BitwiseCopyable {
    /// The first eight bytes of an IPv6 address; 0 for IPv4.
    public let high: UInt64
    /// The last eight bytes of an IPv6 address; the 32 bits of an IPv4 address.
    public let low: UInt64
    /// Which family the address is of.
    public let family: AddressFamily

    /// An IPv4 address from its 32 bits in host order (`198.18.0.1` is `0xC612_0001`).
    public init(v4 bits: UInt32) {
        high = 0
        low = UInt64(bits)
        family = .v4
    }

    /// An IPv6 address from its two halves in host order.
    public init(v6 high: UInt64, _ low: UInt64) {
        self.high = high
        self.low = low
        family = .v6
    }

    /// The number of bits of the family: 32 or 128.
    public var bitWidth: Int { family == .v4 ? 32 : 128 }

    /// The 4 or 16 bytes in network order.
    public var octets: [UInt8] {
        let all =
            (0..<8).map { UInt8(truncatingIfNeeded: high >> (56 - 8 * UInt64($0))) }
            + (0..<8).map { UInt8(truncatingIfNeeded: low >> (56 - 8 * UInt64($0))) }
        return family == .v4 ? Array(all[12...]) : all
    }

    /// The IPv4 address inside `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2); otherwise the address itself.
    public var unmapped: IPAddress {
        guard family == .v6, high == 0, low >> 32 == 0xFFFF else { return self }
        return IPAddress(v4: UInt32(truncatingIfNeeded: low))
    }
}

/// The two address families.
public enum AddressFamily: UInt8, Hashable, Sendable, BitwiseCopyable {
    /// RFC 791.
    case v4 = 4
    /// RFC 8200.
    case v6 = 6
}

extension IPAddress: CustomStringConvertible {
    /// The address from its text: dotted quad, or RFC 4291 text without a zone; nil for anything else.
    public init?(_ text: some StringProtocol) {
        let characters = Array(text.utf8)
        if let bits = Self.parseV4(characters[...]) {
            self.init(v4: bits)
        } else if let groups = Self.parseV6(characters[...]) {
            self.init(v6: Self.join(groups[0..<4]), Self.join(groups[4..<8]))
        } else {
            return nil
        }
    }

    /// Dotted quad, or the canonical text of RFC 5952.
    public var description: String {
        guard family == .v6 else {
            return "\(low >> 24 & 255).\(low >> 16 & 255).\(low >> 8 & 255).\(low & 255)"
        }
        if high == 0, low >> 32 == 0xFFFF { return "::ffff:\(unmapped)" }
        let groups = (0..<8).map { index -> UInt16 in
            let half = index < 4 ? high : low
            return UInt16(truncatingIfNeeded: half >> (48 - 16 * UInt64(index & 3)))
        }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > max(best.count, 1) { best = start..<end }
            start = max(end, start + 1)
        }
        let left = groups[..<best.lowerBound].map { String($0, radix: 16) }.joined(separator: ":")
        guard !best.isEmpty else { return groups.map { String($0, radix: 16) }.joined(separator: ":") }
        let right = groups[best.upperBound...].map { String($0, radix: 16) }.joined(separator: ":")
        return left + "::" + right
    }

    private static func join(_ groups: ArraySlice<UInt16>) -> UInt64 {
        groups.reduce(0) { $0 << 16 | UInt64($1) }
    }

    private static func parseV4(_ text: ArraySlice<UInt8>) -> UInt32? {
        let parts = text.split(separator: 0x2E, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            guard part.count == 1 || part.first != 0x30 else { return nil }
            let value = part.reduce(0) { $0 * 10 + UInt32($1 - 0x30) }
            guard value <= 255 else { return nil }
            bits = bits << 8 | value
        }
        return bits
    }

    private static func parseV6(_ text: ArraySlice<UInt8>) -> [UInt16]? {
        guard text.count <= 45 else { return nil }
        var left: [UInt16] = []
        var right: [UInt16]?
        let parts = text.split(separator: 0x3A, omittingEmptySubsequences: false)
        guard (3...9).contains(parts.count) else { return nil }
        for (index, part) in parts.enumerated() {
            var groups: [UInt16] = []
            if part.isEmpty {
                let atEdge =
                    (index == 0 && parts[1].isEmpty)
                    || (index == parts.count - 1 && parts[index - 1].isEmpty)
                if atEdge { continue }
                guard right == nil, index > 0, index < parts.count - 1 else { return nil }
                right = []
                continue
            } else if index == parts.count - 1, let bits = parseV4(part) {
                groups = [UInt16(bits >> 16), UInt16(bits & 0xFFFF)]
            } else {
                guard part.count <= 4, let value = UInt16(String(decoding: part, as: UTF8.self), radix: 16),
                    part.first != 0x2B
                else { return nil }
                groups = [value]
            }
            if right == nil { left += groups } else { right?.append(contentsOf: groups) }
        }
        guard let right else { return left.count == 8 ? left : nil }
        guard left.count + right.count < 8 else { return nil }
        return left + Array(repeating: 0, count: 8 - left.count - right.count) + right
    }
}
