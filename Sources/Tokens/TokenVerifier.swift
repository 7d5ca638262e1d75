public import JOSE

/// A token that was verified: whose it is, and how long.
public struct VerifiedToken: Sendable {
    /// Who issued it.
    public let issuer: TokenIssuer
    /// The value of the claim that names the customer; of an agent token its `sub`.
    public let subject: String
    /// `exp`, in nanoseconds since the Unix epoch.
    public let expires: UInt64
    /// The payload.
    public let claims: StrictJSON
    /// SHA-256 of what was signed, which names the token without holding it. The signature stays out: there may be several
    /// that fit.
    public let digest: [UInt8]

    /// When nothing may be done in its name any more: `exp` and the leeway, in nanoseconds since the Unix epoch.
    public var end: UInt64 { expires &+ UInt64(issuer.leewaySeconds) &* second }
}

/// Verifies tokens of some issuers. Immutable; shared by threads.
public struct TokenVerifier: Sendable {
    private let issuers: [TokenIssuer]

    /// A verifier of these issuers' tokens. Where two have one name the first counts.
    public init(_ issuers: [TokenIssuer]) {
        self.issuers = issuers
    }

    /// Verifies a token in compact serialisation.
    /// - Parameters:
    ///   - now: nanoseconds since the Unix epoch.
    ///   - keys: the keys of an issuer as they are now.
    /// - Throws: why the token is refused.
    public func verify(
        _ text: [UInt8], now: UInt64, keys: (TokenIssuer) throws(TokenFailure) -> JSONWebKeySet
    ) throws(TokenFailure) -> VerifiedToken {
        let (token, claims) = try Self.read(text)
        // Says whose keys to ask, and nothing yet.
        guard let name = claims["iss"]?.string, let issuer = issuers.first(where: { $0.name.sameBytes(as: name) })
        else { throw .issuer }
        let keys = try keys(issuer)
        do throws(SignedToken.Failure) {
            _ = try SignedToken(verifying: text, with: keys)
        } catch {
            throw .signature(error)
        }
        let expires = try Self.check(claims, of: issuer, now: now)
        guard let subject = claims[issuer.customerClaim] else { throw .missing(issuer.customerClaim) }
        return VerifiedToken(
            issuer: issuer, subject: try Self.name(subject, claim: issuer.customerClaim), expires: expires,
            claims: claims, digest: Digest.hash("SHA256", token.signedText))
    }

    private static func read(_ text: [UInt8]) throws(TokenFailure) -> (CompactToken, StrictJSON) {
        let token: CompactToken
        do throws(SignedToken.Failure) {
            token = try SignedToken.takeApart(text)
        } catch {
            throw .signature(error)
        }
        let claims: StrictJSON
        do throws(StrictJSON.Failure) {
            claims = try StrictJSON(parsing: token.payload)
        } catch {
            throw .claims("no JSON: \(error.description) (byte \(error.offset))")
        }
        guard case .object = claims else { throw .claims("no JSON object") }
        return (token, claims)
    }

    /// Checks the registered claims. Returns `exp`.
    private static func check(_ claims: StrictJSON, of issuer: TokenIssuer, now: UInt64) throws(TokenFailure) -> UInt64
    {
        guard
            try audiences(claims).contains(where: { given in
                issuer.audiences.contains { $0.sameBytes(as: given) }
            })
        else { throw .audience }
        let leeway = UInt64(issuer.leewaySeconds) * second
        guard let expires = try time(claims, "exp") else { throw .missing("exp") }
        guard now < expires &+ leeway else { throw .expired(seconds: (now - expires) / second) }
        if let begins = try time(claims, "nbf"), begins > now &+ leeway {
            throw .notYet(seconds: (begins - now) / second + 1)
        }
        let issued = try time(claims, "iat")
        if let issued, issued > now &+ leeway { throw .issuedInFuture(seconds: (issued - now) / second + 1) }
        // Without iat it may have been issued just now.
        let lifetime = expires > issued ?? now ? expires - (issued ?? now) : 0
        // In whole seconds: iat often is one where exp is none. Without iat our clock says when it began, and the issuer's when
        // it ends.
        let allowed = issuer.longestLifetimeSeconds + (issued == nil ? issuer.leewaySeconds : 0)
        guard lifetime / second <= UInt64(allowed) else {
            throw .lifetime(seconds: lifetime / second, allowed: issuer.longestLifetimeSeconds)
        }
        for name in issuer.requiredClaims where claims[name] == nil || claims[name] == .null { throw .missing(name) }
        return expires
    }

    private static func audiences(_ claims: StrictJSON) throws(TokenFailure) -> [String] {
        switch claims["aud"] {
        case .string(let one): return [one]
        case .array(let several):
            let texts = several.compactMap(\.string)
            guard texts.count == several.count else { throw .claims("aud is no text and no list of texts") }
            return texts
        case nil: throw .missing("aud")
        default: throw .claims("aud is no text and no list of texts")
        }
    }

    /// A NumericDate (RFC 7519 §2) in nanoseconds, before the year 10000.
    private static func time(_ claims: StrictJSON, _ name: String) throws(TokenFailure) -> UInt64? {
        guard let value = claims[name] else { return nil }
        guard case .number(let text) = value else { throw .claims("\(name) is no number") }
        if let whole = UInt64(text), whole < latestSecond { return whole * second }
        guard let seconds = Double(text), seconds >= 0, seconds < Double(latestSecond) else {
            throw .claims("\(name) is no time")
        }
        return UInt64(seconds * Double(second))
    }

    /// A name of a customer or an agent: 1 to 256 bytes without control characters.
    private static func name(_ value: StrictJSON, claim: String) throws(TokenFailure) -> String {
        guard let text = value.string else { throw .claims("\(claim) is no text") }
        guard (1...256).contains(text.utf8.count), !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            throw .claims("\(claim) is empty, longer than 256 bytes, or has control characters")
        }
        return text
    }
}

extension String {
    /// Whether two texts are the same bytes: Swift's own comparison takes canonically equivalent ones for equal.
    fileprivate func sameBytes(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}

private let second: UInt64 = 1_000_000_000
/// 2554-07-21T23:34:33Z, the last one that nanoseconds in 64 bits can tell.
private let latestSecond: UInt64 = 18_446_744_073
