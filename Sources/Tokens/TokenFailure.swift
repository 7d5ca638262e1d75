public import JOSE

/// Why a token is refused. The texts carry names of the configuration and numbers, and nothing else of the token.
public enum TokenFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// Its form or its signature.
    case signature(SignedToken.Failure)
    /// The payload is no strict JSON object, or a claim has the wrong type.
    case claims(String)
    /// No configured issuer has the token's `iss`.
    case issuer
    /// The keys of its issuer are not there: why.
    case keys(String)
    /// `aud` names none of the configured audiences.
    case audience
    /// `exp` is past: by how many seconds.
    case expired(seconds: UInt64)
    /// `nbf` is still to come: in how many seconds.
    case notYet(seconds: UInt64)
    /// `iat` is still to come: in how many seconds.
    case issuedInFuture(seconds: UInt64)
    /// It is valid for longer than its issuer's tokens may be: for how many seconds.
    case lifetime(seconds: UInt64, allowed: Int)
    /// A claim is missing.
    case missing(String)

    /// What is wrong, and what to do.
    public var description: String {
        switch self {
        case .signature(let failure): failure.description
        case .claims(let what): "the token's claims: \(what)"
        case .issuer: "the token's iss is none of the configured issuers"
        case .keys(let why): "the issuer's keys are not there: \(why)"
        case .audience: "the token's aud is none that its issuer is configured with: it was made for somebody else"
        case .expired(let seconds): "the token expired \(seconds) s ago (ask its issuer for a new one)"
        case .notYet(let seconds):
            "the token is valid in \(seconds) s only, by nbf (leeway_seconds allows for clocks that differ)"
        case .issuedInFuture(let seconds):
            "the token's iat lies \(seconds) s in the future (leeway_seconds allows for clocks that differ)"
        case .lifetime(let seconds, let allowed):
            "the token is valid for \(seconds) s, its issuer's tokens may be for \(allowed) s "
                + "(longest_lifetime_seconds)"
        case .missing(let name): "the token has no claim \(name)"
        }
    }
}
