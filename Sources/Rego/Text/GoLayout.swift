/// Time layouts in Go's notation (`2006-01-02T15:04:05Z07:00`).
struct GoLayout {
    private enum Piece: Equatable {
        case text([UInt8])
        case year, shortYear, monthName, shortMonthName, month, zeroMonth, weekday, shortWeekday
        case day, spaceDay, zeroDay, dayOfYear, spaceDayOfYear
        case hour24, hour12, zeroHour12, minute, zeroMinute, second, zeroSecond, upperPM, lowerPM, zoneName
        /// Colons, whether seconds are written, whether minutes are, whether UTC is `Z`.
        case offset(colon: Bool, seconds: Bool, minutes: Bool, zulu: Bool)
        case fraction(separator: UInt8, digits: Int, trims: Bool)
    }

    private let pieces: [Piece]

    private static let names: [(String, Piece)] = [
        ("January", .monthName), ("Jan", .shortMonthName), ("Monday", .weekday), ("Mon", .shortWeekday),
        ("MST", .zoneName), ("2006", .year),
        ("-07:00:00", .offset(colon: true, seconds: true, minutes: true, zulu: false)),
        ("-070000", .offset(colon: false, seconds: true, minutes: true, zulu: false)),
        ("-07:00", .offset(colon: true, seconds: false, minutes: true, zulu: false)),
        ("-0700", .offset(colon: false, seconds: false, minutes: true, zulu: false)),
        ("-07", .offset(colon: false, seconds: false, minutes: false, zulu: false)),
        ("Z07:00:00", .offset(colon: true, seconds: true, minutes: true, zulu: true)),
        ("Z070000", .offset(colon: false, seconds: true, minutes: true, zulu: true)),
        ("Z07:00", .offset(colon: true, seconds: false, minutes: true, zulu: true)),
        ("Z0700", .offset(colon: false, seconds: false, minutes: true, zulu: true)),
        ("Z07", .offset(colon: false, seconds: false, minutes: false, zulu: true)),
        ("002", .dayOfYear), ("__2", .spaceDayOfYear), ("01", .zeroMonth), ("02", .zeroDay), ("03", .zeroHour12),
        ("04", .zeroMinute), ("05", .zeroSecond), ("06", .shortYear), ("15", .hour24), ("_2", .spaceDay),
        ("PM", .upperPM),
        ("pm", .lowerPM), ("1", .month), ("2", .day), ("3", .hour12), ("4", .minute), ("5", .second),
    ]

    /// Layouts by the names of Go's constants.
    private static let constants: [String: String] = [
        "ANSIC": "Mon Jan _2 15:04:05 2006", "UnixDate": "Mon Jan _2 15:04:05 MST 2006",
        "RubyDate": "Mon Jan 02 15:04:05 -0700 2006", "RFC822": "02 Jan 06 15:04 MST",
        "RFC822Z": "02 Jan 06 15:04 -0700", "RFC850": "Monday, 02-Jan-06 15:04:05 MST",
        "RFC1123": "Mon, 02 Jan 2006 15:04:05 MST", "RFC1123Z": "Mon, 02 Jan 2006 15:04:05 -0700",
        "RFC3339": "2006-01-02T15:04:05Z07:00", "RFC3339Nano": "2006-01-02T15:04:05.999999999Z07:00",
    ]

    init(_ layout: String) {
        let text = Array((Self.constants[layout] ?? layout).utf8)
        var pieces: [Piece] = []
        var literal: [UInt8] = []
        var index = 0
        outer: while index < text.count {
            let rest = text[index...]
            if text[index] == 0x2E || text[index] == 0x2C, index + 1 < text.count,
                text[index + 1] == 0x30 || text[index + 1] == 0x39
            {
                var end = index + 1
                while end < text.count, text[end] == text[index + 1] { end += 1 }
                if end == text.count || text[end] < 0x30 || text[end] > 0x39 {
                    if !literal.isEmpty { pieces.append(.text(literal)) }
                    literal = []
                    pieces.append(
                        .fraction(separator: text[index], digits: end - index - 1, trims: text[index + 1] == 0x39))
                    index = end
                    continue
                }
            }
            for (name, piece) in Self.names where rest.starts(with: Array(name.utf8)) {
                // "Jan" in "Janitor" and "Mon" in "Month" are text.
                if piece == .shortMonthName || piece == .shortWeekday {
                    if let next = rest.dropFirst(3).first, next >= 0x61, next <= 0x7A { continue }
                }
                if !literal.isEmpty { pieces.append(.text(literal)) }
                literal = []
                pieces.append(piece)
                index += name.utf8.count
                continue outer
            }
            literal.append(text[index])
            index += 1
        }
        if !literal.isEmpty { pieces.append(.text(literal)) }
        self.pieces = pieces
    }

    private static func padded(_ value: Int, _ width: Int, _ fill: Character = "0") -> String {
        let digits = String(abs(value))
        return (value < 0 ? "-" : "") + String(repeating: fill, count: max(0, width - digits.count)) + digits
    }

    func format(_ time: CivilTime) -> String {
        var out = ""
        for piece in pieces {
            switch piece {
            case .text(let bytes): out += String(decoding: bytes, as: UTF8.self)
            case .year: out += Self.padded(time.year, 4)
            case .shortYear: out += Self.padded(((time.year % 100) + 100) % 100, 2)
            case .monthName: out += CivilTime.months[time.month - 1]
            case .shortMonthName: out += CivilTime.months[time.month - 1].prefix(3)
            case .month: out += String(time.month)
            case .zeroMonth: out += Self.padded(time.month, 2)
            case .weekday: out += CivilTime.weekdays[time.weekday]
            case .shortWeekday: out += CivilTime.weekdays[time.weekday].prefix(3)
            case .day: out += String(time.day)
            case .spaceDay: out += Self.padded(time.day, 2, " ")
            case .zeroDay: out += Self.padded(time.day, 2)
            case .dayOfYear: out += Self.padded(time.dayOfYear, 3)
            case .spaceDayOfYear: out += Self.padded(time.dayOfYear, 3, " ")
            case .hour24: out += Self.padded(time.hour, 2)
            case .hour12: out += String(time.hour % 12 == 0 ? 12 : time.hour % 12)
            case .zeroHour12: out += Self.padded(time.hour % 12 == 0 ? 12 : time.hour % 12, 2)
            case .minute: out += String(time.minute)
            case .zeroMinute: out += Self.padded(time.minute, 2)
            case .second: out += String(time.second)
            case .zeroSecond: out += Self.padded(time.second, 2)
            case .upperPM: out += time.hour >= 12 ? "PM" : "AM"
            case .lowerPM: out += time.hour >= 12 ? "pm" : "am"
            case .zoneName: out += time.zone
            case .offset(let colon, let seconds, let minutes, let zulu):
                if zulu, time.offset == 0 {
                    out += "Z"
                    continue
                }
                let magnitude = abs(time.offset)
                out += (time.offset < 0 ? "-" : "+") + Self.padded(magnitude / 3600, 2)
                if minutes { out += (colon ? ":" : "") + Self.padded(magnitude % 3600 / 60, 2) }
                if seconds { out += (colon ? ":" : "") + Self.padded(magnitude % 60, 2) }
            case .fraction(let separator, let digits, let trims):
                var text = String(Self.padded(time.nanosecond, 9).prefix(digits))
                if trims { while text.hasSuffix("0") { text.removeLast() } }
                if !text.isEmpty { out += String(UnicodeScalar(separator)) + text }
            }
        }
        return out
    }

    /// The moment that `text` spells; nil where it does not fit the layout.
    func parse(_ text: [UInt8]) -> CivilTime? {
        var time = CivilTime(year: 0, month: 1, day: 1)
        var index = 0
        var isPM: Bool?
        var yearDay: Int?
        func number(_ least: Int, _ most: Int) -> Int? {
            var end = index
            while end < text.count, end - index < most, text[end] >= 0x30, text[end] <= 0x39 { end += 1 }
            guard end - index >= least else { return nil }
            defer { index = end }
            return Int(String(decoding: text[index..<end], as: UTF8.self))
        }
        func name(_ names: [String], short: Bool) -> Int? {
            for (place, name) in names.enumerated() {
                let candidate = Array((short ? String(name.prefix(3)) : name).lowercased().utf8)
                if text[index...].prefix(candidate.count).map({ $0 | 0x20 }) == candidate {
                    index += candidate.count
                    return place
                }
            }
            return nil
        }
        for (place, piece) in pieces.enumerated() {
            switch piece {
            case .text(let bytes):
                guard text[index...].starts(with: bytes) else { return nil }
                index += bytes.count
            case .year:
                guard let value = number(4, 4) else { return nil }
                time.year = value
            case .shortYear:
                guard let value = number(2, 2) else { return nil }
                time.year = value >= 69 ? 1900 + value : 2000 + value
            case .monthName, .shortMonthName:
                guard let value = name(CivilTime.months, short: piece == .shortMonthName) else { return nil }
                time.month = value + 1
            case .month, .zeroMonth:
                guard let value = number(piece == .zeroMonth ? 2 : 1, 2), value >= 1, value <= 12 else { return nil }
                time.month = value
            case .weekday, .shortWeekday:
                guard name(CivilTime.weekdays, short: piece == .shortWeekday) != nil else { return nil }
            case .day, .spaceDay, .zeroDay:
                if piece == .spaceDay, index < text.count, text[index] == 0x20 { index += 1 }
                guard let value = number(piece == .zeroDay ? 2 : 1, 2) else { return nil }
                time.day = value
            case .dayOfYear, .spaceDayOfYear:
                while piece == .spaceDayOfYear, index < text.count, text[index] == 0x20 { index += 1 }
                guard let value = number(1, 3) else { return nil }
                yearDay = value
            case .hour24:
                guard let value = number(1, 2), value < 24 else { return nil }
                time.hour = value
            case .hour12, .zeroHour12:
                guard let value = number(piece == .zeroHour12 ? 2 : 1, 2), value <= 12 else { return nil }
                time.hour = value
            case .minute, .zeroMinute:
                guard let value = number(piece == .zeroMinute ? 2 : 1, 2), value < 60 else { return nil }
                time.minute = value
            case .second, .zeroSecond:
                guard let value = number(piece == .zeroSecond ? 2 : 1, 2), value < 60 else { return nil }
                time.second = value
                // A fraction may follow that the layout does not have.
                var hasFraction = false
                if place + 1 < pieces.count, case .fraction = pieces[place + 1] { hasFraction = true }
                if !hasFraction, index + 1 < text.count, text[index] == 0x2E || text[index] == 0x2C,
                    text[index + 1] >= 0x30, text[index + 1] <= 0x39
                {
                    index += 1
                    time.nanosecond = fraction(text, &index)
                }
            case .upperPM, .lowerPM:
                let mark = String(decoding: text[index...].prefix(2), as: UTF8.self)
                guard mark == (piece == .upperPM ? "PM" : "pm") || mark == (piece == .upperPM ? "AM" : "am") else {
                    return nil
                }
                isPM = mark.lowercased() == "pm"
                index += 2
            case .zoneName:
                var end = index
                while end < text.count, text[end] >= 0x41, text[end] <= 0x5A { end += 1 }
                guard end - index >= 3 else { return nil }
                index = end
            case .offset(let colon, let seconds, let minutes, let zulu):
                if zulu, index < text.count, text[index] == UInt8(ascii: "Z") {
                    index += 1
                    continue
                }
                guard index < text.count, text[index] == 0x2B || text[index] == 0x2D else { return nil }
                let sign = text[index] == 0x2D ? -1 : 1
                index += 1
                guard let hours = number(2, 2), hours <= 24 else { return nil }
                var total = hours * 3600
                for unit in [minutes ? 60 : 0, seconds ? 1 : 0] where unit > 0 {
                    if colon {
                        guard index < text.count, text[index] == 0x3A else { return nil }
                        index += 1
                    }
                    guard let value = number(2, 2), value < 60 else { return nil }
                    total += value * unit
                }
                time.offset = sign * total
            case .fraction(_, let digits, let trims):
                guard index < text.count, text[index] == 0x2E || text[index] == 0x2C else {
                    if trims { continue }
                    return nil
                }
                index += 1
                let start = index
                time.nanosecond = fraction(text, &index)
                if !trims, index - start != digits { return nil }
            }
        }
        guard index == text.count else { return nil }
        if let isPM {
            if isPM, time.hour < 12 { time.hour += 12 }
            if !isPM, time.hour == 12 { time.hour = 0 }
        }
        if let yearDay {
            guard yearDay >= 1, yearDay <= (CivilTime.isLeap(time.year) ? 366 : 365) else { return nil }
            time.month = 1
            time.day = 1
            var rest = yearDay
            while rest > CivilTime.daysIn(time.month, time.year) {
                rest -= CivilTime.daysIn(time.month, time.year)
                time.month += 1
            }
            time.day = rest
        }
        guard time.day >= 1, time.day <= CivilTime.daysIn(time.month, time.year) else { return nil }
        return time
    }

    private func fraction(_ text: [UInt8], _ index: inout Int) -> Int {
        var value = 0
        var count = 0
        while index < text.count, text[index] >= 0x30, text[index] <= 0x39 {
            if count < 9 {
                value = value * 10 + Int(text[index] - 0x30)
                count += 1
            }
            index += 1
        }
        while count < 9 {
            value *= 10
            count += 1
        }
        return value
    }
}
