internal import BigInt

/// A number at work: exact while it is whole, with a 64-bit mantissa otherwise.
enum Numeric {
    case integer(BigInt)
    case float(BigFloat)

    init(_ value: Value) {
        if value.tag == .int {
            self = .integer(BigInt(value.integer))
            return
        }
        let decimal = Decimal(value)
        if let integer = decimal.bigInteger { self = .integer(integer) } else { self = .float(BigFloat(decimal)) }
    }

    var float: BigFloat {
        switch self {
        case .integer(let integer): BigFloat(integer)
        case .float(let float): float
        }
    }

    /// The value in an arena.
    func value(_ arena: Arena) -> Value {
        switch self {
        case .integer(let integer):
            if let small = Int(exactly: integer) { return Value(small) }
            return arena.number(String(integer))
        case .float(let float): return arena.number(float.text)
        }
    }
}

/// Arithmetic on number values.
enum Arithmetic {
    static func add(_ a: Value, _ b: Value, _ machine: Machine) throws(BuiltinFailure) -> Value {
        if a.tag == .int, b.tag == .int {
            let (sum, overflow) = a.integer.addingReportingOverflow(b.integer)
            if !overflow { return Value(sum) }
        }
        return try general(a, b, machine, { $0 + $1 }, { $0 + $1 })
    }

    static func subtract(_ a: Value, _ b: Value, _ machine: Machine) throws(BuiltinFailure) -> Value {
        if a.tag == .int, b.tag == .int {
            let (difference, overflow) = a.integer.subtractingReportingOverflow(b.integer)
            if !overflow { return Value(difference) }
        }
        return try general(a, b, machine, { $0 - $1 }, { $0 - $1 })
    }

    static func multiply(_ a: Value, _ b: Value, _ machine: Machine) throws(BuiltinFailure) -> Value {
        if a.tag == .int, b.tag == .int {
            let (product, overflow) = a.integer.multipliedReportingOverflow(by: b.integer)
            if !overflow { return Value(product) }
        }
        try charge(a, b, machine, square: true)
        return try general(a, b, machine, { $0 * $1 }, { $0 * $1 })
    }

    static func divide(_ a: Value, _ b: Value, _ machine: Machine) throws(BuiltinFailure) -> Value {
        if Value.compare(b, Value(0)) == 0 { throw .failed("divide by zero") }
        if a.tag == .int, b.tag == .int, b.integer != -1 {
            let (quotient, remainder) = a.integer.quotientAndRemainder(dividingBy: b.integer)
            if remainder == 0 { return Value(quotient) }
        }
        try charge(a, b, machine)
        return Numeric.float(exact(a) / exact(b)).value(machine.arena)
    }

    private static func exact(_ value: Value) -> BigFloat { Numeric(value).float }

    static func remainder(_ a: Value, _ b: Value, _ machine: Machine) throws(BuiltinFailure) -> Value {
        guard case .integer(let x) = Numeric(a), case .integer(let y) = Numeric(b) else {
            throw .failed("modulo on floating-point number")
        }
        if y == 0 { throw .failed("modulo by zero") }
        try charge(a, b, machine, square: true)
        return Numeric.integer(x % y).value(machine.arena)
    }

    private static func general(
        _ a: Value, _ b: Value, _ machine: Machine, _ exact: (BigInt, BigInt) -> BigInt,
        _ rounded: (BigFloat, BigFloat) -> BigFloat
    ) throws(BuiltinFailure) -> Value {
        try charge(a, b, machine)
        if case .integer(let x) = Numeric(a), case .integer(let y) = Numeric(b) {
            return Numeric.integer(exact(x, y)).value(machine.arena)
        }
        return Numeric.float(rounded(Numeric(a).float, Numeric(b).float)).value(machine.arena)
    }

    /// Long numbers cost by their digits.
    static func charge(
        _ a: Value, _ b: Value, _ machine: Machine, square: Bool = false
    ) throws(BuiltinFailure) {
        func size(_ value: Value) -> Int {
            if value.tag == .int { return 1 }
            let decimal = Decimal(value)
            return max(1, (max(abs(decimal.exponent), decimal.digits.count)) / 16)
        }
        let x = size(a)
        let y = size(b)
        try machine.charge(square ? x * y + x + y : x + y)
    }
}
