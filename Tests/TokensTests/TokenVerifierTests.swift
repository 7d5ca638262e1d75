import JOSE
import Testing

@testable import Tokens

/// A shared secret of 32 bytes as a JWK set, and tokens that are signed with it.
enum Fixture {
    static let secret = Array("0123456789abcdef0123456789abcdef".utf8)
    static let now: UInt64 = 1_800_000_000_000_000_000

    static func keys() throws -> JSONWebKeySet {
        try JSONWebKeySet(Array(#"{"kty":"oct","alg":"HS256","kid":"a","k":"\#(CompactToken.encode(secret))"}"#.utf8))
    }

    static func token(_ payload: String, header: String = #"{"alg":"HS256","kid":"a"}"#) -> [UInt8] {
        let text = CompactToken.encode(Array(header.utf8)) + "." + CompactToken.encode(Array(payload.utf8))
        return Array((text + "." + CompactToken.encode(Digest.hmac("SHA256", key: secret, Array(text.utf8)))).utf8)
    }

    static func issuer() -> TokenIssuer {
        var issuer = TokenIssuer(name: "https://chat.test", audiences: ["us", "them"], keys: .secret("/s"))
        issuer.longestLifetimeSeconds = 600
        issuer.requiredClaims = ["tier"]
        return issuer
    }
}

@Suite("TokenVerifier")
struct TokenVerifierTests {
    private func verify(_ payload: String, _ issuer: TokenIssuer = Fixture.issuer()) throws -> VerifiedToken {
        let keys = try Fixture.keys()
        return try TokenVerifier([issuer]).verify(Fixture.token(payload), now: Fixture.now) {
            (_) throws(TokenFailure) in
            keys
        }
    }

    /// The payload of a good token, with some of its claims replaced (nil: left out).
    private func payload(_ changes: KeyValuePairs<String, String?> = [:]) -> String {
        var claims = [
            "iss": #""https://chat.test""#, "aud": #"["x","us"]"#, "sub": #""acme""#, "iat": "1799999900",
            "exp": "1800000100", "tier": #""gold""#,
        ]
        for (name, value) in changes { claims[name] = value }
        return "{" + claims.sorted { $0.key < $1.key }.map { #""\#($0.key)":\#($0.value)"# }.joined(separator: ",")
            + "}"
    }

    @Test("takes a good token: its customer, its end, its claims")
    func good() throws {
        let token = try verify(payload())
        #expect(token.subject == "acme")
        #expect(token.expires == 1_800_000_100_000_000_000)
        #expect(token.end == token.expires)
        #expect(token.claims["tier"]?.string == "gold")
        #expect(token.digest.count == 32)
        #expect(try verify(payload(["aud": #""them""#])).subject == "acme")
        #expect(try verify(payload(["exp": "1800000100.5"])).expires == 1_800_000_100_500_000_000)
    }

    @Test("names a token by what was signed, not by its signature")
    func digest() throws {
        #expect(try verify(payload()).digest == (try verify(payload()).digest))
        #expect(try verify(payload()).digest != (try verify(payload(["jti": "1"])).digest))
    }

    @Test(
        "refuses what the claims do not allow",
        arguments: [
            ("iss", #""https://other.test""#, TokenFailure.issuer), ("iss", nil, .issuer), ("iss", "1", .issuer),
            ("aud", #""else""#, .audience), ("aud", #"["else"]"#, .audience), ("aud", "[]", .audience),
            ("aud", nil, .missing("aud")), ("aud", "[1]", .claims("aud is no text and no list of texts")),
            ("exp", nil, .missing("exp")), ("exp", "1800000000", .expired(seconds: 0)),
            ("exp", "1799999990", .expired(seconds: 10)), ("exp", #""1800000100""#, .claims("exp is no number")),
            ("exp", "-1", .claims("exp is no time")), ("exp", "1e300", .claims("exp is no time")),
            ("exp", "32503680000", .claims("exp is no time")), ("exp", "18446744073.5", .claims("exp is no time")),
            ("iat", "99999999999", .claims("iat is no time")),
            ("exp", "1800000501", .lifetime(seconds: 601, allowed: 600)),
            ("nbf", "1800000001", .notYet(seconds: 2)), ("iat", "1800000005", .issuedInFuture(seconds: 6)),
            ("tier", nil, .missing("tier")), ("tier", "null", .missing("tier")), ("sub", nil, .missing("sub")),
            ("sub", "7", .claims("sub is no text")),
            ("sub", #""""#, .claims("sub is empty, longer than 256 bytes, or has control characters")),
            ("sub", #""a\nb""#, .claims("sub is empty, longer than 256 bytes, or has control characters")),
        ] as [(String, String?, TokenFailure)])
    func claims(name: String, value: String?, failure: TokenFailure) {
        #expect(throws: failure) { try verify(payload([name: value])) }
    }

    @Test("allows for clocks that differ, by the leeway and no more")
    func leeway() throws {
        var issuer = Fixture.issuer()
        issuer.leewaySeconds = 10
        let late = try verify(payload(["exp": "1799999991"]), issuer)
        #expect(late.end == 1_800_000_001_000_000_000)
        #expect(throws: TokenFailure.expired(seconds: 10)) { try verify(payload(["exp": "1799999990"]), issuer) }
        _ = try verify(payload(["nbf": "1800000010", "iat": "1800000010"]), issuer)
        #expect(throws: TokenFailure.notYet(seconds: 12)) { try verify(payload(["nbf": "1800000011"]), issuer) }
    }

    @Test("counts the lifetime from now where iat is missing")
    func lifetimeWithoutIssue() throws {
        _ = try verify(payload(["iat": nil, "exp": "1800000600"]))
        #expect(throws: TokenFailure.lifetime(seconds: 601, allowed: 600)) {
            try verify(payload(["iat": nil, "exp": "1800000601"]))
        }
    }

    @Test("reads the customer from the configured claim")
    func customerClaim() throws {
        var issuer = Fixture.issuer()
        issuer.customerClaim = "tier"
        #expect(try verify(payload(), issuer).subject == "gold")
    }

    @Test("refuses a payload that is no strict JSON object before it asks for keys")
    func notJSON() {
        for payload in [#"{"iss":"a","iss":"b"}"#, "[]", "x", "\u{FEFF}{}"] {
            #expect {
                try TokenVerifier([Fixture.issuer()]).verify(Fixture.token(payload), now: Fixture.now) {
                    (_) throws(TokenFailure) in throw .keys("asked")
                }
            } throws: { error in
                if case .claims? = error as? TokenFailure { true } else { false }
            }
        }
    }

    @Test("asks for the keys of the issuer that the token names, and takes no other's signature")
    func keys() throws {
        var other = Fixture.issuer()
        other.name = "https://other.test"
        var asked: [String] = []
        let keys = try Fixture.keys()
        _ = try TokenVerifier([other, Fixture.issuer()]).verify(Fixture.token(payload()), now: Fixture.now) {
            (issuer) throws(TokenFailure) in
            asked.append(issuer.name)
            return keys
        }
        #expect(asked == ["https://chat.test"])
        var forged = Fixture.token(payload())
        forged[forged.count - 10] ^= 1
        #expect(throws: TokenFailure.signature(.signature)) {
            try TokenVerifier([Fixture.issuer()]).verify(forged, now: Fixture.now) { (_) throws(TokenFailure) in keys }
        }
    }
}
