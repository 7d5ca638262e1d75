// Regular expressions and globs.

extension Builtins {
    static var regularExpressions: [String: BuiltinFunction] {
        [
            "regex.match": { machine, arguments throws(BuiltinFailure) in try match(machine, arguments) },
            "re_match": { machine, arguments throws(BuiltinFailure) in try match(machine, arguments) },
            "regex.is_valid": { machine, arguments throws(BuiltinFailure) in
                guard arguments[0].tag == .string else { return .false }
                return (try? machine.caches.expression(arguments[0].bytes)) == nil ? .false : .true
            },
            "regex.find_n": { machine, arguments throws(BuiltinFailure) in
                _ = try arguments.string(0)
                let text = try arguments.bytes(1)
                let limit = try arguments.integer(2)
                let expression = try expression(machine, arguments, 0)
                try machine.charge(1 + text.count / 4)
                let matches = expression.findAll(text, limit: limit)
                try machine.charge(matches.count)
                return machine.arena.array(matches.map { machine.arena.string(Array(text[$0[0]..<$0[1]])) })
            },
            "regex.find_all_string_submatch_n": { machine, arguments throws(BuiltinFailure) in
                _ = try arguments.string(0)
                let text = try arguments.bytes(1)
                let limit = try arguments.integer(2)
                let expression = try expression(machine, arguments, 0)
                try machine.charge(1 + text.count / 4)
                let matches = expression.findAll(text, limit: limit)
                try machine.charge(matches.count * (expression.groupCount + 1))
                return machine.arena.array(
                    matches.map { match in
                        machine.arena.array(
                            (0...expression.groupCount).map { group in
                                let (begin, end) = (match[2 * group], match[2 * group + 1])
                                return machine.arena.string(begin < 0 ? [] : Array(text[begin..<end]))
                            })
                    })
            },
            "regex.split": { machine, arguments throws(BuiltinFailure) in
                _ = try arguments.string(0)
                let text = try arguments.bytes(1)
                let expression = try expression(machine, arguments, 0)
                try machine.charge(1 + text.count / 4)
                return machine.arena.array(split(expression, text).map { machine.arena.string(Array($0)) })
            },
            "regex.replace": { machine, arguments throws(BuiltinFailure) in
                let text = try arguments.bytes(0)
                let expression = try expression(machine, arguments, 1)
                let replacement = try arguments.bytes(2)
                try machine.charge(1 + text.count / 4)
                var out: [UInt8] = []
                var last = 0
                for match in expression.findAll(text, limit: -1) {
                    out += text[last..<match[0]]
                    expand(replacement, match, text, expression, &out)
                    try machine.charge(1 + replacement.count / 16)
                    last = match[1]
                }
                out += text[last...]
                return machine.arena.string(out)
            },
            "regex.template_match": { machine, arguments throws(BuiltinFailure) in
                let template = Array(try arguments.text(0).unicodeScalars)
                let text = try arguments.bytes(1)
                for index in 2...3 { _ = try arguments.bytes(index) }
                func delimiter(_ index: Int, _ name: String) throws(BuiltinFailure) -> UnicodeScalar {
                    let bytes = try arguments.bytes(index)
                    guard bytes.count == 1 else {
                        throw .failed(
                            "\(name) delimiter has to be exactly one character long but is \(bytes.count) long")
                    }
                    return UnicodeScalar(bytes[0])
                }
                let (open, close) = (try delimiter(2, "start"), try delimiter(3, "end"))
                let pattern = try TemplateExpression.pattern(template, open: open, close: close)
                let expression: RegularExpression
                do throws(RegularExpression.SyntaxError) {
                    expression = try machine.caches.expression(Array(pattern.utf8))
                } catch {
                    throw .failed(error.message)
                }
                try machine.charge(1 + text.count / 4)
                return Value(text.withUnsafeBufferPointer { expression.matches($0) })
            },
            "regex.globs_match": { machine, arguments throws(BuiltinFailure) in
                let (a, b) = (try arguments.text(0), try arguments.text(1))
                return Value(try GlobIntersection.intersects(a, b, machine))
            },
            "glob.match": { machine, arguments throws(BuiltinFailure) in
                let pattern = try arguments.bytes(0)
                let text = Array(try arguments.text(2).unicodeScalars)
                var delimiters: [UnicodeScalar] = []
                switch arguments[1].tag {
                case .null: break
                case .array:
                    delimiters = try runes(arguments, 1)
                    if delimiters.isEmpty { delimiters = ["."] }
                default: throw .operand(1, arguments[1], "array", "null")
                }
                let glob = try machine.caches.glob(pattern, delimiters)
                var steps = max(0, min(machine.budget, 1 << 30))
                let before = steps
                let matches = glob.matches(text, steps: &steps)
                try machine.charge(before - steps)
                return Value(matches)
            },
            "glob.quote_meta": { machine, arguments throws(BuiltinFailure) in
                var out: [UInt8] = []
                for byte in try arguments.bytes(0) {
                    if Array("*?\\[]{}".utf8).contains(byte) { out.append(UInt8(ascii: "\\")) }
                    out.append(byte)
                }
                return machine.arena.string(out)
            },
        ]
    }

    private static func runes(_ arguments: Arguments, _ index: Int) throws(BuiltinFailure) -> [UnicodeScalar] {
        var result: [UnicodeScalar] = []
        for element in try arguments.array(index).elements {
            guard element.tag == .string else { throw .element(index, arguments[index], element, "string") }
            guard element.characterCount == 1, let scalar = element.text.unicodeScalars.first else {
                throw .element(index, arguments[index], element, "single-character string")
            }
            result.append(scalar)
        }
        return result
    }

    static func match(_ machine: Machine, _ arguments: Arguments) throws(BuiltinFailure) -> Value {
        _ = try arguments.string(0)
        let text = try arguments.string(1)
        let expression = try expression(machine, arguments, 0)
        try machine.charge(1 + text.count / 8)
        return Value(text.withBytes { expression.matches($0) })
    }

    static func expression(
        _ machine: Machine, _ arguments: Arguments, _ index: Int
    ) throws(BuiltinFailure) -> RegularExpression {
        let pattern = try arguments.string(index)
        do throws(RegularExpression.SyntaxError) {
            return try machine.caches.expression(pattern, isFrozen: machine.isFrozen(pattern))
        } catch {
            throw .failed(error.message)
        }
    }

    private static func split(_ expression: RegularExpression, _ text: [UInt8]) -> [ArraySlice<UInt8>] {
        if text.isEmpty { return [text[...]] }
        var parts: [ArraySlice<UInt8>] = []
        var begin = 0
        var end = 0
        for match in expression.findAll(text, limit: -1) {
            end = match[0]
            if match[1] != 0 { parts.append(text[begin..<end]) }
            begin = match[1]
        }
        if end != text.count { parts.append(text[begin...]) }
        return parts
    }

    /// `$1`, `${1}`, `$name`, `$$` as Go's `Expand`.
    private static func expand(
        _ template: [UInt8], _ match: [Int], _ text: [UInt8], _ expression: RegularExpression, _ out: inout [UInt8]
    ) {
        func isWord(_ byte: UInt8) -> Bool {
            (byte >= 0x30 && byte <= 0x39) || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || byte == 0x5F
        }
        var index = 0
        while index < template.count {
            guard template[index] == UInt8(ascii: "$"), index + 1 < template.count else {
                out.append(template[index])
                index += 1
                continue
            }
            if template[index + 1] == UInt8(ascii: "$") {
                out.append(UInt8(ascii: "$"))
                index += 2
                continue
            }
            var start = index + 1
            let braced = template[start] == UInt8(ascii: "{")
            if braced { start += 1 }
            var end = start
            while end < template.count, isWord(template[end]) { end += 1 }
            if end == start || (braced && (end >= template.count || template[end] != UInt8(ascii: "}"))) {
                out.append(UInt8(ascii: "$"))
                index += 1
                continue
            }
            let name = String(decoding: template[start..<end], as: UTF8.self)
            index = braced ? end + 1 : end
            var group: Int?
            if let number = Int(name), name.utf8.first != 0x30 || name == "0" {
                group = number
            } else {
                group = expression.groupNames.firstIndex { !$0.isEmpty && $0 == name }
            }
            if let group, group <= expression.groupCount, match[2 * group] >= 0 {
                out += text[match[2 * group]..<match[2 * group + 1]]
            }
        }
    }
}
