import Octets

/// A domain name in presentation form (RFC 1035 §5.1, RFC 4343): ASCII lower case, no trailing dot, `.` for the root. Bytes
/// other than visible ASCII, and dots and backslashes within a label, are escaped. Any byte is lawful in a name of DNS; what
/// may be a host is `HostName`'s question.
public struct DNSName: Hashable, Sendable, CustomStringConvertible {
    /// The name.
    public let description: String

    /// Whether this is the root.
    public var isRoot: Bool { description == "." }

    /// Reads a name at the cursor of `reader`, whose bytes are a whole message from its header on, for compression (RFC 1035
    /// §4.1.4). The cursor moves behind the name.
    ///
    /// A pointer must go to bytes before the labels that lead to it, so that every name ends; others throw `.malformed`, as do
    /// label types other than plain ones and names of more than 255 bytes.
    @_lifetime(reader: copy reader)
    init(parsing reader: inout ByteReader, allowsCompression: Bool = true) throws(WireError) {
        var text = NameText()
        // Where the labels being read began: the next pointer must point before them.
        var segmentStart = reader.position
        var position = reader.position
        var hasJumped = false
        var pointerCount = 0
        var byteCount = 1
        let bytes = reader.bytes
        while true {
            guard position < bytes.byteCount else {
                if hasJumped { throw reader.malformed("compressed name runs out of the message") }
                throw .truncated(needed: 1)
            }
            let length = Int(bytes.byte(at: position))
            if length == 0 {
                position += 1
                break
            }
            if length >= 0xC0 {
                guard allowsCompression else { throw reader.malformed("compression where none is allowed") }
                guard position + 1 < bytes.byteCount else {
                    if hasJumped { throw reader.malformed("compressed name runs out of the message") }
                    throw .truncated(needed: 1)
                }
                let target = (length & 0x3F) << 8 | Int(bytes.byte(at: position + 1))
                guard target < segmentStart, target >= DNSMessage.headerByteCount else {
                    throw reader.malformed("compression pointer that does not point back")
                }
                pointerCount += 1
                guard pointerCount <= Limits.dnsPointers else {
                    throw reader.malformed("name of more compression pointers than any needs")
                }
                if !hasJumped { try reader.skip(position + 2 - reader.position) }
                hasJumped = true
                segmentStart = target
                position = target
                continue
            }
            guard length <= 63 else { throw reader.malformed("label type") }
            byteCount += length + 1
            guard byteCount <= 255 else { throw reader.malformed("name longer than 255 bytes") }
            guard position + 1 + length <= bytes.byteCount else {
                if hasJumped { throw reader.malformed("compressed name runs out of the message") }
                throw .truncated(needed: position + 1 + length - bytes.byteCount)
            }
            text.append(label: bytes.extracting(position + 1..<position + 1 + length))
            position += 1 + length
        }
        if !hasJumped { try reader.skip(position - reader.position) }
        description = text.string
    }
}

/// Collects the text of one name.
private struct NameText {
    private var bytes: [UInt8] = []

    init() {
        bytes.reserveCapacity(64)
    }

    var string: String { bytes.isEmpty ? "." : String(decoding: bytes, as: UTF8.self) }

    mutating func append(label: RawSpan) {
        if !bytes.isEmpty { bytes.append(UInt8(ascii: ".")) }
        for index in 0..<label.byteCount {
            let byte = asciiLowercased(label.byte(at: index))
            switch byte {
            case UInt8(ascii: "."), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0x21...0x7E: bytes.append(byte)
            default:
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(0x30 + byte / 100)
                bytes.append(0x30 + byte / 10 % 10)
                bytes.append(0x30 + byte % 10)
            }
        }
    }
}
