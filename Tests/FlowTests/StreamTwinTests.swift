import Octets
import PacketHeaders
import Testing

@testable import Flow

/// A stream as a table from offset to byte.
private struct NaiveStream {
    var bytes: [Int: UInt8] = [:]
    /// Judged bytes that are kept, in pieces as they were judged in one run.
    var judged: [(start: Int, bytes: [UInt8])] = []
    var start = 0

    var end: Int {
        var end = start
        while bytes[end] != nil { end += 1 }
        return end
    }

    /// Whether `segment` agrees with every byte that is known.
    func agrees(_ segment: [UInt8], at offset: Int) -> Bool {
        for (index, byte) in segment.enumerated() {
            for piece in judged where (piece.start..<piece.start + piece.bytes.count).contains(offset + index) {
                if piece.bytes[offset + index - piece.start] != byte { return false }
            }
            // What lies wholly left of the stream's start is compared with judged bytes only.
            if offset + segment.count > start, let known = bytes[offset + index], known != byte { return false }
        }
        return true
    }

    mutating func insert(_ segment: [UInt8], at offset: Int) {
        for (index, byte) in segment.enumerated() where offset + index >= start { bytes[offset + index] = byte }
    }

    mutating func judge(upTo offset: Int) {
        let range = start..<min(offset, end)
        guard !range.isEmpty else { return }
        let taken = range.compactMap { bytes[$0] }
        if let last = judged.last, last.start + last.bytes.count == start {
            judged[judged.count - 1].bytes += taken
        } else {
            judged.append((start, taken))
        }
        pass(upTo: range.upperBound)
    }

    mutating func pass(upTo offset: Int) {
        for index in start..<max(start, offset) { bytes[index] = nil }
        start = max(start, offset)
    }

    mutating func acknowledge(upTo offset: Int) {
        judged.removeAll { $0.start + $0.bytes.count <= offset }
    }
}

@Suite struct StreamTwinTests {
    @Test("does what a naive stream does, whatever comes in whatever order", arguments: 0..<16)
    func naiveTwin(seed: Int) throws {
        var generator = SplitMix(state: UInt64(seed))
        let first = SequenceNumber(rawValue: .max - 100)
        var stream = StreamReassembler(first: first, byteLimit: 300)
        var naive = NaiveStream()
        let truth = (0..<4000).map { _ in UInt8.random(in: 0...3, using: &generator) }
        for step in 0..<600 where naive.end < 3800 {
            switch Int.random(in: 0..<12, using: &generator) {
            case 0...6:
                let offset = max(0, naive.end + Int.random(in: -70...90, using: &generator))
                var segment = Array(truth[offset..<offset + Int.random(in: 0...70, using: &generator)])
                if Int.random(in: 0..<8, using: &generator) == 0, let last = segment.indices.last { segment[last] ^= 1 }
                var copy = stream
                do throws(ReassemblyError) {
                    try copy.insert(first.advanced(by: offset), segment.span.bytes)
                    #expect(naive.agrees(segment, at: offset), "step \(step)")
                    naive.insert(segment, at: offset)
                    stream = copy
                } catch .conflict {
                    #expect(!naive.agrees(segment, at: offset), "step \(step)")
                } catch .full {
                    // A bound: the naive stream has none.
                }
            case 7, 8:
                let offset = naive.start + Int.random(in: 0...60, using: &generator)
                do throws(ReassemblyError) { try stream.judge(upTo: offset) } catch { continue }
                naive.judge(upTo: offset)
            case 9:
                let offset = naive.start + Int.random(in: 0...60, using: &generator)
                stream.pass(upTo: offset)
                naive.pass(upTo: offset)
            default:
                let offset = naive.start - Int.random(in: 0...40, using: &generator)
                stream.acknowledge(upTo: offset)
                naive.acknowledge(upTo: offset)
            }
            #expect(stream.start == naive.start, "step \(step)")
            #expect(stream.end == naive.end, "step \(step)")
            let readable = (0..<stream.bytes.byteCount).map { stream.bytes.byte(at: $0) }
            #expect(readable == (naive.start..<naive.end).compactMap { naive.bytes[$0] }, "step \(step)")
            #expect(stream.judgedByteCount == naive.judged.reduce(0) { $0 + $1.bytes.count }, "step \(step)")
            #expect(stream.isDrained == naive.bytes.isEmpty, "step \(step)")
        }
    }
}

/// A small reproducible generator (SplitMix64).
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
