import Glibc
import Testing

@testable import DecisionLog

@Suite("Timestamp")
struct TimestampTests {
    @Test("says what the C library says, for every month of 140 years")
    func twin() {
        for month in 0..<1680 {
            var seconds = month * 2_629_800 + month % 86_400
            var parts = tm()
            gmtime_r(&seconds, &parts)
            var buffer = [CChar](repeating: 0, count: 64)
            strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%S", &parts)
            let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            #expect(Timestamp.text(nanoseconds: UInt64(seconds) * 1_000_000_000 + 1_002_999) == text + ".001002Z")
        }
    }
}
