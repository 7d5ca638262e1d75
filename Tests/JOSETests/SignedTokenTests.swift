import Foundation
import Testing

@testable import JOSE

/// Tokens that are signed here, and what is made of them.
@Suite struct SignedTokenTests {
    static let secret = [UInt8](repeating: 7, count: 32)
    static let keys = #"{"keys":[{"kty":"oct","alg":"HS256","kid":"a","k":"\#(encode(secret))"}]}"#

    static func encode(_ bytes: [UInt8]) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    static func token(_ header: String, _ payload: String = "{}", secret: [UInt8] = secret) -> String {
        let signed = encode(Array(header.utf8)) + "." + encode(Array(payload.utf8))
        return signed + "." + encode(Digest.hmac("SHA256", key: secret, Array(signed.utf8)))
    }

    static func verify(_ token: String, _ keys: String = keys) throws -> SignedToken {
        try SignedToken(verifying: Array(token.utf8), with: JSONWebKeySet(Array(keys.utf8)))
    }

    @Test func verifiesWhatTheKeySigned() throws {
        let token = try Self.verify(Self.token(#"{"alg":"HS256","kid":"a","typ":"JWT"}"#, #"{"sub":"acme"}"#))
        #expect(try StrictJSON(parsing: token.payload)["sub"]?.string == "acme")
        #expect(token.header["typ"]?.string == "JWT")
        #expect(token.key.id == "a")
        #expect(throws: Never.self) { try Self.verify(Self.token(#"{"alg":"HS256"}"#)) }
    }

    @Test(arguments: [
        (#"{"alg":"none","kid":"a"}"#, SignedToken.Failure.unsigned), (#"{"alg":"nOnE"}"#, .unsigned),
        (#"{"alg":"HS512","kid":"a"}"#, .algorithm(token: "HS512", key: "HS256")),
        (#"{"alg":"XX256"}"#, .algorithm(token: "of another kind", key: "HS256")),
        (#"{"alg":"HS256","kid":"b"}"#, .unknownKey), (#"{"alg":"HS256","crit":["exp"],"exp":1}"#, .critical),
        (#"{"alg":"HS256","crit":[]}"#, .critical), (#"{"alg":"HS256","b64":false}"#, .critical),
        (#"{"alg":"HS256","zip":"DEF"}"#, .encrypted), (#"{"alg":"dir","enc":"A128GCM"}"#, .encrypted),
        (#"{"kid":"a"}"#, .header("alg is missing")), (#"{"alg":"HS256","kid":1}"#, .header("kid is no string")),
        (#"["HS256"]"#, .header("no JSON object")),
        (#"{"alg":"none","alg":"HS256"}"#, .header("no JSON: a name stands twice in one object (byte 19)")),
        (#"{"alg":"HS256","x":\#(String(repeating: "[", count: 40))"#, .header("no JSON: nested too deeply (byte 35)")),
        (#"{"alg":"HS256"} x"#, .header("no JSON: text behind the JSON value (byte 16)")),
    ])
    func refusesTheHeader(_ header: String, _ expected: SignedToken.Failure) {
        #expect(throws: expected) { try Self.verify(Self.token(header)) }
    }

    @Test func refusesOtherForms() {
        let good = Self.token(#"{"alg":"HS256","kid":"a"}"#)
        #expect(throws: SignedToken.Failure.encrypted) { try Self.verify("a.b.c.d.e") }
        #expect(throws: SignedToken.Failure.parts(2)) { try Self.verify("a.b") }
        #expect(throws: SignedToken.Failure.parts(4)) { try Self.verify(good + ".") }
        #expect(throws: SignedToken.Failure.jsonSerialisation) { try Self.verify(#"{"payload":""}"#) }
        #expect(throws: SignedToken.Failure.encoding) { try Self.verify(good + "=") }
        #expect(throws: SignedToken.Failure.encoding) { try Self.verify(good + "\n") }
        #expect(throws: SignedToken.Failure.tooLong) {
            try Self.verify(Self.token(#"{"alg":"HS256"}"#, String(repeating: "x", count: 16_384)))
        }
        #expect(throws: SignedToken.Failure.signature) {
            try Self.verify(Self.token(#"{"alg":"HS256"}"#, secret: [UInt8](repeating: 8, count: 32)))
        }
    }

    @Test(arguments: [
        (#"{"kty":"oct","alg":"HS512","k":"\#(encode(secret))"}"#, "a secret shorter than 64 bytes for HS512"),
        (#"{"kty":"oct","k":"\#(encode(secret))"}"#, "a key without alg: say which algorithm it verifies"),
        (#"{"kty":"oct","alg":"RS256","k":"\#(encode(secret))"}"#, "alg does not fit the type of the key"),
        (#"{"kty":"oct","alg":"HS256","k":"a="}"#, "k is missing, or no base64url"),
        (#"{"kty":"oct","alg":"HS256","use":"enc","k":"\#(encode(secret))"}"#, "no key that verifies signatures"),
        (#"{"kty":"RSA","alg":"RS256","n":"AQAB","e":"AQAB"}"#, "an RSA modulus of 17 bits (2048 to 8192 are allowed)"),
        (
            #"{"kty":"RSA","alg":"RS256","n":"\#(encode([UInt8](repeating: 255, count: 256)))","e":"Aw"}"#,
            "an RSA exponent that is even, or not above 65,536"
        ),
        (#"{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}"#, "x and y are no point of P-256"),
        (#"{"kty":"EC","crv":"P-256","alg":"ES384","x":"AQ","y":"AQ"}"#, "alg does not fit the curve P-256"),
        (#"{"kty":"OKP","crv":"Ed25519","x":"AQ"}"#, "x is no key of Ed25519"),
        (#"{"kty":"OKP","crv":"X25519","x":"AQ"}"#, "no key that verifies signatures"),
        (#"{"keys":[]}"#, "no key that verifies signatures"),
        (#"{"keys":{}}"#, "keys is no array"), ("nonsense", "no JSON: no JSON value (byte 1)"),
    ])
    func refusesTheKey(_ keys: String, _ expected: String) {
        let failure = #expect(throws: JSONWebKey.Failure.self) { try JSONWebKeySet(Array(keys.utf8)) }
        #expect(failure?.description == expected)
    }

    @Test func refusesASetThatIsNotClear() {
        let one = #"{"kty":"oct","alg":"HS256","kid":"a","k":"\#(Self.encode(Self.secret))"}"#
        let point = (
            "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
        )
        let other = #"{"kty":"EC","crv":"P-256","kid":"b","x":"\#(point.0)","y":"\#(point.1)"}"#
        #expect(throws: JSONWebKey.Failure.invalid("two keys of one kid")) {
            try JSONWebKeySet(Array(#"{"keys":[\#(one),\#(one)]}"#.utf8))
        }
        #expect(throws: JSONWebKey.Failure.invalid("secrets beside public keys")) {
            try JSONWebKeySet(Array(#"{"keys":[\#(one),\#(other)]}"#.utf8))
        }
        #expect(throws: Never.self) { try JSONWebKeySet(Array(other.utf8)) }
    }
}
