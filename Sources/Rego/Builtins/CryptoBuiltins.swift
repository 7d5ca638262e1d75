internal import JOSE

// Digests and authentication codes.

extension Builtins {
    static var cryptography: [String: BuiltinFunction] {
        [
            "crypto.md5": digest("MD5"), "crypto.sha1": digest("SHA1"), "crypto.sha256": digest("SHA256"),
            "crypto.hmac.md5": hmac("MD5"), "crypto.hmac.sha1": hmac("SHA1"), "crypto.hmac.sha256": hmac("SHA256"),
            "crypto.hmac.sha512": hmac("SHA512"),
            "crypto.hmac.equal": { _, arguments throws(BuiltinFailure) in
                Value(Digest.equal(try arguments.bytes(0), try arguments.bytes(1)))
            },
        ]
    }

    private static func digest(_ name: String) -> BuiltinFunction {
        { (machine: Machine, arguments: Arguments) throws(BuiltinFailure) -> Value in
            let bytes = try arguments.bytes(0)
            try machine.charge(1 + bytes.count / 16)
            return machine.arena.string(hex(Digest.hash(name, bytes)))
        }
    }

    private static func hmac(_ name: String) -> BuiltinFunction {
        { (machine: Machine, arguments: Arguments) throws(BuiltinFailure) -> Value in
            let (bytes, key) = (try arguments.bytes(0), try arguments.bytes(1))
            try machine.charge(1 + (bytes.count + key.count) / 16)
            return machine.arena.string(hex(Digest.hmac(name, key: key, bytes)))
        }
    }

    static func hex(_ bytes: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }
}
