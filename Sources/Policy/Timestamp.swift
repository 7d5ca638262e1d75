internal import CivilCalendar

/// Points in time as RFC 3339 text in UTC, without the C library.
enum Timestamp {
    /// `2026-01-01T00:00:00Z`, with as many decimals of the second as are not zero.
    static func text(nanoseconds: UInt64) -> String {
        let seconds = nanoseconds / 1_000_000_000
        let date = CivilDate(days: Int(seconds / 86_400))
        let second = Int(seconds % 86_400)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(30)
        append(date.year, width: 4, to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        append(date.month, width: 2, to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        append(date.day, width: 2, to: &bytes)
        bytes.append(UInt8(ascii: "T"))
        append(second / 3600, width: 2, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        append(second / 60 % 60, width: 2, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        append(second % 60, width: 2, to: &bytes)
        let fraction = Int(nanoseconds % 1_000_000_000)
        if fraction != 0 {
            bytes.append(UInt8(ascii: "."))
            append(fraction, width: 9, to: &bytes)
            while bytes.last == UInt8(ascii: "0") { bytes.removeLast() }
        }
        bytes.append(UInt8(ascii: "Z"))
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Nanoseconds since the Unix epoch of `2026-01-01T00:00:00.5Z` or `2026-01-01T01:00:00+01:00`; nil for anything else,
    /// before 1970 or after 2554.
    static func nanoseconds(_ text: String) -> UInt64? {
        var rest = Array(text.utf8)[...]
        guard let year = number(4, &rest), take("-", &rest), let month = number(2, &rest), take("-", &rest),
            let day = number(2, &rest), take("T", &rest) || take("t", &rest) || take(" ", &rest),
            let hour = number(2, &rest), take(":", &rest), let minute = number(2, &rest), take(":", &rest),
            let second = number(2, &rest)
        else { return nil }
        let days = CivilDate.days(year: year, month: month, day: day)
        let date = CivilDate(days: days)
        guard (date.year, date.month, date.day) == (year, month, day), hour < 24, minute < 60, second < 60 else {
            return nil
        }
        var fraction = 0
        if take(".", &rest) {
            var digits = 0
            while let digit = number(1, &rest) {
                if digits < 9 { fraction = fraction * 10 + digit }
                digits += 1
            }
            guard digits > 0 else { return nil }
            for _ in min(digits, 9)..<9 { fraction *= 10 }
        }
        guard let offset = offset(&rest), rest.isEmpty else { return nil }
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset
        guard seconds >= 0 else { return nil }
        let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, carry) = whole.addingReportingOverflow(UInt64(fraction))
        return overflow || carry ? nil : sum
    }

    /// Seconds east of UTC.
    private static func offset(_ rest: inout ArraySlice<UInt8>) -> Int? {
        if take("Z", &rest) || take("z", &rest) { return 0 }
        let sign = take("+", &rest) ? 1 : take("-", &rest) ? -1 : 0
        guard sign != 0, let hours = number(2, &rest), take(":", &rest), let minutes = number(2, &rest), hours < 24,
            minutes < 60
        else { return nil }
        return sign * (hours * 3600 + minutes * 60)
    }

    private static func append(_ value: Int, width: Int, to bytes: inout [UInt8]) {
        var scale = 1
        for _ in 1..<width { scale *= 10 }
        while scale > 0 {
            bytes.append(UInt8(ascii: "0") + UInt8(value / scale % 10))
            scale /= 10
        }
    }

    private static func number(_ width: Int, _ rest: inout ArraySlice<UInt8>) -> Int? {
        let digits = rest.prefix(width)
        guard digits.count == width, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return nil
        }
        rest = rest.dropFirst(width)
        return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    }

    private static func take(_ character: Unicode.Scalar, _ rest: inout ArraySlice<UInt8>) -> Bool {
        guard rest.first == UInt8(ascii: character) else { return false }
        rest = rest.dropFirst()
        return true
    }
}
