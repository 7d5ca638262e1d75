// Counting, sums, order.

extension Builtins {
    static var aggregates: [String: BuiltinFunction] {
        [
            "count": { _, arguments throws(BuiltinFailure) in
                let value = arguments[0]
                if value.tag == .string { return Value(value.characterCount) }
                guard value.isComposite else { throw .operand(0, value, "array", "object", "set", "string") }
                return Value(value.count)
            },
            "sum": { machine, arguments throws(BuiltinFailure) in
                var total = Value(0)
                for element in try numbers(machine, arguments) { total = try Arithmetic.add(total, element, machine) }
                return total
            },
            "product": { machine, arguments throws(BuiltinFailure) in
                var total = Value(1)
                for element in try numbers(machine, arguments) {
                    total = try Arithmetic.multiply(total, element, machine)
                }
                return total
            },
            "max": { machine, arguments throws(BuiltinFailure) in
                let elements = try collection(machine, arguments)
                guard var best = elements.first else { return .undefined }
                for element in elements where Value.compare(best, element) <= 0 { best = element }
                return best
            },
            "min": { machine, arguments throws(BuiltinFailure) in
                let elements = try collection(machine, arguments)
                guard var best = elements.first else { return .undefined }
                for element in elements where Value.compare(element, best) <= 0 { best = element }
                return best
            },
            "sort": { machine, arguments throws(BuiltinFailure) in
                let elements = try collection(machine, arguments)
                return machine.arena.array(elements.sorted { Value.compare($0, $1) < 0 })
            },
            "all": { machine, arguments throws(BuiltinFailure) in
                Value(try collection(machine, arguments).allSatisfy { $0.tag == .true })
            },
            "any": { machine, arguments throws(BuiltinFailure) in
                Value(try collection(machine, arguments).contains { $0.tag == .true })
            },
            "internal.member_2": { machine, arguments throws(BuiltinFailure) in
                let collection = arguments[1]
                if collection.tag == .set { return Value(collection.place(of: arguments[0]) >= 0) }
                guard collection.isComposite else { return .false }
                try machine.charge(collection.count)
                for index in 0..<collection.count where Value.equal(collection.element(index), arguments[0]) {
                    return .true
                }
                return .false
            },
            "internal.member_3": { _, arguments throws(BuiltinFailure) in
                let found = arguments[2].lookup(arguments[0])
                return Value(found.isDefined && Value.equal(found, arguments[1]))
            },
        ]
    }

    private static func collection(_ machine: Machine, _ arguments: Arguments) throws(BuiltinFailure) -> [Value] {
        let value = arguments[0]
        guard value.tag == .array || value.tag == .set else { throw .operand(0, value, "set", "array") }
        try machine.charge(value.count)
        return value.elements
    }

    private static func numbers(_ machine: Machine, _ arguments: Arguments) throws(BuiltinFailure) -> [Value] {
        let elements = try collection(machine, arguments)
        for element in elements where !element.isNumber {
            throw .element(0, arguments[0], element, "number")
        }
        return elements
    }
}

extension Value {
    /// The number of Unicode scalars of a string.
    var characterCount: Int {
        withBytes { bytes in
            var count = 0
            for byte in bytes where byte & 0xC0 != 0x80 { count += 1 }
            return count
        }
    }
}
