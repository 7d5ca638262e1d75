import Octets
import QUICPacketBuilding
import Testing

@testable import WireProtocols

@Suite struct QUICInitialReaderTests {
    static let hello = HelloBuilder.usual("quic.example.com").message

    /// Reads datagrams; the names of the ClientHellos found.
    static func names(_ datagrams: [[UInt8]]) throws(WireError) -> [String] {
        var reader = QUICInitialReader()
        var opener = QUICInitialOpener()
        var names: [String] = []
        for datagram in datagrams {
            let reading = try reader.read(datagram.span.bytes, opener: &opener)
            for hello in reading.hellos {
                let summary = try ClientHelloSummary(parsing: hello.message.span.bytes, overQUIC: true)
                names.append(summary.host?.description ?? "-")
            }
        }
        return names
    }

    /// CRYPTO frames of pieces of the ClientHello, in this order.
    static func frames(_ pieces: [Range<Int>]) -> [UInt8] {
        pieces.flatMap { QUICPacketBuilder.crypto(Array(hello[$0]), at: $0.lowerBound) }
    }

    static var wholeFrame: [UInt8] { frames([0..<hello.count]) }

    @Test("finds the name in every version that can be read", arguments: [1, 0x6B33_43CF, 0xFF00_001D, 0xFF00_0021])
    func versions(number: UInt32) throws {
        let packet = QUICPacketBuilder(version: QUICVersion(rawValue: number)).packet(Self.wholeFrame)
        #expect(try Self.names([packet]) == ["quic.example.com"])
    }

    @Test("packet numbers of every length, tokens and ids of every length", arguments: 1...4)
    func lengths(byteCount: Int) throws {
        var builder = QUICPacketBuilder()
        builder.packetNumberByteCount = byteCount
        builder.packetNumber = 0x7F
        builder.token = Array(repeating: 7, count: 70 * byteCount)
        for length in [0, 1, 8, 16, 17, 20] {
            builder.destination = Array(repeating: 0xA5, count: length)
            #expect(try Self.names([builder.packet(Self.wholeFrame)]) == ["quic.example.com"], "\(length)")
        }
    }

    @Test("frames in any order, with padding, PING and ACK between, in one packet or many")
    func order() throws {
        let middle = Self.hello.count / 2
        let last = Self.frames([middle..<Self.hello.count])
        let first = Self.frames([0..<middle])
        #expect(
            try Self.names([QUICPacketBuilder().packet(last + [0, 0, 1, 2, 5, 0, 0, 5] + first)]) == [
                "quic.example.com"
            ])
        var second = QUICPacketBuilder()
        second.packetNumber = 1
        #expect(
            try Self.names([QUICPacketBuilder().packet(last), second.packet(first)]) == ["quic.example.com"])
        let bytes = Self.hello.indices.reversed().map { $0..<$0 + 1 }
        // A hole between every two pieces is no client's way.
        #expect(throws: WireError.self) {
            _ = try Self.names([
                QUICPacketBuilder().packet((0..<200).flatMap { QUICPacketBuilder.crypto([7], at: 2 * $0) })
            ])
        }
        #expect(try Self.names([QUICPacketBuilder().packet(Self.frames(bytes))]) == ["quic.example.com"])
    }

    @Test("coalesced packets are read, a short header behind them is not")
    func coalesced() throws {
        var short = QUICPacketBuilder()
        short.paddedByteCount = 0
        let first = short.packet(Self.frames([0..<100]))
        short.packetNumber = 1
        let second = short.packet(Self.frames([100..<Self.hello.count]))
        #expect(try Self.names([first + second + [0x41, 1, 2, 3]]) == ["quic.example.com"])
    }

    @Test("a second ClientHello, which answers a HelloRetryRequest, is judged too, and whole; a third message is none")
    func secondHello() throws {
        let second = HelloBuilder.usual("second.example.net").message
        let end = Self.hello.count
        func packet(_ content: [UInt8], at offset: Int, _ number: UInt32) -> [UInt8] {
            var builder = QUICPacketBuilder()
            builder.packetNumber = number
            return builder.packet(QUICPacketBuilder.crypto(content, at: offset))
        }
        let first = QUICPacketBuilder().packet(Self.wholeFrame)
        #expect(try Self.names([first, packet(second, at: end, 1)]) == ["quic.example.com", "second.example.net"])

        var reader = QUICInitialReader()
        var opener = QUICInitialOpener()
        _ = try reader.read(first.span.bytes, opener: &opener)
        #expect(!reader.isWaiting)
        for (number, part) in [Array(second[60...]), Array(second[..<60])].enumerated() {
            #expect(number == 0 || reader.isWaiting)
            let offset = number == 0 ? end + 60 : end
            _ = try reader.read(packet(part, at: offset, UInt32(number + 1)).span.bytes, opener: &opener)
        }
        #expect(!reader.isWaiting)
        let third = packet(Self.hello, at: end + second.count, 3)
        #expect(throws: WireError.self) { try reader.read(third.span.bytes, opener: &opener) }
    }

    @Test("each connection on a five-tuple is judged")
    func connections() throws {
        var other = QUICPacketBuilder()
        other.destination = [4, 4, 4, 4, 4, 4, 4, 4]
        let message = HelloBuilder.usual("other.example.net").message
        #expect(
            try Self.names([
                QUICPacketBuilder().packet(Self.wholeFrame), other.packet(QUICPacketBuilder.crypto(message, at: 0)),
            ]) == ["quic.example.com", "other.example.net"])
    }

    @Test("the first id's keys hold when the client turns to the server's id in the middle of its ClientHello")
    func changedID() throws {
        let first = QUICPacketBuilder()
        var second = QUICPacketBuilder()
        second.keyID = first.destination
        second.destination = [0xEE, 0xEE, 0xEE]
        second.packetNumber = 1
        #expect(
            try Self.names([
                first.packet(Self.frames([0..<90])), second.packet(Self.frames([90..<Self.hello.count])),
            ]) == ["quic.example.com"])
    }

    @Test("a packet that does not authenticate names nothing, and does not keep the real one from being read")
    func noise() throws {
        let packet = QUICPacketBuilder().packet(Self.wholeFrame)
        for index in packet.indices where index % 7 == 0 || index < 40 {
            var changed = packet
            changed[index] ^= 0x10
            #expect(try Self.names([changed]).isEmpty, "byte \(index)")
        }
        var forged = packet
        forged[600] ^= 1
        #expect(try Self.names([forged, packet]) == ["quic.example.com"])
        #expect(try Self.names([[0x40, 1, 2], [0xC0], [], packet]) == ["quic.example.com"])
    }

    @Test("every truncation is noise or waits")
    func truncations() throws {
        let packet = QUICPacketBuilder().packet(Self.wholeFrame)
        for count in stride(from: 0, to: packet.count, by: 13) {
            #expect(try Self.names([Array(packet[..<count])]).isEmpty)
        }
    }

    @Test("after a bounded number of attempts noise is not opened any more, known connections are")
    func bounds() throws {
        var reader = QUICInitialReader()
        var opener = QUICInitialOpener()
        let part = QUICPacketBuilder().packet(Self.frames([0..<50]))
        #expect(try reader.read(part.span.bytes, opener: &opener).openedCount == 1)
        for index in 0..<100 {
            var noise = QUICPacketBuilder()
            noise.destination = [UInt8(index), 1, 1, 1]
            noise.keyID = [0]
            #expect(try reader.read(noise.packet(Self.wholeFrame).span.bytes, opener: &opener).noiseCount == 1)
        }
        var late = QUICPacketBuilder()
        late.destination = [200]
        #expect(try reader.read(late.packet(Self.wholeFrame).span.bytes, opener: &opener).hellos.isEmpty)
        var rest = QUICPacketBuilder()
        rest.packetNumber = 5
        #expect(
            try reader.read(rest.packet(Self.frames([50..<Self.hello.count])).span.bytes, opener: &opener).hellos.count
                == 1)
    }

    @Test("refuses what an Initial packet may not have, and what servers read in two ways")
    func refusals() {
        let other = HelloBuilder.usual("fake.example.com").message
        let cases: [([UInt8], StaticReason)] = [
            (Self.wholeFrame + [8, 0, 1, 2], "frame that no Initial packet has"),
            (
                QUICPacketBuilder.crypto(other, at: 0) + Self.wholeFrame,
                "CRYPTO byte that came twice with different values"
            ),
            (QUICPacketBuilder.crypto([1], at: 70_000), "CRYPTO offset beyond any ClientHello"),
            ([6, 0, 0x7F, 0xFF], "CRYPTO frame longer than its packet"),
        ]
        for (frames, reason) in cases {
            do throws(WireError) {
                var builder = QUICPacketBuilder()
                builder.paddedByteCount = 0
                _ = try Self.names([builder.packet(frames)])
                Issue.record("\(reason) was not thrown")
            } catch {
                guard case .malformed(let found, _) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(found == reason)
            }
        }
    }

    @Test("versions that cannot be read are named, and versions that are none are noise")
    func unknownVersions() throws {
        var reader = QUICInitialReader()
        var opener = QUICInitialOpener()
        let datagram: [UInt8] =
            [0xC0, 0x1A, 0x2A, 0x3A, 0x4A, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0] + Array(repeating: 0, count: 50)
        let reading = try reader.read(datagram.span.bytes, opener: &opener)
        #expect(reading.unknownVersion?.rawValue == 0x1A2A_3A4A)
        #expect(QUICVersion(rawValue: 0x1A2A_3A4A).isPlausible)
        #expect(QUICVersion(rawValue: 0x5130_3436).isPlausible)
        #expect(!QUICVersion(rawValue: 0x0100_0001).isPlausible)
    }
}

@Suite struct QUICCryptoStreamTests {
    @Test("pieces in random order, repeated and overlapping, come to what a plain array comes to")
    func twin() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let whole = (0..<300).map { _ in UInt8.random(in: 0...255, using: &generator) }
            var stream = QUICCryptoStream()
            var isThere = Array(repeating: false, count: whole.count)
            for _ in 0..<60 {
                let start = Int.random(in: 0..<whole.count, using: &generator)
                let end = Int.random(in: start...min(whole.count, start + 30), using: &generator)
                let piece = Array(whole[start..<end])
                try stream.insert(piece.span.bytes, at: UInt64(start))
                for index in start..<end { isThere[index] = true }
                #expect(stream.prefixByteCount == isThere.firstIndex(of: false) ?? whole.count)
            }
            guard let hole = isThere.firstIndex(of: true) else { continue }
            let wrong = [whole[hole] ^ 1]
            #expect(throws: WireError.self) { try stream.insert(wrong.span.bytes, at: UInt64(hole)) }
        }
    }
}
