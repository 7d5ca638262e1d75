import PacketHeaders
import Testing

@testable import Flow

@Suite struct StreamReassemblerTests {
    private let first = SequenceNumber(rawValue: 0xFFFF_FFF0)

    private func insert(_ stream: inout StreamReassembler, at offset: Int, _ bytes: [UInt8]) throws(ReassemblyError) {
        try stream.insert(first.advanced(by: offset), bytes.span.bytes)
    }

    private func bytes(_ stream: StreamReassembler) -> [UInt8] {
        var result: [UInt8] = []
        for index in 0..<stream.bytes.byteCount {
            result.append(stream.bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self))
        }
        return result
    }

    @Test("gives the same stream for every order of three segments, across the wrap of sequence numbers")
    func orders() throws {
        let message = (0..<40).map { UInt8($0) }
        let pieces = [(0, 13), (13, 20), (20, 40)]
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            var stream = StreamReassembler(first: first, byteLimit: 100)
            for index in order {
                let (from, to) = pieces[index]
                try insert(&stream, at: from, Array(message[from..<to]))
            }
            #expect(bytes(stream) == message)
        }
    }

    @Test("takes a repetition and overlaps of equal bytes")
    func equalOverlap() throws {
        var stream = StreamReassembler(first: first, byteLimit: 100)
        try insert(&stream, at: 0, [1, 2, 3, 4])
        try insert(&stream, at: 0, [1, 2, 3, 4])
        try insert(&stream, at: 6, [7, 8])
        try insert(&stream, at: 2, [3, 4, 5, 6, 7])
        #expect(bytes(stream) == [1, 2, 3, 4, 5, 6, 7, 8])
    }

    @Test("refuses a byte that differs from an earlier copy: kept, pending or judged")
    func conflicts() throws {
        var kept = StreamReassembler(first: first, byteLimit: 100)
        try insert(&kept, at: 0, [1, 2, 3])
        #expect(throws: ReassemblyError.conflict) { try insert(&kept, at: 2, [9, 4]) }

        var pending = StreamReassembler(first: first, byteLimit: 100)
        try insert(&pending, at: 5, [6, 7])
        #expect(throws: ReassemblyError.conflict) { try insert(&pending, at: 4, [5, 9]) }

        var judged = StreamReassembler(first: first, byteLimit: 100)
        try insert(&judged, at: 0, [1, 2, 3])
        try judged.judge(upTo: 3)
        #expect(throws: ReassemblyError.conflict) { try insert(&judged, at: 1, [9, 3]) }
        let (same, other): ([UInt8], [UInt8]) = ([1, 2, 3], [1, 2, 9])
        #expect(throws: ReassemblyError.conflict) { try judged.verify(first, other.span.bytes) }
        try judged.verify(first, same.span.bytes)
    }

    @Test("forgets judged bytes when the server has them all")
    func acknowledgment() throws {
        var stream = StreamReassembler(first: first, byteLimit: 100)
        try insert(&stream, at: 0, [1, 2, 3])
        try stream.judge(upTo: 3)
        stream.acknowledge(upTo: 2)
        #expect(stream.hasJudgedBytes)
        stream.acknowledge(upTo: 3)
        #expect(!stream.hasJudgedBytes)
        try insert(&stream, at: 0, [9, 9, 9])
        #expect(stream.end == 3)
    }

    @Test("knows which bytes of a segment the server has already")
    func stale() throws {
        var stream = StreamReassembler(first: first, byteLimit: 100)
        try insert(&stream, at: 0, [1, 2, 3, 4])
        try stream.judge(upTo: 4)
        stream.acknowledge(upTo: 3)
        stream.acknowledge(upTo: 2)
        #expect(stream.staleByteCount(of: first) == 3)
        #expect(stream.staleByteCount(of: first.advanced(by: 2)) == 1)
        #expect(stream.staleByteCount(of: first.advanced(by: 3)) == 0)
        #expect(stream.staleByteCount(of: first.advanced(by: 50)) == 0)
    }

    @Test("compares with every judged piece, however many there are")
    func judgedPieces() throws {
        var stream = StreamReassembler(first: first, byteLimit: 10_000)
        for number in 0..<500 {
            try insert(&stream, at: number * 4, [UInt8(number & 255), 1])
            try stream.judge(upTo: number * 4 + 2)
            stream.pass(upTo: number * 4 + 4)
        }
        #expect(stream.judgedByteCount == 1000)
        stream.acknowledge(upTo: 400)
        #expect(stream.judgedByteCount == 800)
        for number in 100..<500 {
            try insert(&stream, at: number * 4, [UInt8(number & 255), 1, 77, 78])
            #expect(throws: ReassemblyError.conflict) { try insert(&stream, at: number * 4 - 1, [9, 9, 2]) }
        }
    }

    @Test("passes over a body, also ahead of what is there, and reads on behind it")
    func body() throws {
        var stream = StreamReassembler(first: first, byteLimit: 100)
        try insert(&stream, at: 0, [1, 2, 3, 4])
        try stream.judge(upTo: 2)
        stream.pass(upTo: 200)
        try insert(&stream, at: 198, [8, 9, 10, 11])
        #expect(bytes(stream) == [10, 11])
        #expect(stream.start == 200)
    }

    @Test("never keeps more than its bounds")
    func bounds() throws {
        var stream = StreamReassembler(first: first, byteLimit: 8)
        #expect(throws: ReassemblyError.full) { try insert(&stream, at: 0, Array(repeating: 0, count: 9)) }
        var far = StreamReassembler(first: first, byteLimit: 8)
        #expect(throws: ReassemblyError.full) { try insert(&far, at: 8, [1]) }
        var pieces = StreamReassembler(first: first, byteLimit: 1000)
        #expect(throws: ReassemblyError.full) {
            for number in 0..<100 { try insert(&pieces, at: 2 + number * 2, [1]) }
        }
    }
}
