internal import CRE2

/// A compiled RE2 pattern.
final class RegularExpression: @unchecked Sendable {
    private let pattern: OpaquePointer
    /// Number of capturing groups.
    let groupCount: Int
    /// Name of each group, empty where it has none; index 0 is the whole match.
    let groupNames: [String]

    /// What is wrong with a pattern, as Go says it.
    struct SyntaxError: Error {
        let message: String
    }

    /// Compiles a pattern with 8 MiB for its automata, as RE2 does by default.
    init(_ text: [UInt8]) throws(SyntaxError) {
        let compiled = Self.namedGroups(text).withUnsafeBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) { cre2_compile($0.baseAddress, $0.count, 8 << 20) }
        }
        guard let compiled else { throw SyntaxError(message: "out of memory") }
        guard cre2_ok(compiled) else {
            let kind = Self.messages[cre2_error_code(compiled)] ?? String(cString: cre2_error(compiled))
            let message = "error parsing regexp: \(kind): `\(String(cString: cre2_error_argument(compiled)))`"
            cre2_free(compiled)
            throw SyntaxError(message: message)
        }
        pattern = compiled
        groupCount = Int(cre2_groups(compiled))
        groupNames = (0...groupCount).map { index in
            guard let name = cre2_group_name(compiled, Int32(index)) else { return "" }
            return String(cString: name)
        }
    }

    deinit { cre2_free(pattern) }

    /// The pattern with `(?<name>` as `(?P<name>`, which older versions of RE2 want.
    private static func namedGroups(_ text: [UInt8]) -> [UInt8] {
        let mark = Array("(?<".utf8)
        guard text.count > 3 else { return text }
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        var index = 0
        var isClass = false
        while index < text.count {
            let byte = text[index]
            if byte == UInt8(ascii: "\\"), index + 1 < text.count {
                out += text[index...index + 1]
                index += 2
                continue
            }
            if byte == UInt8(ascii: "[") { isClass = true } else if byte == UInt8(ascii: "]") { isClass = false }
            if !isClass, text[index...].starts(with: mark), index + 3 < text.count,
                text[index + 3] != UInt8(ascii: "="), text[index + 3] != UInt8(ascii: "!")
            {
                out += Array("(?P<".utf8)
                index += 3
                continue
            }
            out.append(byte)
            index += 1
        }
        return out
    }

    /// Go's words for RE2's error codes.
    private static let messages: [Int32: String] = [
        1: "internal error", 2: "invalid escape sequence", 3: "invalid character class",
        4: "invalid character class range", 5: "missing closing ]", 6: "missing closing )",
        7: "unexpected )", 8: "trailing backslash at end of expression", 9: "missing argument to repetition operator",
        10: "invalid repeat count", 11: "invalid nested repetition operator", 12: "invalid or unsupported Perl syntax",
        13: "invalid UTF-8", 14: "invalid named capture", 15: "expression too large",
    ]

    /// Whether there is a match somewhere.
    @inline(__always)
    func matches(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        text.withMemoryRebound(to: CChar.self) { cre2_match(pattern, $0.baseAddress, $0.count, 0, 0, nil) }
    }

    /// The first match from `start` on: begin and end of each group, -1 where it took no part.
    func find(_ text: [UInt8], from start: Int) -> [Int]? {
        var groups = [Int64](repeating: -1, count: 2 * (groupCount + 1))
        let found = text.withUnsafeBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) {
                cre2_match(pattern, $0.baseAddress, $0.count, start, Int32(groupCount + 1), &groups)
            }
        }
        return found ? groups.map { Int($0) } : nil
    }

    /// All matches one behind the other, as Go's `FindAll`: no empty match right behind a match.
    func findAll(_ text: [UInt8], limit: Int) -> [[Int]] {
        var matches: [[Int]] = []
        var position = 0
        var previousEnd = -1
        while position <= text.count, limit < 0 || matches.count < limit {
            guard let match = find(text, from: position) else { break }
            var accept = true
            if match[1] == position {
                // An empty match here.
                if match[0] == previousEnd { accept = false }
                var width = 1
                while position + width < text.count, text[position + width] & 0xC0 == 0x80 { width += 1 }
                position = position < text.count ? position + width : text.count + 1
            } else {
                position = match[1]
            }
            previousEnd = match[1]
            if accept { matches.append(match) }
        }
        return matches
    }
}
