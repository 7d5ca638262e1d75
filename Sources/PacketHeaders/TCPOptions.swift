public import Octets

/// What the options of a TCP header say (RFC 9293 §3.2; IANA "TCP Option Kind Numbers").
public struct TCPOptions: Hashable, Sendable, BitwiseCopyable {
    /// Kind 2: the largest segment that the sender takes.
    public private(set) var maximumSegmentSize: UInt16?
    /// Kind 3 (RFC 7323): the shift of the window field, 0...14.
    public private(set) var windowScale: UInt8?
    /// Kind 4 (RFC 2018).
    public private(set) var permitsSelectiveAcknowledgment = false
    /// Kind 8 (RFC 7323): the sender's clock.
    public private(set) var timestamp: UInt32?
    /// Kind 19 (RFC 2385) or 29 (RFC 5925): a receiver without the key ignores the segment.
    public private(set) var isAuthenticated = false
    /// Kind 30 (RFC 8684): more paths than this one may carry the stream.
    public private(set) var isMultipath = false
    /// Kind 34 (RFC 7413): data in the SYN.
    public private(set) var isFastOpen = false

    /// Reads options that end with the span. Throws `.malformed` where a length is wrong, nothing else.
    public init(parsing bytes: RawSpan) throws(WireError) {
        var reader = ByteReader(bytes)
        while let kind = reader.peek() {
            try reader.skip(1)
            if kind == 0 { return }
            if kind == 1 { continue }
            guard let length = reader.peek(), length >= 2, Int(length) - 1 <= reader.remaining else {
                throw reader.malformed("TCP option length")
            }
            try reader.skip(1)
            var value = try reader.readSlice(Int(length) - 2)
            try read(kind, &value)
        }
    }

    private mutating func read(_ kind: UInt8, _ value: inout ByteReader) throws(WireError) {
        do throws(WireError) {
            switch kind {
            case 2: maximumSegmentSize = try value.readUInt16()
            case 3: windowScale = try value.readUInt8()
            case 4: permitsSelectiveAcknowledgment = true
            case 8:
                timestamp = try value.readUInt32()
                try value.skip(4)
            case 19, 29: (isAuthenticated, _) = (true, try value.skip(value.remaining))
            case 30: (isMultipath, _) = (true, try value.skip(value.remaining))
            case 34: (isFastOpen, _) = (true, try value.skip(value.remaining))
            default: try value.skip(value.remaining)
            }
            try value.expectEnd("TCP option length")
        } catch {
            throw value.sealed(error, "TCP option length")
        }
    }
}
