import CAllocationCounter
import Octets
import PacketHeaders
import Testing

@testable import WireProtocols

@Suite struct HTTP1RequestReaderTests {
    /// Every request of a stream as `METHOD authority path`, and how the stream ends. The stream arrives in pieces that end at
    /// `cuts`; a reader gets only what it has not consumed.
    static func read(_ stream: [UInt8], cuts: [Int] = []) throws(WireError) -> [String] {
        var reader = HTTP1RequestReader()
        var result: [String] = []
        var position = 0
        for end in cuts + [stream.count] {
            var needsMore = false
            while !needsMore {
                let rest = stream.span.bytes.extracting(position..<max(position, end))
                switch try reader.next(rest) {
                case .needMore: needsMore = true
                case .head(let head):
                    let authority = head.authority(in: rest)?.description ?? "-"
                    result.append("\(head.method(in: rest)) \(authority) \(head.path(in: rest))")
                    position += head.byteCount
                case .body(let byteCount, _), .framing(let byteCount, _): position += byteCount
                case .tunnel: return result + ["tunnel"]
                }
            }
        }
        return reader.isIdle ? result : result + ["..."]
    }

    static func read(_ text: String) throws(WireError) -> [String] { try read(Array(text.utf8)) }

    static func request(_ fields: String) -> String { "GET / HTTP/1.1\r\nHost: a.example\r\n\(fields)\r\n" }

    static let pipelined = """
        POST /a?b=c HTTP/1.1\r\nHost: One.example.:8080\r\nContent-Length: 3\r\n\r\nabc\
        \r\nPOST /d HTTP/1.1\r\nhost:\ttwo.example\t\r\nTransfer-Encoding: CHUNKED\r\n\r\n\
        3\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n\
        GET http://three.example HTTP/1.1\r\nHost: three.example:80\r\n\r\n\
        OPTIONS * HTTP/1.1\r\nHost:[FD00::1]:81\r\n\r\nGET / HTTP/1.0\r\n\r\n
        """
    static let pipelinedRequests = [
        "POST one.example:8080 /a", "POST two.example /d", "GET three.example /", "OPTIONS [fd00::1]:81 *", "GET - /",
    ]

    @Test("reads pipelined requests with their bodies, in every split")
    func splits() throws {
        let stream = Array(Self.pipelined.utf8)
        for cut in 0...stream.count {
            #expect(try Self.read(stream, cuts: [cut]) == Self.pipelinedRequests, "cut at \(cut)")
        }
        #expect(try Self.read(stream, cuts: Array(0...stream.count)) == Self.pipelinedRequests)
    }

    @Test("every truncation waits, every flipped byte returns or throws")
    func robustness() throws {
        let stream = Array(Self.pipelined.utf8)
        for count in 0..<stream.count {
            let requests = try Self.read(Array(stream[..<count]))
            let whole = requests.last == "..." ? requests.dropLast() : requests[...]
            #expect(whole == Self.pipelinedRequests[..<whole.count])
        }
        for index in stream.indices {
            for bit in 0..<8 {
                var changed = stream
                changed[index] ^= 1 << UInt8(bit)
                _ = try? Self.read(changed)
            }
        }
    }

    @Test(
        "refuses what servers read in different ways",
        arguments: [
            (request("Host: b.example\r\n"), "two Host fields"),
            (request("host: a.example\r\n"), "two Host fields"),
            ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 without Host"),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "host name is empty"),
            ("GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n", "host name with a forbidden byte"),
            ("GET / HTTP/1.1\r\nHost: a.example/x\r\n\r\n", "host name with a forbidden byte"),
            ("GET / HTTP/1.1\r\nHost: u@a.example\r\n\r\n", "host name with a forbidden byte"),
            ("GET / HTTP/1.1\r\nHost: a.example:\r\n\r\n", "port"),
            ("GET / HTTP/1.1\r\nHost: a.example:0\r\n\r\n", "port"),
            ("GET / HTTP/1.1\r\nHost: a.example:65536\r\n\r\n", "port"),
            ("GET / HTTP/1.1\r\nHost: a.example:+1\r\n\r\n", "port"),
            ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "address without closing bracket"),
            ("GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", "no IPv6 address in brackets"),
            ("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", "bytes behind an address"),
            ("GET / HTTP/1.1\r\nHost: 127.1\r\n\r\n", "number that may be read as an address"),
            ("GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "Host differs from the request target"),
            ("GET http://a.example:81/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "Host differs from the request target"),
            ("GET http://a.example/ HTTP/1.1\r\n\r\n", "HTTP/1.1 without Host"),
            ("GET http://u@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "host name with a forbidden byte"),
            ("GET ftp://a.example/ HTTP/1.1\r\n", "request target in no known form"),
            ("GET a.example HTTP/1.1\r\n", "request target in no known form"),
            ("GET * HTTP/1.1\r\n", "asterisk without OPTIONS"),
            ("CONNECT a.example HTTP/1.1\r\n", "CONNECT without port"),
            ("connect a.example:443 HTTP/1.1\r\n", "CONNECT in other letters"),
            ("CONNECT b.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "Host differs from the request target"),
            (
                "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nContent-Length: 1\r\n\r\n",
                "CONNECT with a body"
            ),
            (request("Content-Length: 1\r\nContent-Length: 1\r\n"), "two Content-Length fields"),
            (request("Content-Length: 1, 1\r\n"), "Content-Length"),
            (request("Content-Length: +1\r\n"), "Content-Length"),
            (request("Content-Length: 0x1\r\n"), "Content-Length"), (request("Content-Length:\r\n"), "Content-Length"),
            (request("Content-Length: 1234567890123456789\r\n"), "Content-Length"),
            (request("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), "Content-Length with Transfer-Encoding"),
            (request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "two Transfer-Encoding fields"),
            (request("Transfer-Encoding: gzip, chunked\r\n"), "Transfer-Encoding other than chunked"),
            (request("Transfer-Encoding: identity\r\n"), "Transfer-Encoding other than chunked"),
            (request("Transfer-Encoding: \"chunked\"\r\n"), "Transfer-Encoding other than chunked"),
            (request("Transfer_Encoding: chunked\r\n"), "field name that some programs read as another"),
            (request("Content_Length: 1\r\n"), "field name that some programs read as another"),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in HTTP/1.0"),
            ("GET / HTTP/1.1\nHost: a.example\n\n", "bare LF"), (request("A: b\nHost: c\r\n"), "bare LF"),
            (request("A: b\rc\r\n"), "bare CR"), (request("A: b\0c\r\n"), "NUL in a request head"),
            (request("A: b\u{1}c\r\n"), "control character in a field value"),
            (request("A: b\r\n c\r\n"), "folded field line"), (request("A : b\r\n"), "white space in a field name"),
            (request("A\t: b\r\n"), "white space in a field name"), (request(": b\r\n"), "field line without name"),
            (request("A\r\n"), "byte in a field name"), (request("Ä: b\r\n"), "byte in a field name"),
            ("GET / HTTP/1.1\r\n Host: a.example\r\n\r\n", "folded field line"),
            ("GET /\r\n", "request line without version"), ("GET / HTTP/1.2\r\n", "HTTP version"),
            ("GET / HTTP/2.0\r\n", "HTTP version"), ("GET / http/1.1\r\n", "HTTP version"),
            ("GET / HTTP/1.1 \r\n", "HTTP version"), ("GET  / HTTP/1.1\r\n", "request line without target"),
            ("GET /a b HTTP/1.1\r\n", "HTTP version"), ("GET /#a HTTP/1.1\r\n", "byte in the request target"),
            ("GET /\u{1} HTTP/1.1\r\n", "byte in the request target"), ("G(T / HTTP/1.1\r\n", "byte in the method"),
            (" / HTTP/1.1\r\n", "request line without method"), ("\nGET / HTTP/1.1\r\n", "bare LF"),
            ("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", "empty lines before a request"),
            (String(repeating: "A", count: 33) + " / HTTP/1.1\r\n", "method too long"),
            (request(String(repeating: "a: b\r\n", count: 128)), "too many fields"),
        ])
    func refuses(text: String, reason: String) {
        for cuts in [[], Array(0...text.utf8.count)] {
            do throws(WireError) {
                Issue.record("accepted: \(try Self.read(Array(text.utf8), cuts: cuts))")
            } catch .malformed(let found, _) {
                #expect(found.description == reason)
            } catch { Issue.record("\(error)") }
        }
    }

    @Test("bounds a head")
    func headBound() throws {
        let text = Self.request("A: " + String(repeating: "a", count: 1000) + "\r\n")
        let bytes = Array(text.utf8)
        var exact = HTTP1RequestReader(maximumHeadByteCount: bytes.count)
        guard case .head = try exact.next(bytes.span.bytes) else { throw WireError.truncated(needed: 0) }
        var small = HTTP1RequestReader(maximumHeadByteCount: 500)
        #expect(throws: WireError.malformed("request head too long", offset: 500)) { try small.next(bytes.span.bytes) }
    }

    static let chunkedHead = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"

    @Test(
        "refuses chunks that servers read in different ways",
        arguments: [
            ("0x3\r\nabc", "byte in a chunk size"), ("3;a=b\r\nabc", "chunk extension"), ("3;\nabc", "chunk extension"),
            ("3 \r\nabc", "byte in a chunk size"), ("\r\n", "chunk without size"), ("-1\r\n", "chunk without size"),
            ("3\nabc", "byte in a chunk size"), ("3\rabc", "CR LF missing in a chunked body"),
            ("3\r\nabcd\r\n", "CR LF missing in a chunked body"), ("3\r\nabc\n", "CR LF missing in a chunked body"),
            ("1234567890123456\r\n", "chunk size too long"), ("0\r\n a: b\r\n", "trailer field name"),
            ("0\r\na : b\r\n", "trailer field name"), ("0\r\na: b\n", "control character in a trailer"),
            ("0\r\n\rx", "CR LF missing in a chunked body"),
            ("0\r\n" + String(repeating: "a: b\r\n", count: 129), "too many trailer fields"),
            ("0\r\na: " + String(repeating: "b", count: 8192), "trailer too long"),
        ])
    func refusesChunks(text: String, reason: String) {
        let stream = Array((Self.chunkedHead + text).utf8)
        for cuts in [[], Array(0...stream.count)] {
            do throws(WireError) {
                Issue.record("accepted: \(try Self.read(stream, cuts: cuts))")
            } catch .malformed(let found, _) {
                #expect(found.description == reason)
            } catch { Issue.record("\(error)") }
        }
    }

    @Test("stops where the protocol may change, and goes on when the server refuses that")
    func tunnel() throws {
        let connect = "CONNECT a.example:443 HTTP/1.1\r\nHost: A.example\r\n\r\n"
        #expect(try Self.read(connect + "\u{16}\u{3}") == ["CONNECT a.example:443 a.example:443", "tunnel"])
        let text = Self.request("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n") + Self.request("")
        #expect(try Self.read(text) == ["GET a.example /", "tunnel"])
        let bytes = Array(text.utf8)
        var reader = HTTP1RequestReader()
        guard case .head(let head) = try reader.next(bytes.span.bytes) else { throw WireError.truncated(needed: 0) }
        #expect(head.upgrade == [.webSocket, .http2] && !head.isConnect)
        let rest = bytes.span.bytes.extracting(head.byteCount..<bytes.count)
        #expect(try reader.next(rest) == .tunnel)
        reader.resumeRequests()
        guard case .head(let second) = try reader.next(rest) else { throw WireError.truncated(needed: 0) }
        #expect(second.upgrade.isEmpty)
    }

    @Test("tells a chunked body's framing from its content; small chunks count as framing")
    func framing() throws {
        let content = String(repeating: "x", count: 64)
        let text = Self.chunkedHead + "40\r\n\(content)\r\n3\r\nabc\r\n41\r\ny\(content)\r\n0\r\nA: b\r\n\r\n"
        let bytes = Array(text.utf8)
        var reader = HTTP1RequestReader()
        guard case .head(let head) = try reader.next(bytes.span.bytes) else { throw WireError.truncated(needed: 0) }
        var position = head.byteCount
        var events: [HTTP1RequestReader.Event] = []
        while position < bytes.count {
            let event = try reader.next(bytes.span.bytes.extracting(position..<bytes.count))
            events.append(event)
            switch event {
            case .body(let count, _), .framing(let count, _): position += count
            case .head, .needMore, .tunnel: position = bytes.count
            }
        }
        #expect(
            events == [
                .framing(byteCount: 4, isLast: false), .body(byteCount: 64, isLast: false),
                .framing(byteCount: 2 + 3 + 5 + 4, isLast: false), .body(byteCount: 65, isLast: false),
                .framing(byteCount: 2 + 3 + 6 + 2, isLast: true),
            ])
        #expect(reader.isIdle)
    }

    @Test("spells a request out")
    func facts() throws {
        let text =
            "POST http://A.example:80/p/q?r=s?t HTTP/1.1\r\nHOST: a.example\r\nX-A: 1\r\nx-a:  2 \r\nUpgrade: foo\r\n\r\n"
        let bytes = Array(text.utf8)
        var reader = HTTP1RequestReader()
        guard case .head(let head) = try reader.next(bytes.span.bytes) else { throw WireError.truncated(needed: 0) }
        let span = bytes.span.bytes
        #expect(head.form == .absolute && head.minorVersion == 1 && head.upgrade == .other)
        #expect(head.path(in: span) == "/p/q")
        #expect(head.query(in: span) == "r=s?t")
        #expect(head.url(in: span) == "http://a.example:80/p/q?r=s?t")
        #expect(head.target(in: span) == "http://A.example:80/p/q?r=s?t")
        #expect(head.fields(in: span) == ["host": "a.example", "x-a": "1, 2", "upgrade": "foo"])
    }

    @Test("reading heads and skipping bodies allocates nothing")
    func allocations() throws {
        let stream = Array(
            (Self.request("Content-Length: 4\r\n") + "abcd" + Self.chunkedHead + "3\r\nabc\r\n0\r\n\r\n").utf8)
        let before = allocation_count()
        var heads = 0
        for _ in 0..<10 {
            var reader = HTTP1RequestReader()
            var position = 0
            while position < stream.count {
                switch try reader.next(stream.span.bytes.extracting(position..<stream.count)) {
                case .head(let head):
                    position += head.byteCount
                    heads += 1
                case .body(let byteCount, _), .framing(let byteCount, _): position += byteCount
                case .needMore, .tunnel: position = stream.count
                }
            }
        }
        let after = allocation_count()
        #expect(after == before)
        #expect(heads == 20)
    }
}
