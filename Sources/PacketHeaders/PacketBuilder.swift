public import Octets

/// Writes the few packets that Sallyport sends itself, into the caller's buffer.
public enum PacketBuilder {
    /// Writes a TCP segment with IP header and checksums, and returns its length: 40 (IPv4) or 60 (IPv6) and the payload.
    ///
    /// `flow` is as the packet carries it. Throws `.truncated` where the buffer is too small, `.malformed` where the
    /// addresses differ in family or the payload does not fit one packet.
    @_lifetime(buffer: copy buffer)
    public static func writeSegment(
        flow: FiveTuple, sequence: SequenceNumber, acknowledgment: SequenceNumber, flags: TCPFlags, window: UInt16 = 0,
        payload: RawSpan = RawSpan(), into buffer: inout MutableRawSpan
    ) throws(WireError) -> Int {
        let segmentByteCount = TCPHeader.minimumByteCount + payload.byteCount
        let tcp = try writeNetworkHeader(flow, .tcp, segmentByteCount, into: &buffer)
        let byteCount = tcp + segmentByteCount
        buffer.storeUInt16(flow.sourcePort, at: tcp)
        buffer.storeUInt16(flow.destinationPort, at: tcp + 2)
        buffer.storeUInt32(sequence.rawValue, at: tcp + 4)
        buffer.storeUInt32(acknowledgment.rawValue, at: tcp + 8)
        buffer.storeUInt16(0x5000 | UInt16(flags.rawValue), at: tcp + 12)
        buffer.storeUInt16(window, at: tcp + 14)
        buffer.storeUInt32(0, at: tcp + 16)
        copy(payload, to: tcp + TCPHeader.minimumByteCount, into: &buffer)
        Checksum.write(try Packet(parsing: buffer.bytes.extracting(0..<byteCount)), into: &buffer)
        return byteCount
    }

    /// Writes a UDP datagram with IP header and checksums, and returns its length: 28 (IPv4) or 48 (IPv6) and the payload.
    /// Throws as `writeSegment` does.
    @_lifetime(buffer: copy buffer)
    public static func writeDatagram(
        flow: FiveTuple, payload: RawSpan, into buffer: inout MutableRawSpan
    ) throws(WireError) -> Int {
        let datagramByteCount = 8 + payload.byteCount
        let udp = try writeNetworkHeader(flow, .udp, datagramByteCount, into: &buffer)
        buffer.storeUInt16(flow.sourcePort, at: udp)
        buffer.storeUInt16(flow.destinationPort, at: udp + 2)
        buffer.storeUInt16(UInt16(datagramByteCount), at: udp + 4)
        buffer.storeUInt16(0, at: udp + 6)
        copy(payload, to: udp + 8, into: &buffer)
        let byteCount = udp + datagramByteCount
        Checksum.write(try Packet(parsing: buffer.bytes.extracting(0..<byteCount)), into: &buffer)
        return byteCount
    }

    /// Writes the IP header of a packet with `contentByteCount` bytes behind it, and returns its length.
    @_lifetime(buffer: copy buffer)
    private static func writeNetworkHeader(
        _ flow: FiveTuple, _ transport: TransportProtocol, _ contentByteCount: Int, into buffer: inout MutableRawSpan
    ) throws(WireError) -> Int {
        guard flow.source.family == flow.destination.family else {
            throw .malformed("addresses of two families", offset: 0)
        }
        let networkByteCount = flow.source.family == .v4 ? 20 : 40
        let byteCount = networkByteCount + contentByteCount
        guard byteCount <= 0xFFFF else { throw .malformed("payload longer than a packet", offset: 0) }
        guard buffer.byteCount >= byteCount else { throw .truncated(needed: byteCount - buffer.byteCount) }
        switch flow.source.family {
        case .v4:
            // Version 4, header length 5; do not fragment; an identification of 0 is right for that (RFC 6864 §4.1).
            buffer.storeUInt16(0x4500, at: 0)
            buffer.storeUInt16(UInt16(byteCount), at: 2)
            buffer.storeUInt32(0x0000_4000, at: 4)
            buffer.storeUInt16(UInt16(hopLimit) << 8 | UInt16(transport.rawValue), at: 8)
            buffer.storeUInt16(0, at: 10)
            buffer.storeUInt32(UInt32(truncatingIfNeeded: flow.source.low), at: 12)
            buffer.storeUInt32(UInt32(truncatingIfNeeded: flow.destination.low), at: 16)
        case .v6:
            buffer.storeUInt32(0x6000_0000, at: 0)
            buffer.storeUInt16(UInt16(contentByteCount), at: 4)
            buffer.storeUInt16(UInt16(transport.rawValue) << 8 | UInt16(hopLimit), at: 6)
            for (index, half) in [flow.source.high, flow.source.low, flow.destination.high, flow.destination.low]
                .enumerated()
            {
                buffer.storeUInt32(UInt32(truncatingIfNeeded: half >> 32), at: 8 + index * 8)
                buffer.storeUInt32(UInt32(truncatingIfNeeded: half), at: 12 + index * 8)
            }
        }
        return networkByteCount
    }

    @_lifetime(buffer: copy buffer)
    private static func copy(_ payload: RawSpan, to offset: Int, into buffer: inout MutableRawSpan) {
        for index in 0..<payload.byteCount {
            buffer.storeBytes(
                of: payload.unsafeLoad(fromByteOffset: index, as: UInt8.self), toByteOffset: offset + index,
                as: UInt8.self)
        }
    }

    private static let hopLimit: UInt8 = 64
}

extension MutableRawSpan {
    @_lifetime(self: copy self)
    mutating func storeUInt32(_ value: UInt32, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
    }
}
