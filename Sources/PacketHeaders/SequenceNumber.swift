/// A TCP sequence number: 32 bits that wrap (RFC 9293 §3.4).
public struct SequenceNumber: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    /// The number on the wire, in host order.
    public let rawValue: UInt32

    /// Wraps a number.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// How far this number is behind (`< 0`) or ahead of (`> 0`) `other` on the circle: -2^31 ..< 2^31.
    public func distance(from other: SequenceNumber) -> Int {
        // Wrapping subtraction is the definition of sequence arithmetic; the sign is read from bit 31.
        Int(Int32(bitPattern: rawValue &- other.rawValue))
    }

    /// The number `byteCount` further on, wrapping.
    public func advanced(by byteCount: Int) -> SequenceNumber {
        SequenceNumber(rawValue: rawValue &+ UInt32(truncatingIfNeeded: byteCount))
    }
}
