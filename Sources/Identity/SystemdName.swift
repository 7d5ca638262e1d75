/// Names as systemd builds them.
public enum SystemdName {
    /// `text` as `systemd-escape` writes it into a unit name: `/` becomes `-`; ASCII letters, digits, `:`, `_` and `.` stay
    /// (but a leading `.`); every other byte becomes `\xNN` (systemd.unit(5), "String escaping for inclusion in unit names").
    public static func escape(_ text: String) -> String {
        var bytes: [UInt8] = []
        for (position, byte) in text.utf8.enumerated() {
            switch byte {
            case UInt8(ascii: "/"):
                bytes.append(UInt8(ascii: "-"))
            case UInt8(ascii: "."):
                if position == 0 { append(hexadecimal: byte, to: &bytes) } else { bytes.append(byte) }
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: ":"), UInt8(ascii: "_"):
                bytes.append(byte)
            default:
                append(hexadecimal: byte, to: &bytes)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The cgroup path of a slice, from the root of the hierarchy: each `-` in a slice's name is a level
    /// (systemd.slice(5)), so `a-b.slice` is `/a.slice/a-b.slice`.
    public static func path(ofSlice slice: String) -> String {
        let stem = slice.dropLast(suffix.count)
        var path = ""
        for end in stem.indices where stem[end] == "-" {
            path += "/" + stem[..<end] + suffix
        }
        return path + "/" + slice
    }

    /// The slice of one agent below the confined slice: `sallyport.slice` and `bot` give `sallyport-bot.slice`.
    public static func slice(ofAgent id: String, in slice: String) -> String {
        slice.dropLast(suffix.count) + "-" + escape(id) + suffix
    }

    /// The cgroup path of one agent's slice: `/sallyport.slice/sallyport-bot.slice`. What `sallyport run` uses and every
    /// agent is known by without being listed.
    public static func path(ofAgent id: String, in slice: String) -> String {
        path(ofSlice: slice) + "/" + self.slice(ofAgent: id, in: slice)
    }

    /// Whether `name` is a slice that systemd accepts: `[A-Za-z0-9:_.\-]`, no empty level, at most 255 bytes, not the root
    /// slice `-.slice`.
    public static func isSlice(_ name: String) -> Bool {
        guard isUnit(name), name.hasSuffix(suffix) else { return false }
        return name.dropLast(suffix.count).split(separator: "-", omittingEmptySubsequences: false).allSatisfy {
            !$0.isEmpty
        }
    }

    /// Whether `name` is the name of a unit that can hold processes: a service, scope or slice, at most 255 bytes of
    /// `[A-Za-z0-9:_.\@-]` (systemd.unit(5)); a template without its instance is none.
    public static func isUnit(_ name: String) -> Bool {
        guard name.utf8.count <= 255, let dot = name.lastIndex(of: "."), dot != name.startIndex else { return false }
        guard [".service", ".scope", suffix].contains(String(name[dot...])), !name.hasSuffix("@" + name[dot...]) else {
            return false
        }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: ":"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "\\"), UInt8(ascii: "@"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
    }

    static let suffix = ".slice"
    private static let digits = Array("0123456789abcdef".utf8)

    private static func append(hexadecimal byte: UInt8, to bytes: inout [UInt8]) {
        bytes += [UInt8(ascii: "\\"), UInt8(ascii: "x"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }
}
