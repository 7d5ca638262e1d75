internal import BigInt

// Arithmetic, comparison as functions, rounding, bits, ranges.

extension Builtins {
    static var numbers: [String: BuiltinFunction] {
        [
            "plus": { machine, arguments throws(BuiltinFailure) in
                try Arithmetic.add(arguments.number(0), arguments.number(1), machine)
            },
            "minus": { machine, arguments throws(BuiltinFailure) in
                let (a, b) = (arguments[0], arguments[1])
                if a.isNumber, b.isNumber { return try Arithmetic.subtract(a, b, machine) }
                if a.tag == .set, b.tag == .set { return try difference(machine, a, b) }
                if !a.isNumber, a.tag != .set { throw .operand(0, a, "number", "set") }
                throw .operand(1, b, a.tag == .set ? "set" : "number")
            },
            "mul": { machine, arguments throws(BuiltinFailure) in
                try Arithmetic.multiply(arguments.number(0), arguments.number(1), machine)
            },
            "div": { machine, arguments throws(BuiltinFailure) in
                try Arithmetic.divide(arguments.number(0), arguments.number(1), machine)
            },
            "rem": { machine, arguments throws(BuiltinFailure) in
                try Arithmetic.remainder(arguments.number(0), arguments.number(1), machine)
            },
            "equal": { _, arguments in Value(Value.equal(arguments[0], arguments[1])) },
            "neq": { _, arguments in Value(!Value.equal(arguments[0], arguments[1])) },
            "lt": { _, arguments in Value(Value.compare(arguments[0], arguments[1]) < 0) },
            "lte": { _, arguments in Value(Value.compare(arguments[0], arguments[1]) <= 0) },
            "gt": { _, arguments in Value(Value.compare(arguments[0], arguments[1]) > 0) },
            "gte": { _, arguments in Value(Value.compare(arguments[0], arguments[1]) >= 0) },
            "abs": { machine, arguments throws(BuiltinFailure) in
                let value = try arguments.number(0)
                if value.tag == .int, value.integer > Int.min { return Value(abs(value.integer)) }
                var float = BigFloat(Decimal(value))
                float.negative = false
                return Numeric.float(float).value(machine.arena)
            },
            "round": { machine, arguments throws(BuiltinFailure) in
                try whole(arguments.number(0), machine) { ($0 + ($0.negative ? -half : half)).truncated }
            },
            "ceil": { machine, arguments throws(BuiltinFailure) in
                // What lies between -1 and 0 becomes 1, as in OPA.
                try whole(arguments.number(0), machine) {
                    $0.isInteger || $0.truncated < 0 ? $0.truncated : $0.truncated + 1
                }
            },
            "floor": { machine, arguments throws(BuiltinFailure) in
                // What lies between -1 and 0 becomes 0, as in OPA.
                try whole(arguments.number(0), machine) {
                    $0.isInteger || $0.truncated >= 0 ? $0.truncated : $0.truncated - 1
                }
            },
            "numbers.range": { machine, arguments throws(BuiltinFailure) in
                try range(machine, arguments.bigInteger(0), arguments.bigInteger(1), 1)
            },
            "numbers.range_step": { machine, arguments throws(BuiltinFailure) in
                let (first, last) = (try arguments.bigInteger(0), try arguments.bigInteger(1))
                let step = try arguments.bigInteger(2)
                if step <= 0 { throw .failed("step must be a positive number above zero") }
                return try range(machine, first, last, step)
            },
            "bits.and": { machine, arguments throws(BuiltinFailure) in
                try bits(machine, arguments) { $0 & $1 }
            },
            "bits.or": { machine, arguments throws(BuiltinFailure) in
                try bits(machine, arguments) { $0 | $1 }
            },
            "bits.xor": { machine, arguments throws(BuiltinFailure) in
                try bits(machine, arguments) { $0 ^ $1 }
            },
            "bits.negate": { machine, arguments throws(BuiltinFailure) in
                Numeric.integer(-(try arguments.bigInteger(0)) - 1).value(machine.arena)
            },
            "bits.lsh": { machine, arguments throws(BuiltinFailure) in
                let value = try arguments.bigInteger(0)
                let shift = try shiftCount(arguments)
                try machine.charge((value.bitWidth + shift) / 64)
                if shift > 1 << 20 { throw .limit("shift of more than \(1 << 20) bits") }
                return Numeric.integer(value << shift).value(machine.arena)
            },
            "bits.rsh": { machine, arguments throws(BuiltinFailure) in
                let value = try arguments.bigInteger(0)
                let shift = try shiftCount(arguments)
                if shift > value.bitWidth + 1 { return value < 0 ? Value(-1) : Value(0) }
                // Towards minus infinity.
                if value < 0 { return Numeric.integer(-((-value - 1) >> shift) - 1).value(machine.arena) }
                return Numeric.integer(value >> shift).value(machine.arena)
            },
        ]
    }

    private static let half = BigFloat(negative: false, mantissa: 1 << 63, exponent: 0)

    /// A whole number from the 64-bit mantissa of a number; whole numbers of 64 bits stay.
    private static func whole(
        _ value: Value, _ machine: Machine, _ body: (BigFloat) -> BigInt
    ) throws(BuiltinFailure) -> Value {
        if value.tag == .int { return value }
        let decimal = Decimal(value)
        try machine.charge(1 + abs(decimal.exponent) / 16)
        return Numeric.integer(body(BigFloat(decimal))).value(machine.arena)
    }

    private static func shiftCount(_ arguments: Arguments) throws(BuiltinFailure) -> Int {
        let shift = try arguments.bigInteger(1)
        if shift < 0 { throw .type("operand 2 must be an unsigned integer number but got a negative integer") }
        guard let count = Int(exactly: shift) else { throw .limit("shift is too large") }
        return count
    }

    private static func bits(
        _ machine: Machine, _ arguments: Arguments, _ body: (BigInt, BigInt) -> BigInt
    ) throws(BuiltinFailure) -> Value {
        Numeric.integer(body(try arguments.bigInteger(0), try arguments.bigInteger(1))).value(machine.arena)
    }

    private static func range(
        _ machine: Machine, _ first: BigInt, _ last: BigInt, _ step: BigInt
    ) throws(BuiltinFailure) -> Value {
        let count = (last - first).magnitude / step.magnitude + 1
        guard let total = Int(exactly: count) else { throw .limit("range is too long") }
        try machine.charge(total)
        if total > machine.limits.memoryBytes / 32 { throw .limit("range is too long") }
        var values: [Value] = []
        values.reserveCapacity(total)
        var current = first
        for _ in 0..<total {
            values.append(Numeric.integer(current).value(machine.arena))
            current += last >= first ? step : -step
        }
        return machine.arena.array(values)
    }

}

extension Arguments {
    /// A whole number of any size.
    func bigInteger(_ index: Int) throws(BuiltinFailure) -> BigInt {
        let value = try number(index)
        guard case .integer(let integer) = Numeric(value) else {
            throw .type("operand \(index + 1) must be integer number but got floating-point number")
        }
        return integer
    }
}
