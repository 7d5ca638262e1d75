public import Octets

extension Packet {
    /// Takes the first `count` payload bytes out of a TCP segment that lies at the start of `bytes`, in place, and returns the
    /// packet that is left, its checksums right. What its receiver has acknowledged need not reach it a second time.
    ///
    /// The sequence number moves on with the payload. A segment of which nothing is left keeps its number: its receiver takes
    /// it for an old one and acknowledges again (RFC 9293 §3.10.7.4), which is all that its sender waits for. With FIN the
    /// number moves on in any case: FIN has a place of its own behind the payload.
    ///
    /// `bytes` hold what `self` was parsed from. Throws `.malformed` where this is no TCP segment.
    @_lifetime(bytes: copy bytes)
    public func trimming(_ count: Int, in bytes: inout MutableRawSpan) throws(WireError) -> Packet {
        guard let tcp else { throw .malformed("no TCP segment", offset: transportOffset) }
        let count = max(0, min(count, payload.byteCount))
        for index in payload.range.lowerBound..<payload.range.upperBound - count {
            bytes.storeBytes(
                of: bytes.bytes.unsafeLoad(fromByteOffset: index + count, as: UInt8.self), toByteOffset: index,
                as: UInt8.self)
        }
        if count < payload.byteCount || tcp.flags.contains(.fin) {
            bytes.storeUInt32(tcp.sequence.advanced(by: count).rawValue, at: transportOffset + 4)
        }
        let length = byteCount - count
        switch flow.source.family {
        case .v4: bytes.storeUInt16(UInt16(truncatingIfNeeded: length), at: 2)
        case .v6: bytes.storeUInt16(UInt16(truncatingIfNeeded: length - 40), at: 4)
        }
        let trimmed = try Packet(parsing: bytes.bytes.extracting(0..<length))
        Checksum.write(trimmed, into: &bytes)
        return trimmed
    }
}
