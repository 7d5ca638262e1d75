import CNetfilter
import Glibc

/// Walks netlink messages and attributes in received bytes. Every length is checked against the bytes that are there; a
/// length that does not fit ends the walk and sets `isMalformed`.
struct MessageReader: ~Escapable {
    private let bytes: RawSpan
    private var position = 0
    private var bodyStart = 0
    private var bodyEnd = 0
    /// Whether the walk ended at a length that does not fit.
    private(set) var isMalformed = false

    /// A walk over the messages of one datagram.
    @_lifetime(copy bytes)
    init(_ bytes: RawSpan) {
        self.bytes = bytes
    }

    /// The next message's header; its body is then `body`. Nil at the end.
    @_lifetime(self: copy self)
    mutating func next() -> nlmsghdr? {
        guard position < bytes.byteCount else { return nil }
        guard bytes.byteCount - position >= MemoryLayout<nlmsghdr>.size else {
            isMalformed = true
            return nil
        }
        let header = bytes.unsafeLoadUnaligned(fromByteOffset: position, as: nlmsghdr.self)
        let length = Int(header.nlmsg_len)
        guard length >= MemoryLayout<nlmsghdr>.size, length <= bytes.byteCount - position else {
            isMalformed = true
            return nil
        }
        bodyStart = position + MemoryLayout<nlmsghdr>.size
        bodyEnd = position + length
        position = min((bodyEnd + 3) & ~3, bytes.byteCount)
        return header
    }

    /// The bytes behind the header of the message that `next` returned.
    var body: RawSpan {
        @_lifetime(copy self)
        get { bytes.extracting(bodyStart..<bodyEnd) }
    }

    /// The error number in the message that `next` returned, where its type is `NLMSG_ERROR`: 0 acknowledges, and a body
    /// too short to hold one counts as a failure.
    var errorNumber: Int32 {
        guard bodyEnd - bodyStart >= MemoryLayout<Int32>.size else { return EPROTO }
        return -bytes.unsafeLoadUnaligned(fromByteOffset: bodyStart, as: Int32.self)
    }
}

/// Walks the attributes of a message or of a nested attribute.
struct AttributeReader: ~Escapable {
    private let bytes: RawSpan
    private var position: Int
    private var payloadStart = 0
    private var payloadEnd = 0
    /// Whether the walk ended at a length that does not fit.
    private(set) var isMalformed = false

    /// A walk over the attributes that begin `offset` bytes into `bytes`.
    @_lifetime(copy bytes)
    init(_ bytes: RawSpan, from offset: Int = 0) {
        self.bytes = bytes
        position = min(offset, bytes.byteCount)
    }

    /// The next attribute's type without its flags; nil at the end.
    @_lifetime(self: copy self)
    mutating func next() -> UInt32? {
        guard position < bytes.byteCount else { return nil }
        guard bytes.byteCount - position >= 4 else {
            isMalformed = true
            return nil
        }
        let length = Int(bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt16.self))
        let type = bytes.unsafeLoadUnaligned(fromByteOffset: position + 2, as: UInt16.self) & 0x3FFF
        guard length >= 4, length <= bytes.byteCount - position else {
            isMalformed = true
            return nil
        }
        payloadStart = position + 4
        payloadEnd = position + length
        position = min((payloadEnd + 3) & ~3, bytes.byteCount)
        return UInt32(type)
    }

    /// Where the payload of the current attribute lies, from the start of the bytes that this reader was made of.
    var payloadRange: Range<Int> { payloadStart..<payloadEnd }

    /// The payload of the current attribute.
    var payload: RawSpan {
        @_lifetime(copy self)
        get { bytes.extracting(payloadStart..<payloadEnd) }
    }

    /// The payload as a plain value in the byte order it came in; nil where it is too short.
    func value<Value: BitwiseCopyable>(as type: Value.Type = Value.self) -> Value? {
        guard payloadEnd - payloadStart >= MemoryLayout<Value>.size else { return nil }
        return bytes.unsafeLoadUnaligned(fromByteOffset: payloadStart, as: type)
    }

    /// The payload as a big-endian 32-bit number, as nfnetlink writes them.
    var bigEndian32: UInt32? { value(as: UInt32.self).map { UInt32(bigEndian: $0) } }

    /// The payload as a C string, without its NUL.
    var string: String {
        var text = [UInt8](repeating: 0, count: payloadEnd - payloadStart)
        for index in 0..<text.count {
            text[index] = bytes.unsafeLoad(fromByteOffset: payloadStart + index, as: UInt8.self)
        }
        return String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
    }
}
