internal import Glibc

/// One zone of the system's tz database (RFC 8536 files).
struct ZoneTable {
    private var transitions: [Int] = []
    private var kinds: [UInt8] = []
    private var types: [(offset: Int, name: String, isDaylight: Bool)] = []
    /// What holds from the last transition on.
    private var rule: ZoneRule?

    /// Reads a zone by its name; nil where there is none.
    init?(_ name: String) {
        guard !name.isEmpty, !name.hasPrefix("/"), !name.contains(".."),
            name.utf8.allSatisfy({ byte in
                (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39)
                    || Array("/_+-".utf8).contains(byte)
            }), let bytes = Self.read("/usr/share/zoneinfo/" + name), bytes.count >= 44,
            bytes.starts(with: Array("TZif".utf8))
        else { return nil }
        func number(_ at: Int, _ width: Int) -> Int {
            guard at + width <= bytes.count else { return 0 }
            var value: UInt64 = 0
            for byte in bytes[at..<at + width] { value = value << 8 | UInt64(byte) }
            return width == 4 ? Int(Int32(truncatingIfNeeded: value)) : Int(Int64(bitPattern: value))
        }
        func counts(_ at: Int) -> (utc: Int, standard: Int, leap: Int, times: Int, types: Int, names: Int) {
            (
                number(at + 20, 4), number(at + 24, 4), number(at + 28, 4), number(at + 32, 4), number(at + 36, 4),
                number(at + 40, 4)
            )
        }
        var header = 0
        var width = 4
        var count = counts(0)
        if bytes[4] >= 0x32 {
            header =
                44 + count.times * 5 + count.types * 6 + count.names + count.leap * 8 + count.standard + count.utc
            width = 8
            count = counts(header)
        }
        var at = header + 44
        guard count.times >= 0, count.types > 0, count.times < 10000, count.types < 256,
            at + count.times * (width + 1) + count.types * 6 + count.names <= bytes.count
        else { return nil }
        for index in 0..<count.times { transitions.append(number(at + index * width, width)) }
        at += count.times * width
        kinds = Array(bytes[at..<at + count.times])
        at += count.times
        let names = at + count.types * 6
        for index in 0..<count.types {
            let entry = at + index * 6
            let start = names + Int(bytes[entry + 5])
            var end = start
            while end < bytes.count, bytes[end] != 0 { end += 1 }
            guard start <= end else { return nil }
            types.append(
                (number(entry, 4), String(decoding: bytes[start..<end], as: UTF8.self), bytes[entry + 4] != 0))
        }
        if width == 8 {
            let footer = names + count.names + count.leap * 12 + count.standard + count.utc
            guard footer <= bytes.count else { return nil }
            rule = ZoneRule(bytes[footer...].dropFirst().prefix { $0 != UInt8(ascii: "\n") })
        }
    }

    private static func read(_ path: String) -> [UInt8]? {
        guard let file = fopen(path, "rb") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 18)
        let count = fread(&bytes, 1, bytes.count, file)
        return Array(bytes.prefix(count))
    }

    /// Offset and abbreviation at a moment, seconds since the epoch.
    func at(_ seconds: Int) -> ZoneRule.Offset {
        if let rule, transitions.last.map({ seconds >= $0 }) ?? true { return rule.at(seconds) }
        var low = 0
        var high = transitions.count
        while low < high {
            let middle = (low + high) / 2
            if transitions[middle] <= seconds { low = middle + 1 } else { high = middle }
        }
        var index = types.firstIndex { !$0.isDaylight } ?? 0
        if low > 0, Int(kinds[low - 1]) < types.count { index = Int(kinds[low - 1]) }
        return (types[index].offset, types[index].name)
    }
}
