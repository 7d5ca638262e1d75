import CLibcrypto
import Octets

/// The name of one state of a policy: what `SALLYPORT_POLICY_REVISION` says.
public enum PolicyRevision {
    /// The first 12 hexadecimal digits of the SHA-256 over names and contents, each with its length before it, in the order
    /// of the names.
    public static func digest(of files: [(name: String, bytes: [UInt8])]) -> String {
        var message: [UInt8] = []
        for file in files.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
            for part in [Array(file.name.utf8), file.bytes] {
                let length = UInt64(part.count)
                message += (0..<8).map { UInt8(truncatingIfNeeded: length >> (56 - 8 * $0)) }
                message += part
            }
        }
        var digest = [UInt8](repeating: 0, count: 32)
        sallyport_sha256(message, message.count, &digest)
        return Hex.encode(digest.prefix(6))
    }
}
