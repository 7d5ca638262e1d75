import FoundationEssentials

/// One entry of the journal as `journalctl -o json` gives it.
public struct JournalEntry: Sendable {
    /// Fields with exactly one value, by name; bytes that are not UTF-8 are replaced by `\xNN`.
    public let fields: [String: String]
    /// Names of fields that the entry has more than once. Sallyport never writes such.
    public let repeatedFields: Set<String>

    /// An entry from one line of JSON.
    /// - Throws: `JournalError.unreadable` where the line is no object of strings and byte arrays.
    public init(json line: [UInt8]) throws(JournalError) {
        let values: [String: JournalValue]
        do {
            values = try JSONDecoder().decode([String: JournalValue].self, from: Data(line))
        } catch {
            throw .unreadable(JournalText.escape(String(decoding: line, as: UTF8.self), as: .sentence, limit: 200))
        }
        var fields: [String: String] = [:]
        var repeated: Set<String> = []
        for (name, value) in values {
            switch value {
            case .text(let text): fields[name] = text
            case .bytes(let bytes): fields[name] = Self.text(of: bytes)
            case .several: repeated.insert(name)
            case .absent: break
            }
        }
        self.fields = fields
        repeatedFields = repeated
    }

    /// A field of ours.
    public subscript(_ field: RecordField) -> String? { fields[field.journalName] }

    /// Where the entry stands in the journal, for `--after-cursor`.
    public var cursor: String? { fields["__CURSOR"] }

    /// When journald took the entry, in nanoseconds since the Unix epoch.
    public var received: UInt64? { fields["__REALTIME_TIMESTAMP"].flatMap { UInt64($0) }.map { $0 &* 1000 } }

    /// The entry as one line of JSON: `message`, our fields in their order under their names in lower case, then what other
    /// fields it has that begin with `SALLYPORT_`, by name.
    public var jsonLine: String {
        var sink = JSONSink(bytes: [])
        sink.open()
        if let message = fields["MESSAGE"] { sink.pair("message", message) }
        for field in RecordField.allCases {
            guard let value = self[field] else { continue }
            if field.isNumber, let number = UInt64(value) {
                sink.number(field, number)
            } else {
                sink.pair(field.jsonName, value)
            }
        }
        let known = Set(RecordField.allCases.map { $0.journalName })
        for name in fields.keys.sorted() where name.hasPrefix(RecordField.prefix) && !known.contains(name) {
            sink.pair(name.dropFirst(RecordField.prefix.count).lowercased(), fields[name] ?? "")
        }
        sink.close()
        return String(decoding: sink.bytes, as: UTF8.self)
    }

    private static func text(of bytes: [UInt8]) -> String {
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        return bytes.map { byte in
            byte < 0x80 ? String(UnicodeScalar(byte)) : "\\x" + String(byte, radix: 16)
        }.joined()
    }
}

/// A field's value in `journalctl -o json` (systemd, "Journal JSON Format"): a string; an array of numbers for bytes that
/// are not printable UTF-8; an array of those for a repeated field; null for one that was too long.
private enum JournalValue: Decodable {
    case text(String)
    case bytes([UInt8])
    case several
    case absent

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let text = try? container.decode(String.self) {
            self = .text(text)
        } else if let bytes = try? container.decode([UInt8].self) {
            self = .bytes(bytes)
        } else if container.decodeNil() {
            self = .absent
        } else {
            _ = try container.decode([JournalValue].self)
            self = .several
        }
    }
}
