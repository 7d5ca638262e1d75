import ArgumentParser

/// A point of time as `--since` takes it: RFC 3339 (`2026-01-01T00:00:00Z`), a span back from now (`90s`, `10m`, `2h`, `3d`),
/// or whatever else journalctl understands (systemd.time(7)): `today`, `2026-01-01 10:00`, `-1h`, `@1767225600`.
struct SinceTime: ExpressibleByArgument, Equatable {
    /// The time in journalctl's own words.
    let journalText: String

    init?(argument: String) {
        guard !argument.isEmpty else { return nil }
        if let last = argument.last, "smhd".contains(last), let count = Int(argument.dropLast()), count >= 0 {
            journalText = "-\(count)\(last)"
        } else if let text = Self.fromRFC3339(argument) {
            journalText = text
        } else {
            journalText = argument
        }
    }

    /// `DATE TIME UTC`, journalctl's form. Only UTC (`Z`); other offsets are journalctl's to understand or refuse.
    private static func fromRFC3339(_ text: String) -> String? {
        let parts = text.split(separator: "T", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].count == 10, parts[0].allSatisfy({ $0.isNumber || $0 == "-" }),
            parts[1].last == "Z"
        else { return nil }
        return parts[0] + " " + parts[1].dropLast() + " UTC"
    }
}
