/// A moment in the proleptic Gregorian calendar, with its offset from UTC.
struct CivilTime {
    var year: Int
    var month: Int
    var day: Int
    var hour = 0
    var minute = 0
    var second = 0
    var nanosecond = 0
    /// Seconds east of UTC.
    var offset = 0
    /// The zone's abbreviation.
    var zone = "UTC"

    /// Whether this moment is later than `other`.
    func isAfter(_ other: CivilTime) -> Bool {
        func key(_ time: CivilTime) -> (seconds: Int, nanosecond: Int) {
            let seconds = Self.days(time.year, time.month, time.day) * 86400 + time.hour * 3600 + time.minute * 60
            return (seconds + time.second - time.offset, time.nanosecond)
        }
        return key(self) > key(other)
    }

    /// Days since 1970-01-01.
    static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146097 + dayOfEra - 719468
    }

    init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// The beginning of a day, in days since 1970-01-01.
    init(days: Int) {
        let z = days + 719468
        let era = (z >= 0 ? z : z - 146096) / 146097
        let dayOfEra = z - era * 146097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shifted + 2) / 5 + 1
        month = shifted + (shifted < 10 ? 3 : -9)
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// From nanoseconds since the epoch, seen at an offset.
    init(nanoseconds: Int, offset: Int = 0, zone: String = "UTC") {
        var seconds = nanoseconds / 1_000_000_000
        var nanos = nanoseconds % 1_000_000_000
        if nanos < 0 {
            nanos += 1_000_000_000
            seconds -= 1
        }
        seconds += offset
        var days = seconds / 86400
        var rest = seconds % 86400
        if rest < 0 {
            rest += 86400
            days -= 1
        }
        self.init(days: days)
        hour = rest / 3600
        minute = rest % 3600 / 60
        second = rest % 60
        nanosecond = nanos
        self.offset = offset
        self.zone = zone
    }

    /// Seconds since the epoch; months and days out of range carry over.
    var seconds: Int {
        let months = year * 12 + month - 1
        let y = months >= 0 ? months / 12 : (months - 11) / 12
        return (Self.days(y, months - y * 12 + 1, 1) + day - 1) * 86400 + hour * 3600 + minute * 60 + second - offset
    }

    /// Nanoseconds since the epoch; nil outside 64 bits.
    var nanoseconds: Int? {
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow {
            // The last second before the smallest value still fits with its nanoseconds.
            let (next, over) = (seconds + 1).multipliedReportingOverflow(by: 1_000_000_000)
            if over { return nil }
            let (sum, over2) = next.addingReportingOverflow(nanosecond - 1_000_000_000)
            return over2 ? nil : sum
        }
        let (sum, over) = product.addingReportingOverflow(nanosecond)
        return over ? nil : sum
    }

    /// 0 for Sunday.
    var weekday: Int { ((Self.days(year, month, day) + 4) % 7 + 7) % 7 }

    /// 1 for the first of January.
    var dayOfYear: Int { Self.days(year, month, day) - Self.days(year, 1, 1) + 1 }

    static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    static func daysIn(_ month: Int, _ year: Int) -> Int {
        [31, isLeap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
    }

    static let weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
    static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]
}
