import Octets
import PacketHeaders
import Testing

@testable import WireProtocols

@Suite struct DNSMessageTests {
    static func name(_ text: String) -> [UInt8] {
        text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    static func header(
        id: Int = 0x1234, flags: Int = 0x0100, _ questions: Int = 1, _ answers: Int = 0, _ authority: Int = 0,
        _ additional: Int = 0
    ) -> [UInt8] {
        [id, flags, questions, answers, authority, additional].flatMap { HelloBuilder.u16($0) }
    }

    static func question(_ text: String, _ type: Int = 1) -> [UInt8] {
        name(text) + HelloBuilder.u16(type) + [0, 1]
    }

    static func record(_ owner: [UInt8], _ type: Int, _ data: [UInt8]) -> [UInt8] {
        owner + HelloBuilder.u16(type) + [0, 1, 0, 0, 1, 0] + HelloBuilder.vector16(data)
    }

    static let options: [UInt8] = [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 6, 0, 10, 0, 2, 7, 7]
    static let query = header(1, 0, 0, 1) + question("Www.Example.COM") + options
    /// `www.example.com` is an alias of `e.example.net`, which has an address of each family.
    static let response: [UInt8] =
        header(flags: 0x8180, 1, 3) + question("www.example.com")
        + record([0xC0, 12], 5, [1] + Array("e".utf8) + name("example.net"))
        + record([0xC0, 45], 1, [192, 0, 2, 7])
        + record([0xC0, 45], 28, [0x20, 1, 0x0D, 0xB8] + Array(repeating: 0, count: 11) + [9])

    static func parse(_ bytes: [UInt8]) throws(WireError) -> DNSMessage { try DNSMessage(parsing: bytes.span.bytes) }

    @Test("reads a query with EDNS")
    func queries() throws {
        let message = try Self.parse(Self.query)
        #expect(!message.isResponse)
        #expect(message.question?.name.description == "www.example.com")
        #expect(message.question?.type == .a)
        #expect(message.maximumUDPByteCount == 1232)
        #expect(message.id == 0x1234)
    }

    @Test("reads answers through compression")
    func responses() throws {
        let message = try Self.parse(Self.response)
        #expect(message.isResponse)
        #expect(message.responseCode == 0)
        #expect(
            message.answers.map { "\($0.owner) \($0.type) \($0.text ?? "-") \($0.timeToLive)" } == [
                "www.example.com CNAME e.example.net 256", "e.example.net A 192.0.2.7 256",
                "e.example.net AAAA 2001:db8::9 256",
            ])
    }

    @Test("marks ech in HTTPS and SVCB answers", arguments: [64, 65])
    func serviceBindings(type: Int) throws {
        let binding: [UInt8] =
            [0, 1, 0, 0, 1, 0, 6, 2] + Array("h2".utf8) + [2] + Array("h3".utf8) + [0, 4, 0, 4, 192, 0, 2, 1]
        let ech: [UInt8] = [0, 5, 0, 3, 1, 2, 3]
        let head = Self.header(flags: 0x8180, 1, 1) + Self.question("a.example", type)
        let plain = try Self.parse(head + Self.record([0xC0, 12], type, binding))
        let hidden = try Self.parse(head + Self.record([0xC0, 12], type, binding + ech))
        #expect(plain.answers.first?.text == "1 . alpn=h2,h3")
        #expect(hidden.answers.first?.text == "1 . alpn=h2,h3 ech")
        guard case .service(let service)? = hidden.answers.first?.data else {
            Issue.record("no service binding")
            return
        }
        #expect(service.hasEncryptedClientHello)
        #expect(service.hints == [IPAddress("192.0.2.1")].compactMap { $0 })
    }

    @Test("marks ech behind the answer section too", arguments: [64, 65])
    func servicesBeside(type: Int) throws {
        let ech: [UInt8] = [0, 1, 0, 0, 5, 0, 3, 1, 2, 3]
        let (plain, broken): ([UInt8], [UInt8]) = ([0, 1, 0], [0, 1])
        for (data, isHidden) in [(ech, true), (plain, false), (broken, true)] {
            let record = Self.record([0xC0, 12], type, data)
            for counts in [(1, 0), (0, 1)] {
                let head = Self.header(flags: 0x8180, 1, 0, counts.0, counts.1) + Self.question("a.example")
                #expect(try Self.parse(head + record).hidesNamesBeside == isHidden)
            }
        }
        #expect(try !Self.parse(Self.response).hidesNamesBeside)
    }

    @Test("a chain of compression pointers, or records that no query needs, is work for nothing")
    func work() throws {
        // Pointers, each to the one before, in the data of a record; the next record's owner is the last of them.
        func message(_ pointers: Int) -> [UInt8] {
            var data: [UInt8] = [0]
            let begin = Self.header().count + Self.question("a").count + 1 + 10
            var target = begin
            for _ in 0..<pointers {
                let place = begin + data.count
                data += [0xC0 | UInt8(target >> 8), UInt8(target & 255)]
                target = place
            }
            return Self.header(flags: 0x8180, 1, 0, 0, 2) + Self.question("a") + Self.record([0], 16, data)
                + Self.record([0xC0 | UInt8(target >> 8), UInt8(target & 255)], 1, [])
        }
        // The owner's own pointer counts as one.
        #expect(try Self.parse(message(15)).isResponse)
        #expect(throws: WireError.self) { try Self.parse(message(16)) }
        let records = (0..<5).flatMap { _ in Self.record([0], 1, []) }
        for (authority, additional) in [(5, 0), (0, 5), (3, 2)] {
            let query = Self.header(1, 0, authority, additional) + Self.question("a") + records
            #expect(throws: WireError.self) { try Self.parse(query) }
        }
    }

    @Test("every truncation of a message asks for more", arguments: [query, response])
    func truncations(message: [UInt8]) {
        for count in 0..<message.count {
            do throws(WireError) {
                _ = try Self.parse(Array(message[..<count]))
                Issue.record("\(count) bytes are a message")
            } catch {
                guard case .truncated = error else {
                    Issue.record("\(count): \(error)")
                    continue
                }
            }
        }
    }

    @Test("every flipped byte returns or throws")
    func flips() {
        for index in Self.response.indices {
            for bit in 0..<8 {
                var changed = Self.response
                changed[index] ^= 1 << UInt8(bit)
                _ = try? Self.parse(changed)
            }
        }
    }

    @Test(
        "refuses what is no message",
        arguments: [
            (header(0) + [], "DNS message without exactly one question"),
            (header(2) + question("a.b") + question("c.d"), "DNS message without exactly one question"),
            (header(1, 1) + question("a.b") + record([0xC0, 12], 1, [1, 2, 3, 4]), "DNS query with answers"),
            (query + [0], "bytes behind a DNS message"),
            (header() + [0xC0, 12, 0, 1, 0, 1], "compression pointer that does not point back"),
            (header() + [1, 97, 0xC0, 12, 0, 1, 0, 1], "compression pointer that does not point back"),
            (header() + [0xC0, 2, 0, 1, 0, 1], "compression pointer that does not point back"),
            (header() + [0x41, 0, 0, 1, 0, 1], "label type"),
            (
                header() + Array(repeating: [63] + Array(repeating: 97, count: 63), count: 4).flatMap { $0 } + [
                    0, 0, 1, 0, 1,
                ],
                "name longer than 255 bytes"
            ),
            (
                header(flags: 0x8000, 1, 1) + question("a.b") + record([0xC0, 12], 1, [1, 2, 3]),
                "length of an A record"
            ),
            (
                header(flags: 0x8000, 1, 1) + question("a.b") + record([0xC0, 12], 28, [1, 2, 3, 4]),
                "length of an AAAA record"
            ),
            (
                header(flags: 0x8000, 1, 1) + question("a.b") + record([0xC0, 12], 5, [1, 97, 0, 0]),
                "length of a record's data"
            ),
            (
                header(flags: 0x8000, 1, 1) + question("a.b")
                    + record([0xC0, 12], 65, [0, 1, 0, 0, 5, 0, 0, 0, 1, 0, 3, 2, 104, 50]),
                "service parameters out of order"
            ),
            (header(1, 0, 0, 2) + question("a.b") + options + options, "two OPT records"),
            (
                header(1, 0, 0, 1) + question("a.b") + [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 3, 0, 10, 0],
                "EDNS option longer than its record"
            ),
        ] as [([UInt8], StaticReason)])
    func refusals(bytes: [UInt8], reason: StaticReason) {
        do throws(WireError) {
            _ = try Self.parse(bytes)
            Issue.record("\(reason) was not thrown")
        } catch {
            guard case .malformed(let found, _) = error else {
                Issue.record("\(error) for \(reason)")
                return
            }
            #expect(found == reason)
        }
    }

    @Test("escapes bytes that are no text, dots and backslashes in labels")
    func names() throws {
        let odd = Self.header() + [6, 97, 46, 92, 0, 0xFF, 66, 0, 0, 16, 0, 1]
        #expect(try Self.parse(odd).question?.name.description == #"a\.\\\000\255b"#)
        #expect(try Self.parse(Self.header() + [0, 0, 2, 0, 1]).question?.name.isRoot == true)
    }

    @Test("a stream of messages is read one by one, however it is cut")
    func streams() throws {
        let stream = [Self.query, Self.response, Self.query].flatMap { HelloBuilder.vector16($0) }
        for size in [1, 2, 3, 17, stream.count] {
            var ids: [String] = []
            var start = 0
            for end in Array(stride(from: size, to: stream.count, by: size)) + [stream.count] {
                while case .message(let message, let byteCount) = try DNSStreamReader().next(
                    stream.span.bytes.extracting(start..<end))
                {
                    ids.append("\(message.question?.name.description ?? "-") \(message.isResponse)")
                    start += byteCount
                }
            }
            #expect(ids == ["www.example.com false", "www.example.com true", "www.example.com false"])
        }
        #expect(throws: WireError.self) { _ = try DNSStreamReader().next([0, 4, 1, 2, 3, 4].span.bytes) }
        #expect(throws: WireError.self) { _ = try DNSStreamReader().next(([0, 13] + Self.query).span.bytes) }
    }

    @Test("a stream's beginning is told from others")
    func recognition() {
        let stream = HelloBuilder.vector16(Self.query)
        for count in 0..<15 { #expect(DNSStreamReader.matches(Array(stream[..<count]).span.bytes) == nil, "\(count)") }
        #expect(DNSStreamReader.matches(stream.span.bytes) == true)
        #expect(DNSStreamReader.matches(HelloBuilder.vector16(Self.response).span.bytes) == false)
        #expect(DNSStreamReader.matches(Array("GET / HTTP/1.1\r\n".utf8).span.bytes) == false)
    }
}
