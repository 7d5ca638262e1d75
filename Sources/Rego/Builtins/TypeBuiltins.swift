// Kinds and casts.

extension Builtins {
    static var types: [String: BuiltinFunction] {
        [
            "type_name": { machine, arguments in machine.arena.string(arguments[0].typeName) },
            "is_array": { _, arguments in arguments[0].tag == .array ? .true : .false },
            "is_boolean": { _, arguments in arguments[0].isBoolean ? .true : .false },
            "is_null": { _, arguments in arguments[0].tag == .null ? .true : .false },
            "is_number": { _, arguments in arguments[0].isNumber ? .true : .false },
            "is_object": { _, arguments in arguments[0].tag == .object ? .true : .false },
            "is_set": { _, arguments in arguments[0].tag == .set ? .true : .false },
            "is_string": { _, arguments in arguments[0].tag == .string ? .true : .false },
            "to_number": { machine, arguments throws(BuiltinFailure) in
                let value = arguments[0]
                switch value.tag {
                case .null, .false: return Value(0)
                case .true: return Value(1)
                case .int, .number: return value
                case .string:
                    let text = value.bytes
                    let name = value.text.lowercased().drop { $0 == "+" || $0 == "-" }
                    if ["nan", "inf", "infinity"].contains(name) {
                        throw .type("operand 1 must be a finite number")
                    }
                    if !isNumber(text) { throw .failed("invalid syntax") }
                    guard let number = machine.arena.checkedNumber(text) else { throw .failed("invalid syntax") }
                    return number
                default: throw .operand(0, value, "null", "boolean", "number", "string")
                }
            },
            "cast_array": { machine, arguments throws(BuiltinFailure) in
                if arguments[0].tag == .array { return arguments[0] }
                guard arguments[0].tag == .set else { throw .operand(0, arguments[0], "array", "set") }
                return machine.arena.array(arguments[0].elements)
            },
            "cast_set": { machine, arguments throws(BuiltinFailure) in
                if arguments[0].tag == .set { return arguments[0] }
                guard arguments[0].tag == .array else { throw .operand(0, arguments[0], "array", "set") }
                return machine.arena.set(arguments[0].elements)
            },
            "cast_string": { _, arguments throws(BuiltinFailure) in try arguments.string(0) },
            "cast_boolean": { _, arguments throws(BuiltinFailure) in Value(try arguments.boolean(0)) },
            "cast_null": { _, arguments throws(BuiltinFailure) in
                guard arguments[0].tag == .null else { throw .operand(0, arguments[0], "null") }
                return .null
            },
            "cast_object": { _, arguments throws(BuiltinFailure) in try arguments.object(0) },
        ]
    }

    /// Whether text is a number in JSON's grammar.
    static func isNumber(_ text: [UInt8]) -> Bool {
        var index = 0
        func digits() -> Int {
            let start = index
            while index < text.count, text[index] >= 0x30, text[index] <= 0x39 { index += 1 }
            return index - start
        }
        if index < text.count, text[index] == UInt8(ascii: "-") { index += 1 }
        let start = index
        guard digits() > 0 else { return false }
        if text[start] == 0x30, index - start > 1 { return false }
        if index < text.count, text[index] == UInt8(ascii: ".") {
            index += 1
            guard digits() > 0 else { return false }
        }
        if index < text.count, text[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            if index < text.count, text[index] == UInt8(ascii: "+") || text[index] == UInt8(ascii: "-") { index += 1 }
            guard digits() > 0 else { return false }
        }
        return index == text.count
    }
}
