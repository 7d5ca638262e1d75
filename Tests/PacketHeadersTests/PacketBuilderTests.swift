import Octets
import Testing

@testable import PacketHeaders

@Suite struct PacketBuilderTests {
    static func flow(_ source: String, _ destination: String) throws -> FiveTuple {
        FiveTuple(
            source: try #require(IPAddress(source)), sourcePort: 443, destination: try #require(IPAddress(destination)),
            destinationPort: 40000, transport: .tcp)
    }

    @Test(
        "a reset says what it was told, with right checksums",
        arguments: [("198.18.0.1", "198.18.0.2", 40), ("fd00::1", "fd00::2", 60)])
    func reset(source: String, destination: String, byteCount: Int) throws {
        let flow = try Self.flow(source, destination)
        var buffer = [UInt8](repeating: 0xAA, count: 64)
        var span = buffer.mutableSpan
        var raw = span.mutableBytes
        let written = try PacketBuilder.writeSegment(
            flow: flow, sequence: SequenceNumber(rawValue: 7), acknowledgment: SequenceNumber(rawValue: 9),
            flags: [.rst, .ack], into: &raw)
        #expect(written == byteCount)
        let packet = try PacketTests.parse(Array(buffer[..<written]))
        #expect(packet.flow == flow)
        #expect(packet.tcp?.flags == [.rst, .ack])
        #expect(packet.tcp?.sequence.rawValue == 7)
        #expect(packet.tcp?.acknowledgment.rawValue == 9)
        #expect(packet.payload.isEmpty)
        #expect(ChecksumTests.isValid(packet, in: buffer))
        #expect(buffer[written...].allSatisfy { $0 == 0xAA })
    }

    @Test("flags are what was asked for: a reset without an acknowledgment")
    func bareReset() throws {
        let flow = try Self.flow("198.18.0.1", "198.18.0.2")
        var buffer = [UInt8](repeating: 0, count: 40)
        var span = buffer.mutableSpan
        var raw = span.mutableBytes
        _ = try PacketBuilder.writeSegment(
            flow: flow, sequence: SequenceNumber(rawValue: 7), acknowledgment: SequenceNumber(rawValue: 0), flags: .rst,
            into: &raw)
        #expect(try PacketTests.parse(buffer).tcp?.flags == .rst)
    }

    @Test("a segment carries its payload")
    func segment() throws {
        let payload: [UInt8] = [1, 2, 3]
        var buffer = [UInt8](repeating: 0, count: 43)
        var span = buffer.mutableSpan
        var raw = span.mutableBytes
        let written = try PacketBuilder.writeSegment(
            flow: try Self.flow("198.18.0.1", "198.18.0.2"), sequence: SequenceNumber(rawValue: 7),
            acknowledgment: SequenceNumber(rawValue: 9), flags: [.psh, .ack], payload: payload.span.bytes, into: &raw)
        let packet = try PacketTests.parse(buffer)
        #expect(written == 43)
        #expect(Array(buffer[packet.payload.range]) == payload)
        #expect(ChecksumTests.isValid(packet, in: buffer))
    }

    @Test(
        "a trimmed segment begins where its receiver wants it to, with right checksums; an empty one stays old",
        arguments: [("198.18.0.1", "198.18.0.2"), ("fd00::1", "fd00::2")])
    func trimming(source: String, destination: String) throws {
        let cases: [(TCPFlags, drop: Int, sequence: UInt32, rest: [UInt8])] = [
            ([.psh, .ack], 2, 9, [3, 4, 5]), ([.psh, .ack], 5, 7, []), ([.psh, .ack], 9, 7, []),
            ([.fin, .ack], 5, 12, []), ([.ack], 0, 7, [1, 2, 3, 4, 5]),
        ]
        for (flags, drop, sequence, rest) in cases {
            var buffer = [UInt8](repeating: 0, count: 80)
            var span = buffer.mutableSpan
            var raw = span.mutableBytes
            let payload: [UInt8] = [1, 2, 3, 4, 5]
            let written = try PacketBuilder.writeSegment(
                flow: try Self.flow(source, destination), sequence: SequenceNumber(rawValue: 7),
                acknowledgment: SequenceNumber(rawValue: 9), flags: flags, payload: payload.span.bytes, into: &raw)
            let whole = try Packet(parsing: raw.bytes.extracting(0..<written))
            let trimmed = try whole.trimming(drop, in: &raw)
            let packet = try PacketTests.parse(Array(buffer[..<trimmed.byteCount]))
            #expect(packet == trimmed)
            #expect(packet.tcp?.sequence.rawValue == sequence)
            #expect(packet.tcp?.flags == flags)
            #expect(Array(buffer[packet.payload.range]) == rest)
            #expect(ChecksumTests.isValid(packet, in: buffer))
        }
    }

    @Test("refuses a buffer that is too small and addresses of two families")
    func refuses() throws {
        let small = try Self.flow("fd00::1", "fd00::2")
        let mixed = try Self.flow("fd00::1", "198.18.0.2")
        var buffer = [UInt8](repeating: 0, count: 59)
        func reset(_ flow: FiveTuple) throws(WireError) {
            var span = buffer.mutableSpan
            var raw = span.mutableBytes
            _ = try PacketBuilder.writeSegment(
                flow: flow, sequence: SequenceNumber(rawValue: 0), acknowledgment: SequenceNumber(rawValue: 0),
                flags: .rst, into: &raw)
        }
        #expect(throws: WireError.truncated(needed: 1)) { try reset(small) }
        #expect(throws: WireError.malformed("addresses of two families", offset: 0)) { try reset(mixed) }
    }

    @Test("sequence numbers wrap")
    func sequence() {
        let last = SequenceNumber(rawValue: .max)
        #expect(last.advanced(by: 3).rawValue == 2)
        #expect(last.advanced(by: 3).distance(from: last) == 3)
        #expect(last.distance(from: last.advanced(by: 3)) == -3)
    }
}
