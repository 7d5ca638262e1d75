public import Octets

/// One IP packet's headers: whose flow it is, where each part lies, what TCP says. A plain value without references; the
/// bytes stay with the caller, and every range counts from the first byte of the IP header.
///
/// Life of a packet here: IPv4 or IPv6 by the version nibble, its options or extension headers walked (bounded), the
/// transport header located, the payload cut at the length that the headers declare. A header that contradicts another,
/// or that sends the packet elsewhere than its destination address says (source routes), is malformed.
public struct Packet: Hashable, Sendable, BitwiseCopyable {
    /// Both endpoints as this packet carries them. Ports are 0 where the transport has none and in a fragment.
    public let flow: FiveTuple
    /// IPv4 time to live or IPv6 hop limit.
    public let hopLimit: UInt8
    /// Bytes of the whole packet as its IP header declares it; bytes behind it do not belong to it.
    public let byteCount: Int
    /// Where the transport header begins; in a fragment where its piece begins.
    public let transportOffset: Int
    /// The transport's payload: what TCP or UDP carry, for others what follows the IP headers.
    public let payload: ByteRange
    /// What the transport header says.
    public let transport: TransportHeader
    /// Whether an IPv4 option or an IPv6 extension header is there.
    public let hasNetworkOptions: Bool

    /// Reads a packet that starts with its IP header.
    ///
    /// Throws `.truncated` where the span ends before the packet's declared end, `.malformed` for headers that no receiver
    /// should take.
    ///
    /// - Parameter isOffloaded: an IPv4 total length of 0 means all of the span: a capture file may have the packet from
    ///   before the card cut it into segments. Never for a packet that is to be judged.
    /// - Parameter isCut: the end of the span is the end of the packet, whatever the lengths say: a capture file may keep but
    ///   the beginning of each. Never for a packet that is to be judged.
    public init(parsing bytes: RawSpan, isOffloaded: Bool = false, isCut: Bool = false) throws(WireError) {
        var reader = ByteReader(bytes)
        guard let first = reader.peek() else { throw .truncated(needed: 1) }
        let network: NetworkHeader =
            switch first >> 4 {
            case 4: try NetworkHeader(parsingIPv4: &reader, isOffloaded: isOffloaded, isCut: isCut)
            case 6: try NetworkHeader(parsingIPv6: &reader, isCut: isCut)
            default: throw reader.malformed("IP version")
            }
        hopLimit = network.hopLimit
        byteCount = network.byteCount
        transportOffset = network.byteCount - network.payloadByteCount
        hasNetworkOptions = network.hasOptions

        // The declared end is inside the span: from here on, running out of bytes is a lie of the headers.
        var body = ByteReader(bytes.extracting(transportOffset..<byteCount), base: transportOffset)
        let header: TransportHeader
        var ports: (UInt16, UInt16) = (0, 0)
        var end = byteCount
        do throws(WireError) {
            switch network.transport {
            case _ where network.isFragment:
                header = .fragment(offset: network.fragmentOffset, more: network.moreFragments)
            case .tcp:
                ports = (try body.readUInt16(), try body.readUInt16())
                header = .tcp(try TCPHeader(parsing: &body, startingAt: transportOffset))
            case .udp:
                ports = (try body.readUInt16(), try body.readUInt16())
                let declared = Int(try body.readUInt16())
                let length = isCut ? min(declared, network.payloadByteCount) : declared
                guard length >= 8, length <= network.payloadByteCount else { throw body.malformed("UDP length") }
                try body.skip(2)
                end = transportOffset + length
                header = .udp
            case .icmp where network.source.family == .v4, .icmpv6 where network.source.family == .v6:
                header = .icmp(type: try body.readUInt8(), code: try body.readUInt8())
                try body.skip(6)
            default:
                header = .other
            }
        } catch {
            throw body.sealed(error, "transport header longer than its packet")
        }
        transport = header
        payload = ByteRange(body.offset..<end)
        flow = FiveTuple(
            source: network.source, sourcePort: ports.0, destination: network.destination, destinationPort: ports.1,
            transport: network.transport)
    }

    /// The TCP header, if this is TCP and no fragment.
    public var tcp: TCPHeader? {
        if case .tcp(let header) = transport { header } else { nil }
    }

    /// Whether this is a piece of a larger packet.
    public var isFragment: Bool {
        if case .fragment = transport { true } else { false }
    }
}

/// The transport part of a `Packet`.
public enum TransportHeader: Hashable, Sendable, BitwiseCopyable {
    /// RFC 9293.
    case tcp(TCPHeader)
    /// RFC 768; everything it says is in the ports and the payload's range.
    case udp
    /// RFC 792, RFC 4443; the payload begins behind the eight bytes that every message has.
    case icmp(type: UInt8, code: UInt8)
    /// A piece of a larger packet: `offset` bytes into it, with `more` to come. No port is read.
    case fragment(offset: Int, more: Bool)
    /// Any other protocol, unread.
    case other
}
