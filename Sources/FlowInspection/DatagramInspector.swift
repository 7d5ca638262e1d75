public import Octets
import WireProtocols

/// What became of a datagram, for whoever decides whether it may go on.
public enum DatagramContent: Hashable, Sendable {
    /// All of it that could name a destination was read, and told.
    case read
    /// It belongs to a connection whose ClientHello is not whole yet, or has not come.
    case waiting
    /// Some of it belongs to no connection that is known: what a server makes of it cannot be said.
    case noise
}

/// Reads both sides of one UDP five-tuple.
///
/// QUIC's connections are kept between calls; a DNS message is whole in its datagram. Ports matter in one place: multicast DNS
/// and LLMNR have DNS's format and differ from it by their port alone.
public struct DatagramInspector: Sendable {
    /// What was recognised first; nil while nothing was.
    public private(set) var application: ApplicationProtocol?

    private let namesakes: ApplicationProtocol?
    private let expectsDNS: Bool
    private var quic = QUICInitialReader()

    /// An inspector of a five-tuple with these ports.
    public init(sourcePort: UInt16, destinationPort: UInt16) {
        let ports = [sourcePort, destinationPort]
        namesakes =
            ports.contains(5353) ? .mdns : ports.contains(5355) ? .llmnr : ports.contains(137) ? .unknown : nil
        expectsDNS = ports.contains(53)
    }

    /// Reads a datagram's payload and gives each fact to `body`. Throws `.malformed` where the flow is to be refused.
    @discardableResult
    public mutating func read(
        _ datagram: RawSpan, scratch: inout InspectionScratch, _ body: (InspectionFact) -> Void
    ) throws(WireError) -> DatagramContent {
        guard datagram.byteCount > 0 else { return .noise }
        let isLong = QUICLongHeader.isLong(datagram)
        if isLong, let content = try readQUIC(datagram, &scratch, body) { return content }
        // A flow that is QUIC stays QUIC: other datagrams on it are its protected packets, or noise.
        guard application != .quic else {
            if !isLong, let version = Self.googleVersion(datagram) {
                body(.unknownVersion(version))
                return .noise
            }
            return isLong ? .noise : isReady ? .read : .waiting
        }
        try readOther(datagram, body)
        return .read
    }

    /// Whether a ClientHello of each connection was read.
    private var isReady: Bool { quic.hasConnection && !quic.isWaiting }

    /// Reads a datagram of which only the beginning was captured: the question of a DNS message, at DNS's port. Nothing else
    /// can be said of it.
    public mutating func readCut(_ datagram: RawSpan, _ body: (InspectionFact) -> Void) {
        guard expectsDNS, namesakes == nil, let question = DNSMessage.question(ofCut: datagram) else {
            return settle(.unknown, body)
        }
        settle(.dns, body)
        body(.question(question, isResponse: datagram.byte(at: 2) & 0x80 != 0))
    }

    /// Reads a datagram with the long-header bit; nil where it is no QUIC.
    private mutating func readQUIC(
        _ datagram: RawSpan, _ scratch: inout InspectionScratch, _ body: (InspectionFact) -> Void
    ) throws(WireError) -> DatagramContent? {
        guard datagram.byteCount >= 7, datagram.byte(at: 0) & 0x40 != 0 || application == .quic else { return nil }
        let version = QUICVersion(
            rawValue: UInt32(bigEndian: datagram.unsafeLoadUnaligned(fromByteOffset: 1, as: UInt32.self)))
        guard version.isPlausible || (application == .quic && version == .negotiation) else { return nil }
        let reading = try quic.read(datagram, opener: &scratch.opener)
        if let unknown = reading.unknownVersion, application == nil || application == .quic {
            settle(.quic, body)
            body(.unknownVersion(unknown))
        }
        if reading.openedCount > 0 { settle(.quic, body) }
        for hello in reading.hellos {
            let summary = try ClientHelloSummary(parsing: hello.message.span.bytes, overQUIC: true)
            body(.hello(summary, quic: hello.version))
        }
        if reading.noiseCount > 0 || reading.unknownVersion != nil { return .noise }
        return isReady ? .read : .waiting
    }

    private mutating func readOther(_ datagram: RawSpan, _ body: (InspectionFact) -> Void) throws(WireError) {
        if let namesakes {
            settle(namesakes, body)
            return
        }
        do throws(WireError) {
            let message = try DNSMessage(parsing: datagram)
            // Off its port only a message that asks in the internet's class counts.
            guard expectsDNS || application == .dns || message.question?.recordClass == 1 else {
                return settle(.unknown, body)
            }
            settle(.dns, body)
            body(.dns(message))
        } catch {
            if Self.isDistributedHashTable(datagram) { return settle(.bittorrent, body) }
            guard expectsDNS, application == nil || application == .dns else { return settle(.unknown, body) }
            settle(.dns, body)
            // What was asked is worth a record, though the message is refused.
            if let question = DNSMessage.question(ofCut: datagram) {
                body(.question(question, isResponse: datagram.byte(at: 2) & 0x80 != 0))
            }
            throw ByteReader(datagram).sealed(error, "DNS message ends too early")
        }
    }

    /// The version in a datagram of Google's QUIC, whose versions up to 43 have no long headers: public flags with the version
    /// bit, a connection id where its bit is set, and `Q0` with two digits. Some servers still speak them beside QUIC.
    private static func googleVersion(_ datagram: RawSpan) -> QUICVersion? {
        let flags = datagram.byte(at: 0)
        guard flags & 0xC1 == 0x01 else { return nil }
        let offset = flags & 0x08 == 0 ? 1 : 9
        guard datagram.byteCount >= offset + 4 else { return nil }
        let version = UInt32(bigEndian: datagram.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
        return version >> 16 == 0x5130 ? QUICVersion(rawValue: version) : nil
    }

    /// BEP 5: a bencoded dictionary with an argument, an answer or an error.
    private static func isDistributedHashTable(_ datagram: RawSpan) -> Bool {
        guard datagram.byteCount >= 20, datagram.byte(at: datagram.byteCount - 1) == UInt8(ascii: "e") else {
            return false
        }
        for text in ["d1:ad2:id20:", "d1:rd2:id20:", "d1:eli"] {
            var matches = true
            for (index, byte) in text.utf8.enumerated() where datagram.byte(at: index) != byte { matches = false }
            if matches { return true }
        }
        return false
    }

    private mutating func settle(_ found: ApplicationProtocol, _ body: (InspectionFact) -> Void) {
        guard application == nil || (application == .unknown && found != .unknown) else { return }
        application = found
        body(.speaks(found))
    }
}
