import Octets
import Testing
import WireProtocols

@testable import FlowInspection

/// What an inspector tells of the bytes of both sides, as text.
struct StreamTrace: Equatable {
    var lines: [String] = []
    var layers: [ApplicationProtocol] = []

    /// Reads `turns`, each of a side, handed over in pieces of at most `size` bytes.
    init(_ turns: [(StreamSide, [UInt8])], size: Int = .max) {
        var inspector = StreamInspector()
        var scratch = InspectionScratch()
        var pending: [StreamSide: [UInt8]] = [:]
        var skip: [StreamSide: Int] = [:]
        do throws(WireError) {
            for (side, bytes) in turns {
                for start in stride(from: 0, to: bytes.count, by: min(size, max(1, bytes.count))) {
                    let end = size > bytes.count ? bytes.count : min(bytes.count, start + size)
                    var piece = Array(bytes[start..<end])
                    let skipped = min(skip[side, default: 0], piece.count)
                    piece.removeFirst(skipped)
                    skip[side, default: 0] -= skipped
                    pending[side, default: []] += piece
                    // Either side may be able to go on by what the other said.
                    for other in [side, .client, .server] {
                        try Self.drain(other, &inspector, &scratch, &pending, &skip, &lines)
                    }
                }
            }
        } catch {
            lines.append(error.text.split(separator: " (").first.map(String.init) ?? "")
        }
        layers = inspector.layers
    }

    private static func drain(
        _ side: StreamSide, _ inspector: inout StreamInspector, _ scratch: inout InspectionScratch,
        _ pending: inout [StreamSide: [UInt8]], _ skip: inout [StreamSide: Int], _ lines: inout [String]
    ) throws(WireError) {
        while true {
            let bytes = pending[side] ?? []
            guard case .step(let fact, let byteCount, _) = try inspector.next(side, bytes.span.bytes, scratch: &scratch)
            else { return }
            if let fact { lines.append(text(fact)) }
            pending[side]?.removeFirst(min(byteCount, bytes.count))
            skip[side, default: 0] += max(0, byteCount - bytes.count)
        }
    }

    private static func text(_ fact: InspectionFact) -> String {
        switch fact {
        case .speaks(let application): "speaks \(application.rawValue)"
        case .hello(let hello, _): "hello \(hello.host?.description ?? "-")"
        case .request(let request):
            "request \(request.method) \(request.authority?.description ?? "-") \(request.path)"
        case .dns(let message):
            "dns \(message.isResponse ? "answer" : "query") \(message.question?.name.description ?? "-")"
        case .question(let question, _): "question \(question.name)"
        case .login(let user, let database): "login \(user) \(database ?? "-")"
        case .software(let text, let side): "\(side) is \(text)"
        case .proxyRequest(let request): "proxy \(request.host):\(request.port)"
        case .unknownVersion(let version): "version \(version)"
        }
    }
}

@Suite struct StreamInspectorTests {
    static func ascii(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// A ClientHello with this server name, in one record.
    static func hello(_ name: String) -> [UInt8] {
        func vector(_ content: [UInt8]) -> [UInt8] {
            [UInt8(content.count >> 8), UInt8(content.count & 255)] + content
        }
        let serverName = [0, 0] + vector(vector([0] + vector(ascii(name))))
        let versions: [UInt8] = [0, 43, 0, 3, 2, 3, 4]
        let body =
            [3, 3] + Array(repeating: 7, count: 32) + [0] + vector([0x13, 1]) + [1, 0] + vector(serverName + versions)
        return [22, 3, 1] + vector([1, 0] + vector(body))
    }

    static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
        [0, UInt8(payload.count >> 8), UInt8(payload.count & 255), type, flags, 0, 0, 0, stream] + payload
    }

    static let preface = ascii("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + frame(4, 0, 0, [])
    /// GET, http, `/`, and the authority as a literal that is put into the table.
    static let block: [UInt8] = [0x82, 0x86, 0x84, 0x41, 11] + ascii("grpc.test:1")
    /// The same by its index in the table.
    static let indexed: [UInt8] = [0x82, 0x86, 0x84, 0xBE]
    static let query: [UInt8] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 1, 98, 0, 0, 1, 0, 1]
    static let answer: [UInt8] = [0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 1, 98, 0, 0, 1, 0, 1]

    static func startup(_ pairs: String...) -> [UInt8] {
        let text = pairs.flatMap { ascii($0) + [0] } + [0]
        return [0, 0, 0, UInt8(text.count + 8), 0, 3, 0, 0] + text
    }

    static let encryptionRequest: [UInt8] = [0, 0, 0, 8, 4, 0xD2, 0x16, 0x2F]
    static let greeting: [UInt8] =
        [74, 0, 0, 0, 10] + ascii("8.0.36") + Array(repeating: 0, count: 67)
    static func mysqlLogin(_ capabilities: UInt8, _ tail: [UInt8]) -> [UInt8] {
        [UInt8(32 + tail.count), 0, 0, 1, 0x08, capabilities, 0, 0, 0, 0, 0, 1, 33] + Array(repeating: 0, count: 23)
            + tail
    }

    static let conversations: [([(StreamSide, [UInt8])], [String])] = [
        ([(.client, hello("a.example"))], ["speaks tls", "hello a.example"]),
        (
            [(.client, ascii("GET /x HTTP/1.1\r\nHost: b.example\r\n\r\n")), (.server, ascii("HTTP/1.1 200 OK\r\n"))],
            ["speaks http", "request GET b.example /x"]
        ),
        (
            [
                (.client, ascii("CONNECT c.example:443 HTTP/1.1\r\n\r\n")), (.server, ascii("HTTP/1.1 200 OK\r\n\r\n")),
                (.client, hello("d.example")),
            ],
            ["speaks http", "request CONNECT c.example:443 c.example:443", "speaks tls", "hello d.example"]
        ),
        (
            [
                (.client, ascii("GET / HTTP/1.1\r\nHost: w.example\r\nUpgrade: websocket\r\n\r\n")),
                (.client, [0x81, 0x85, 1, 2, 3, 4, 0, 0, 0, 0, 0]),
            ],
            ["speaks http", "request GET w.example /", "speaks websocket"]
        ),
        (
            [
                (.client, preface + frame(1, 4, 1, block) + frame(0, 1, 1, [1, 2, 3])),
                (.client, frame(1, 0, 3, Array(indexed[..<2])) + frame(9, 4, 3, Array(indexed[2...]))),
                (.client, frame(1, 0x2D, 5, [1, 0, 0, 0, 0, 16] + indexed + [0])),
            ],
            [
                "speaks h2c", "request GET grpc.test:1 /", "request GET grpc.test:1 /", "request GET grpc.test:1 /",
            ]
        ),
        (
            [
                (.client, ascii("GET / HTTP/1.1\r\nHost: u.example\r\nUpgrade: h2c\r\n\r\n")),
                (.client, preface + frame(1, 5, 3, block)),
            ],
            ["speaks http", "request GET u.example /", "speaks h2c", "request GET grpc.test:1 /"]
        ),
        (
            [(.client, [0, 21] + query + [0, 21] + query), (.server, [0, 21] + answer)],
            ["speaks dns", "dns query a.b", "dns query a.b", "dns answer a.b"]
        ),
        (
            [(.client, startup("user", "u", "database", "d"))], ["speaks postgres", "login u d"]
        ),
        (
            [(.client, encryptionRequest), (.server, [0x53]), (.client, hello("pg.example"))],
            ["speaks postgres", "speaks tls", "hello pg.example"]
        ),
        (
            [(.client, encryptionRequest), (.server, [0x4E]), (.client, startup("user", "u"))],
            ["speaks postgres", "login u u"]
        ),
        (
            [(.server, greeting), (.client, mysqlLogin(0x82, ascii("root") + [0, 2, 1, 1] + ascii("shop") + [0]))],
            ["server is 8.0.36", "speaks mysql", "login root shop"]
        ),
        (
            [(.server, greeting), (.client, mysqlLogin(0x8A, [])), (.client, hello("my.example"))],
            ["server is 8.0.36", "speaks mysql", "speaks tls", "hello my.example"]
        ),
        (
            [(.server, ascii("Welcome\r\nSSH-2.0-S\r\n")), (.client, ascii("SSH-2.0-C\r\n"))],
            ["server is SSH-2.0-S", "speaks ssh", "client is SSH-2.0-C"]
        ),
        (
            [
                (.server, ascii("220 mail ESMTP\r\n")), (.client, ascii("EHLO me\r\n")),
                (.server, ascii("250 STARTTLS\r\n")),
                (.client, ascii("STARTTLS\r\n")), (.server, ascii("220 go\r\n")), (.client, hello("mx.example")),
            ],
            ["speaks smtp", "speaks tls", "hello mx.example"]
        ),
        (
            [
                (.server, ascii("* OK ready\r\n")), (.client, ascii("a1 STARTTLS\r\n")),
                (.client, hello("imap.example")),
            ],
            ["speaks imap", "speaks tls", "hello imap.example"]
        ),
        (
            [(.server, ascii("+OK\r\n")), (.client, ascii("STLS\r\n")), (.client, hello("pop.example"))],
            ["speaks pop3", "speaks tls", "hello pop.example"]
        ),
        (
            [(.server, ascii("220 FTP\r\n")), (.client, ascii("AUTH TLS\r\n")), (.client, hello("ftp.example"))],
            ["speaks ftp", "speaks tls", "hello ftp.example"]
        ),
        (
            [
                (.client, [0x30, 0x1D, 2, 1, 1, 0x77, 0x18, 0x80, 0x16] + ascii("1.3.6.1.4.1.1466.20037")),
                (.client, hello("ldap.example")),
            ],
            ["speaks ldap", "speaks tls", "hello ldap.example"]
        ),
        (
            [
                (.client, [5, 1, 0]), (.server, [5, 0]), (.client, [5, 1, 0, 3, 9] + ascii("s.example") + [1, 187]),
                (.client, hello("t.example")),
            ],
            ["speaks socks", "proxy s.example:443", "speaks tls", "hello t.example"]
        ),
        (
            [(.client, [4, 1, 0, 80, 0, 0, 0, 1] + ascii("me") + [0] + ascii("four.example") + [0])],
            ["speaks socks", "proxy four.example:80"]
        ),
        ([(.client, ascii("*1\r\n$4\r\nPING\r\n"))], ["speaks redis"]),
        ([(.client, [21, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xDD, 7, 0, 0, 0])], ["speaks mongodb"]),
        ([(.client, [0x10, 16, 0, 4] + ascii("MQTT") + [4, 2, 0, 60])], ["speaks mqtt"]),
        ([(.client, [19] + ascii("BitTorrent protocol") + [0])], ["speaks bittorrent"]),
        ([(.client, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])], ["speaks unknown"]),
    ]

    @Test("reads each protocol, and in every split the same", arguments: 0..<conversations.count)
    func conversation(index: Int) {
        let (turns, lines) = Self.conversations[index]
        let whole = StreamTrace(turns)
        #expect(whole.lines == lines)
        for size in [1, 2, 3, 5, 8, 13, 21, 64] {
            #expect(StreamTrace(turns, size: size) == whole, "pieces of \(size)")
        }
        for cut in 1..<max(2, turns[0].1.count) {
            let first = turns[0]
            guard cut < first.1.count else { continue }
            let split = [(first.0, Array(first.1[..<cut])), (first.0, Array(first.1[cut...]))] + turns.dropFirst()
            #expect(StreamTrace(split) == whole, "cut at \(cut)")
        }
    }

    @Test("every flipped byte returns or throws", arguments: 0..<conversations.count)
    func flips(index: Int) {
        let turns = Self.conversations[index].0
        for turn in turns.indices {
            for byte in turns[turn].1.indices {
                var changed = turns
                changed[turn].1[byte] ^= [0x01, 0x20, 0x80, 0xFF][byte % 4]
                _ = StreamTrace(changed)
            }
        }
    }

    @Test(
        "refuses what contradicts itself",
        arguments: [
            ([(.client, preface + frame(1, 4, 2, block))], "HTTP/2 HEADERS on a stream that is no client's"),
            ([(.client, preface + frame(1, 0, 1, block) + frame(0, 0, 1, []))], "HTTP/2 frame within a header block"),
            ([(.client, preface + frame(9, 4, 1, block))], "CONTINUATION without HEADERS"),
            ([(.client, preface + frame(1, 4, 1, block + [0x0F, 0x17]))], "HTTP/2 header compression"),
            ([(.client, preface + frame(1, 4, 1, [0x86, 0x84] + block[3...]))], "HTTP/2 request without method"),
            ([(.client, preface + frame(1, 4, 1, [0x82] + block))], "pseudo-field twice"),
            (
                [(.client, preface + frame(1, 4, 1, block + [0x00, 4] + ascii("host") + [1] + ascii("x")))],
                "host differs from :authority"
            ),
            (
                [(.client, ascii("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + frame(6, 0, 0, Array(repeating: 0, count: 8)))],
                "HTTP/2 connection that does not begin with SETTINGS"
            ),
            ([(.client, startup("user", "u", "user", "v"))], "PostgreSQL parameter twice"),
            ([(.client, startup("database", "u"))], "PostgreSQL startup without user"),
            (
                [(.client, encryptionRequest + encryptionRequest + encryptionRequest)],
                "PostgreSQL encryption asked for again"
            ),
            (
                [(.client, ascii("GET / HTTP/1.1\r\nHost: a\r\n\r\n")), (.server, ascii("SSH-2.0-x\r\n"))],
                "answer of another protocol than the request's"
            ),
            (
                [(.server, ascii("SSH-2.0-x\r\n")), (.client, ascii("GET / HTTP/1.1\r\n"))],
                "another protocol than the server's greeting"
            ),
        ] as [([(StreamSide, [UInt8])], String)])
    func refusals(turns: [(StreamSide, [UInt8])], reason: String) {
        #expect(StreamTrace(turns).lines.last == reason)
        #expect(StreamTrace(turns, size: 1).lines.last == reason)
    }

    @Test("a second ClientHello must name the same server")
    func secondHello() {
        let first = Self.hello("a.example")
        #expect(StreamTrace([(.client, first + first)]).lines == ["speaks tls", "hello a.example", "hello a.example"])
        #expect(
            StreamTrace([(.client, first + Self.hello("b.example"))]).lines.last
                == "second ClientHello with another server name")
    }
}
