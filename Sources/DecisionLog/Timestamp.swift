internal import CivilCalendar

/// Points of time as text (RFC 3339), in UTC.
public enum Timestamp {
    /// `2026-01-01T00:00:00.000000Z` for nanoseconds since the Unix epoch; what is below a microsecond is cut off.
    public static func text(nanoseconds: UInt64) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(27)
        append(nanoseconds: nanoseconds, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    static func append(nanoseconds: UInt64, to bytes: inout [UInt8]) {
        let seconds = Int(nanoseconds / 1_000_000_000)
        let microsecond = Int(nanoseconds % 1_000_000_000 / 1000)
        let date = CivilDate(days: seconds / 86400)
        let second = seconds % 86400
        digits(date.year, 4, &bytes)
        bytes.append(0x2D)
        digits(date.month, 2, &bytes)
        bytes.append(0x2D)
        digits(date.day, 2, &bytes)
        bytes.append(0x54)
        digits(second / 3600, 2, &bytes)
        bytes.append(0x3A)
        digits(second / 60 % 60, 2, &bytes)
        bytes.append(0x3A)
        digits(second % 60, 2, &bytes)
        bytes.append(0x2E)
        digits(microsecond, 6, &bytes)
        bytes.append(0x5A)
    }

    private static func digits(_ value: Int, _ count: Int, _ bytes: inout [UInt8]) {
        var divisor = 1
        for _ in 1..<count { divisor *= 10 }
        while divisor > 0 {
            bytes.append(UInt8(0x30 + value / divisor % 10))
            divisor /= 10
        }
    }
}
