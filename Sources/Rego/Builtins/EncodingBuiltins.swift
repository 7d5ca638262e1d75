// JSON, base64, hexadecimal, URL queries.

extension Builtins {
    static var encodings: [String: BuiltinFunction] {
        [
            "json.marshal": { machine, arguments throws(BuiltinFailure) in
                let bytes = JSONWriter.bytes(arguments[0], html: true)
                try machine.charge(bytes.count / 8)
                return machine.arena.string(bytes)
            },
            "json.unmarshal": { machine, arguments throws(BuiltinFailure) in
                try unmarshal(machine, arguments.bytes(0))
            },
            "json.is_valid": { machine, arguments throws(BuiltinFailure) in
                guard arguments[0].tag == .string else { return .false }
                return (try? unmarshal(machine, arguments[0].bytes)) == nil ? .false : .true
            },
            "base64.encode": { machine, arguments throws(BuiltinFailure) in
                let bytes = try arguments.bytes(0)
                try machine.charge(bytes.count / 8)
                return machine.arena.string(Base64.encode(bytes, url: false, padded: true))
            },
            "base64.decode": { machine, arguments throws(BuiltinFailure) in
                let bytes = try arguments.bytes(0)
                try machine.charge(bytes.count / 8)
                guard let decoded = Base64.decode(bytes, url: false, padding: .required) else {
                    throw .failed("illegal base64 data")
                }
                return machine.arena.string(Utf8.repaired(decoded))
            },
            "base64.is_valid": { _, arguments throws(BuiltinFailure) in
                Value(Base64.decode(try arguments.bytes(0), url: false, padding: .required) != nil)
            },
            "base64url.encode": { machine, arguments throws(BuiltinFailure) in
                machine.arena.string(Base64.encode(try arguments.bytes(0), url: true, padded: true))
            },
            "base64url.encode_no_pad": { machine, arguments throws(BuiltinFailure) in
                machine.arena.string(Base64.encode(try arguments.bytes(0), url: true, padded: false))
            },
            "base64url.decode": { machine, arguments throws(BuiltinFailure) in
                let bytes = try arguments.bytes(0)
                try machine.charge(bytes.count / 8)
                if bytes.last != UInt8(ascii: "="), bytes.count % 4 == 1 {
                    throw .failed("illegal base64url string: \(String(decoding: bytes, as: UTF8.self))")
                }
                guard let decoded = Base64.decode(bytes, url: true, padding: .optional) else {
                    throw .failed("illegal base64 data")
                }
                return machine.arena.string(Utf8.repaired(decoded))
            },
            "hex.encode": { machine, arguments throws(BuiltinFailure) in
                let digits = Array("0123456789abcdef".utf8)
                let bytes = try arguments.bytes(0)
                try machine.charge(bytes.count / 8)
                return machine.arena.string(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
            },
            "hex.decode": { machine, arguments throws(BuiltinFailure) in
                let bytes = try arguments.bytes(0)
                try machine.charge(bytes.count / 8)
                if let bad = bytes.first(where: { Base64.hex([$0, $0]) == nil }) {
                    let digits = String(bad, radix: 16, uppercase: true)
                    let code = String(repeating: "0", count: 4 - digits.count) + digits
                    throw .failed("encoding/hex: invalid byte: U+\(code) '\(Character(UnicodeScalar(bad)))'")
                }
                guard let decoded = Base64.hex(bytes) else { throw .failed("encoding/hex: odd length hex string") }
                return machine.arena.string(Utf8.repaired(decoded))
            },
            "urlquery.encode": { machine, arguments throws(BuiltinFailure) in
                machine.arena.string(URLQuery.escape(try arguments.bytes(0)))
            },
            "urlquery.decode": { machine, arguments throws(BuiltinFailure) in
                guard let decoded = URLQuery.unescape(try arguments.bytes(0)) else {
                    throw .failed("invalid URL escape")
                }
                return machine.arena.string(Utf8.repaired(decoded))
            },
            "urlquery.encode_object": { machine, arguments throws(BuiltinFailure) in
                var parts: [(key: Value, values: [Value])] = []
                for (key, value) in try arguments.object(0).pairs {
                    var key = key
                    if key.tag != .string { key = machine.arena.string(JSONWriter.bytes(key)) }
                    switch value.tag {
                    case .string: parts.append((key, [value]))
                    case .array, .set:
                        for element in value.elements where element.tag != .string {
                            throw .type("operand 1 must be string but got \(element.typeName)")
                        }
                        parts.append((key, value.elements))
                    default: throw .operand(0, value, "string", "array", "set")
                    }
                }
                var out: [UInt8] = []
                for part in parts {
                    for value in part.values {
                        if !out.isEmpty { out.append(UInt8(ascii: "&")) }
                        out += URLQuery.escape(part.key.bytes)
                        out.append(UInt8(ascii: "="))
                        out += URLQuery.escape(value.bytes)
                    }
                }
                return machine.arena.string(out)
            },
            "urlquery.decode_object": { machine, arguments throws(BuiltinFailure) in
                var pairs: [(key: [UInt8], values: [Value])] = []
                for part in try arguments.bytes(0).split(separator: UInt8(ascii: "&")) {
                    if part.contains(UInt8(ascii: ";")) { throw .failed("invalid semicolon separator in query") }
                    let halves = part.split(
                        separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
                    guard let key = URLQuery.unescape(Array(halves[0])),
                        let value = URLQuery.unescape(halves.count > 1 ? Array(halves[1]) : [])
                    else { throw .failed("invalid URL escape") }
                    let element = machine.arena.string(Utf8.repaired(value))
                    if let place = pairs.firstIndex(where: { $0.key == key }) {
                        pairs[place].values.append(element)
                    } else {
                        pairs.append((key, [element]))
                    }
                }
                return machine.arena.object(
                    pairs.map { (machine.arena.string(Utf8.repaired($0.key)), machine.arena.array($0.values)) })
            },
        ]
    }

    static func unmarshal(_ machine: Machine, _ bytes: [UInt8]) throws(BuiltinFailure) -> Value {
        try machine.charge(1 + bytes.count / 8)
        do throws(RegoError) {
            return try JSONReader.read(bytes, machine.arena)
        } catch {
            throw .failed(error.message)
        }
    }
}

/// UTF-8 that may be none.
enum Utf8 {
    /// Valid UTF-8: what is none becomes U+FFFD.
    static func repaired(_ bytes: [UInt8]) -> [UInt8] {
        if bytes.allSatisfy({ $0 < 0x80 }) { return bytes }
        return Array(String(decoding: bytes, as: UTF8.self).utf8)
    }
}
