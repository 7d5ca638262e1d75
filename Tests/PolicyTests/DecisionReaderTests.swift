import Rego
import Testing

@testable import Policy

@Suite struct DecisionReaderTests {
    private func read(_ json: String) throws -> PolicyDecision {
        DecisionReader.decision(from: try RegoValue(json: json), asked: "decision")
    }

    @Test(
        "reads allow, reason, rule and log",
        arguments: [
            (#"{"allow": true}"#, PolicyDecision(allow: true, reason: .allowed)),
            (#"{"allow": false}"#, PolicyDecision(allow: false, reason: .policy)),
            (
                #"{"allow": true, "reason": "fine", "rule": "r1", "log": "summary"}"#,
                PolicyDecision(allow: true, reason: .allowed, policyReason: "fine", rule: "r1", logging: .summary)
            ),
            (
                #"{"allow": false, "reason": "no", "log": "none"}"#,
                PolicyDecision(allow: false, reason: .policy, policyReason: "no", logging: .none)
            ),
        ])
    func reads(json: String, decision: PolicyDecision) throws {
        #expect(try read(json) == decision)
    }

    @Test(
        "anything else is a refusal that says what was wrong",
        arguments: [
            ("true", "decision is a boolean, not an object with allow"),
            ("[]", "decision is a list, not an object with allow"),
            ("null", "decision is null, not an object with allow"),
            ("{}", "decision has no key allow"), (#"{"reason": "x"}"#, "decision has no key allow"),
            (#"{"allow": "true"}"#, "decision.allow is a text, not true or false"),
            (#"{"allow": 1}"#, "decision.allow is a number, not true or false"),
            (#"{"allow": true, "reason": 1}"#, "decision.reason is a number, not a text"),
            (#"{"allow": true, "rule": []}"#, "decision.rule is a list, not a text"),
            (#"{"allow": true, "log": "all"}"#, "decision.log is none of full, summary, none"),
            (
                #"{"allow": true, "limits": {"bytes": 1}}"#,
                "decision.limits: this version enforces no limits (remove the key)"
            ),
            (
                #"{"allow": true, "reasen": "x"}"#,
                "decision has the unknown key reasen (allow, reason, rule and log are known)"
            ),
        ])
    func refuses(json: String, what: String) throws {
        #expect(try read(json) == PolicyDecision(allow: false, reason: .policyError, policyReason: what))
    }

    @Test("a plain allow rule is true or false, and nothing else")
    func allow() {
        #expect(DecisionReader.decision(from: .boolean(true), asked: "allow").allow)
        #expect(DecisionReader.decision(from: .boolean(false), asked: "allow").reason == .policy)
        let text = DecisionReader.decision(from: .string("true"), asked: "allow")
        #expect(text == PolicyDecision(policyReason: "allow is a text, not true or false"))
    }
}
