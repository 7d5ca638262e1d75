public import Octets
public import WireProtocols

/// How far the inspection of one side of a stream got.
public enum InspectionProgress: Sendable {
    /// More bytes of this side are needed; none was consumed.
    case needMore
    /// The first `byteCount` bytes are covered by `fact`, or by nothing worth telling. Where `isBody`, no byte of them can
    /// matter again, and there may be fewer of them yet than `byteCount`.
    case step(InspectionFact?, byteCount: Int, isBody: Bool)
    /// Nothing that follows on this side is read.
    case opaque
}

/// Reads both sides of one TCP connection.
///
/// Hand `next` the contiguous bytes of a side that were not consumed yet, as long as it answers with a step. A value: a copy
/// goes on from where it was made.
public struct StreamInspector: Sendable {
    private enum Client: Sendable {
        case detecting
        case hello(ClientHelloScanner)
        case secondHello(ClientHelloScanner, host: Host?)
        case http(HTTP1RequestReader, tunnel: HTTP1Upgrade?)
        case http2(HTTP2RequestReader)
        case dns(DNSStreamReader)
        case postgres(PostgreSQLClientReader)
        case mysql(MySQLClientReader)
        case ssh
        case lines(LineProtocolReader)
        case ldap(LDAPClientReader)
        case socks(SOCKSClientReader)
        case finished
    }

    private enum Server: Sendable {
        case greeting
        /// The beginning of an answer to an HTTP request.
        case answer
        case dns(DNSStreamReader)
        case finished
    }

    /// What was recognised, outermost first.
    public private(set) var layers: [ApplicationProtocol] = []

    /// The stream of the last request of HTTP/2; nil where there was none.
    public var lastStream: UInt32? {
        guard case .http2(let reader) = client, reader.lastStream > 0 else { return nil }
        return reader.lastStream
    }

    private var client = Client.detecting
    private var server = Server.greeting
    private var greeting: ApplicationDetector.Greeting?
    private let seesBeginning: Bool
    private let readsFields: Bool
    private let maximumMessageByteCount: Int

    /// An inspector of a connection.
    /// - Parameters:
    ///   - seesBeginning: false where some of it was sent unseen, so that a side's first bytes need not be the first ones that
    ///     it sent.
    ///   - readsFields: whether requests come with their header fields and URL.
    ///   - maximumMessageByteCount: bounds a ClientHello with its records, and a request's head.
    public init(
        seesBeginning: Bool = true, readsFields: Bool = false,
        maximumMessageByteCount: Int = Limits.clientHelloBytes
    ) {
        self.seesBeginning = seesBeginning
        self.readsFields = readsFields
        self.maximumMessageByteCount = maximumMessageByteCount
    }

    /// How many of the client's next bytes are of a body for sure: `next` gives them back as a body without reading them.
    public var remainingBodyByteCount: Int {
        switch client {
        case .http(let reader, _): Int(clamping: reader.remainingBodyByteCount ?? 0)
        case .http2(let reader): reader.remainingPayloadByteCount
        default: 0
        }
    }

    /// Whether nothing more of the client is read.
    public var isClientFinished: Bool { if case .finished = client { true } else { false } }

    /// Whether nothing more of the server is read.
    public var isServerFinished: Bool { if case .finished = server { true } else { false } }

    /// Whether `bytes`, the first ones of a side that need not be the client's, could only be a client's.
    public static func isClientBeginning(_ bytes: RawSpan) -> Bool {
        if case .found = ApplicationDetector.detectClient(bytes) { true } else { false }
    }

    /// Whether `bytes`, the first ones of a side that need not be the server's, could only be a server's.
    public static func isServerBeginning(_ bytes: RawSpan) -> Bool {
        if case .message(let message, _)? = try? DNSStreamReader().next(bytes), message.isResponse { return true }
        return ApplicationDetector.isAnswer(bytes) == true
    }

    /// Reads on. Throws `.malformed` where the flow is to be refused.
    public mutating func next(
        _ side: StreamSide, _ bytes: RawSpan, scratch: inout InspectionScratch
    ) throws(WireError) -> InspectionProgress {
        do throws(WireError) {
            return side == .client ? try nextOfClient(bytes, &scratch) : try nextOfServer(bytes)
        } catch {
            client = .finished
            server = .finished
            throw error
        }
    }

    private mutating func nextOfServer(_ bytes: RawSpan) throws(WireError) -> InspectionProgress {
        switch server {
        case .finished: return .opaque
        case .greeting:
            guard bytes.byteCount > 0 else { return .needMore }
            guard layers.isEmpty else {
                server = .finished
                return .opaque
            }
            if !seesBeginning, case .message(let message, _)? = try? DNSStreamReader().next(bytes), message.isResponse {
                return enter(.dns)
            }
            let found = ApplicationDetector.detectServer(bytes)
            if case .needMore = found { return .needMore }
            greeting = found
            server = .finished
            switch found {
            case .ssh(let identification):
                return .step(.software(identification.text, .server), byteCount: identification.byteCount, isBody: true)
            case .mysql(let version): return .step(.software(version, .server), byteCount: 0, isBody: true)
            case .ready, .imap, .pop3, .other, .needMore: return .opaque
            }
        case .answer:
            guard let isOther = ApplicationDetector.isAnswerOfAnother(bytes) else { return .needMore }
            // The client's requests were read as HTTP, and something else has read them.
            guard !isOther else { throw .malformed("answer of another protocol than the request's", offset: 0) }
            server = .finished
            return .opaque
        case .dns(let reader):
            switch try reader.next(bytes) {
            case .needMore: return .needMore
            case .message(let message, let byteCount): return .step(.dns(message), byteCount: byteCount, isBody: true)
            }
        }
    }

    private mutating func nextOfClient(
        _ bytes: RawSpan, _ scratch: inout InspectionScratch
    ) throws(WireError) -> InspectionProgress {
        switch client {
        case .finished: return .opaque
        case .detecting: return try detect(bytes)
        case .hello, .secondHello: return try nextOfTLS(bytes, &scratch)
        case .http(let reader, let tunnel): return try nextOfHTTP(bytes, reader, tunnel)
        case .http2(var reader):
            // Given up while it is worked on, so that its table is changed in place.
            client = .finished
            let event = try reader.next(bytes)
            client = .http2(reader)
            switch event {
            case .needMore: return .needMore
            case .request(let request, let byteCount):
                return .step(
                    .request(InspectedRequest(request, readsFields: readsFields)), byteCount: byteCount, isBody: false)
            case .block(let byteCount), .framing(let byteCount):
                return .step(nil, byteCount: byteCount, isBody: false)
            case .payload(let byteCount): return .step(nil, byteCount: byteCount, isBody: true)
            }
        case .dns(let reader):
            switch try reader.next(bytes) {
            case .needMore: return .needMore
            case .message(let message, let byteCount): return .step(.dns(message), byteCount: byteCount, isBody: false)
            }
        case .postgres(var reader):
            let event = try reader.next(bytes)
            client = .postgres(reader)
            switch event {
            case .needMore: return .needMore
            case .encryptionRequest(_, let byteCount): return .step(nil, byteCount: byteCount, isBody: false)
            case .tls: return enter(.tls)
            case .cancel(let byteCount):
                client = .finished
                return .step(nil, byteCount: byteCount, isBody: false)
            case .startup(let startup, let byteCount):
                client = .finished
                return .step(
                    .login(user: startup.user, database: startup.database), byteCount: byteCount, isBody: false)
            }
        case .mysql(let reader):
            switch try reader.next(bytes) {
            case .needMore: return .needMore
            case .encryptionRequest(let byteCount):
                client = .detecting
                return .step(nil, byteCount: byteCount, isBody: false)
            case .login(let login, let byteCount):
                client = .finished
                return .step(.login(user: login.user, database: login.schema), byteCount: byteCount, isBody: false)
            }
        case .ssh:
            guard let found = try SSHIdentification.read(bytes, isServer: false) else { return .needMore }
            client = .finished
            return .step(.software(found.text, .client), byteCount: found.byteCount, isBody: false)
        case .lines(var reader):
            let event = try reader.next(bytes)
            client = .lines(reader)
            switch event {
            case .needMore: return .needMore
            case .command(let byteCount): return .step(nil, byteCount: byteCount, isBody: false)
            case .tls: return enter(.tls)
            case .finished:
                client = .finished
                return .opaque
            }
        case .ldap(var reader):
            let event = try reader.next(bytes)
            client = .ldap(reader)
            switch event {
            case .needMore: return .needMore
            case .message(let byteCount): return .step(nil, byteCount: byteCount, isBody: false)
            case .tls: return enter(.tls)
            case .finished:
                client = .finished
                return .opaque
            }
        case .socks(var reader):
            let event = try reader.next(bytes)
            client = .socks(reader)
            switch event {
            case .needMore: return .needMore
            case .negotiation(let byteCount): return .step(nil, byteCount: byteCount, isBody: false)
            case .request(let request, let byteCount):
                client = request.command == 1 ? .detecting : .finished
                return .step(.proxyRequest(request), byteCount: byteCount, isBody: false)
            }
        }
    }

    /// Finds out what the client speaks, at the beginning or within a tunnel.
    private mutating func detect(_ bytes: RawSpan) throws(WireError) -> InspectionProgress {
        guard bytes.byteCount > 0 else { return .needMore }
        if layers.isEmpty, let greeting {
            let expected: ApplicationProtocol? =
                switch greeting {
                case .ssh: .ssh
                case .mysql: .mysql
                case .imap: .imap
                case .pop3: .pop3
                case .ready:
                    switch ApplicationDetector.detectReadyClient(bytes) {
                    case .found(let application): application
                    case .needMore: nil
                    case .unknown: .unknown
                    }
                case .other, .needMore: nil
                }
            if let expected, expected != .unknown {
                // What the server has said of itself is what will read these bytes.
                guard expected == .ssh else { return enter(expected) }
                switch ApplicationDetector.detectClient(bytes) {
                case .found(.ssh): break
                case .needMore: return .needMore
                case .found, .unknown: throw .malformed("another protocol than the server's greeting", offset: 0)
                }
                return enter(expected)
            }
            if expected == nil, case .ready = greeting { return .needMore }
        }
        switch ApplicationDetector.detectClient(bytes) {
        case .needMore: return .needMore
        case .unknown: return enter(.unknown)
        case .found(let application): return enter(application)
        }
    }

    /// Begins to read what was recognised.
    private mutating func enter(_ application: ApplicationProtocol) -> InspectionProgress {
        layers.append(application)
        if case .greeting = server, application != .ssh { server = .finished }
        switch application {
        case .tls: client = .hello(ClientHelloScanner(maximumByteCount: maximumMessageByteCount))
        case .http:
            client = .http(HTTP1RequestReader(maximumHeadByteCount: maximumMessageByteCount), tunnel: nil)
            if layers.count == 1, seesBeginning { server = .answer }
        case .h2c: client = .http2(HTTP2RequestReader())
        case .dns:
            client = .dns(DNSStreamReader())
            server = .dns(DNSStreamReader())
        case .postgres: client = .postgres(PostgreSQLClientReader())
        case .mysql: client = .mysql(MySQLClientReader())
        case .ssh: client = .ssh
        case .smtp: client = .lines(LineProtocolReader(.smtp))
        case .imap: client = .lines(LineProtocolReader(.imap))
        case .pop3: client = .lines(LineProtocolReader(.pop3))
        case .ftp: client = .lines(LineProtocolReader(.ftp))
        case .ldap: client = .ldap(LDAPClientReader())
        case .socks: client = .socks(SOCKSClientReader())
        case .unknown: (client, server) = (.finished, .finished)
        case .redis, .mongodb, .mqtt, .bittorrent, .websocket, .quic, .mdns, .llmnr: client = .finished
        }
        return .step(.speaks(application), byteCount: 0, isBody: true)
    }

    /// The ClientHello, and a second one that answers a HelloRetryRequest.
    private mutating func nextOfTLS(
        _ bytes: RawSpan, _ scratch: inout InspectionScratch
    ) throws(WireError) -> InspectionProgress {
        switch client {
        case .hello(var scanner):
            let progress = try scanner.scan(bytes)
            client = .hello(scanner)
            guard case .hello(let byteCount) = progress else { return .needMore }
            let hello = try ClientHelloSummary(parsing: try scratch.hello.message(found: scanner, in: bytes))
            client = .secondHello(
                ClientHelloScanner(.second(afterEarlyData: hello.offersEarlyData)), host: hello.host)
            return .step(.hello(hello, quic: nil), byteCount: byteCount, isBody: false)
        case .secondHello(var scanner, let host):
            switch try scanner.scan(bytes) {
            case .needMore:
                let skipped = scanner.takeSkipped()
                client = .secondHello(scanner, host: host)
                return skipped > 0 ? .step(nil, byteCount: skipped, isBody: false) : .needMore
            case .finished:
                client = .finished
                return .opaque
            case .hello(let byteCount):
                let hello = try ClientHelloSummary(parsing: try scratch.hello.message(found: scanner, in: bytes))
                guard hello.host == host else {
                    throw .malformed("second ClientHello with another server name", offset: 0)
                }
                client = .secondHello(ClientHelloScanner(.second(afterEarlyData: false)), host: host)
                return .step(.hello(hello, quic: nil), byteCount: byteCount, isBody: false)
            }
        default: return .opaque
        }
    }

    /// Requests of HTTP/1, and what a connection becomes by CONNECT or Upgrade.
    private mutating func nextOfHTTP(
        _ bytes: RawSpan, _ current: HTTP1RequestReader, _ tunnel: HTTP1Upgrade?
    ) throws(WireError) -> InspectionProgress {
        var reader = current
        let event = try reader.next(bytes)
        client = .http(reader, tunnel: tunnel)
        switch event {
        case .needMore: return .needMore
        case .head(let head):
            client = .http(reader, tunnel: head.isConnect ? nil : head.upgrade)
            return .step(
                .request(InspectedRequest(head, in: bytes, readsFields: readsFields)), byteCount: head.byteCount,
                isBody: false)
        case .framing(let byteCount, _): return .step(nil, byteCount: byteCount, isBody: false)
        case .body(let byteCount, _): return .step(nil, byteCount: byteCount, isBody: true)
        case .tunnel:
            guard let tunnel else {
                client = .detecting
                return .step(nil, byteCount: 0, isBody: true)
            }
            guard bytes.byteCount > 0 else { return .needMore }
            switch ProtocolDetector.detect(bytes) {
            case .needMore: return .needMore
            case .http1:
                // The server did not agree.
                reader.resumeRequests()
                client = .http(reader, tunnel: nil)
                return .step(nil, byteCount: 0, isBody: true)
            case .http2 where tunnel.contains(.http2): return enter(.h2c)
            case .http2, .tls, .unknown:
                guard tunnel.contains(.webSocket) else { return enter(.unknown) }
                guard let isFrame = Self.isWebSocketFrame(bytes) else { return .needMore }
                return enter(isFrame ? .websocket : .unknown)
            }
        }
    }

    /// Whether a client's frame begins here (RFC 6455 §5.2): a data or control frame that begins a message, masked. Nil where
    /// more bytes are needed. No server takes these bytes for a request: whether it agreed to the upgrade need not be known.
    private static func isWebSocketFrame(_ bytes: RawSpan) -> Bool? {
        guard bytes.byteCount >= 2 else { return nil }
        let first = bytes.byte(at: 0)
        // RSV1 is permessage-deflate's, on whole messages or first fragments (RFC 7692 §6).
        guard [1, 2, 8, 9, 10].contains(first & 0x0F), first & 0x30 == 0, bytes.byte(at: 1) & 0x80 != 0 else {
            return false
        }
        return first & 0x08 == 0 || first & 0xC0 == 0x80
    }
}
