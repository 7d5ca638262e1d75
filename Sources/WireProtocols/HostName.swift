public import Octets

/// A DNS host name in its one normal form: ASCII lower case, no trailing dot, labels of letters, digits, hyphens and
/// underscores (A-labels as they come), 1...253 bytes.
public struct HostName: Hashable, Sendable, CustomStringConvertible {
    /// The name.
    public let description: String

    /// Normalises and checks a name as it stood on the wire. Throws the rule that it breaks.
    public init(validating bytes: RawSpan) throws(HostNameError) {
        let byteCount = try Self.check(bytes)
        description = String(unsafeUninitializedCapacity: byteCount) { buffer in
            for index in 0..<byteCount { buffer[index] = asciiLowercased(bytes.byte(at: index)) }
            return byteCount
        }
    }

    /// The same for text.
    public init(validating text: some StringProtocol) throws(HostNameError) {
        let bytes = Array(text.utf8)
        try self.init(validating: bytes.span.bytes)
    }

    /// Checks without making text; returns the length without the trailing dot.
    static func check(_ bytes: RawSpan) throws(HostNameError) -> Int {
        var end = bytes.byteCount
        guard end > 0 else { throw .empty }
        if bytes.byte(at: end - 1) == UInt8(ascii: ".") { end -= 1 }
        guard end > 0 else { throw .emptyLabel }
        var labelStart = 0
        var lastLabelIsNumeric = false
        for index in 0...end {
            guard index == end || bytes.byte(at: index) == UInt8(ascii: ".") else {
                let byte = bytes.byte(at: index)
                if byte == UInt8(ascii: ":") || byte == UInt8(ascii: "[") { throw .addressLiteral }
                guard byte.isHostNameByte else { throw .forbiddenByte(byte) }
                continue
            }
            guard index > labelStart else { throw .emptyLabel }
            guard index - labelStart <= 63 else { throw .labelTooLong }
            lastLabelIsNumeric = isNumber(bytes, labelStart..<index)
            labelStart = index + 1
        }
        guard end <= 253 else { throw .tooLong }
        // `127.1`, `0x7f000001` and `2130706433` are addresses to inet_aton and to browsers (WHATWG URL, "ends in a number").
        guard !lastLabelIsNumeric else { throw .addressLiteral }
        return end
    }

    private static func isNumber(_ bytes: RawSpan, _ range: Range<Int>) -> Bool {
        var digits = range
        var isHexadecimal = false
        if range.count >= 2, bytes.byte(at: range.lowerBound) == UInt8(ascii: "0"),
            asciiLowercased(bytes.byte(at: range.lowerBound + 1)) == UInt8(ascii: "x")
        {
            isHexadecimal = true
            digits = range.lowerBound + 2..<range.upperBound
        }
        for index in digits {
            let byte = bytes.byte(at: index)
            guard isHexadecimal ? byte.hexadecimalValue != nil : byte.isDigit else { return false }
        }
        return true
    }
}

/// Why some bytes are no host name.
public enum HostNameError: Error, Equatable, Sendable {
    /// No byte at all.
    case empty
    /// More than 253 bytes.
    case tooLong
    /// Two dots in a row, a dot in front, or nothing but a dot.
    case emptyLabel
    /// A label of more than 63 bytes.
    case labelTooLong
    /// A byte other than a letter, a digit, a hyphen, an underscore or a dot.
    case forbiddenByte(UInt8)
    /// An IPv4 or IPv6 address, or a number that some programs read as one.
    case addressLiteral

    /// The rule as a fixed text.
    public var reason: StaticReason {
        switch self {
        case .empty: "host name is empty"
        case .tooLong: "host name longer than 253 bytes"
        case .emptyLabel: "host name with an empty label"
        case .labelTooLong: "host name with a label longer than 63 bytes"
        case .forbiddenByte: "host name with a forbidden byte"
        case .addressLiteral: "host name is an address"
        }
    }
}
