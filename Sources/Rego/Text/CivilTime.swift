internal import CivilCalendar

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
            let seconds =
                CivilDate.days(year: time.year, month: time.month, day: time.day) * 86400 + time.hour * 3600 + time
                .minute * 60
            return (seconds + time.second - time.offset, time.nanosecond)
        }
        return key(self) > key(other)
    }

    init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
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
        let date = CivilDate(days: days)
        self.init(year: date.year, month: date.month, day: date.day)
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
        return (CivilDate.days(year: y, month: months - y * 12 + 1, day: 1) + day - 1) * 86400 + hour * 3600 + minute
            * 60 + second - offset
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
    var weekday: Int { ((days + 4) % 7 + 7) % 7 }

    /// 1 for the first of January.
    var dayOfYear: Int { days - CivilDate.days(year: year, month: 1, day: 1) + 1 }

    /// Days since 1970-01-01, as the date stands here.
    private var days: Int { CivilDate.days(year: year, month: month, day: day) }

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
