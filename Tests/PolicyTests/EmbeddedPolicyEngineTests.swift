import Identity
import PacketHeaders
import Rego
import Testing

@testable import Policy

@Suite struct EmbeddedPolicyEngineTests {
    private func engine(_ source: String, data: String = "{}", cacheCapacity: Int = 64) throws -> EmbeddedPolicyEngine {
        let policy = try CompiledPolicy(
            modules: [("p.rego", "package sallyport.egress\n" + source)], data: try RegoValue(json: data),
            limits: EmbeddedPolicyEngine.limits)
        return try EmbeddedPolicyEngine(
            policy, package: "sallyport.egress", revision: "r", cacheCapacity: cacheCapacity)
    }

    private func input(_ change: (inout PolicyInput) -> Void = { _ in }) -> PolicyInput {
        var input = PolicyInput(
            time: 1_767_225_600_000_000_000, stage: .hello,
            agent: Agent(id: "bot", labels: ["team": "growth"], selectors: []), address: IPAddress(v4: 0x5DB8_D70E),
            port: 443, transport: .tcp)
        input.host = "a.example"
        change(&input)
        return input
    }

    private func decide(_ source: String, _ input: PolicyInput? = nil) throws -> PolicyDecision {
        try engine(source).makeSession().decide(input ?? self.input())
    }

    @Test("asks decision")
    func decision() throws {
        let source = """
            decision := {"allow": true, "rule": "names", "reason": "listed", "log": "summary"} if {
                input.destination.host == "a.example"
                input.agent.labels.team == "growth"
                input.destination.address == "93.184.215.14"
                input.destination.port == 443
                input.time == "2026-01-01T00:00:00Z"
                not input.request
                not input.protocol
            }
            """
        #expect(
            try decide(source)
                == PolicyDecision(
                    allow: true, reason: .allowed, policyReason: "listed", rule: "names", logging: .summary))
    }

    @Test("a rule without an id is named by its place")
    func place() throws {
        #expect(try decide("\n\ndecision := {\"allow\": false}").rule == "p.rego:4")
    }

    @Test("a refusal for want of a customer says so: by its rule's id, or where it looked for one and gives no account")
    func missingCustomer() throws {
        let tiers = "allow if input.customer.claims.tier == \"premium\"\ndefault allow := false"
        #expect(try decide(tiers).reason == .noSession)
        let premium = InputObject(.object([(.string("tier"), .string("premium"))]))
        #expect(try decide(tiers, input { $0.customer = Customer(id: "acme", claims: premium) }).allow)
        #expect(try decide(tiers, input { $0.customer = Customer(id: "acme") }).reason == .policy)
        let told = "decision := {\"allow\": false, \"reason\": \"closed on Sundays\"} if not input.customer"
        #expect(try decide(told).reason == .policy)
        let named = "decision := {\"allow\": false, \"rule\": \"no_session\", \"reason\": \"sign in\"}"
        #expect(try decide(named).reason == .noSession)
        #expect(try decide(named, input { $0.customer = Customer(id: "acme") }).reason == .policy)
        #expect(try decide("decision := {\"allow\": false}").reason == .policy)
    }

    @Test("a plain allow rule counts where decision is undefined, and only there")
    func allow() throws {
        #expect(try decide("allow if input.stage == \"hello\"").allow)
        #expect(try !decide("allow := false").allow)
        #expect(try decide("allow := false").reason == .policy)
        let both = "decision := {\"allow\": false} if input.destination.port == 443\nallow := true"
        #expect(try !decide(both).allow)
        #expect(try decide(both, input { $0.port = 80 }).allow)
    }

    @Test(
        "undefined, conflicts and errors are refusals that say what was wrong",
        arguments: [
            (
                "decision := {\"allow\": true} if input.stage == \"x\"",
                "data.sallyport.egress.decision is undefined (add a default for what no rule decides)"
            ),
            (
                "decision := {\"allow\": true} if input.stage == \"x\"\nallow if false",
                "data.sallyport.egress.decision and data.sallyport.egress.allow are undefined (add a default for what no "
                    + "rule decides)"
            ),
            ("allow := \"true\"", "data.sallyport.egress.allow is a text, not true or false"),
            ("decision := true", "data.sallyport.egress.decision is a boolean, not an object with allow"),
            (
                "decision := {\"allow\": true} if input.stage\ndecision := {\"allow\": false} if input.stage",
                "eval_conflict_error"
            ),
            (
                "decision := {\"allow\": true} if not blocked\nblocked if net.cidr_contains(\"10.0.0.0/99\", \"10.0.0.1\")",
                "eval_builtin_error"
            ),
            (
                "decision := {\"allow\": count([x | some x in numbers.range(1, 100000000)]) > 0}", "limit"
            ),
        ])
    func failures(source: String, what: String) throws {
        let decision = try decide(source)
        #expect(!decision.allow)
        #expect(decision.reason == .policyError)
        #expect(decision.policyReason?.contains(what) == true, "\(decision.policyReason ?? "")")
    }

    @Test("a policy without decision and allow is none")
    func noDecision() throws {
        #expect(throws: RegoErrors.self) { try engine("other := 1") }
        #expect(throws: RegoErrors.self) { try engine("decision(x) := x") }
    }

    @Test(
        "what varies by itself is asked each time",
        arguments: [
            "input.time == \"1970-01-01T00:00:00Z\"",
            "count(input) > 0; input.time == \"1970-01-01T00:00:00Z\"",
        ])
    func clock(condition: String) throws {
        let session = try engine("default allow := false\nallow if { \(condition) }").makeSession()
        #expect(session.decide(input { $0.time = 0 }).allow)
        #expect(!session.decide(input { $0.time = 1 }).allow)
        #expect(session.decide(input { $0.time = 0 }).allow)
    }

    /// Policies that read different facts on different ways.
    private static let policies = [
        "default allow := false\nallow if input.destination.host == \"a.example\"",
        "default allow := false\nallow if { input.stage == \"request\"; input.request.path == \"/a\" }\nallow if { input.stage == \"hello\"; input.protocol.alpn[_] == \"h2\" }",
        "default allow := false\nallow if { some k, v in input.agent.labels; v == \"1\" }\nallow if input.request.headers.x == \"1\"",
        "decision := {\"allow\": true, \"reason\": sprintf(\"%v\", [object.remove(input, [\"time\"])])}",
        "decision := {\"allow\": true, \"reason\": json.marshal(input.destination)}",
        "decision := {\"allow\": true, \"reason\": input.agent[x]} if { x := [\"id\", \"labels\"][input.destination.port % 2]; is_string(input.agent[x]) } else := {\"allow\": false}",
        "allow if not input.request\nallow if { input.protocol[k][_] == \"http/1.1\" }",
        "allow := true if { every name in object.get(input.protocol, \"alpn\", []) { name == \"h2\" } } else := false",
    ]

    @Test("with and without memory every policy answers the same", arguments: policies)
    func agreesWithTwin(source: String) throws {
        let cached = try engine(source, cacheCapacity: 32).makeSession()
        let naive = try engine(source, cacheCapacity: 0).makeSession()
        var random = SplitMix(state: 11)
        for _ in 0..<3000 {
            let input = randomInput(&random)
            #expect(cached.decide(input) == naive.decide(input))
        }
    }
}
