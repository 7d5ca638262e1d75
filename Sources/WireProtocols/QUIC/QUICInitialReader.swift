public import Octets

/// Finds the ClientHellos in the client's datagrams of one UDP five-tuple.
///
/// Each Initial packet is opened with the keys of a connection that is known, or else with keys derived from its own
/// destination id: every id that opens is a connection, and each is judged. A client changes the id in the middle of its
/// ClientHello once the server has answered; the keys stay those of the first id (RFC 9001 §5.2). What does not open is
/// noise that a server drops; after a bounded number of attempts no more are made.
public struct QUICInitialReader: Sendable {
    /// A whole ClientHello.
    public struct Hello: Hashable, Sendable {
        /// The version of its connection.
        public let version: QUICVersion
        /// The message from its handshake type on.
        public let message: [UInt8]
    }

    /// What a datagram brought.
    public struct Reading: Hashable, Sendable {
        /// ClientHellos that are whole with this datagram.
        public var hellos: [Hello] = []
        /// Initial packets that were opened.
        public var openedCount = 0
        /// Packets that belong to no connection: noise, other versions, wrong tags.
        public var noiseCount = 0
        /// The last version that cannot be read, if one came.
        public var unknownVersion: QUICVersion?
    }

    private struct Connection: Sendable {
        let version: QUICVersion
        /// The destination id that its keys come from.
        let id: QUICConnectionID
        let keys: QUICInitialKeys
        var crypto = QUICCryptoStream()
        /// How many ClientHellos were reported: a second one answers a HelloRetryRequest.
        var helloCount = 0
        /// Where the CRYPTO bytes begin that were not.
        var readByteCount = 0

        /// Whether a ClientHello is awaited, or has begun.
        var isWaiting: Bool { helloCount == 0 || crypto.hasBytes(from: readByteCount) }
    }

    private var connections: [Connection] = []
    private var failedAttempts = 0

    /// A reader of a five-tuple on which nothing was sent.
    public init() {}

    /// Whether an Initial packet was opened.
    public var hasConnection: Bool { !connections.isEmpty }

    /// Whether a ClientHello has begun and is not whole yet.
    public var isWaiting: Bool { connections.contains { $0.isWaiting } }

    /// Reads a datagram with a long header. Throws `.malformed` where a packet that opens breaks a rule: the flow is refused.
    /// Packets that do not parse are noise.
    public mutating func read(_ datagram: RawSpan, opener: inout QUICInitialOpener) throws(WireError) -> Reading {
        var reading = Reading()
        var position = 0
        var first: QUICConnectionID?
        while position < datagram.byteCount {
            let rest = datagram.extracting(position..<datagram.byteCount)
            // A short header packet takes the rest; so does padding behind the last packet.
            guard QUICLongHeader.isLong(rest), let header = try? QUICLongHeader(parsing: rest) else {
                if position == 0 || QUICLongHeader.isLong(rest) { reading.noiseCount += 1 }
                break
            }
            position += header.byteCount
            // RFC 9000 §12.2: packets of one datagram have one destination; receivers should drop others.
            if let first, first != header.destination {
                reading.noiseCount += 1
                break
            }
            first = header.destination
            switch header.type {
            case .initial:
                let packet = rest.extracting(0..<header.byteCount)
                guard let connection = try open(packet, header, &opener) else {
                    reading.noiseCount += 1
                    continue
                }
                reading.openedCount += 1
                while let hello = try takeHello(connection) { reading.hellos.append(hello) }
            case .zeroRTT, .handshake, .retry: break
            case .versionNegotiation: break
            case .unknown: reading.unknownVersion = header.version
            }
        }
        return reading
    }

    /// The next ClientHello of a connection if it became whole. A client says nothing else in its Initial packets, and that
    /// twice at most (RFC 9001 §4.1.3, RFC 8446 §4.1.4).
    private mutating func takeHello(_ index: Int) throws(WireError) -> Hello? {
        guard let message = connections[index].crypto.message(at: connections[index].readByteCount) else { return nil }
        guard connections[index].helloCount < 2 else {
            throw .malformed("a third handshake message in QUIC's Initial packets", offset: 0)
        }
        connections[index].helloCount += 1
        connections[index].readByteCount += message.count
        return Hello(version: connections[index].version, message: message)
    }

    /// Opens a packet and takes its frames; the connection's index, or nil for noise.
    private mutating func open(
        _ packet: RawSpan, _ header: QUICLongHeader, _ opener: inout QUICInitialOpener
    ) throws(WireError) -> Int? {
        for index in connections.indices where connections[index].id == header.destination {
            if connections[index].version == header.version,
                let opened = opener.open(packet, header, connections[index].keys)
            {
                try takeFrames(opener.opened(opened), index)
                return index
            }
        }
        guard failedAttempts < Limits.quicAttempts else { return nil }
        guard
            let keys = QUICInitialKeys(version: header.version, destination: packet.extracting(header.destinationRange))
        else { return nil }
        if !connections.contains(where: { $0.id == header.destination && $0.version == header.version }),
            let opened = opener.open(packet, header, keys)
        {
            guard connections.count < Limits.quicConnections else {
                throw .malformed("too many QUIC connections on one five-tuple", offset: 0)
            }
            connections.append(Connection(version: header.version, id: header.destination, keys: keys))
            try takeFrames(opener.opened(opened), connections.count - 1)
            return connections.count - 1
        }
        for index in connections.indices where connections[index].version == header.version {
            if let opened = opener.open(packet, header, connections[index].keys) {
                try takeFrames(opener.opened(opened), index)
                return index
            }
        }
        failedAttempts += 1
        return nil
    }

    /// Reads the frames that an Initial packet may have (RFC 9000 §17.2.2).
    private mutating func takeFrames(_ payload: RawSpan, _ index: Int) throws(WireError) {
        var reader = ByteReader(payload)
        do throws(WireError) {
            guard !reader.isAtEnd else { throw reader.malformed("QUIC packet without frames") }
            while !reader.isAtEnd {
                switch try reader.readVariableLength() {
                case 0: reader.skipZeros()
                case 1: break
                case 2: try Self.skipAcknowledgment(&reader, hasCounts: false)
                case 3: try Self.skipAcknowledgment(&reader, hasCounts: true)
                case 6:
                    let offset = try reader.readVariableLength()
                    let length = try reader.readVariableLength()
                    guard length <= UInt64(reader.remaining) else {
                        throw reader.malformed("CRYPTO frame longer than its packet")
                    }
                    let content = try reader.readSpan(Int(length))
                    try connections[index].crypto.insert(content, at: offset)
                case 0x1C:
                    _ = try reader.readVariableLength()
                    _ = try reader.readVariableLength()
                    let length = try reader.readVariableLength()
                    guard length <= UInt64(reader.remaining) else {
                        throw reader.malformed("QUIC reason phrase longer than its packet")
                    }
                    try reader.skip(Int(length))
                default: throw reader.malformed("frame that no Initial packet has")
                }
            }
        } catch {
            throw reader.sealed(error, "QUIC frame longer than its packet")
        }
    }

    /// RFC 9000 §19.3.
    private static func skipAcknowledgment(_ reader: inout ByteReader, hasCounts: Bool) throws(WireError) {
        _ = try reader.readVariableLength()
        _ = try reader.readVariableLength()
        let count = try reader.readVariableLength()
        // Each range takes at least two bytes.
        guard count <= UInt64(reader.remaining) / 2 else {
            throw reader.malformed("ACK ranges longer than their packet")
        }
        _ = try reader.readVariableLength()
        for _ in 0..<count {
            _ = try reader.readVariableLength()
            _ = try reader.readVariableLength()
        }
        if hasCounts {
            for _ in 0..<3 { _ = try reader.readVariableLength() }
        }
    }
}
