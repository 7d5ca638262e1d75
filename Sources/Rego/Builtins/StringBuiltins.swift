// Strings, as bytes: nothing here sees Unicode equivalence.

extension Builtins {
    static var strings: [String: BuiltinFunction] {
        [
            "concat": { machine, arguments throws(BuiltinFailure) in
                let separator = try arguments.bytes(0)
                var out: [UInt8] = []
                for (index, part) in try arguments.strings(1).enumerated() {
                    if index > 0 { out += separator }
                    part.withBytes { out += $0 }
                    try machine.charge(1 + (part.count + separator.count) / 16)
                }
                return machine.arena.string(out)
            },
            "contains": { machine, arguments throws(BuiltinFailure) in
                let (text, part) = (try arguments.string(0), try arguments.string(1))
                try machine.charge(text.count / 16)
                return Value(text.withBytes { text in part.withBytes { find($0, in: text, from: 0) != nil } })
            },
            "startswith": { _, arguments throws(BuiltinFailure) in
                let (text, part) = (try arguments.string(0), try arguments.string(1))
                return Value(hasPrefix(text, part))
            },
            "endswith": { _, arguments throws(BuiltinFailure) in
                let (text, part) = (try arguments.string(0), try arguments.string(1))
                return Value(hasSuffix(text, part))
            },
            "strings.any_prefix_match": { machine, arguments throws(BuiltinFailure) in
                try anyMatch(machine, arguments, hasPrefix)
            },
            "strings.any_suffix_match": { machine, arguments throws(BuiltinFailure) in
                try anyMatch(machine, arguments, hasSuffix)
            },
            "lower": { machine, arguments throws(BuiltinFailure) in
                try mapCase(machine, arguments, lower: true)
            },
            "upper": { machine, arguments throws(BuiltinFailure) in
                try mapCase(machine, arguments, lower: false)
            },
            "indexof": { machine, arguments throws(BuiltinFailure) in
                let (text, part) = (try arguments.bytes(0), try arguments.bytes(1))
                if part.isEmpty { throw .failed("empty search character") }
                try machine.charge(text.count / 16)
                guard
                    let place = text.withUnsafeBufferPointer({ text in
                        part.withUnsafeBufferPointer { find($0, in: text, from: 0) }
                    })
                else { return Value(-1) }
                return Value(scalars(text[..<place]))
            },
            "indexof_n": { machine, arguments throws(BuiltinFailure) in
                let (text, part) = (try arguments.bytes(0), try arguments.bytes(1))
                if part.isEmpty { throw .failed("empty search character") }
                try machine.charge(text.count)
                var places: [Value] = []
                var from = 0
                while let place = text.withUnsafeBufferPointer({ text in
                    part.withUnsafeBufferPointer { find($0, in: text, from: from) }
                }) {
                    places.append(Value(scalars(text[..<place])))
                    from = place + 1
                }
                return machine.arena.array(places)
            },
            "replace": { machine, arguments throws(BuiltinFailure) in
                let (text, old, new) = (try arguments.bytes(0), try arguments.bytes(1), try arguments.bytes(2))
                return machine.arena.string(try replace(machine, text, old, new))
            },
            "strings.replace_n": { machine, arguments throws(BuiltinFailure) in
                let patterns = try arguments.object(0)
                let text = try arguments.bytes(1)
                var pairs: [(old: [UInt8], new: [UInt8])] = []
                for (key, value) in patterns.pairs {
                    guard key.tag == .string else {
                        throw .type("operand 1 non-string key found in pattern object")
                    }
                    guard value.tag == .string else {
                        throw .type("operand 1 non-string value found in pattern object")
                    }
                    pairs.append((key.bytes, value.bytes))
                }
                return machine.arena.string(try replaceMany(machine, text, pairs))
            },
            "split": { machine, arguments throws(BuiltinFailure) in
                let (text, separator) = (try arguments.bytes(0), try arguments.bytes(1))
                return machine.arena.array(try split(machine, text, separator))
            },
            "strings.split_n": { machine, arguments throws(BuiltinFailure) in
                let (text, separator) = (try arguments.bytes(0), try arguments.bytes(1))
                let limit = try arguments.integer(2)
                // The first `limit` parts, or the last ones where it is below zero.
                let parts = try split(machine, text, separator)
                if limit >= 0 { return machine.arena.array(Array(parts.prefix(limit))) }
                return machine.arena.array(Array(parts.suffix(limit == Int.min ? Int.max : -limit)))
            },
            "substring": { machine, arguments throws(BuiltinFailure) in
                let text = try arguments.bytes(0)
                let start = try arguments.integer(1)
                let length = try arguments.integer(2)
                if start < 0 { throw .failed("negative offset") }
                try machine.charge(text.count / 16)
                return machine.arena.string(substring(text, start, length))
            },
            "trim": { machine, arguments throws(BuiltinFailure) in
                try trim(machine, arguments, left: true, right: true)
            },
            "trim_left": { machine, arguments throws(BuiltinFailure) in
                try trim(machine, arguments, left: true, right: false)
            },
            "trim_right": { machine, arguments throws(BuiltinFailure) in
                try trim(machine, arguments, left: false, right: true)
            },
            "trim_space": { machine, arguments throws(BuiltinFailure) in
                let scalars = Array(try arguments.text(0).unicodeScalars)
                let from = scalars.firstIndex { !$0.properties.isWhitespace } ?? scalars.count
                let to = (scalars.lastIndex { !$0.properties.isWhitespace } ?? from - 1) + 1
                return machine.arena.string(string(scalars[from..<max(from, to)]))
            },
            "trim_prefix": { machine, arguments throws(BuiltinFailure) in
                let (text, part) = (try arguments.string(0), try arguments.string(1))
                guard hasPrefix(text, part) else { return text }
                return machine.arena.string(Array(text.bytes.dropFirst(part.count)))
            },
            "trim_suffix": { machine, arguments throws(BuiltinFailure) in
                let (text, part) = (try arguments.string(0), try arguments.string(1))
                guard hasSuffix(text, part) else { return text }
                return machine.arena.string(Array(text.bytes.dropLast(part.count)))
            },
            "strings.reverse": { machine, arguments throws(BuiltinFailure) in
                let scalars = try arguments.text(0).unicodeScalars
                try machine.charge(scalars.count / 16)
                return machine.arena.string(string(scalars.reversed()[...]))
            },
            "strings.count": { machine, arguments throws(BuiltinFailure) in
                let (text, part) = (try arguments.bytes(0), try arguments.bytes(1))
                try machine.charge(text.count / 16)
                if part.isEmpty { return Value(scalars(text[...]) + 1) }
                var count = 0
                var from = 0
                while let place = text.withUnsafeBufferPointer({ text in
                    part.withUnsafeBufferPointer { find($0, in: text, from: from) }
                }) {
                    count += 1
                    from = place + part.count
                }
                return Value(count)
            },
            "format_int": { machine, arguments throws(BuiltinFailure) in
                let value = try arguments.number(0)
                let baseValue = try arguments.number(1)
                guard baseValue.tag == .int, [2, 8, 10, 16].contains(baseValue.integer) else {
                    throw .type("operand 2 must be one of {2, 8, 10, 16}")
                }
                let base = baseValue.integer
                let integer: String
                switch Numeric(value) {
                case .integer(let whole) where value.isWrittenWhole: integer = String(whole, radix: base)
                case let numeric: integer = String(numeric.float.truncated, radix: base)
                }
                return machine.arena.string(integer)
            },
            "internal.template_string": { machine, arguments throws(BuiltinFailure) in
                var out: [UInt8] = []
                for part in try arguments.array(0).elements {
                    var value = part
                    if part.tag == .set {
                        if part.count == 0 {
                            out += Array("<undefined>".utf8)
                            continue
                        }
                        if part.count > 1 {
                            throw .fatal(
                                code: "eval_conflict_error",
                                "template-strings must not produce multiple outputs")
                        }
                        value = part.element(0)
                    }
                    if value.tag == .string {
                        value.withBytes { out += $0 }
                    } else {
                        out += Array(RegoWriter.text(value).utf8)
                    }
                    try machine.charge(1 + out.count / 1024)
                }
                return machine.arena.string(out)
            },
            "sprintf": { machine, arguments throws(BuiltinFailure) in
                let format = try arguments.bytes(0)
                let values = try arguments.array(1)
                return machine.arena.string(try GoFormat.format(format, values.elements, machine))
            },
        ]
    }

    // MARK: Searching

    static func hasPrefix(_ text: Value, _ part: Value) -> Bool {
        text.withBytes { text in
            part.withBytes { part in
                guard part.count <= text.count else { return false }
                for index in 0..<part.count where text[index] != part[index] { return false }
                return true
            }
        }
    }

    static func hasSuffix(_ text: Value, _ part: Value) -> Bool {
        text.withBytes { text in
            part.withBytes { part in
                let start = text.count - part.count
                guard start >= 0 else { return false }
                for index in 0..<part.count where text[start + index] != part[index] { return false }
                return true
            }
        }
    }

    static func find(
        _ part: UnsafeBufferPointer<UInt8>, in text: UnsafeBufferPointer<UInt8>, from: Int
    ) -> Int? {
        guard part.count <= text.count else { return nil }
        guard let first = part.first else { return from <= text.count ? from : nil }
        var start = from
        while start + part.count <= text.count {
            if text[start] == first {
                var index = 1
                while index < part.count, text[start + index] == part[index] { index += 1 }
                if index == part.count { return start }
            }
            start += 1
        }
        return nil
    }

    static func find(_ part: [UInt8], in text: [UInt8], from: Int) -> Int? {
        text.withUnsafeBufferPointer { text in part.withUnsafeBufferPointer { find($0, in: text, from: from) } }
    }

    static func scalars(_ bytes: ArraySlice<UInt8>) -> Int {
        var count = 0
        for byte in bytes where byte & 0xC0 != 0x80 { count += 1 }
        return count
    }

    private static func string(_ scalars: ArraySlice<UnicodeScalar>) -> String {
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars)
        return String(text)
    }

    private static func anyMatch(
        _ machine: Machine, _ arguments: Arguments, _ test: (Value, Value) -> Bool
    ) throws(BuiltinFailure) -> Value {
        func list(_ index: Int) throws(BuiltinFailure) -> [Value] {
            if arguments[index].tag == .string { return [arguments[index]] }
            guard arguments[index].tag == .array || arguments[index].tag == .set else {
                throw .operand(index, arguments[index], "string", "set", "array")
            }
            return try arguments.strings(index)
        }
        let texts = try list(0)
        let parts = try list(1)
        try machine.charge(texts.count * parts.count)
        return Value(texts.contains { text in parts.contains { test(text, $0) } })
    }

    private static func mapCase(
        _ machine: Machine, _ arguments: Arguments, lower: Bool
    ) throws(BuiltinFailure) -> Value {
        let value = try arguments.string(0)
        try machine.charge(value.count / 16)
        let bytes = value.bytes
        if bytes.allSatisfy({ $0 < 0x80 }) {
            return machine.arena.string(
                bytes.map { byte in
                    if lower { return byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte }
                    return byte >= 0x61 && byte <= 0x7A ? byte & 0xDF : byte
                })
        }
        // Scalar by scalar, as Go does: mappings to several scalars are left out.
        var text = String.UnicodeScalarView()
        for scalar in value.text.unicodeScalars {
            if lower, scalar == "\u{130}" {
                text.append("i")
                continue
            }
            let mapped = lower ? scalar.properties.lowercaseMapping : scalar.properties.uppercaseMapping
            let mappedScalars = mapped.unicodeScalars
            if mappedScalars.count == 1, let single = mappedScalars.first {
                text.append(single)
            } else {
                text.append(scalar)
            }
        }
        return machine.arena.string(String(text))
    }

    static func replace(
        _ machine: Machine, _ text: [UInt8], _ old: [UInt8], _ new: [UInt8]
    ) throws(BuiltinFailure) -> [UInt8] {
        var out: [UInt8] = []
        try machine.charge(text.count / 16)
        if old.isEmpty {
            out += new
            for byte in text {
                if byte & 0xC0 == 0x80 || out.count == new.count {
                    out.append(byte)
                } else {
                    out += new
                    out.append(byte)
                }
                try machine.charge(new.count / 16)
            }
            if !text.isEmpty { out += new }
            return out
        }
        var from = 0
        while let place = find(old, in: text, from: from) {
            out += text[from..<place]
            out += new
            try machine.charge(1 + new.count / 16)
            from = place + old.count
        }
        out += text[from...]
        return out
    }

    /// Replaces the first pattern that matches at each place, in the order of patterns.
    private static func replaceMany(
        _ machine: Machine, _ text: [UInt8], _ pairs: [(old: [UInt8], new: [UInt8])]
    ) throws(BuiltinFailure) -> [UInt8] {
        var out: [UInt8] = []
        var index = 0
        while index <= text.count {
            var matched = false
            try machine.charge(1 + pairs.count / 4)
            for pair in pairs where text[index...].starts(with: pair.old) {
                out += pair.new
                try machine.charge(pair.new.count / 16)
                if pair.old.isEmpty { continue }
                index += pair.old.count
                matched = true
                break
            }
            if matched { continue }
            if index < text.count { out.append(text[index]) }
            index += 1
        }
        return out
    }

    private static func split(
        _ machine: Machine, _ text: [UInt8], _ separator: [UInt8]
    ) throws(BuiltinFailure) -> [Value] {
        var parts: [Value] = []
        try machine.charge(text.count / 16)
        if separator.isEmpty {
            var index = 0
            while index < text.count {
                var end = index + 1
                while end < text.count, text[end] & 0xC0 == 0x80 { end += 1 }
                parts.append(machine.arena.string(Array(text[index..<end])))
                index = end
                try machine.charge(1)
            }
            return parts
        }
        var from = 0
        while let place = find(separator, in: text, from: from) {
            parts.append(machine.arena.string(Array(text[from..<place])))
            from = place + separator.count
            try machine.charge(1)
        }
        parts.append(machine.arena.string(Array(text[from...])))
        return parts
    }

    private static func substring(_ text: [UInt8], _ start: Int, _ length: Int) -> [UInt8] {
        var index = 0
        var position = 0
        while index < text.count, position < start {
            index += 1
            while index < text.count, text[index] & 0xC0 == 0x80 { index += 1 }
            position += 1
        }
        if length < 0 { return Array(text[index...]) }
        let from = index
        position = 0
        while index < text.count, position < length {
            index += 1
            while index < text.count, text[index] & 0xC0 == 0x80 { index += 1 }
            position += 1
        }
        return Array(text[from..<index])
    }

    private static func trim(
        _ machine: Machine, _ arguments: Arguments, left: Bool, right: Bool
    ) throws(BuiltinFailure) -> Value {
        let text = Array(try arguments.text(0).unicodeScalars)
        let cut = Set(try arguments.text(1).unicodeScalars)
        try machine.charge(text.count / 16)
        var from = 0
        var to = text.count
        if left { while from < to, cut.contains(text[from]) { from += 1 } }
        if right { while to > from, cut.contains(text[to - 1]) { to -= 1 } }
        return machine.arena.string(string(text[from..<to]))
    }
}
