/// An IP protocol number (IANA "Assigned Internet Protocol Numbers"). Unknown values are data.
public struct TransportProtocol: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// The number in the IPv4 protocol or IPv6 next-header field.
    public let rawValue: UInt8

    /// Wraps a protocol number.
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// RFC 792.
    public static let icmp = TransportProtocol(rawValue: 1)
    /// RFC 9293.
    public static let tcp = TransportProtocol(rawValue: 6)
    /// RFC 768.
    public static let udp = TransportProtocol(rawValue: 17)
    /// RFC 4443.
    public static let icmpv6 = TransportProtocol(rawValue: 58)

    /// `tcp`, `udp`, `icmp`, `icmpv6`, else the number.
    public var description: String {
        switch self {
        case .tcp: "tcp"
        case .udp: "udp"
        case .icmp: "icmp"
        case .icmpv6: "icmpv6"
        default: String(rawValue)
        }
    }
}

/// What names a flow: both endpoints and the transport protocol, as seen from the side that opened it.
public struct FiveTuple: Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// The address of the side that opened the flow.
    public let source: IPAddress
    /// The address that the flow goes to.
    public let destination: IPAddress
    /// The port of the side that opened the flow; 0 where the protocol has none.
    public let sourcePort: UInt16
    /// The port that the flow goes to; 0 where the protocol has none.
    public let destinationPort: UInt16
    /// TCP, UDP or another.
    public let transport: TransportProtocol

    /// A five-tuple from its parts.
    public init(
        source: IPAddress, sourcePort: UInt16, destination: IPAddress, destinationPort: UInt16,
        transport: TransportProtocol
    ) {
        self.source = source
        self.destination = destination
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        self.transport = transport
    }

    /// The same flow seen from the other side.
    public var reversed: FiveTuple {
        FiveTuple(
            source: destination, sourcePort: destinationPort, destination: source, destinationPort: sourcePort,
            transport: transport)
    }

    /// `tcp 198.18.0.2:40000 > 198.18.0.1:443`, IPv6 addresses in brackets.
    public var description: String {
        "\(transport) \(Self.endpoint(source, sourcePort)) > \(Self.endpoint(destination, destinationPort))"
    }

    private static func endpoint(_ address: IPAddress, _ port: UInt16) -> String {
        address.family == .v6 ? "[\(address)]:\(port)" : "\(address):\(port)"
    }
}
