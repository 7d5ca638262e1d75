import Rego

/// Reads a policy's answer: an object with `allow` (boolean) and optionally `reason`, `rule` (texts) and `log` (`full`,
/// `summary`, `none`). Whatever else an answer is, it is a refusal that says what was wrong.
enum DecisionReader {
    /// The decision that `value` is; `name` is what was asked for. A plain boolean is an answer only where `allow` was.
    static func decision(from value: RegoValue, asked name: String) -> PolicyDecision {
        if name == "allow" || name.hasSuffix(".allow") { return decision(fromAllow: value, asked: name) }
        guard let pairs = value.pairs else {
            return failure("\(name) is \(value.kind), not an object with allow")
        }
        var decision = PolicyDecision()
        var allow: Bool?
        for pair in pairs {
            guard let key = pair.key.string else {
                return failure("\(name) has a key that is \(pair.key.kind), not a text")
            }
            switch key {
            case "allow":
                guard let boolean = pair.value.boolean else {
                    return failure("\(name).allow is \(pair.value.kind), not true or false")
                }
                allow = boolean
            case "reason":
                guard let text = pair.value.string else {
                    return failure("\(name).reason is \(pair.value.kind), not a text")
                }
                decision.policyReason = text
            case "rule":
                guard let text = pair.value.string else {
                    return failure("\(name).rule is \(pair.value.kind), not a text")
                }
                decision.rule = text
            case "log":
                guard let logging = pair.value.string.flatMap({ DecisionLogging(rawValue: $0) }) else {
                    return failure("\(name).log is none of full, summary, none")
                }
                decision.logging = logging
            case "limits":
                return failure("\(name).limits: this version enforces no limits (remove the key)")
            default:
                return failure("\(name) has the unknown key \(key) (allow, reason, rule and log are known)")
            }
        }
        guard let allow else { return failure("\(name) has no key allow") }
        decision.allow = allow
        decision.reason = allow ? .allowed : .policy
        return decision
    }

    /// The decision that a plain `allow` rule is.
    private static func decision(fromAllow value: RegoValue, asked name: String) -> PolicyDecision {
        guard let allow = value.boolean else { return failure("\(name) is \(value.kind), not true or false") }
        return PolicyDecision(allow: allow, reason: allow ? .allowed : .policy)
    }

    /// A refusal because the policy gave no usable answer.
    static func failure(_ what: String) -> PolicyDecision {
        PolicyDecision(allow: false, reason: .policyError, policyReason: what)
    }
}

extension RegoValue {
    /// What kind of value it is, for messages.
    fileprivate var kind: String {
        switch self {
        case .null: "null"
        case .boolean: "a boolean"
        case .number: "a number"
        case .string: "a text"
        case .array: "a list"
        case .set: "a set"
        case .object: "an object"
        }
    }
}
