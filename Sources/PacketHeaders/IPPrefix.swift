/// An address prefix in CIDR form (RFC 4632, RFC 4291 §2.3). Host bits are zero.
public struct IPPrefix: Hashable, Sendable, CustomStringConvertible {
    /// The network address.
    public let address: IPAddress
    /// The number of leading bits that count: 0...32 or 0...128.
    public let length: Int

    /// A prefix of `length` bits of `address`; nil where the length is out of range or a host bit is set.
    public init?(_ address: IPAddress, length: Int) {
        guard (0...address.bitWidth).contains(length) else { return nil }
        self.address = address
        self.length = length
        guard Self.masked(address, to: length) == address else { return nil }
    }

    /// The prefix of `length` bits, at most the family's width, that holds `address`.
    public init(containing address: IPAddress, length: Int) {
        self.length = min(max(length, 0), address.bitWidth)
        self.address = Self.masked(address, to: self.length)
    }

    /// `10.0.0.0/8`, `fd00::/8`, or a lone address; nil for anything else, also where a host bit is set.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { return nil }
        guard parts.count == 2 else {
            self.init(address, length: address.bitWidth)
            return
        }
        guard let length = Int(parts[1]), String(length) == parts[1] else { return nil }
        self.init(address, length: length)
    }

    /// Whether `other` is inside. Families never mix.
    public func contains(_ other: IPAddress) -> Bool {
        other.family == address.family && Self.masked(other, to: length) == address
    }

    /// CIDR text.
    public var description: String { "\(address)/\(length)" }

    private static func masked(_ address: IPAddress, to length: Int) -> IPAddress {
        switch address.family {
        case .v4:
            let mask = length == 0 ? 0 : UInt32.max << UInt32(32 - length)
            return IPAddress(v4: UInt32(truncatingIfNeeded: address.low) & mask)
        case .v6:
            let high = length == 0 ? 0 : length >= 64 ? UInt64.max : UInt64.max << UInt64(64 - length)
            let low = length <= 64 ? 0 : UInt64.max << UInt64(128 - length)
            return IPAddress(v6: address.high & high, address.low & low)
        }
    }
}
