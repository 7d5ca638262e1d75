/// A JWS in compact serialisation whose signature was verified.
public struct SignedToken: Sendable {
    /// Why a token is refused. The texts carry nothing of the token but short names.
    public enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
        case tooLong
        case encrypted
        case jsonSerialisation
        case parts(Int)
        case encoding
        case header(String)
        case unsigned
        case critical
        case unknownKey
        case algorithm(token: String, key: String)
        case signature

        /// What is wrong, and what to do.
        public var description: String {
            switch self {
            case .tooLong: "a token longer than \(SignedToken.maximumByteCount) bytes"
            case .encrypted: "an encrypted token (JWE); send a signed one (JWS)"
            case .jsonSerialisation: "a token in JSON serialisation; send the compact one"
            case .parts(let count): "a token of \(count) parts instead of 3"
            case .encoding: "a part of the token is no base64url without padding"
            case .header(let what): "the token's header: \(what)"
            case .unsigned: "a token without signature (alg none)"
            case .critical: "the token's header has crit, whose extensions are not known here"
            case .unknownKey: "no configured key has the token's kid"
            case .algorithm(let token, let key): "the token says alg \(token), its key is for \(key)"
            case .signature: "the signature does not fit"
            }
        }
    }

    /// Bytes that a token has at most.
    public static let maximumByteCount = 16_384

    /// The protected header.
    public let header: StrictJSON
    /// The payload, as it was signed.
    public let payload: [UInt8]
    /// The key that it was signed with.
    public let key: JSONWebKey

    /// Verifies a token by the keys of its issuer. The algorithm is the key's; what the header says must agree. Keys and
    /// their addresses in the header (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
    public init(verifying text: [UInt8], with keys: JSONWebKeySet) throws(Failure) {
        let token = try Self.takeApart(text)
        do throws(StrictJSON.Failure) {
            header = try StrictJSON(parsing: token.header)
        } catch {
            throw .header("no JSON: \(error.description) (byte \(error.offset))")
        }
        guard case .object = header else { throw .header("no JSON object") }
        if header["enc"] != nil || header["zip"] != nil { throw .encrypted }
        guard header["crit"] == nil, header["b64"] == nil else { throw .critical }
        guard let algorithm = header["alg"]?.string else { throw .header("alg is missing") }
        if algorithm.lowercased() == "none" { throw .unsigned }
        if let id = header["kid"], id.string == nil { throw .header("kid is no string") }
        guard let key = keys.find(header["kid"]?.string) else { throw .unknownKey }
        guard algorithm == key.algorithm.rawValue else {
            throw .algorithm(
                token: SignatureAlgorithm(rawValue: algorithm)?.rawValue ?? "of another kind",
                key: key.algorithm.rawValue)
        }
        guard key.key.verifies(token.signature, of: token.signedText, key.algorithm) else { throw .signature }
        payload = token.payload
        self.key = key
    }

    /// Takes a token apart, by the rules of `init(verifying:with:)` but without verifying anything.
    public static func takeApart(_ text: [UInt8]) throws(Failure) -> CompactToken {
        guard text.count <= maximumByteCount else { throw .tooLong }
        if text.first == UInt8(ascii: "{") { throw .jsonSerialisation }
        let count = text.count { $0 == UInt8(ascii: ".") } + 1
        guard count != 5 else { throw .encrypted }
        guard count == 3 else { throw .parts(count) }
        do throws(CompactToken.Failure) {
            return try CompactToken(text)
        } catch {
            throw .encoding
        }
    }
}
