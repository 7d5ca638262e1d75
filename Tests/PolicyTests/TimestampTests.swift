import Testing

@testable import Policy

@Suite struct TimestampTests {
    @Test(
        "writes and reads RFC 3339",
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (1_767_225_600_000_000_000, "2026-01-01T00:00:00Z"),
            (951_782_399_500_000_000, "2000-02-28T23:59:59.5Z"),
            (951_827_696_000_000_001, "2000-02-29T12:34:56.000000001Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00Z"), (UInt64.max, "2554-07-21T23:34:33.709551615Z"),
        ] as [(UInt64, String)])
    func both(nanoseconds: UInt64, text: String) {
        #expect(Timestamp.text(nanoseconds: nanoseconds) == text)
        #expect(Timestamp.nanoseconds(text) == nanoseconds)
    }

    @Test(
        "reads offsets and long fractions",
        arguments: [
            ("1970-01-01T01:00:00+01:00", 0), ("1970-01-01T00:00:00-00:30", 1_800_000_000_000),
            ("1970-01-01t00:00:01.1234567899z", 1_123_456_789), ("1970-01-01 00:00:00Z", 0),
        ] as [(String, UInt64)])
    func reads(text: String, nanoseconds: UInt64) {
        #expect(Timestamp.nanoseconds(text) == nanoseconds)
    }

    @Test(
        "refuses what is no time",
        arguments: [
            "", "2026-01-01", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00Zx",
            "1969-12-31T23:59:59Z", "2555-01-01T00:00:00Z", "2026-01-00T00:00:00Z",
        ])
    func refuses(text: String) {
        #expect(Timestamp.nanoseconds(text) == nil)
    }
}
