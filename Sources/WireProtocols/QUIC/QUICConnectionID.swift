import Octets

/// A connection id of 0 to 20 bytes (RFC 9000 §5.1), a plain value.
public struct QUICConnectionID: Hashable, Sendable, BitwiseCopyable {
    private var first: UInt64 = 0
    private var second: UInt64 = 0
    private var third: UInt32 = 0
    private let length: UInt8

    /// How many bytes it has.
    public var byteCount: Int { Int(length) }

    /// The id that is all of `bytes`; nil for more than 20.
    public init?(_ bytes: RawSpan) {
        guard bytes.byteCount <= Self.maximumByteCount else { return nil }
        length = UInt8(bytes.byteCount)
        for index in 0..<bytes.byteCount {
            let byte = bytes.byte(at: index)
            switch index {
            case 0..<8: first |= UInt64(byte) << UInt64(56 - 8 * index)
            case 8..<16: second |= UInt64(byte) << UInt64(120 - 8 * index)
            default: third |= UInt32(byte) << UInt32(152 - 8 * index)
            }
        }
    }

    /// RFC 9000 §17.2.
    static let maximumByteCount = 20
}
