// Addresses and blocks.

extension Builtins {
    static var networks: [String: BuiltinFunction] {
        [
            "net.cidr_contains": { machine, arguments throws(BuiltinFailure) in
                let block = try block(arguments.string(0), machine)
                return Value(try contains(block, arguments.string(1), machine))
            },
            "net.cidr_overlap": { machine, arguments throws(BuiltinFailure) in
                let block = try block(arguments.string(0), machine)
                return Value(try contains(block, arguments.string(1), machine))
            },
            "net.cidr_intersects": { machine, arguments throws(BuiltinFailure) in
                let a = try block(arguments.string(0), machine)
                let b = try block(arguments.string(1), machine)
                return Value(a.contains(b.bytes) || b.contains(a.bytes))
            },
            "net.cidr_expand": { machine, arguments throws(BuiltinFailure) in
                let block = try block(arguments.string(0), machine)
                let bits = block.bytes.count * 8 - block.prefix
                if bits > 24 { throw .limit("the block has more than \(1 << 24) addresses") }
                try machine.charge(1 << bits)
                var address = block.bytes
                var elements: [Value] = []
                for _ in 0..<(1 << bits) {
                    elements.append(machine.arena.string(AddressRange.text(address)))
                    AddressRange.increment(&address)
                }
                return machine.arena.set(elements)
            },
            "net.cidr_merge": { machine, arguments throws(BuiltinFailure) in
                let value = arguments[0]
                guard value.tag == .array || value.tag == .set else { throw .failed("operand must be an array") }
                var runs: [AddressRange.Run] = []
                for element in value.elements {
                    guard element.tag == .string else { throw .failed("element must be string") }
                    let bytes = element.bytes
                    if let address = AddressRange.plainAddress(bytes) {
                        if address.count == 16 { throw .failed("IPv6 invalid: needs prefix length") }
                        // As Go's default mask: the class of the address.
                        let prefix = address[0] < 128 ? 8 : address[0] < 192 ? 16 : 24
                        let block = AddressRange(bytes: AddressRange.masked(address, prefix), prefix: prefix)
                        runs.append(
                            AddressRange.Run(
                                first: AddressRange.mapped(block.bytes), last: AddressRange.mapped(block.last),
                                text: AddressRange.text(address) + "/" + String(prefix)))
                    } else if let block = AddressRange(block: bytes) {
                        runs.append(
                            AddressRange.Run(
                                first: AddressRange.mapped(block.bytes), last: AddressRange.mapped(block.last),
                                text: block.text))
                    } else {
                        throw .failed("invalid CIDR address: \(element.text)")
                    }
                }
                try machine.charge(runs.count * 8)
                return machine.arena.set(AddressRange.merged(runs).map { machine.arena.string($0) })
            },
            "net.cidr_contains_matches": { machine, arguments throws(BuiltinFailure) in
                let left = try entries(arguments, 0)
                let right = left.isEmpty ? [] : try entries(arguments, 1)
                var found: [Value] = []
                for (keyA, a) in left {
                    for (keyB, b) in right {
                        try machine.charge(2)
                        guard a.tag == .string else { throw .operand(0, a, "string") }
                        guard b.tag == .string else { throw .operand(0, b, "string") }
                        if try contains(try block(a, machine), b, machine) {
                            found.append(machine.arena.array([keyA, keyB]))
                        }
                    }
                }
                return machine.arena.set(found)
            },
            "net.cidr_is_valid": { _, arguments in
                Value(arguments[0].tag == .string && AddressRange(block: arguments[0].bytes) != nil)
            },
        ]
    }

    /// Keys and addresses of a string, an array, a set or an object of strings or arrays that begin with one.
    private static func entries(
        _ arguments: Arguments, _ index: Int
    ) throws(BuiltinFailure) -> [(key: Value, address: Value)] {
        let value = arguments[index]
        func address(_ element: Value) throws(BuiltinFailure) -> Value {
            if element.tag == .string { return element }
            if element.tag == .array, element.count > 0 { return element.element(0) }
            throw .failed("operand \(index + 1): element must be string or non-empty array")
        }
        switch value.tag {
        case .string: return [(value, value)]
        case .array:
            var result: [(key: Value, address: Value)] = []
            for (place, element) in value.elements.enumerated() { result.append((Value(place), try address(element))) }
            return result
        case .set:
            var result: [(key: Value, address: Value)] = []
            for element in value.elements { result.append((element, try address(element))) }
            return result
        case .object:
            var result: [(key: Value, address: Value)] = []
            for (key, element) in value.pairs { result.append((key, try address(element))) }
            return result
        default: return []
        }
    }

    static func block(_ value: Value, _ machine: Machine) throws(BuiltinFailure) -> AddressRange {
        guard let block = AddressRange(block: value.bytes) else {
            throw .failed("invalid CIDR address: \(value.text)")
        }
        return block
    }

    static func contains(_ block: AddressRange, _ value: Value, _ machine: Machine) throws(BuiltinFailure) -> Bool {
        let bytes = value.bytes
        if let address = AddressRange.plainAddress(bytes) { return block.contains(address) }
        guard let other = AddressRange(block: bytes) else {
            throw .failed("not a valid textual representation of an IP address or CIDR: \(value.text)")
        }
        return other.prefix >= block.prefix && block.contains(other.bytes)
    }
}
