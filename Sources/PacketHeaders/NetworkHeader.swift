import Octets

/// What IPv4 and IPv6 headers have in common, behind all options and extension headers.
struct NetworkHeader {
    let source: IPAddress
    let destination: IPAddress
    let hopLimit: UInt8
    private(set) var transport: TransportProtocol
    /// Bytes of the whole packet.
    let byteCount: Int
    /// Bytes behind the last network header.
    private(set) var payloadByteCount: Int
    private(set) var fragmentOffset = 0
    private(set) var moreFragments = false
    private(set) var hasOptions: Bool

    /// Whether the packet is a piece. An IPv6 atomic fragment (RFC 6946) is whole.
    var isFragment: Bool { fragmentOffset != 0 || moreFragments }

    /// RFC 791 §3.1.
    ///
    ///     |version|  IHL  |      DSCP     |         total length          |
    ///     |         identification        |flags|     fragment offset     |
    ///     |      TTL      |    protocol   |            checksum           |
    ///     |                         source address                        |
    ///     |                      destination address                      |
    ///     |                           [options]                           |
    init(parsingIPv4 reader: inout ByteReader, isOffloaded: Bool, isCut: Bool) throws(WireError) {
        let available = reader.remaining
        let headerByteCount = Int(try reader.readUInt8() & 15) * 4
        guard headerByteCount >= 20 else { throw reader.malformed("IPv4 header length below 5") }
        try reader.skip(1)
        let declared = Int(try reader.readUInt16())
        byteCount = (declared == 0 && isOffloaded) || (isCut && declared > available) ? available : declared
        guard byteCount >= headerByteCount else { throw reader.malformed("IPv4 total length below its header") }
        try reader.skip(2)
        let fragment = try reader.readUInt16()
        fragmentOffset = Int(fragment & 0x1FFF) * 8
        moreFragments = fragment & 0x2000 != 0
        hopLimit = try reader.readUInt8()
        transport = TransportProtocol(rawValue: try reader.readUInt8())
        try reader.skip(2)
        source = IPAddress(v4: try reader.readUInt32())
        destination = IPAddress(v4: try reader.readUInt32())
        payloadByteCount = byteCount - headerByteCount
        hasOptions = headerByteCount > 20
        var options = try reader.readSlice(headerByteCount - 20)
        try Self.checkIPv4Options(&options)
        try reader.require(payloadByteCount)
    }

    /// Refuses what would send the packet elsewhere: loose and strict source routes (RFC 791 §3.1, RFC 7126 §4.3).
    private static func checkIPv4Options(_ options: inout ByteReader) throws(WireError) {
        while let kind = options.peek() {
            if kind == 0 { return }
            if kind == 1 {
                try options.skip(1)
                continue
            }
            if kind == 0x83 || kind == 0x89 { throw options.malformed("IPv4 source route") }
            guard let length = options.peek(1), length >= 2, Int(length) <= options.remaining else {
                throw options.malformed("IPv4 option length")
            }
            try options.skip(Int(length))
        }
    }

    /// RFC 8200 §3, §4.
    ///
    ///     |version| traffic class |              flow label               |
    ///     |        payload length         |  next header  |   hop limit   |
    ///     |                  source address (16 bytes)                    |
    ///     |                destination address (16 bytes)                 |
    init(parsingIPv6 reader: inout ByteReader, isCut: Bool) throws(WireError) {
        try reader.skip(4)
        let length = Int(try reader.readUInt16())
        let declared = isCut ? min(length, max(0, reader.remaining - 34)) : length
        transport = TransportProtocol(rawValue: try reader.readUInt8())
        hopLimit = try reader.readUInt8()
        source = IPAddress(v6: try reader.readUInt64(), try reader.readUInt64())
        destination = IPAddress(v6: try reader.readUInt64(), try reader.readUInt64())
        byteCount = 40 + declared
        payloadByteCount = declared
        hasOptions = false
        try reader.require(declared)
        var chain = ByteReader(try reader.readSpan(declared), base: 40)
        do throws(WireError) {
            try readExtensions(&chain)
        } catch {
            throw chain.sealed(error, "IPv6 extension header longer than its packet")
        }
    }

    /// Hop-by-hop (0), routing (43), fragment (44) and destination options (60), RFC 8200 §4.3-4.6.
    private mutating func readExtensions(_ chain: inout ByteReader) throws(WireError) {
        var count = 0
        while true {
            let kind = transport.rawValue
            guard kind == 0 || kind == 43 || kind == 44 || kind == 60 else { return }
            guard kind != 0 || count == 0 else { throw chain.malformed("hop-by-hop options not first") }
            count += 1
            guard count <= Limits.extensionHeaders, chain.position <= Limits.extensionBytes else {
                throw chain.malformed("IPv6 extension header chain")
            }
            transport = TransportProtocol(rawValue: try chain.readUInt8())
            hasOptions = true
            if kind == 44 {
                try chain.skip(1)
                let fragment = try chain.readUInt16()
                try chain.skip(4)
                fragmentOffset = Int(fragment & 0xFFF8)
                moreFragments = fragment & 1 != 0
                payloadByteCount = chain.remaining
                // What follows a later piece is no header; conntrack hands whole packets to the queue.
                if isFragment { return }
                continue
            }
            let length = Int(try chain.readUInt8()) * 8 + 6
            if kind == 43 {
                guard chain.peek(1) == 0 else { throw chain.malformed("IPv6 source route") }
            }
            try chain.skip(length)
            payloadByteCount = chain.remaining
        }
    }
}
