internal import BigInt

/// Why bytes are not the structure that they should be.
struct DERFailure: Error {
    let message: String
}

/// Reads DER (X.690), one element after the other.
struct DERReader {
    /// An element.
    struct Element {
        let tag: UInt8
        /// The bytes inside.
        let content: ArraySlice<UInt8>
        /// With tag and length.
        let whole: ArraySlice<UInt8>

        /// What an element's content holds.
        var inner: DERReader { DERReader(content) }
    }

    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    /// Whether nothing is left.
    var isAtEnd: Bool { rest.isEmpty }

    /// The next element's tag; nil at the end.
    var tag: UInt8? { rest.first }

    /// The next element, whatever it is.
    mutating func next() throws(DERFailure) -> Element {
        guard rest.count >= 2 else {
            throw DERFailure(
                message: rest.isEmpty
                    ? "asn1: syntax error: sequence truncated" : "asn1: syntax error: truncated tag or length"
            )
        }
        let start = rest.startIndex
        let tag = rest[start]
        guard tag & 0x1F != 0x1F else { throw DERFailure(message: "asn1: structure error: high tag number") }
        var length = Int(rest[start + 1])
        var offset = start + 2
        if length >= 0x80 {
            let count = length & 0x7F
            guard count > 0, count <= 4, rest.endIndex - offset >= count else {
                throw DERFailure(message: "asn1: syntax error: truncated tag or length")
            }
            length = 0
            for _ in 0..<count {
                length = length << 8 | Int(rest[offset])
                offset += 1
            }
        }
        guard rest.endIndex - offset >= length else { throw DERFailure(message: "asn1: syntax error: data truncated") }
        let element = Element(tag: tag, content: rest[offset..<offset + length], whole: rest[start..<offset + length])
        rest = rest[(offset + length)...]
        return element
    }

    /// The next element, of this tag.
    mutating func next(_ tag: UInt8) throws(DERFailure) -> Element {
        if rest.count >= 2, let other = rest.first, other != tag {
            let (kind, number) = (other >> 6, other & 0x1F)
            throw DERFailure(
                message: "asn1: structure error: tags don't match (\(tag & 0x1F) vs {class:\(kind) tag:\(number) "
                    + "length:\(rest[rest.startIndex + 1]) isCompound:\(other & 0x20 != 0)})")
        }
        return try next()
    }

    /// The next element where it has this tag.
    mutating func optional(_ tag: UInt8) throws(DERFailure) -> Element? {
        self.tag == tag ? try next() : nil
    }
}

extension DERReader.Element {
    /// A whole number, two's complement.
    var integer: BigInt {
        let magnitude = BigInt(BigUInt(bigEndian: content))
        guard let first = content.first, first & 0x80 != 0 else { return magnitude }
        return magnitude - BigInt(1) << (8 * content.count)
    }

    /// The numbers of an object identifier.
    var identifier: [Int] {
        var numbers: [Int] = []
        var value = 0
        for byte in content {
            value = (value & 0xFF_FFFF_FFFF) << 7 | Int(byte & 0x7F)
            if byte & 0x80 != 0 { continue }
            if numbers.isEmpty {
                let first = min(2, value / 40)
                numbers = [first, value - first * 40]
            } else {
                numbers.append(value)
            }
            value = 0
        }
        return numbers
    }

    /// The bytes of a bit string without its count of unused bits.
    var bits: ArraySlice<UInt8> { content.dropFirst() }

    /// Text of any of the string kinds.
    var text: String {
        if tag == 0x1E {
            var view = String.UnicodeScalarView()
            var iterator = content.makeIterator()
            while let high = iterator.next(), let low = iterator.next() {
                view.append(UnicodeScalar(UInt16(high) << 8 | UInt16(low)) ?? "\u{FFFD}")
            }
            return String(view)
        }
        return String(decoding: content, as: UTF8.self)
    }

    /// A time as RFC 3339 writes it; nil where it is none.
    var time: String? {
        var digits = Array(content)
        if tag == 0x17 {
            guard digits.count >= 11 else { return nil }
            digits = Array((digits[0] >= 0x35 ? "19" : "20").utf8) + digits
        }
        guard digits.count == 15, digits.last == UInt8(ascii: "Z"),
            digits.dropLast().allSatisfy({ $0 >= 0x30 && $0 <= 0x39 })
        else { return nil }
        let text = String(decoding: digits, as: UTF8.self)
        func part(_ from: Int, _ count: Int) -> Substring {
            text.dropFirst(from).prefix(count)
        }
        return "\(part(0, 4))-\(part(4, 2))-\(part(6, 2))T\(part(8, 2)):\(part(10, 2)):\(part(12, 2))Z"
    }
}

extension BigUInt {
    /// From bytes, the highest first.
    init(bigEndian bytes: ArraySlice<UInt8>) {
        var value = BigUInt(0)
        for byte in bytes { value = value << 8 | BigUInt(byte) }
        self = value
    }
}
