import Octets
import Testing
import WireProtocols

@testable import FlowInspection

/// What both sides of a connection send, and what an inspector is to tell of it.
struct Conversation: Sendable {
    var turns: [(StreamSide, [UInt8])] = []
    let lines: [String]

    /// Turns whose first byte sequence is empty are the server's.
    init(_ turns: [(StreamSide, [UInt8])], _ lines: [String]) {
        self.turns = turns
        self.lines = lines
    }

    /// Bytes of the client.
    static func client(_ parts: [UInt8]...) -> (StreamSide, [UInt8]) { (.client, Array(parts.joined())) }

    /// Bytes of the server.
    static func server(_ parts: [UInt8]...) -> (StreamSide, [UInt8]) { (.server, Array(parts.joined())) }

    static func join(_ parts: [UInt8]...) -> [UInt8] { Array(parts.joined()) }

    static func ascii(_ text: String) -> [UInt8] { Array(text.utf8) }

    static func vector(_ content: [UInt8]) -> [UInt8] {
        join([UInt8(content.count >> 8), UInt8(content.count & 255)], content)
    }

    /// A ClientHello with this server name, in one record.
    static func hello(_ name: String) -> [UInt8] {
        let entry = vector(join([0], vector(ascii(name))))
        let extensions = join([0, 0], vector(entry), [0, 43, 0, 3, 2, 3, 4])
        let random = [UInt8](repeating: 7, count: 32)
        let body = join([3, 3], random, [0], vector([0x13, 1]), [1, 0], vector(extensions))
        return join([22, 3, 1], vector(join([1, 0], vector(body))))
    }

    /// A frame of HTTP/2.
    static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
        join([0], [UInt8(payload.count >> 8), UInt8(payload.count & 255)], [type, flags, 0, 0, 0, stream], payload)
    }

    static let magic = ascii("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    static let preface = join(magic, frame(4, 0, 0, []))
    /// GET, http, `/`, and the authority as a literal that is put into the table.
    static let block = join([0x82, 0x86, 0x84, 0x41, 11], ascii("grpc.test:1"))
    /// The same by its index in the table.
    static let indexed: [UInt8] = [0x82, 0x86, 0x84, 0xBE]
    static let query: [UInt8] = [0, 21, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 1, 98, 0, 0, 1, 0, 1]
    static let answer: [UInt8] = [0, 21, 0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 1, 98, 0, 0, 1, 0, 1]

    /// PostgreSQL's StartupMessage.
    static func startup(_ texts: String...) -> [UInt8] {
        var content: [UInt8] = []
        for text in texts { content += join(ascii(text), [0]) }
        content.append(0)
        return join([0, 0, 0, UInt8(content.count + 8), 0, 3, 0, 0], content)
    }

    /// PostgreSQL's SSLRequest.
    static let encryptionRequest: [UInt8] = [0, 0, 0, 8, 4, 0xD2, 0x16, 0x2F]
    static let mysqlGreeting = join([74, 0, 0, 0, 10], ascii("8.0.36"), [UInt8](repeating: 0, count: 67))

    static func mysqlLogin(_ capabilities: UInt8, _ tail: [UInt8]) -> [UInt8] {
        let head: [UInt8] = [UInt8(32 + tail.count), 0, 0, 1, 0x08, capabilities, 0, 0, 0, 0, 0, 1, 33]
        return join(head, [UInt8](repeating: 0, count: 23), tail)
    }

    static let mysqlUser = join(ascii("root"), [0, 2, 1, 1], ascii("shop"), [0])
    static let ldapStartTLS = join([0x30, 0x1D, 2, 1, 1, 0x77, 0x18, 0x80, 0x16], ascii("1.3.6.1.4.1.1466.20037"))

    static func get(_ host: String, _ fields: String = "") -> [UInt8] {
        ascii("GET / HTTP/1.1\r\nHost: \(host)\r\n\(fields)\r\n")
    }
}

extension Conversation {
    static let all: [Conversation] = web + databases + others

    private static let web: [Conversation] = [
        Conversation([client(hello("a.example"))], ["speaks tls", "hello a.example"]),
        Conversation(
            [client(get("b.example")), server(ascii("HTTP/1.1 200 OK\r\n"))],
            ["speaks http", "request GET b.example /"]),
        Conversation(
            [
                client(ascii("CONNECT c.example:443 HTTP/1.1\r\n\r\n")), server(ascii("HTTP/1.1 200 OK\r\n\r\n")),
                client(hello("d.example")),
            ],
            ["speaks http", "request CONNECT c.example:443 c.example:443", "speaks tls", "hello d.example"]),
        Conversation(
            [
                client(get("w.example", "Upgrade: websocket\r\n")), client([0x81, 0x85, 1, 2, 3, 4, 0, 0, 0, 0, 0]),
            ],
            ["speaks http", "request GET w.example /", "speaks websocket"]),
        Conversation(
            [
                client(preface, frame(1, 4, 1, block), frame(0, 1, 1, [1, 2, 3])),
                client(frame(1, 0, 3, Array(indexed[..<2])), frame(9, 4, 3, Array(indexed[2...]))),
                client(frame(1, 0x2C, 5, join([1, 0, 0, 0, 0, 16], indexed, [0]))),
            ],
            ["speaks h2c", "request GET grpc.test:1 /", "request GET grpc.test:1 /", "request GET grpc.test:1 /"]),
        Conversation(
            [client(get("u.example", "Upgrade: h2c\r\n")), client(preface, frame(1, 5, 3, block))],
            ["speaks http", "request GET u.example /", "speaks h2c", "request GET grpc.test:1 /"]),
        Conversation(
            [client(query, query), server(answer)],
            ["speaks dns", "dns query a.b", "dns query a.b", "dns answer a.b"]),
    ]

    private static let databases: [Conversation] = [
        Conversation([client(startup("user", "u", "database", "d"))], ["speaks postgres", "login u d"]),
        Conversation(
            [client(encryptionRequest), server([0x53]), client(hello("pg.example"))],
            ["speaks postgres", "speaks tls", "hello pg.example"]),
        Conversation(
            [client(encryptionRequest), server([0x4E]), client(startup("user", "u"))],
            ["speaks postgres", "login u u"]),
        Conversation(
            [client([0, 0, 0, 16, 4, 0xD2, 0x16, 0x2E, 0, 0, 0, 1, 0, 0, 0, 2])], ["speaks postgres"]),
        Conversation(
            [server(mysqlGreeting), client(mysqlLogin(0x82, mysqlUser))],
            ["server is 8.0.36", "speaks mysql", "login root shop"]),
        Conversation(
            [server(mysqlGreeting), client(mysqlLogin(0x8A, [])), client(hello("my.example"))],
            ["server is 8.0.36", "speaks mysql", "speaks tls", "hello my.example"]),
        Conversation([client(ascii("*1\r\n$4\r\nPING\r\n"))], ["speaks redis"]),
        Conversation([client([21, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xDD, 7, 0, 0, 0])], ["speaks mongodb"]),
    ]

    private static let others: [Conversation] = [
        Conversation(
            [server(ascii("Welcome\r\nSSH-2.0-S\r\n")), client(ascii("SSH-2.0-C\r\n"))],
            ["server is SSH-2.0-S", "speaks ssh", "client is SSH-2.0-C"]),
        Conversation(
            [
                server(ascii("220 mail ESMTP\r\n")), client(ascii("EHLO me\r\n")), server(ascii("250 STARTTLS\r\n")),
                client(ascii("STARTTLS\r\n")), server(ascii("220 go\r\n")), client(hello("mx.example")),
            ],
            ["speaks smtp", "speaks tls", "hello mx.example"]),
        Conversation(
            [server(ascii("* OK ready\r\n")), client(ascii("a1 STARTTLS\r\n")), client(hello("imap.example"))],
            ["speaks imap", "speaks tls", "hello imap.example"]),
        Conversation(
            [server(ascii("+OK\r\n")), client(ascii("STLS\r\n")), client(hello("pop.example"))],
            ["speaks pop3", "speaks tls", "hello pop.example"]),
        Conversation(
            [server(ascii("220 FTP\r\n")), client(ascii("AUTH TLS\r\n")), client(hello("ftp.example"))],
            ["speaks ftp", "speaks tls", "hello ftp.example"]),
        Conversation(
            [client(ldapStartTLS), client(hello("ldap.example"))], ["speaks ldap", "speaks tls", "hello ldap.example"]),
        Conversation(
            [
                client([5, 1, 0]), server([5, 0]), client([5, 1, 0, 3, 9], ascii("s.example"), [1, 187]),
                client(hello("t.example")),
            ],
            ["speaks socks", "proxy s.example:443", "speaks tls", "hello t.example"]),
        Conversation(
            [client([4, 1, 0, 80, 0, 0, 0, 1], ascii("me"), [0], ascii("four.example"), [0])],
            ["speaks socks", "proxy four.example:80"]),
        // What follows the request may come with it, however long.
        Conversation(
            [
                client(
                    [4, 1, 1, 187, 198, 18, 0, 1, 0], hello("t.example"), [20, 3, 3, 0, 1, 1, 23, 3, 3, 4, 0],
                    Array(repeating: 7, count: 1024))
            ],
            ["speaks socks", "proxy 198.18.0.1:443", "speaks tls", "hello t.example"]),
        Conversation([client([0x10, 16, 0, 4], ascii("MQTT"), [4, 2, 0, 60])], ["speaks mqtt"]),
        Conversation([client([19], ascii("BitTorrent protocol"), [0])], ["speaks bittorrent"]),
        Conversation([client(Array(1...16))], ["speaks unknown"]),
    ]

    /// What contradicts itself, with the last line that is told.
    static let refused: [Conversation] = [
        Conversation(
            [client(preface, frame(1, 4, 2, block))], ["HTTP/2 HEADERS on a stream that is no client's"]),
        Conversation(
            [client(preface, frame(1, 0, 1, block), frame(0, 0, 1, []))], ["HTTP/2 frame within a header block"]),
        Conversation([client(preface, frame(9, 4, 1, block))], ["CONTINUATION without HEADERS"]),
        Conversation([client(preface, frame(1, 4, 1, join(block, [0xFF])))], ["HTTP/2 header compression"]),
        Conversation([client(preface, frame(1, 4, 1, Array(block[1...])))], ["HTTP/2 request without method"]),
        Conversation([client(preface, frame(1, 4, 1, join([0x82], block)))], ["pseudo-field twice"]),
        Conversation(
            [client(preface, frame(1, 4, 1, join(block, [0, 4], ascii("host"), [1], ascii("x"))))],
            ["host differs from :authority"]),
        Conversation(
            [client(magic, frame(6, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0]))],
            ["HTTP/2 connection that does not begin with SETTINGS"]),
        Conversation(
            [client([4, 1, 0, 80, 0, 0, 0, 1, 0], Array(repeating: 0x61, count: 300), [0])], ["SOCKS 4 name"]),
        Conversation([client(startup("user", "u", "user", "v"))], ["PostgreSQL parameter twice"]),
        Conversation([client(startup("database", "u"))], ["PostgreSQL startup without user"]),
        Conversation(
            [client(encryptionRequest, encryptionRequest, encryptionRequest)],
            ["PostgreSQL encryption asked for again"]),
        Conversation(
            [client(get("a.example")), server(ascii("SSH-2.0-x\r\n"))],
            ["answer of another protocol than the request's"]),
        Conversation(
            [server(ascii("SSH-2.0-x\r\n")), client(get("a.example"))],
            ["another protocol than the server's greeting"]),
        Conversation(
            [client(hello("a.example"), hello("b.example"))], ["second ClientHello with another server name"]),
    ]
}

@Suite struct StreamInspectorTests {
    @Test("reads each protocol, and in every split the same", arguments: 0..<Conversation.all.count)
    func conversation(index: Int) {
        let one = Conversation.all[index]
        let whole = StreamTrace(one.turns)
        #expect(whole.lines == one.lines)
        for size in [1, 2, 3, 5, 8, 13, 21, 64] {
            #expect(StreamTrace(one.turns, size: size) == whole, "pieces of \(size)")
        }
        let (side, first) = one.turns[0]
        for cut in first.indices.dropFirst() {
            let split = [(side, Array(first[..<cut])), (side, Array(first[cut...]))]
            #expect(StreamTrace(split + one.turns.dropFirst()) == whole, "cut at \(cut)")
        }
    }

    @Test("every flipped byte returns or throws", arguments: 0..<Conversation.all.count)
    func flips(index: Int) {
        let turns = Conversation.all[index].turns
        for turn in turns.indices {
            for byte in turns[turn].1.indices {
                var changed = turns
                changed[turn].1[byte] ^= [0x01, 0x20, 0x80, 0xFF][byte % 4]
                _ = StreamTrace(changed)
            }
        }
    }

    @Test("refuses what contradicts itself", arguments: 0..<Conversation.refused.count)
    func refusals(index: Int) {
        let one = Conversation.refused[index]
        #expect(StreamTrace(one.turns).lines.last == one.lines.last)
        #expect(StreamTrace(one.turns, size: 1).lines.last == one.lines.last)
    }

    @Test("a second ClientHello that names the same server is read")
    func secondHello() {
        let hello = Conversation.hello("a.example")
        #expect(
            StreamTrace([Conversation.client(hello, hello)]).lines
                == ["speaks tls", "hello a.example", "hello a.example"])
    }
}
