import Foundation
import Testing

@testable import JOSE

private let vectors = URL(
    fileURLWithPath: (ProcessInfo.processInfo.environment["SALLYPORT_CONFORMANCE"] ?? "../shared/conformance") + "/jwt")

private let isThere = FileManager.default.fileExists(atPath: vectors.path)

/// Wycheproof's tokens and those of RFC 7520: what is valid is accepted, the rest refused.
@Suite(.enabled(if: isThere, "needs token vectors; SALLYPORT_CONFORMANCE names their directory"))
struct TokenVectorTests {
    /// Where the suite is wrong or asks for what is refused on purpose.
    private static let leftOut = [
        346: "the header says PS384, the key is for PS256", 350: "the header says PS384, the key is for PS256",
        367: "a token that is correct to the byte", 370: "a token that is correct to the byte",
        372: "a question mark in base64url", 373: "a question mark in base64url",
    ]

    private static func object(_ url: URL) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
    }

    private static func accepts(_ token: String, _ keys: [UInt8], _ algorithm: SignatureAlgorithm? = nil) -> String? {
        do {
            let keys = try JSONWebKeySet(keys, defaultAlgorithm: algorithm)
            _ = try SignedToken(verifying: Array(token.utf8), with: keys)
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test(arguments: [
        ("json_web_signature_test.json", 42, 353), ("json_web_key_test.json", 5, 21),
        ("json_web_crypto_test.json", 4, 44),
    ])
    func wycheproof(_ file: String, _ valid: Int, _ invalid: Int) throws {
        var seen = (valid: 0, invalid: 0)
        for group in try #require(
            try Self.object(vectors.appendingPathComponent(file))["testGroups"] as? [[String: Any]])
        {
            let source = try #require((group["public"] ?? group["private"]) as? [String: Any])
            let keys = Array(try JSONSerialization.data(withJSONObject: source))
            for test in try #require(group["tests"] as? [[String: Any]]) {
                guard let token = test["jws"] as? String else { continue }
                let problem = Self.accepts(token, keys)
                if file == "json_web_signature_test.json", let number = test["tcId"] as? Int,
                    let reason = Self.leftOut[number]
                {
                    #expect((problem == nil) == (test["result"] as? String != "valid"), "\(number): \(reason)")
                    continue
                }
                if test["result"] as? String == "valid" {
                    seen.valid += 1
                    #expect(problem == nil, "\(file) \(test["tcId"] ?? 0): \(problem ?? "")")
                } else {
                    seen.invalid += 1
                    #expect(problem != nil, "\(file) \(test["tcId"] ?? 0) \(test["comment"] ?? "") was accepted")
                }
            }
        }
        #expect(seen == (valid, invalid))
    }

    @Test func encryptedTokensAreNamed() throws {
        var count = 0
        let file = vectors.appendingPathComponent("json_web_encryption_test.json")
        for group in try #require(try Self.object(file)["testGroups"] as? [[String: Any]]) {
            for test in try #require(group["tests"] as? [[String: Any]]) where test["result"] as? String == "valid" {
                guard let token = test["jwe"] as? String else { continue }
                #expect(
                    Self.accepts(token, Array(SignedTokenTests.keys.utf8)) == SignedToken.Failure.encrypted.description)
                count += 1
            }
        }
        #expect(count > 0)
    }

    @Test(arguments: [
        ("4_1.rsa_v15_signature", true), ("4_2.rsa-pss_signature", true), ("4_3.ecdsa_signature", true),
        ("4_4.hmac-sha2_integrity_protection", true), ("4_5.signature_with_detached_content", false),
    ])
    func cookbook(_ name: String, _ isAccepted: Bool) throws {
        let example = try Self.object(vectors.appendingPathComponent("rfc7520_cookbook/jws_\(name).json"))
        let input = try #require(example["input"] as? [String: Any])
        let key = Array(try JSONSerialization.data(withJSONObject: try #require(input["key"])))
        let algorithm = SignatureAlgorithm(rawValue: try #require(input["alg"] as? String))
        let token = try #require((example["output"] as? [String: Any])?["compact"] as? String)
        let problem = Self.accepts(token, key, algorithm)
        #expect((problem == nil) == isAccepted, "\(problem ?? "accepted")")
    }
}
