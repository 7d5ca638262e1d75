/// A JSON value (RFC 8259) of a token or a key, read strictly: UTF-8 only, no name twice in one object, nesting and size
/// bounded, nothing behind it. Where parsers may differ on what a text says, it is refused (RFC 7515 §4, RFC 8725 §2.4).
public indirect enum StrictJSON: Hashable, Sendable {
    case null
    case boolean(Bool)
    /// The text of the number.
    case number(String)
    case string(String)
    case array([StrictJSON])
    /// Names and values in their order.
    case object([Member])

    /// A name and its value.
    public struct Member: Hashable, Sendable {
        /// The name, escapes resolved.
        public let name: String
        /// Its value.
        public let value: StrictJSON

        /// A member from its parts.
        public init(name: String, value: StrictJSON) {
            self.name = name
            self.value = value
        }
    }

    /// What is wrong with a text.
    public struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        /// The rule that is broken.
        public let description: String
        /// Bytes from the beginning.
        public let offset: Int
    }

    /// Levels of arrays and objects in each other.
    public static let maximumDepth = 16

    /// Reads a whole text.
    public init(parsing text: [UInt8]) throws(Failure) {
        var reader = Reader(text: text)
        self = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.isAtEnd else { throw reader.failure("text behind the JSON value") }
    }

    /// The value of a name; nil where it is no object or has no such name.
    public subscript(_ name: String) -> StrictJSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
    }

    /// The text of a string.
    public var string: String? { if case .string(let text) = self { text } else { nil } }

    private struct Reader {
        let text: [UInt8]
        var position = 0

        var isAtEnd: Bool { position >= text.count }

        func failure(_ what: String) -> Failure { Failure(description: what, offset: position) }

        private var next: UInt8? { position < text.count ? text[position] : nil }

        mutating func skipSpace() {
            while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { position += 1 }
        }

        private mutating func expect(_ word: StaticString) throws(Failure) {
            for byte in word.withUTF8Buffer({ Array($0) }) {
                guard next == byte else { throw failure("no JSON value") }
                position += 1
            }
        }

        mutating func value(depth: Int) throws(Failure) -> StrictJSON {
            guard depth <= StrictJSON.maximumDepth else { throw failure("nested too deeply") }
            skipSpace()
            switch next {
            case UInt8(ascii: "{"): return try object(depth)
            case UInt8(ascii: "["): return try array(depth)
            case UInt8(ascii: "\""): return .string(try string())
            case UInt8(ascii: "t"):
                try expect("true")
                return .boolean(true)
            case UInt8(ascii: "f"):
                try expect("false")
                return .boolean(false)
            case UInt8(ascii: "n"):
                try expect("null")
                return .null
            case let byte? where byte == UInt8(ascii: "-") || (0x30...0x39).contains(byte):
                return .number(try number())
            default: throw failure("no JSON value")
            }
        }

        private mutating func object(_ depth: Int) throws(Failure) -> StrictJSON {
            position += 1
            var members: [Member] = []
            var names: Set<[UInt8]> = []
            skipSpace()
            if next == UInt8(ascii: "}") {
                position += 1
                return .object([])
            }
            while true {
                skipSpace()
                guard next == UInt8(ascii: "\"") else { throw failure("a name is missing") }
                let name = try string()
                guard names.insert(Array(name.utf8)).inserted else {
                    throw failure("a name stands twice in one object")
                }
                skipSpace()
                guard next == UInt8(ascii: ":") else { throw failure("a colon is missing") }
                position += 1
                members.append(Member(name: name, value: try value(depth: depth + 1)))
                if try ends(with: "}") { return .object(members) }
            }
        }

        private mutating func array(_ depth: Int) throws(Failure) -> StrictJSON {
            position += 1
            var elements: [StrictJSON] = []
            skipSpace()
            if next == UInt8(ascii: "]") {
                position += 1
                return .array([])
            }
            while true {
                elements.append(try value(depth: depth + 1))
                if try ends(with: "]") { return .array(elements) }
            }
        }

        /// Behind an element: whether the closing bracket comes, or a comma.
        private mutating func ends(with bracket: Unicode.Scalar) throws(Failure) -> Bool {
            skipSpace()
            guard let byte = next, byte == UInt8(ascii: bracket) || byte == UInt8(ascii: ",") else {
                throw failure("a comma or closing bracket is missing")
            }
            position += 1
            return byte == UInt8(ascii: bracket)
        }

        private mutating func number() throws(Failure) -> String {
            let start = position
            func isDigit(_ byte: UInt8?) -> Bool { byte.map { (0x30...0x39).contains($0) } ?? false }
            func digits() throws(Failure) {
                guard isDigit(next) else { throw failure("a digit is missing") }
                while isDigit(next) { position += 1 }
            }
            if next == UInt8(ascii: "-") { position += 1 }
            if next == UInt8(ascii: "0") { position += 1 } else { try digits() }
            if next == UInt8(ascii: ".") {
                position += 1
                try digits()
            }
            if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
                position += 1
                if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
                try digits()
            }
            return String(decoding: text[start..<position], as: UTF8.self)
        }

        private mutating func string() throws(Failure) -> String {
            position += 1
            var bytes: [UInt8] = []
            while let byte = next {
                switch byte {
                case UInt8(ascii: "\""):
                    position += 1
                    guard let text = String(validating: bytes, as: UTF8.self) else {
                        throw failure("a string is no UTF-8")
                    }
                    return text
                case UInt8(ascii: "\\"):
                    position += 1
                    try escape(&bytes)
                case 0..<0x20: throw failure("a control character in a string")
                default:
                    bytes.append(byte)
                    position += 1
                }
            }
            throw failure("a string without end")
        }

        private mutating func escape(_ bytes: inout [UInt8]) throws(Failure) {
            guard let byte = next else { throw failure("a string without end") }
            position += 1
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
            case UInt8(ascii: "b"): bytes.append(0x08)
            case UInt8(ascii: "f"): bytes.append(0x0C)
            case UInt8(ascii: "n"): bytes.append(0x0A)
            case UInt8(ascii: "r"): bytes.append(0x0D)
            case UInt8(ascii: "t"): bytes.append(0x09)
            case UInt8(ascii: "u"):
                var unit = try hexadecimal()
                if (0xD800..<0xDC00).contains(unit) {
                    guard next == UInt8(ascii: "\\") else { throw failure("half a surrogate pair") }
                    position += 1
                    guard next == UInt8(ascii: "u") else { throw failure("half a surrogate pair") }
                    position += 1
                    let low = try hexadecimal()
                    guard (0xDC00..<0xE000).contains(low) else { throw failure("half a surrogate pair") }
                    unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
                }
                guard let scalar = Unicode.Scalar(unit) else { throw failure("half a surrogate pair") }
                bytes += Array(String(Character(scalar)).utf8)
            default: throw failure("an escape that JSON does not have")
            }
        }

        private mutating func hexadecimal() throws(Failure) -> UInt32 {
            guard position + 4 <= text.count else { throw failure("a string without end") }
            var unit: UInt32 = 0
            for byte in text[position..<position + 4] {
                switch byte {
                case 0x30...0x39: unit = unit << 4 | UInt32(byte - 0x30)
                case 0x41...0x46: unit = unit << 4 | UInt32(byte - 0x37)
                case 0x61...0x66: unit = unit << 4 | UInt32(byte - 0x57)
                default: throw failure("an escape that JSON does not have")
                }
            }
            position += 4
            return unit
        }
    }
}

extension StrictJSON: CustomStringConvertible {
    /// The value as JSON without blanks.
    public var description: String {
        switch self {
        case .null: "null"
        case .boolean(let value): value ? "true" : "false"
        case .number(let text): text
        case .string(let text): Self.quoted(text)
        case .array(let elements): "[" + elements.map(\.description).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.map { Self.quoted($0.name) + ":" + $0.value.description }.joined(separator: ",") + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": out += "\\" + String(scalar)
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
