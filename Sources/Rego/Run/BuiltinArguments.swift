// Taking arguments apart, with OPA's errors.

extension BuiltinFailure {
    /// `operand 1 must be string but got number`.
    static func operand(_ index: Int, _ value: Value, _ expected: String...) -> BuiltinFailure {
        let list = expected.count == 1 ? expected[0] : "one of {" + expected.joined(separator: ", ") + "}"
        return .type("operand \(index + 1) must be \(list) but got \(value.typeName)")
    }

    /// `operand 2 must be array of strings but got array containing number`.
    static func element(_ index: Int, _ value: Value, _ element: Value, _ expected: String...) -> BuiltinFailure {
        let list = expected.count == 1 ? expected[0] + "s" : "(any of {" + expected.joined(separator: ", ") + "})"
        return .type(
            "operand \(index + 1) must be \(value.typeName) of \(list) but got \(value.typeName) containing "
                + element.typeName)
    }
}

extension Arguments {
    func string(_ index: Int) throws(BuiltinFailure) -> Value {
        guard self[index].tag == .string else { throw .operand(index, self[index], "string") }
        return self[index]
    }

    func text(_ index: Int) throws(BuiltinFailure) -> String { try string(index).text }

    func bytes(_ index: Int) throws(BuiltinFailure) -> [UInt8] { try string(index).bytes }

    func number(_ index: Int) throws(BuiltinFailure) -> Value {
        guard self[index].isNumber else { throw .operand(index, self[index], "number") }
        return self[index]
    }

    /// A whole number of 64 bits, written without an exponent.
    func integer(_ index: Int) throws(BuiltinFailure) -> Int {
        let value = try number(index)
        if value.tag == .int { return value.integer }
        guard value.isWrittenWhole, let integer = Decimal(value).integer else {
            throw .type("operand \(index + 1) must be integer number but got floating-point number")
        }
        return integer
    }

    func boolean(_ index: Int) throws(BuiltinFailure) -> Bool {
        guard self[index].isBoolean else { throw .operand(index, self[index], "boolean") }
        return self[index].tag == .true
    }

    func array(_ index: Int) throws(BuiltinFailure) -> Value {
        guard self[index].tag == .array else { throw .operand(index, self[index], "array") }
        return self[index]
    }

    func object(_ index: Int) throws(BuiltinFailure) -> Value {
        guard self[index].tag == .object else { throw .operand(index, self[index], "object") }
        return self[index]
    }

    func set(_ index: Int) throws(BuiltinFailure) -> Value {
        guard self[index].tag == .set else { throw .operand(index, self[index], "set") }
        return self[index]
    }

    /// The strings of an array or set.
    func strings(_ index: Int) throws(BuiltinFailure) -> [Value] {
        let value = self[index]
        guard value.tag == .array || value.tag == .set else { throw .operand(index, value, "set", "array") }
        var result: [Value] = []
        for place in 0..<value.count {
            let element = value.element(place)
            guard element.tag == .string else { throw .element(index, value, element, "string") }
            result.append(element)
        }
        return result
    }
}

extension Value {
    /// The elements of an array or set.
    var elements: [Value] { isComposite ? (0..<count).map { element($0) } : [] }

    /// The pairs of an object.
    var pairs: [(key: Value, value: Value)] { tag == .object ? (0..<count).map { (key($0), element($0)) } : [] }

    /// The text of a number, as written.
    var numberText: String { tag == .int ? String(integer) : text }
}
