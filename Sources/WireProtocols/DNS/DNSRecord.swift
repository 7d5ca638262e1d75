import Octets
public import PacketHeaders

/// What a record of an answer says, of the types that bind names to places.
public enum DNSRecordData: Hashable, Sendable {
    /// A or AAAA.
    case address(IPAddress)
    /// CNAME.
    case alias(DNSName)
    /// SVCB or HTTPS.
    case service(DNSServiceBinding)
    /// A type that is not read; how many bytes it has.
    case other(byteCount: Int)
}

/// The content of a SVCB or HTTPS record (RFC 9460 §2.2).
public struct DNSServiceBinding: Hashable, Sendable {
    /// 0 is the alias form.
    public let priority: UInt16
    /// The place that serves; the root for the owner itself.
    public let target: DNSName
    /// The names of `alpn` in their order.
    public let applicationProtocols: [String]
    /// The addresses of `ipv4hint` and `ipv6hint`.
    public let hints: [IPAddress]
    /// Whether `ech` is there: a client that believes it hides its server name.
    public let hasEncryptedClientHello: Bool

    /// `1 . alpn=h2,h3 ech`
    public var description: String {
        var text = "\(priority) \(target)"
        if !applicationProtocols.isEmpty { text += " alpn=" + applicationProtocols.joined(separator: ",") }
        if hasEncryptedClientHello { text += " ech" }
        return text
    }

    /// Reads all of `content`, a reader over a record's data alone.
    init(parsing content: inout ByteReader) throws(WireError) {
        priority = try content.readUInt16()
        target = try DNSName(parsing: &content, allowsCompression: false)
        var alpn: [String] = []
        var hints: [IPAddress] = []
        var hasECH = false
        var lastKey = -1
        while !content.isAtEnd {
            let key = Int(try content.readUInt16())
            guard key > lastKey else { throw content.malformed("service parameters out of order") }
            lastKey = key
            var value = try content.readSlice(Int(try content.readUInt16()))
            switch key {
            case 1:
                while !value.isAtEnd {
                    let length = Int(try value.readUInt8())
                    guard length > 0 else { throw value.malformed("empty ALPN name in a service binding") }
                    alpn.append(try value.readSpan(length).text)
                }
                guard !alpn.isEmpty else { throw value.malformed("empty alpn in a service binding") }
            case 4:
                guard value.remaining > 0, value.remaining % 4 == 0 else { throw value.malformed("ipv4hint length") }
                while !value.isAtEnd { hints.append(IPAddress(v4: try value.readUInt32())) }
            case 5: hasECH = true
            case 6:
                guard value.remaining > 0, value.remaining % 16 == 0 else { throw value.malformed("ipv6hint length") }
                while !value.isAtEnd { hints.append(IPAddress(v6: try value.readUInt64(), try value.readUInt64())) }
            default: break
            }
        }
        applicationProtocols = alpn
        self.hints = hints
        hasEncryptedClientHello = hasECH
    }
}

/// One record of an answer section.
public struct DNSRecord: Hashable, Sendable {
    /// The name that the record is about.
    public let owner: DNSName
    /// Its type.
    public let type: DNSType
    /// Seconds for which it may be kept.
    public let timeToLive: UInt32
    /// What it says.
    public let data: DNSRecordData

    /// The address, name or binding as text; nil for a type that is not read.
    public var text: String? {
        switch data {
        case .address(let address): address.description
        case .alias(let name): name.description
        case .service(let binding): binding.description
        case .other: nil
        }
    }
}
