/// Writes values as JSON: keys in OPA's order, sets as arrays, keys that are no strings as their JSON text.
struct JSONWriter {
    private var out: [UInt8] = []
    private let indent: [UInt8]
    private let prefix: [UInt8]

    /// Whether `<`, `>`, `&`, U+2028 and U+2029 are escaped, as Go's encoder does.
    private let html: Bool

    private init(indent: [UInt8], prefix: [UInt8], html: Bool) {
        self.indent = indent
        self.prefix = prefix
        self.html = html
    }

    /// JSON without spaces.
    static func text(_ value: Value) -> String { String(decoding: bytes(value), as: UTF8.self) }

    /// JSON without spaces.
    static func bytes(_ value: Value, html: Bool = false) -> [UInt8] {
        var writer = JSONWriter(indent: [], prefix: [], html: html)
        writer.write(value, 0, pretty: false)
        return writer.out
    }

    /// JSON over several lines, each level indented by `indent`, each line behind the first begun with `prefix`.
    static func pretty(_ value: Value, indent: String = "  ", prefix: String = "", html: Bool = false) -> String {
        var writer = JSONWriter(indent: Array(indent.utf8), prefix: Array(prefix.utf8), html: html)
        writer.write(value, 0, pretty: true)
        return String(decoding: writer.out, as: UTF8.self)
    }

    private mutating func newline(_ depth: Int) {
        out.append(0x0A)
        out += prefix
        for _ in 0..<depth { out += indent }
    }

    private mutating func write(_ value: Value, _ depth: Int, pretty: Bool) {
        switch value.tag {
        case .undefined, .null: out += Array("null".utf8)
        case .true: out += Array("true".utf8)
        case .false: out += Array("false".utf8)
        case .int: out += Array(String(value.integer).utf8)
        case .number: value.withBytes { out += $0 }
        case .string: value.withBytes { JSONWriter.quote($0, into: &out, html: html) }
        case .array, .set:
            out.append(UInt8(ascii: "["))
            for index in 0..<value.count {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                if pretty { newline(depth + 1) }
                write(value.element(index), depth + 1, pretty: pretty)
            }
            if pretty, value.count > 0 { newline(depth) }
            out.append(UInt8(ascii: "]"))
        case .object:
            out.append(UInt8(ascii: "{"))
            for index in 0..<value.count {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                if pretty { newline(depth + 1) }
                let key = value.key(index)
                if key.tag == .string {
                    key.withBytes { JSONWriter.quote($0, into: &out, html: html) }
                } else {
                    JSONWriter.quote(Array(JSONWriter.text(key).utf8), into: &out, html: html)
                }
                out.append(UInt8(ascii: ":"))
                if pretty { out.append(0x20) }
                write(value.element(index), depth + 1, pretty: pretty)
            }
            if pretty, value.count > 0 { newline(depth) }
            out.append(UInt8(ascii: "}"))
        }
    }

    /// A JSON string; control characters, `<`, `>`, `&`, U+2028 and U+2029 escaped as Go does where `html` is set.
    static func quote(_ text: some Collection<UInt8>, into out: inout [UInt8], html: Bool = false) {
        out.append(UInt8(ascii: "\""))
        var before: (UInt8, UInt8) = (0, 0)
        for byte in text {
            // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
            if html, before == (0xE2, 0x80), byte == 0xA8 || byte == 0xA9 {
                out.removeLast(2)
                out += Array((byte == 0xA8 ? "\\u2028" : "\\u2029").utf8)
                before = (0, 0)
                continue
            }
            before = (before.1, byte)
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): out += [UInt8(ascii: "\\"), byte]
            case 0x0A: out += Array("\\n".utf8)
            case 0x0D: out += Array("\\r".utf8)
            case 0x09: out += Array("\\t".utf8)
            case 0x08: out += Array("\\b".utf8)
            case 0x0C: out += Array("\\f".utf8)
            case 0..<0x20: out += Array("\\u00".utf8) + hex(byte)
            case UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"):
                out += html ? Array("\\u00".utf8) + hex(byte) : [byte]
            default: out.append(byte)
            }
        }
        out.append(UInt8(ascii: "\""))
    }

    private static func hex(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }
}
