import CAllocationCounter
import Octets
import Testing

@testable import WireProtocols

@Suite struct ClientHelloScannerTests {
    static let usual = HelloBuilder.usual("api.example.com")

    /// What the scanner says when `stream` arrives in pieces that end at `cuts`.
    static func scan(
        _ stream: [UInt8], _ place: ClientHelloScanner.Place = .first, cuts: [Int] = []
    ) throws(WireError) -> ClientHelloScanner.Progress {
        var scanner = ClientHelloScanner(place)
        for cut in cuts {
            let progress = try scanner.scan(stream.span.bytes.extracting(0..<cut))
            guard progress == .needMore else { return progress }
        }
        return try scanner.scan(stream.span.bytes)
    }

    @Test("finds the name in records of any size", arguments: [1, 2, 3, 5, 6, 7, 50, 100, 16384])
    func records(size: Int) throws {
        let summary = try #require(try firstHello(in: Self.usual.records(of: size)))
        #expect(summary.host?.description == "api.example.com")
        #expect(summary.applicationProtocols == ["h2", "http/1.1"])
        #expect(summary.version == .tls13)
        #expect(!summary.hasEncryptedClientHello)
    }

    @Test("every split in two and byte by byte gives the same answer", arguments: [1, 7, 16384])
    func splits(size: Int) throws {
        let stream = Self.usual.records(of: size)
        let whole = ClientHelloScanner.Progress.hello(byteCount: stream.count)
        for cut in 0..<stream.count { #expect(try Self.scan(stream, cuts: [cut]) == whole, "cut at \(cut)") }
        #expect(try Self.scan(stream, cuts: Array(0..<stream.count)) == whole)
        #expect(try Self.scan(stream + [23, 3, 3, 0, 1, 7]) == whole)
    }

    @Test("every truncation of a stream waits for more", arguments: [3, 16384])
    func truncations(size: Int) throws {
        let stream = Self.usual.records(of: size)
        for count in 0..<stream.count { #expect(try Self.scan(Array(stream[..<count])) == .needMore) }
    }

    @Test("every flipped byte returns or throws")
    func flips() {
        let stream = Self.usual.records(of: 40)
        for index in stream.indices {
            for bit in 0..<8 {
                var changed = stream
                changed[index] ^= 1 << UInt8(bit)
                _ = try? firstHello(in: changed)
            }
        }
    }

    static let message = usual.message
    static let firstPart = HelloBuilder.records(Array(message[..<60]), of: 60)
    static let lastPart = HelloBuilder.records(Array(message[60...]), of: 16384)

    @Test(
        "refuses what servers take differently",
        arguments: [
            ([22, 3, 1, 0, 0] + usual.records(), "empty TLS record", 3),
            (firstPart + [22, 3, 1, 0, 0] + lastPart, "empty TLS record", 68),
            (firstPart + [20, 3, 1, 0, 1, 1] + lastPart, "ChangeCipherSpec before the end of the ClientHello", 65),
            (firstPart + [21, 3, 1, 0, 2, 1, 0] + lastPart, "alert before the end of the ClientHello", 65),
            (firstPart + [23, 3, 1, 0, 1, 0] + lastPart, "application data before the end of the ClientHello", 65),
            ([20, 3, 1, 0, 1, 1] + usual.records(), "ChangeCipherSpec before the end of the ClientHello", 0),
            ([21, 3, 1, 0, 2, 1, 0] + usual.records(), "alert before the end of the ClientHello", 0),
            ([24, 3, 1, 0, 1, 1] + usual.records(), "TLS record type", 0),
            ([0x80, 0x2E, 1, 3, 1], "SSLv2 hello", 0),
            ([22, 3, 1, 0, 4, 1, 0, 0, 40], "ClientHello shorter than possible", 8),
            ([22, 2], "TLS record version", 1), ([22, 3, 5], "TLS record version", 2),
            ([22, 3, 1, 0x40, 1], "TLS record too long", 3),
            (HelloBuilder.records([2] + message.dropFirst(), of: 9), "handshake message other than ClientHello", 5),
            (HelloBuilder.records([1, 1, 0, 0], of: 4), "ClientHello longer than allowed", 6),
            (HelloBuilder.records(message + [0], of: 16384), "handshake bytes behind the ClientHello", 0),
        ])
    func refuses(stream: [UInt8], reason: StaticString, offset: Int) {
        let error = WireError.malformed(StaticReason(reason), offset: offset)
        #expect(throws: error) { try Self.scan(stream) }
        #expect(throws: error) { try Self.scan(stream, cuts: Array(0..<stream.count)) }
    }

    @Test("a message too short for its own version is refused in every split")
    func emptyMessage() {
        let stream: [UInt8] =
            [1, 0, 0, 0].flatMap { [22, 3, 1, 0, 1, $0] } + [22, 3, 1, 0, 23, 3, 31]
        for cuts in [[stream.count], Array(0...stream.count)] {
            #expect(throws: WireError.malformed("ClientHello shorter than possible", offset: 23)) {
                try Self.scan(stream, cuts: cuts)
            }
        }
    }

    @Test("bounds the stream that a ClientHello may take")
    func bound() throws {
        let stream = Self.usual.records(of: 1)
        var exact = ClientHelloScanner(maximumByteCount: stream.count)
        #expect(try exact.scan(stream.span.bytes) == .hello(byteCount: stream.count))
        var small = ClientHelloScanner(maximumByteCount: stream.count - 1)
        #expect(throws: WireError.malformed("ClientHello longer than allowed", offset: stream.count - 6)) {
            try small.scan(stream.span.bytes)
        }
    }

    static let changeCipherSpec: [UInt8] = [20, 3, 3, 0, 1, 1]
    static let nineRecords: [UInt8] = Array(repeating: changeCipherSpec, count: 9).flatMap { $0 }
    /// A server that looks at the supported versions does not care about this one.
    static let oddVersion: HelloBuilder = {
        var builder = usual
        builder.version = 0x0403
        return builder
    }()
    static let applicationData: [UInt8] = [23, 3, 3, 0, 5, 9, 9, 9, 9, 9]
    /// ChangeCipherSpec and an encrypted Finished, as in a resumed TLS 1.2 handshake, whose first byte is 1 by chance.
    static let resumed: [UInt8] = changeCipherSpec + [22, 3, 3, 0, 16] + [UInt8](repeating: 1, count: 16)

    @Test(
        "tells a second ClientHello from the rest of the handshake",
        arguments: [
            (applicationData, ClientHelloScanner.Progress.finished),
            (changeCipherSpec + applicationData, .finished),
            ([22, 3, 3, 0, 4, 16, 0, 0, 33], .finished),
            (resumed, .needMore),
            (resumed + applicationData, .finished),
            (changeCipherSpec + [22, 3, 3, 0, 16, 1, 3] + [UInt8](repeating: 1, count: 14), .finished),
            (oddVersion.records(), .hello(byteCount: oddVersion.records().count)),
            (changeCipherSpec, .needMore),
            ([22, 3, 3, 0, 4], .needMore),
            (usual.records(), .hello(byteCount: usual.records().count)),
            (changeCipherSpec + usual.records(of: 2), .hello(byteCount: 6 + usual.records(of: 2).count)),
            ([21, 3, 3, 0, 2, 1, 0] + usual.records(), .hello(byteCount: 7 + usual.records().count)),
        ])
    func second(stream: [UInt8], progress: ClientHelloScanner.Progress) throws {
        #expect(try Self.scan(stream, .second(afterEarlyData: false)) == progress)
        #expect(try Self.scan(stream, .second(afterEarlyData: false), cuts: Array(0..<stream.count)) == progress)
    }

    @Test("early data does not hide a second ClientHello")
    func earlyData() throws {
        let stream = Self.changeCipherSpec + Self.applicationData + Self.applicationData + Self.usual.records(of: 9)
        let place = ClientHelloScanner.Place.second(afterEarlyData: true)
        #expect(try Self.scan(stream, place) == .hello(byteCount: stream.count))
        #expect(try Self.scan(stream, place, cuts: Array(0..<stream.count)) == .hello(byteCount: stream.count))
        var scanner = ClientHelloScanner(place)
        #expect(try scanner.scan(stream.span.bytes) == .hello(byteCount: stream.count))
        var scratch = ClientHelloScratch()
        let hello = try ClientHelloSummary(parsing: try scratch.message(found: scanner, in: stream.span.bytes))
        #expect(hello.host?.description == "api.example.com")
    }

    @Test("judges a record by its own header before it reads on, however much of the stream is there")
    func headersFirst() {
        // The second record has no version; its bytes would make the message something else than a ClientHello.
        let stream: [UInt8] = [22, 3, 3, 0, 2, 1, 0, 22, 7, 3, 0, 3, 5, 5, 5]
        for cuts in [[], Array(0..<stream.count)] {
            #expect(throws: WireError.malformed("TLS record version", offset: 8)) {
                try Self.scan(stream, .second(afterEarlyData: false), cuts: cuts)
            }
        }
    }

    @Test("early data does not count as bytes of the ClientHello")
    func limitOfTheHelloAlone() throws {
        let hello = Self.usual.records(of: 100)
        let stream = [23, 3, 3, 0, 200] + [UInt8](repeating: 7, count: 200) + hello
        var scanner = ClientHelloScanner(.second(afterEarlyData: true), maximumByteCount: hello.count)
        #expect(try scanner.scan(stream.span.bytes) == .hello(byteCount: stream.count))
        var tight = ClientHelloScanner(.second(afterEarlyData: true), maximumByteCount: hello.count - 1)
        #expect(throws: WireError.self) { try tight.scan(stream.span.bytes) }
    }

    @Test(
        "refuses records that do not belong before a second ClientHello",
        arguments: [
            ([20, 3, 3, 0, 2, 1, 1], "TLS record too long", 3),
            ([20, 3, 3, 0, 1, 2], "ChangeCipherSpec other than 1", 5),
            ([21, 3, 3, 0, 1, 1], "length of an alert or ChangeCipherSpec", 0),
            ([25, 3, 3, 0, 1, 1], "TLS record type", 0),
            (nineRecords, "records before a second ClientHello", 48),
        ])
    func refusesSecond(stream: [UInt8], reason: StaticString, offset: Int) {
        #expect(throws: WireError.malformed(StaticReason(reason), offset: offset)) {
            try Self.scan(stream, .second(afterEarlyData: false))
        }
    }

    @Test("scanning and parsing allocate nothing", arguments: [100, 16384])
    func allocations(size: Int) throws {
        let stream = Self.usual.records(of: size)
        var scratch = ClientHelloScratch()
        var names = 0
        let before = allocation_count()
        for _ in 0..<10 {
            var scanner = ClientHelloScanner()
            _ = try scanner.scan(stream.span.bytes.extracting(0..<stream.count / 2))
            guard case .hello = try scanner.scan(stream.span.bytes) else { continue }
            let hello = try ClientHello(parsing: try scratch.message(found: scanner, in: stream.span.bytes))
            names += hello.serverName?.byteCount ?? 0
        }
        let after = allocation_count()
        #expect(after == before)
        #expect(names == 150)
    }
}
