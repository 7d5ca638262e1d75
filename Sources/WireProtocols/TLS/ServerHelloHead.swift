import Octets

/// The beginning of what a TLS server says first.
public enum ServerHelloHead {
    /// Whether it is a ServerHello, and no HelloRetryRequest (RFC 8446 §4.1.3): the client sends no second ClientHello then. False
    /// where less than its random is there.
    public static func goesOn(_ bytes: RawSpan) -> Bool {
        guard bytes.byteCount >= randomOffset + 32, bytes.byte(at: 0) == TLSContentType.handshake,
            bytes.byte(at: 5) == serverHello
        else { return false }
        return !retryRandom.indices.allSatisfy { bytes.byte(at: randomOffset + $0) == retryRandom[$0] }
    }

    private static let serverHello: UInt8 = 2
    /// Behind the headers of record and message, and the version.
    private static let randomOffset = 5 + 4 + 2
    /// SHA-256 of `HelloRetryRequest`.
    static let retryRandom: [UInt8] = [
        0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91,
        0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
    ]
}
