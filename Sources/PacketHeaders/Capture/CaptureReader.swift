public import Octets

/// One packet of a capture file.
public struct CapturedPacket: Hashable, Sendable {
    /// When it was captured: nanoseconds since the Unix epoch; 0 where the file does not say.
    public let time: UInt64
    /// What the bytes begin with.
    public let link: LinkType
    /// Where the bytes lie in the file.
    public let bytes: Range<Int>
    /// How long the packet was; more than `bytes` where the capture cut it.
    public let originalByteCount: Int
}

/// Reads capture files: pcap (draft-ietf-opsawg-pcap, both byte orders, micro- and nanoseconds) and pcapng
/// (draft-ietf-opsawg-pcapng, several sections and interfaces).
///
/// Off the packet path: for `sallyport inspect` and tests. A file that ends within a packet gives the packets before it and
/// then throws `.truncated`.
public struct CaptureReader: ~Escapable {
    private let file: RawSpan
    private var position: Int
    private var isLittleEndian: Bool
    private let format: Format
    private var interfaces: [Interface] = []

    private enum Format {
        case pcap(recordHeaderByteCount: Int)
        case pcapng
    }

    private struct Interface {
        var link: LinkType
        /// Ticks of the packet's clock in a second.
        var ticks: UInt64
        var snapByteCount: Int
        /// Seconds added to every time.
        var offset: Int64 = 0
    }

    /// Reads the file's header. Throws `.malformed` where the first bytes are of no capture file.
    @_lifetime(copy file)
    public init(_ file: RawSpan) throws(WireError) {
        self.file = file
        guard file.byteCount >= 4 else { throw .truncated(needed: 4 - file.byteCount) }
        let magic = file.uint32(at: 0, littleEndian: true)
        isLittleEndian = true
        if magic == Self.sectionHeader {
            format = .pcapng
            position = 0
            return
        }
        guard let (little, ticks, headerByteCount) = Self.pcapMagic(magic) else {
            throw .malformed("neither pcap nor pcapng", offset: 0)
        }
        guard file.byteCount >= 24 else { throw .truncated(needed: 24 - file.byteCount) }
        format = .pcap(recordHeaderByteCount: headerByteCount)
        position = 24
        isLittleEndian = little
        // The upper bits say whether frame check sequences are there.
        let link = LinkType(rawValue: UInt16(truncatingIfNeeded: file.uint32(at: 20, littleEndian: little)))
        interfaces = [Interface(link: link, ticks: ticks, snapByteCount: .max)]
    }

    /// The next packet; nil at the file's end.
    @_lifetime(self: copy self)
    public mutating func next() throws(WireError) -> CapturedPacket? {
        switch format {
        case .pcap(let headerByteCount): return try nextRecord(headerByteCount)
        case .pcapng:
            while position < file.byteCount {
                if let packet = try nextBlock() { return packet }
            }
            return nil
        }
    }

    @_lifetime(self: copy self)
    private mutating func nextRecord(_ headerByteCount: Int) throws(WireError) -> CapturedPacket? {
        guard position < file.byteCount else { return nil }
        try require(headerByteCount)
        let seconds = UInt64(word(0))
        let fraction = UInt64(word(4))
        let byteCount = Int(word(8))
        let originalByteCount = Int(word(12))
        guard byteCount <= Self.largestPacket else { throw .malformed("packet length", offset: position + 8) }
        try require(headerByteCount + byteCount)
        let start = position + headerByteCount
        position = start + byteCount
        let time = seconds &* 1_000_000_000 &+ fraction &* (1_000_000_000 / interfaces[0].ticks)
        return CapturedPacket(
            time: time, link: interfaces[0].link, bytes: start..<position, originalByteCount: originalByteCount)
    }

    /// One block of pcapng; nil where it holds no packet.
    @_lifetime(self: copy self)
    private mutating func nextBlock() throws(WireError) -> CapturedPacket? {
        try require(12)
        if word(0) == Self.sectionHeader {
            let order = file.uint32(at: position + 8, littleEndian: true)
            guard order == 0x1A2B_3C4D || order == 0x4D3C_2B1A else {
                throw .malformed("pcapng byte order", offset: position + 8)
            }
            isLittleEndian = order == 0x1A2B_3C4D
            interfaces = []
        }
        let type = word(0)
        let byteCount = Int(word(4))
        guard byteCount >= 12, byteCount % 4 == 0 else { throw .malformed("pcapng block length", offset: position + 4) }
        try require(byteCount)
        let start = position
        let body = start + 8
        let end = start + byteCount - 4
        defer { position = start + byteCount }
        switch type {
        case 1:
            guard end - body >= 8 else { throw .malformed("pcapng interface block", offset: start) }
            interfaces.append(try readInterface(body, end))
            return nil
        case 2, 6:
            guard end - body >= 20 else { throw .malformed("pcapng packet block", offset: start) }
            let number = type == 6 ? Int(word(8)) : Int(file.uint16(at: body, littleEndian: isLittleEndian))
            guard number < interfaces.count else { throw .malformed("pcapng interface number", offset: body) }
            let captured = Int(word(20))
            guard captured <= end - body - 20 else { throw .malformed("packet length", offset: body + 12) }
            let ticks = UInt64(word(12)) << 32 | UInt64(word(16))
            return CapturedPacket(
                time: Self.nanoseconds(ticks, interfaces[number]), link: interfaces[number].link,
                bytes: body + 20..<body + 20 + captured, originalByteCount: Int(word(24)))
        case 3:
            guard end - body >= 4, let first = interfaces.first else {
                throw .malformed("pcapng simple packet block", offset: start)
            }
            let original = Int(word(8))
            let captured = min(original, first.snapByteCount, end - body - 4)
            return CapturedPacket(
                time: 0, link: first.link, bytes: body + 4..<body + 4 + captured, originalByteCount: original)
        default:
            return nil
        }
    }

    /// An interface description with its options if_tsresol (9) and if_tsoffset (14).
    private func readInterface(_ body: Int, _ end: Int) throws(WireError) -> Interface {
        let snapByteCount = Int(file.uint32(at: body + 4, littleEndian: isLittleEndian))
        var result = Interface(
            link: LinkType(rawValue: file.uint16(at: body, littleEndian: isLittleEndian)), ticks: 1_000_000,
            snapByteCount: snapByteCount == 0 ? .max : snapByteCount)
        var offset = body + 8
        while offset + 4 <= end {
            let code = file.uint16(at: offset, littleEndian: isLittleEndian)
            let length = Int(file.uint16(at: offset + 2, littleEndian: isLittleEndian))
            guard code != 0 else { break }
            guard offset + 4 + length <= end else { throw .malformed("pcapng option length", offset: offset) }
            if code == 9, length >= 1 {
                let resolution = file.byte(at: offset + 4)
                let exponent = Int(resolution & 0x7F)
                let base: UInt64 = resolution & 0x80 == 0 ? 10 : 2
                guard exponent <= (base == 10 ? 19 : 63) else {
                    throw .malformed("pcapng time resolution", offset: offset)
                }
                result.ticks = (0..<exponent).reduce(1) { value, _ in value * base }
            } else if code == 14, length >= 8 {
                let first = UInt64(file.uint32(at: offset + 4, littleEndian: isLittleEndian))
                let second = UInt64(file.uint32(at: offset + 8, littleEndian: isLittleEndian))
                result.offset = Int64(bitPattern: isLittleEndian ? second << 32 | first : first << 32 | second)
            }
            offset += 4 + (length + 3) / 4 * 4
        }
        return result
    }

    private static func nanoseconds(_ ticks: UInt64, _ interface: Interface) -> UInt64 {
        let seconds = ticks / interface.ticks
        let rest = ticks % interface.ticks
        // A time that does not fit is a wrong one: it wraps rather than traps.
        let fraction = rest.multipliedFullWidth(by: 1_000_000_000)
        let nanoseconds = interface.ticks.dividingFullWidth(fraction).quotient
        return (seconds &+ UInt64(bitPattern: interface.offset)) &* 1_000_000_000 &+ nanoseconds
    }

    private func word(_ offset: Int) -> UInt32 {
        file.uint32(at: position + offset, littleEndian: isLittleEndian)
    }

    private func require(_ byteCount: Int) throws(WireError) {
        let left = file.byteCount - position
        guard left >= byteCount else { throw .truncated(needed: byteCount - left) }
    }

    /// Byte order, ticks a second and length of a record's header, by the first word read as little endian.
    private static func pcapMagic(_ magic: UInt32) -> (Bool, UInt64, Int)? {
        switch magic {
        case 0xA1B2_C3D4: (true, 1_000_000, 16)
        case 0xA1B2_3C4D: (true, 1_000_000_000, 16)
        case 0xA1B2_CD34: (true, 1_000_000, 24)
        case 0xD4C3_B2A1: (false, 1_000_000, 16)
        case 0x4D3C_B2A1: (false, 1_000_000_000, 16)
        case 0x34CD_B2A1: (false, 1_000_000, 24)
        default: nil
        }
    }

    private static let sectionHeader: UInt32 = 0x0A0D_0D0A
    /// Longer ones are a damaged file; libpcap has the same bound.
    private static let largestPacket = 262_144 * 4
}

extension RawSpan {
    func uint16(at offset: Int, littleEndian: Bool) -> UInt16 {
        let value = unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self)
        return littleEndian ? UInt16(littleEndian: value) : UInt16(bigEndian: value)
    }

    func uint32(at offset: Int, littleEndian: Bool) -> UInt32 {
        let value = unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self)
        return littleEndian ? UInt32(littleEndian: value) : UInt32(bigEndian: value)
    }
}
