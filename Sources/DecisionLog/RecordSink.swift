/// Where `RecordFormat` writes the fields of a record.
protocol RecordSink {
    mutating func text(_ field: RecordField, _ value: String, as form: JournalText.Form)
    mutating func number(_ field: RecordField, _ value: UInt64)
    mutating func time(_ field: RecordField, _ nanoseconds: UInt64)
}

/// Writes the journal's native protocol: `NAME=value` and a newline, or, where the value has a control byte, the name, a
/// newline, the value's length in 64 bits little-endian, the value and a newline.
struct JournalSink: RecordSink {
    var bytes: [UInt8]

    mutating func standard(message: String, identifier: String, priority: Int) {
        field("MESSAGE", message)
        field("MESSAGE_ID", identifier)
        field("PRIORITY", String(priority))
        field("SYSLOG_IDENTIFIER", "sallyport")
    }

    mutating func text(_ field: RecordField, _ value: String, as form: JournalText.Form) {
        begin(field)
        JournalText.append(value, as: form, limit: field.limit, to: &bytes)
        bytes.append(0x0A)
    }

    mutating func number(_ field: RecordField, _ value: UInt64) {
        begin(field)
        bytes.append(contentsOf: String(value).utf8)
        bytes.append(0x0A)
    }

    mutating func time(_ field: RecordField, _ nanoseconds: UInt64) {
        begin(field)
        Timestamp.append(nanoseconds: nanoseconds, to: &bytes)
        bytes.append(0x0A)
    }

    /// A field of any name and value; the caller answers for the name.
    mutating func field(_ name: String, _ value: String) {
        bytes.append(contentsOf: name.utf8)
        if value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 }) {
            bytes.append(0x0A)
            let count = UInt64(value.utf8.count)
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: count >> shift))
            }
        } else {
            bytes.append(0x3D)
        }
        bytes.append(contentsOf: value.utf8)
        bytes.append(0x0A)
    }

    private mutating func begin(_ field: RecordField) {
        bytes.append(contentsOf: RecordField.prefix.utf8)
        bytes.append(contentsOf: field.rawValue.utf8)
        bytes.append(0x3D)
    }
}

/// Writes one JSON object (RFC 8259).
struct JSONSink: RecordSink {
    var bytes: [UInt8]
    private var isFirst = true

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func open() {
        bytes.append(0x7B)
    }

    mutating func close() {
        bytes.append(0x7D)
    }

    mutating func text(_ field: RecordField, _ value: String, as form: JournalText.Form) {
        pair(field.jsonName, JournalText.escape(value, as: form, limit: field.limit))
    }

    mutating func number(_ field: RecordField, _ value: UInt64) {
        key(field.jsonName)
        bytes.append(contentsOf: String(value).utf8)
    }

    mutating func time(_ field: RecordField, _ nanoseconds: UInt64) {
        pair(field.jsonName, Timestamp.text(nanoseconds: nanoseconds))
    }

    mutating func pair(_ name: String, _ value: String) {
        key(name)
        quoted(value)
    }

    private mutating func key(_ name: String) {
        if !isFirst { bytes.append(0x2C) }
        isFirst = false
        quoted(name)
        bytes.append(0x3A)
    }

    private mutating func quoted(_ value: String) {
        bytes.append(0x22)
        for byte in value.utf8 {
            switch byte {
            case 0x22, 0x5C:
                bytes.append(0x5C)
                bytes.append(byte)
            case 0..<0x20:
                bytes.append(contentsOf: "\\u00".utf8)
                for nibble in [byte >> 4, byte & 15] { bytes.append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble) }
            default: bytes.append(byte)
            }
        }
        bytes.append(0x22)
    }
}
