import JOSE
import Testing
import Tokens

@testable import Configuration

@Suite("customers:")
struct CustomersTests {
    private func problems(_ text: String) -> [String] {
        do throws(ConfigurationError) {
            _ = try Configuration.parse("agents: []\n" + text, file: "f", host: testHost)
            return []
        } catch {
            return error.problems.map { String($0.description.dropFirst(2)) }
        }
    }

    @Test("reads every key")
    func everything() throws {
        let read = try Configuration.parse(
            """
            agents: []
            customers:
              issuers:
                - issuer: https://chat.example
                  audience: [a, b]
                  keys: https://chat.example/keys
                  algorithm: PS256
                  leeway_seconds: 5
                  longest_lifetime_seconds: 600
                  required_claims: tier
                  customer_claim: tenant
                  input_claims: [tier, region]
                  refresh_seconds: 60
                  keep_seconds: 0
                  authorities: /etc/ca.pem
                - { issuer: b, audience: a, secret: /s, algorithm: HS512 }
            agent_tokens: { required: true, issuers: [{ issuer: c, audience: a, keys: /k }] }
            """, file: "f", host: testHost)
        var address = KeyAddress(url: "https://chat.example/keys")
        address.refreshSeconds = 60
        address.keepSeconds = 0
        address.authorities = "/etc/ca.pem"
        var first = TokenIssuer(name: "https://chat.example", audiences: ["a", "b"], keys: .url(address))
        first.algorithm = .ps256
        first.leewaySeconds = 5
        first.longestLifetimeSeconds = 600
        first.requiredClaims = ["tier"]
        first.customerClaim = "tenant"
        first.inputClaims = ["tier", "region"]
        var second = TokenIssuer(name: "b", audiences: ["a"], keys: .secret("/s"))
        second.algorithm = .hs512
        #expect(read.customers == [first, second])
        #expect(read.agentTokens.isRequired)
        #expect(read.agentTokens.issuers == [TokenIssuer(name: "c", audiences: ["a"], keys: .file("/k"))])
    }

    @Test(
        "says line, key, what is wrong and what to do",
        arguments: [
            ("customers: {}", "2: customers: the key issuers is missing (list who issues customers' tokens)"),
            (
                "customers: { issuers: [] }",
                "2: customers.issuers: an empty list lets nobody in (list an issuer, or remove the key)"
            ),
            (
                "customers: { issuers: [{ issuer: a, keys: /k }] }",
                "2: customers.issuers[0]: the key audience is missing (a token must say iss and aud, and both are checked)"
            ),
            (
                "customers: { issuers: [{ issuer: a, audience: b }] }",
                "2: customers.issuers[0]: neither keys nor secret (name the file or https: address of the issuer's JWK set)"
            ),
            (
                "customers: { issuers: [{ issuer: a, audience: b, keys: /k, secret: /s }] }",
                "2: customers.issuers[0].secret: both keys and secret (an issuer signs with one or the other)"
            ),
            (
                "customers: { issuers: [{ issuer: a, audience: b, keys: 'http://a/k' }] }",
                "2: customers.issuers[0].keys: \"http://a/k\" is neither an absolute path nor an https: address"
            ),
            (
                "customers: { issuers: [{ issuer: a, audience: b, keys: /k, algorithm: HS256 }] }",
                "2: customers.issuers[0].algorithm: HS256 works with a shared secret (name its file as secret:, not as keys:)"
            ),
            (
                "customers: { issuers: [{ issuer: a, audience: b, secret: /k, algorithm: ES256 }] }",
                "2: customers.issuers[0].algorithm: ES256 works with public keys (name their file as keys:, not as secret:)"
            ),
            (
                "customers: { issuers: [{ issuer: a, audience: b, keys: /k, keep_seconds: 5 }] }",
                "2: customers.issuers[0].keep_seconds: goes with keys behind an https: address only (remove it)"
            ),
            (
                "customers: { issuers: [{ issuer: a, audience: b, keys: /k }, { issuer: a, audience: c, keys: /k }] }",
                "2: customers.issuers[1].issuer: the issuer is listed twice, first in line 2 (remove one)"
            ),
            (
                "agent_tokens: { issuers: [{ issuer: a, audience: b, keys: /k, input_claims: x }] }",
                "2: agent_tokens.issuers[0].input_claims: unknown key (did you mean required_claims?)"
            ),
        ])
    func refuses(text: String, problem: String) {
        let found = problems(text)
        #expect(found.count == 1)
        #expect(found.first?.split(separator: "(").first == problem.split(separator: "(").first)
    }
}
