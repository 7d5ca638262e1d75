import CAllocationCounter
import Identity
import PacketHeaders
import Rego
import Testing

@testable import Policy

@Suite struct DecisionCacheTests {
    /// A policy whose reads depend on what it read before, as those of a real one do. Its answer spells every fact that it
    /// read, so that a wrong answer from the cache shows.
    private struct ToyPolicy {
        var read: InputFieldSet = []
        var text = ""

        mutating func look(_ field: InputField, _ input: PolicyInput) -> InputFact? {
            read.insert(InputFieldSet(field))
            let fact = field.fact(of: input)
            let spelt: String =
                switch fact {
                case nil: "absent"
                case .table(let values)?: "\(values.sorted { $0.key < $1.key })"
                case .some(let other): "\(other)"
                }
            text += "\(field)=\(spelt);"
            return fact
        }

        static func decide(_ input: PolicyInput) -> (PolicyDecision, InputFieldSet) {
            var policy = ToyPolicy()
            if case .stage(.request)? = policy.look(.stage, input) {
                if case .text("a.example")? = policy.look(.host, input) { _ = policy.look(.path, input) }
                if case .text("POST")? = policy.look(.method, input) { _ = policy.look(.headers, input) }
            } else if policy.look(.host, input) == nil {
                _ = policy.look(.address, input)
                _ = policy.look(.alpn, input)
            }
            if case .number(let port)? = policy.look(.port, input), port > 443 { _ = policy.look(.agentLabels, input) }
            return (PolicyDecision(allow: true, reason: .allowed, policyReason: policy.text), policy.read)
        }
    }

    @Test(
        "gives the answer that the policy would give, for any sequence of inputs",
        arguments: [(1, UInt64.max), (7, .max), (4096, .max), (4096, 0), (4096, 7), (64, 63)])
    func agreesWithTwin(capacity: Int, hashMask: UInt64) {
        var random = SplitMix(state: 42)
        var cache = DecisionCache(capacity: capacity, hashMask: hashMask)
        var hits = 0
        for _ in 0..<4000 {
            let input = randomInput(&random)
            let (expected, read) = ToyPolicy.decide(input)
            if let kept = cache.decision(for: input) {
                hits += 1
                #expect(kept.policyReason?.utf8.elementsEqual(expected.policyReason?.utf8 ?? "".utf8) == true)
            } else {
                cache.remember(expected, for: input, reading: read)
            }
            #expect(cache.count <= capacity)
        }
        #expect(capacity < 100 || hashMask < .max || hits > 2500)
    }

    private func input(_ change: (inout PolicyInput) -> Void = { _ in }) -> PolicyInput {
        var input = PolicyInput(
            time: 1, stage: .hello, agent: Agent(id: "bot", labels: ["team": "x"], selectors: []),
            address: IPAddress(v4: 1), port: 443, transport: .tcp)
        input.host = "a.example"
        change(&input)
        return input
    }

    private func fields(_ fields: InputField...) -> InputFieldSet {
        fields.reduce(into: []) { $0.insert(InputFieldSet($1)) }
    }

    private func customer(
        _ id: String, _ issuer: String?, _ session: String, _ expires: UInt64, _ tier: String
    ) -> Customer {
        Customer(
            id: id, issuer: issuer, session: session, expires: expires,
            claims: InputObject(.object([(.string("tier"), .string(tier))])))
    }

    private let yes = PolicyDecision(allow: true, reason: .allowed)

    @Test("a fact that the policy read tells inputs apart", arguments: InputField.allCases)
    func everyFieldCounts(field: InputField) {
        var full = input { input in
            input.uid = 5
            input.cgroup = "/a"
            input.hostSource = .sni
            input.protocol = ProtocolFacts(name: "tls")
            input.protocol?.version = "1.3"
            input.protocol?.alpn = ["h2"]
            input.protocol?.encryptedClientHello = false
            input.protocol?.ja4 = "t13"
            input.request = RequestFacts(method: "GET", path: "/", query: "q", url: "http://a/", headers: ["a": "b"])
            input.protocol?.layers = ["smtp", "tls"]
            input.question = QuestionFacts(name: "a.example", type: "A")
            input.database = DatabaseFacts(user: "app", name: "orders")
            input.customer = customer("acme", "i", "s", 1, "premium")
            input.context = InputObject(.object([(.string("purpose"), .string("report"))]))
            input.names = ["a.example"]
            input.addressMatchesHost = true
            input.listenerAgent = "bot"
            input.question?.rate = 1
        }
        var cache = DecisionCache(capacity: 8, hashMask: 0)
        cache.remember(yes, for: full, reading: InputFieldSet(field))
        switch field {
        case .time: full.time += 1
        case .stage: full.stage = .connect
        case .agentID: full.agent = Agent(id: "b", labels: full.agent.labels, selectors: [])
        case .agentLabels: full.agent = Agent(id: "bot", labels: ["team": "y"], selectors: [])
        case .uid: full.uid = 6
        case .cgroup: full.cgroup = nil
        case .host: full.host = "b.example"
        case .hostSource: full.hostSource = .httpHost
        case .address: full.address = IPAddress(v6: 0, 1)
        case .port: full.port += 1
        case .transport: full.transport = .udp
        case .protocolName: full.protocol?.name = "ssh"
        case .protocolVersion: full.protocol?.version = nil
        case .alpn: full.protocol?.alpn = ["h2", "h3"]
        case .encryptedClientHello: full.protocol?.encryptedClientHello = true
        case .ja4: full.protocol?.ja4 = "t12"
        case .method: full.request?.method = "POST"
        case .path: full.request?.path = "/x"
        case .query: full.request?.query = ""
        case .url: full.request?.url = "http://b/"
        case .headers: full.request?.headers = ["a": "c"]
        case .protocolLayers: full.protocol?.layers = ["imap", "tls"]
        case .questionName: full.question?.name = "b.example"
        case .questionType: full.question?.type = "TXT"
        case .databaseUser: full.database?.user = "root"
        case .databaseName: full.database?.name = nil
        case .customerID: full.customer = customer("other", "i", "s", 1, "premium")
        case .customerIssuer: full.customer = customer("acme", nil, "s", 1, "premium")
        case .customerSession: full.customer = customer("acme", "i", "t", 1, "premium")
        case .customerExpires: full.customer = customer("acme", "i", "s", 2, "premium")
        case .customerClaims: full.customer = customer("acme", "i", "s", 1, "free")
        case .context: full.context = InputObject(.object([(.string("purpose"), .string("other"))]))
        case .names: full.names = []
        case .addressMatchesHost: full.addressMatchesHost = nil
        case .listenerAgent: full.listenerAgent = "other"
        case .questionLabels: full.question?.labels = ["a"]
        case .questionEntropy: full.question?.entropy = 1
        case .questionRate: full.question?.rate = 2
        }
        #expect(cache.decision(for: full) == nil)
    }

    @Test("a fact that the policy did not read makes no difference")
    func unreadFacts() {
        var cache = DecisionCache(capacity: 8)
        cache.remember(yes, for: input(), reading: fields(.host, .stage))
        let other = input { input in
            input.time = 99
            input.port = 1
            input.uid = 5
            input.address = IPAddress(v4: 9)
        }
        #expect(cache.decision(for: other) == yes)
    }

    @Test("a decision that read the clock is not kept")
    func clock() {
        var cache = DecisionCache(capacity: 8)
        cache.remember(yes, for: input(), reading: fields(.host, .time))
        #expect(cache.decision(for: input()) == nil)
        cache.remember(yes, for: input(), reading: .all)
        #expect(cache.decision(for: input()) == nil)
    }

    @Test("texts that only Unicode calls equal are two facts")
    func bytesNotCharacters() {
        var cache = DecisionCache(capacity: 8, hashMask: 0)
        cache.remember(yes, for: input { $0.host = "caf\u{e9}" }, reading: fields(.host))
        #expect(cache.decision(for: input { $0.host = "cafe\u{301}" }) == nil)
        #expect(cache.decision(for: input { $0.host = "caf\u{e9}" }) == yes)
        let labels = input { $0.agent = Agent(id: "b", labels: ["\u{e9}": "1"], selectors: []) }
        cache.remember(yes, for: labels, reading: fields(.agentLabels))
        let equivalent = input { $0.agent = Agent(id: "b", labels: ["e\u{301}": "1"], selectors: []) }
        #expect(cache.decision(for: equivalent) == nil)
        #expect(cache.decision(for: labels) == yes)
    }

    @Test("reading an object reads everything in it")
    func prefixes() {
        #expect(InputFieldSet(readingAt: []) == .all)
        #expect(InputFieldSet(readingAt: ["stage"]) == InputFieldSet(.stage))
        #expect(InputFieldSet(readingAt: ["stage", "x"]) == InputFieldSet(.stage))
        #expect(InputFieldSet(readingAt: ["agent", "process"]) == fields(.uid, .cgroup))
        #expect(InputFieldSet(readingAt: ["agent", "labels", "team"]) == InputFieldSet(.agentLabels))
        #expect(InputFieldSet(readingAt: ["request", "headers", "x"]) == InputFieldSet(.headers))
        #expect(InputFieldSet(readingAt: ["customer", "id"]) == InputFieldSet(.customerID))
        #expect(InputFieldSet(readingAt: ["customer", "claims", "tier"]) == InputFieldSet(.customerClaims))
        #expect(InputFieldSet(readingAt: ["destination", "names"]) == InputFieldSet(.names))
        #expect(InputFieldSet(readingAt: ["destination", "listener"]) == [])
        #expect(InputFieldSet(readingAt: ["destination"]).contains(.address))
        #expect(!InputFieldSet(readingAt: ["destination"]).contains(.stage))
    }

    @Test("what is larger than the limit is not kept, and read sets beyond the limit are not")
    func bounds() {
        var cache = DecisionCache(capacity: 8)
        let long = input { $0.host = String(repeating: "x", count: DecisionCache.maximumFactBytes + 1) }
        cache.remember(yes, for: long, reading: fields(.host))
        #expect(cache.decision(for: long) == nil)
        for number in 1...UInt64(DecisionCache.maximumPlans) {
            let plan = fields(.host).union(InputFieldSet(rawValue: number << UInt64(InputField.address.rawValue)))
            cache.remember(yes, for: input(), reading: plan)
        }
        let other = input { $0.host = "new.example" }
        cache.remember(yes, for: other, reading: fields(.host, .uid))
        #expect(cache.decision(for: other) == nil)
    }

    @Test(
        "answering from memory allocates nothing",
        .disabled(if: isDebugBuild, "an unoptimised build allocates where the optimiser would not"))
    func noAllocation() {
        var cache = DecisionCache(capacity: 64)
        let asked = input { $0.protocol = ProtocolFacts(name: "tls") }
        for field in InputField.allCases.prefix(DecisionCache.maximumPlans - 2) {
            cache.remember(yes, for: input { $0.port = 1 }, reading: fields(field, .port))
        }
        cache.remember(
            yes, for: asked,
            reading: fields(.host, .stage, .agentID, .address, .protocolName))
        var found = 0
        let before = allocation_count()
        for _ in 0..<100 where cache.decision(for: asked) != nil { found += 1 }
        let allocations = allocation_count() - before
        #expect(found == 100)
        #expect(allocations == 0)
    }
}
