internal import CivilCalendar

/// The footer of a zone's file: the rule for moments after its last transition, as in POSIX's `TZ` (RFC 8536 §3.3, with
/// times of day between -167 and 167 hours).
struct ZoneRule {
    /// Seconds east of UTC, and the abbreviation.
    typealias Offset = (offset: Int, name: String)

    private enum Day {
        /// 1...365; the 29th of February is never counted.
        case julian(Int)
        /// 0...365; the 29th of February counts.
        case zeroBased(Int)
        /// The `week`th such day of the month; 5 is the last one.
        case weekday(month: Int, week: Int, weekday: Int)
    }

    private struct Change {
        let day: Day
        /// Seconds after local midnight.
        let time: Int

        /// Seconds since the year began in UTC, for a clock `offset` east of it.
        func seconds(in year: Int, offset: Int) -> Int {
            let days: Int
            switch day {
            case .julian(let number): days = number - 1 + (CivilTime.isLeap(year) && number >= 60 ? 1 : 0)
            case .zeroBased(let number): days = number
            case .weekday(let month, let week, let weekday):
                let first = CivilTime(year: year, month: month, day: 1)
                var day = (weekday - first.weekday + 7) % 7 + (week - 1) * 7
                if day >= CivilTime.daysIn(month, year) { day -= 7 }
                days = first.dayOfYear - 1 + day
            }
            return days * 86400 + time - offset
        }
    }

    private let standard: Offset
    private let daylight: (offset: Offset, start: Change, end: Change)?

    /// Reads a rule; nil where it is none.
    init?(_ text: some Sequence<UInt8>) {
        var reader = Reader(rest: Array(text)[...])
        guard let name = reader.name(), let west = reader.time(hours: 24) else { return nil }
        standard = (-west, name)
        if reader.rest.isEmpty {
            daylight = nil
            return
        }
        guard let summer = reader.name() else { return nil }
        var offset = standard.offset + 3600
        if let next = reader.rest.first, next != UInt8(ascii: ",") {
            guard let west = reader.time(hours: 24) else { return nil }
            offset = -west
        }
        guard let start = reader.change(), let end = reader.change(), reader.rest.isEmpty else { return nil }
        daylight = ((offset, summer), start, end)
    }

    /// What holds at a moment, seconds since the epoch.
    func at(_ seconds: Int) -> Offset {
        guard let daylight else { return standard }
        let days = seconds >= 0 ? seconds / 86400 : (seconds - 86399) / 86400
        let year = CivilDate(days: days).year
        let inYear = seconds - CivilDate.days(year: year, month: 1, day: 1) * 86400
        let start = daylight.start.seconds(in: year, offset: standard.offset)
        let end = daylight.end.seconds(in: year, offset: daylight.offset.offset)
        let isDaylight = start <= end ? inYear >= start && inYear < end : inYear >= start || inYear < end
        return isDaylight ? daylight.offset : standard
    }

    private struct Reader {
        var rest: ArraySlice<UInt8>

        mutating func take(_ byte: Unicode.Scalar) -> Bool {
            guard rest.first == UInt8(ascii: byte) else { return false }
            rest.removeFirst()
            return true
        }

        /// At least three letters, or anything between angle brackets.
        mutating func name() -> String? {
            if take("<") {
                guard let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return nil }
                defer { rest = rest[(end + 1)...] }
                return String(decoding: rest[..<end], as: UTF8.self)
            }
            let letters = rest.prefix { (0x61...0x7A).contains($0 | 0x20) }
            guard letters.count >= 3 else { return nil }
            rest = rest[letters.endIndex...]
            return String(decoding: letters, as: UTF8.self)
        }

        mutating func number(_ range: ClosedRange<Int>) -> Int? {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard digits.count <= 4, let value = Int(String(decoding: digits, as: UTF8.self)), range ~= value else {
                return nil
            }
            rest = rest[digits.endIndex...]
            return value
        }

        /// `[+-]h[:m[:s]]`, in seconds.
        mutating func time(hours: Int) -> Int? {
            let sign = take("-") ? -1 : 1
            if sign > 0 { _ = take("+") }
            guard var seconds = number(0...hours).map({ $0 * 3600 }) else { return nil }
            for unit in [60, 1] where take(":") {
                guard let part = number(0...59) else { return nil }
                seconds += part * unit
            }
            return sign * seconds
        }

        /// `,day[/time]`.
        mutating func change() -> Change? {
            guard take(",") else { return nil }
            let day: Day
            if take("J") {
                guard let number = number(1...365) else { return nil }
                day = .julian(number)
            } else if take("M") {
                guard let month = number(1...12), take("."), let week = number(1...5), take("."),
                    let weekday = number(0...6)
                else { return nil }
                day = .weekday(month: month, week: week, weekday: weekday)
            } else {
                guard let number = number(0...365) else { return nil }
                day = .zeroBased(number)
            }
            guard take("/") else { return Change(day: day, time: 2 * 3600) }
            return time(hours: 167).map { Change(day: day, time: $0) }
        }
    }
}
