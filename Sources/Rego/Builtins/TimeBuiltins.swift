// Times: nanoseconds since the epoch, Go's layouts, the system's tz database.

extension Builtins {
    static var times: [String: BuiltinFunction] {
        [
            "time.now_ns": { machine, _ in
                machine.readClock = true
                return Value(machine.clock)
            },
            "time.parse_rfc3339_ns": { _, arguments throws(BuiltinFailure) in
                try parse(GoLayout("RFC3339"), arguments.text(0))
            },
            "time.parse_ns": { _, arguments throws(BuiltinFailure) in
                try parse(GoLayout(try arguments.text(0)), arguments.text(1))
            },
            "time.parse_duration_ns": { _, arguments throws(BuiltinFailure) in
                let text = try arguments.text(0)
                guard let duration = GoDuration.parse(text) else {
                    throw .failed("time: invalid duration \"\(text)\"")
                }
                return Value(duration)
            },
            "time.format": { machine, arguments throws(BuiltinFailure) in
                let (time, layout) = try moment(machine, arguments[0])
                return machine.arena.string(GoLayout(layout ?? "RFC3339Nano").format(time))
            },
            "time.date": { machine, arguments throws(BuiltinFailure) in
                let (time, _) = try moment(machine, arguments[0])
                return machine.arena.array([Value(time.year), Value(time.month), Value(time.day)])
            },
            "time.clock": { machine, arguments throws(BuiltinFailure) in
                let (time, _) = try moment(machine, arguments[0])
                return machine.arena.array([Value(time.hour), Value(time.minute), Value(time.second)])
            },
            "time.weekday": { machine, arguments throws(BuiltinFailure) in
                let (time, _) = try moment(machine, arguments[0])
                return machine.arena.string(CivilTime.weekdays[time.weekday])
            },
            "time.add_date": { _, arguments throws(BuiltinFailure) in
                var time = CivilTime(nanoseconds: try nanoseconds(arguments.number(0)))
                let (years, months, days) = (
                    try arguments.integer(1), try arguments.integer(2), try arguments.integer(3)
                )
                guard abs(years) < 1 << 32, abs(months) < 1 << 32, abs(days) < 1 << 40 else {
                    throw .failed("time outside of valid range")
                }
                time.year += years
                time.month += months
                time.day += days
                guard abs(time.year) < 1_000_000, abs(time.month) < 10_000_000, abs(time.day) < 1_000_000_000,
                    let result = time.nanoseconds
                else { throw .failed("time outside of valid range") }
                return Value(result)
            },
            "time.diff": { machine, arguments throws(BuiltinFailure) in
                let (first, _) = try moment(machine, arguments[0])
                _ = try moment(machine, arguments[1])
                // The second in the first one's zone.
                let other = arguments[1].tag == .array ? arguments[1].element(0) : arguments[1]
                let zone = arguments[0].tag == .array ? arguments[0].element(1) : .undefined
                let pair = zone.isDefined ? machine.arena.array([other, zone]) : other
                let (second, _) = try moment(machine, pair)
                return difference(machine, first, second)
            },
        ]
    }

    private static func parse(_ layout: GoLayout, _ text: String) throws(BuiltinFailure) -> Value {
        guard let time = layout.parse(Array(text.utf8)) else {
            throw .failed("parsing time \"\(text)\": cannot parse")
        }
        guard let result = time.nanoseconds else { throw .failed("time outside of valid range") }
        return Value(result)
    }

    private static func nanoseconds(_ value: Value) throws(BuiltinFailure) -> Int {
        guard value.isNumber else { throw .operand(0, value, "number", "array") }
        if value.tag == .int { return value.integer }
        switch Numeric(value) {
        case .integer(let integer):
            guard let small = Int(exactly: integer) else { throw .failed("timestamp too big") }
            return small
        case .float(let float):
            guard float.isInteger, let small = Int(exactly: float.truncated) else { throw .failed("timestamp too big") }
            return small
        }
    }

    /// A moment from `ns`, `[ns, zone]` or `[ns, zone, layout]`.
    private static func moment(
        _ machine: Machine, _ value: Value
    ) throws(BuiltinFailure) -> (time: CivilTime, layout: String?) {
        guard value.tag == .array else { return (CivilTime(nanoseconds: try nanoseconds(value)), nil) }
        guard value.count >= 1 else { throw .operand(0, value, "either number (ns) or [number (ns), string (tz)]") }
        let ns = try nanoseconds(value.element(0))
        var layout: String?
        var zone = ""
        if value.count > 1 {
            guard value.element(1).tag == .string else { throw .operand(0, value.element(1), "string") }
            zone = value.element(1).text
        }
        if value.count > 2 {
            guard value.element(2).tag == .string else { throw .operand(0, value.element(2), "string") }
            layout = value.element(2).text
        }
        switch zone {
        case "", "UTC": return (CivilTime(nanoseconds: ns), layout)
        case "Local": zone = "localtime"
        default: break
        }
        guard let table = machine.caches.zone(zone) else { throw .failed("unknown time zone \(zone)") }
        let seconds = ns / 1_000_000_000 - (ns % 1_000_000_000 < 0 ? 1 : 0)
        let (offset, name) = table.at(seconds)
        return (CivilTime(nanoseconds: ns, offset: offset, zone: name), layout)
    }

    /// Years, months, days, hours, minutes and seconds between two moments, in the first one's zone.
    private static func difference(_ machine: Machine, _ a: CivilTime, _ b: CivilTime) -> Value {
        var first = a
        var second = b
        if first.isAfter(second) { swap(&first, &second) }
        var year = second.year - first.year
        var month = second.month - first.month
        var day = second.day - first.day
        var hour = second.hour - first.hour
        var minute = second.minute - first.minute
        var second1 = second.second - first.second
        if second1 < 0 {
            second1 += 60
            minute -= 1
        }
        if minute < 0 {
            minute += 60
            hour -= 1
        }
        if hour < 0 {
            hour += 24
            day -= 1
        }
        if day < 0 {
            // Days of the first moment's month.
            day += CivilTime.daysIn(first.month, first.year)
            month -= 1
        }
        if month < 0 {
            month += 12
            year -= 1
        }
        return machine.arena.array([year, month, day, hour, minute, second1].map { Value($0) })
    }
}

/// Durations in Go's notation (`1h15m30.918s`), with days, weeks and years besides.
enum GoDuration {
    private static let units: [(name: String, factor: Int)] = [
        ("ns", 1), ("us", 1000), ("µs", 1000), ("μs", 1000), ("ms", 1_000_000), ("s", 1_000_000_000),
        ("m", 60_000_000_000), ("h", 3_600_000_000_000), ("d", 86_400_000_000_000), ("w", 604_800_000_000_000),
        ("y", 31_536_000_000_000_000),
    ]

    /// Nanoseconds; nil for text that is none or does not fit 64 bits.
    static func parse(_ text: String) -> Int? {
        var rest = text.utf8[...]
        let negative = rest.first == UInt8(ascii: "-")
        if negative || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
        if rest.elementsEqual([0x30]) { return 0 }
        if rest.isEmpty { return nil }
        var total: UInt64 = 0
        func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
        while !rest.isEmpty {
            let whole = rest.prefix(while: isDigit)
            rest = rest.dropFirst(whole.count)
            var fraction = rest.prefix(0)
            if rest.first == UInt8(ascii: ".") {
                rest = rest.dropFirst()
                fraction = rest.prefix(while: isDigit)
                rest = rest.dropFirst(fraction.count)
            }
            if whole.isEmpty, fraction.isEmpty { return nil }
            let name = rest.prefix { !isDigit($0) && $0 != UInt8(ascii: ".") }
            rest = rest.dropFirst(name.count)
            guard let factor = units.first(where: { $0.name.utf8.elementsEqual(name) })?.factor else { return nil }
            guard let amount = whole.isEmpty ? 0 : UInt64(String(whole) ?? "") else { return nil }
            var (value, overflow) = amount.multipliedReportingOverflow(by: UInt64(factor))
            if overflow || value > UInt64(1) << 63 { return nil }
            if !fraction.isEmpty {
                // As many digits as fit 63 bits.
                var digits: UInt64 = 0
                var scale = 1.0
                for byte in fraction {
                    if digits > (UInt64(1) << 63 - 1) / 10 { break }
                    let next = digits * 10 + UInt64(byte - 0x30)
                    if next > UInt64(1) << 63 { break }
                    digits = next
                    scale *= 10
                }
                value += UInt64(Double(digits) * (Double(factor) / scale))
                if value > UInt64(1) << 63 { return nil }
            }
            (total, overflow) = total.addingReportingOverflow(value)
            if overflow || total > UInt64(1) << 63 { return nil }
        }
        if negative { return total == UInt64(1) << 63 ? Int.min : -Int(total) }
        return total > UInt64(Int.max) ? nil : Int(total)
    }
}
