import Testing

@testable import Octets

@Suite struct ByteReaderTests {
    static let bytes: [UInt8] = (1...18).map { $0 }

    @Test("reads numbers in network order and knows where it is")
    func numbers() throws {
        var reader = ByteReader(Self.bytes.span.bytes, base: 100)
        #expect(try reader.readUInt8() == 1)
        #expect(try reader.readUInt16() == 0x0203)
        #expect(try reader.readUInt24() == 0x040506)
        #expect(try reader.readUInt32() == 0x0708_090A)
        #expect(try reader.readUInt64() == 0x0B0C_0D0E_0F10_1112)
        #expect(reader.offset == 118)
        let isAtEnd = reader.isAtEnd
        #expect(isAtEnd)
    }

    @Test("a load past the end asks for what is missing and moves nothing")
    func truncated() {
        let bytes: [UInt8] = [1, 2, 3]
        var reader = ByteReader(bytes.span.bytes)
        #expect(throws: WireError.truncated(needed: 1)) { _ = try reader.readUInt32() }
        #expect(throws: WireError.truncated(needed: 5)) { _ = try reader.readUInt64() }
        #expect(throws: WireError.truncated(needed: 1)) { try reader.skip(4) }
        #expect(throws: WireError.malformed("negative length", offset: 0)) { try reader.skip(-1) }
        #expect(reader.position == 0)
        #expect(throws: WireError.truncated(needed: 2)) { _ = try reader.readSlice(5) }
    }

    @Test("zeros are skipped up to the next other byte or the end", arguments: 0...20)
    func zeros(count: Int) throws {
        for tail in [[], [7], [7, 0, 0, 0, 0, 0, 0, 0, 0]] as [[UInt8]] {
            let bytes = [9] + [UInt8](repeating: 0, count: count) + tail
            var reader = ByteReader(bytes.span.bytes)
            try reader.skip(1)
            reader.skipZeros()
            #expect(reader.position == 1 + count)
        }
    }

    @Test("a slice counts offsets from the outermost bytes and must be read to its end")
    func slices() throws {
        var reader = ByteReader(Self.bytes.span.bytes)
        try reader.skip(4)
        var slice = try reader.readSlice(3)
        #expect(reader.position == 7)
        #expect(try slice.readUInt8() == 5)
        #expect(slice.offset == 5)
        #expect(throws: WireError.malformed("trailing bytes", offset: 5)) { try slice.expectEnd() }
        #expect(slice.sealed(.truncated(needed: 1), "short") == .malformed("short", offset: 5))
        #expect(slice.sealed(.malformed("bad", offset: 1), "short") == .malformed("bad", offset: 1))
        let next = slice.peek(1)
        #expect(next == 7)
        let past = slice.peek(2)
        #expect(past == nil)
        let rest = slice.rest.byteCount
        #expect(rest == 2)
    }

    @Test("a byte range is a range in eight bytes")
    func byteRange() {
        let range = ByteRange(3..<9)
        #expect(range.range == 3..<9 && range.byteCount == 6 && !range.isEmpty && ByteRange().isEmpty)
        #expect(MemoryLayout<ByteRange>.size == 8)
        let part = Self.bytes.span.bytes.extracting(range)
        #expect(part.byteCount == 6)
        #expect(part.byte(at: 0) == 4)
    }
}

@Suite struct HexTests {
    @Test("writes and reads two digits a byte")
    func roundTrip() {
        let bytes = (0...255).map { UInt8($0) }
        #expect(Hex.decode(Hex.encode(bytes)) == bytes)
        #expect(Hex.decode("0A ff\n00") == [10, 255, 0])
        #expect(Hex.decode("0") == nil)
        #expect(Hex.decode("0g") == nil)
    }
}
