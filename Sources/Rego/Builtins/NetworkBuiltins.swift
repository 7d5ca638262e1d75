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
            "net.cidr_is_valid": { _, arguments in
                Value(arguments[0].tag == .string && AddressRange(block: arguments[0].bytes) != nil)
            },
        ]
    }

    static func block(_ value: Value, _ machine: Machine) throws(BuiltinFailure) -> AddressRange {
        guard let block = AddressRange(block: value.bytes) else {
            throw .failed("invalid CIDR address: \(value.text)")
        }
        return block
    }

    static func contains(_ block: AddressRange, _ value: Value, _ machine: Machine) throws(BuiltinFailure) -> Bool {
        let bytes = value.bytes
        if let address = AddressRange.address(bytes) { return block.contains(address) }
        guard let other = AddressRange(block: bytes) else { throw .failed("invalid CIDR address: \(value.text)") }
        return other.prefix >= block.prefix && block.contains(other.bytes)
    }
}
