import Foundation
import Identity
import PacketHeaders
import Rego
import Testing

@testable import Policy

@Suite struct PolicyInputValueTests {
    /// Every fact known.
    private var full: PolicyInput {
        var input = PolicyInput(
            time: 1_767_225_600_000_000_000, stage: .request,
            agent: Agent(id: "research-bot", labels: ["team": "growth"], selectors: []),
            address: IPAddress(v4: 0xCB00_7107),
            port: 443, transport: .tcp)
        input.uid = 1001
        input.cgroup = "/sallyport.slice/x"
        input.host = "api.example.com"
        input.hostSource = .httpHost
        var facts = ProtocolFacts(name: "tls")
        facts.layers = ["smtp", "tls"]
        facts.version = "1.3"
        facts.alpn = ["h2", "http/1.1"]
        facts.encryptedClientHello = false
        facts.ja4 = "t13d"
        input.protocol = facts
        input.request = RequestFacts(
            method: "GET", path: "/v1/items", query: "a=b", url: "http://api.example.com/v1/items?a=b",
            headers: ["user-agent": "curl"])
        input.question = QuestionFacts(name: "api.example.com", type: "AAAA")
        input.question?.rate = 3
        input.names = ["api.example.com", "b.example"]
        input.addressMatchesHost = true
        input.listenerAgent = "browser"
        input.database = DatabaseFacts(user: "app", name: "orders")
        input.customer = Customer(
            id: "acme", issuer: "https://chat.example", session: "s1", expires: 1_767_226_200_000_000_000,
            claims: InputObject(.object([(.string("seats"), .number("5")), (.string("tier"), .string("premium"))])))
        return input
    }

    private let json = """
        {"agent":{"id":"research-bot","labels":{"team":"growth"},"process":{"cgroup":"/sallyport.slice/x","uid":1001}},\
        "customer":{"claims":{"seats":5,"tier":"premium"},"expires":"2026-01-01T00:10:00Z","id":"acme",\
        "issuer":"https://chat.example","session":"s1"},\
        "database":{"name":"orders","user":"app"},\
        "destination":{"address":"203.0.113.7","address_matches_host":true,"host":"api.example.com",\
        "host_source":"http_host","listener_agent":"browser","names":["api.example.com","b.example"],"port":443,"transport":"tcp"},\
        "protocol":{"alpn":["h2","http/1.1"],"encrypted_client_hello":false,"ja4":"t13d",\
        "layers":["smtp","tls"],"name":"tls","version":"1.3"},\
        "question":{"entropy":2.52,"labels":["api","example","com"],"name":"api.example.com","rate":3,"type":"AAAA"},\
        "request":{"headers":{"user-agent":"curl"},"method":"GET","path":"/v1/items","query":"a=b",\
        "url":"http://api.example.com/v1/items?a=b"},"stage":"request","time":"2026-01-01T00:00:00Z"}
        """

    @Test("spells every fact as the contract does, and reads it back")
    func everything() throws {
        #expect(full.value.json == json)
        let read = try PolicyInput(value: try RegoValue(json: json))
        #expect(read.value.json == json)
        #expect(read.agent.labels == ["team": "growth"])
    }

    @Test("a fact that is unknown is an absent key")
    func absent() throws {
        let input = PolicyInput(
            time: 0, stage: .connect, agent: Agent(id: "a", labels: [:], selectors: []), address: IPAddress(v6: 0, 1),
            port: 1, transport: .udp)
        let expected = """
            {"agent":{"id":"a","labels":{}},"destination":{"address":"::1","port":1,"transport":"udp"},"stage":"connect",\
            "time":"1970-01-01T00:00:00Z"}
            """
        #expect(input.value.json == expected)
        #expect(try PolicyInput(value: input.value).value.json == expected)
    }

    @Test(
        "refuses what is missing, of another type or unknown",
        arguments: [
            (#""port":443"#, #""port":70000"#, "input.destination.port: expected a number from 0 to 65535"),
            (#""port":443,"#, "", "input.destination.port: missing"),
            (#""stage":"request""#, #""stage":"later""#, "input.stage: expected connect, resolve, hello or request"),
            (
                #""address":"203.0.113.7""#, #""address":"203.0.113""#,
                "input.destination.address: expected an IPv4 or IPv6 address"
            ),
            (#""alpn":["h2","http/1.1"]"#, #""alpn":["h2",1]"#, "input.protocol.alpn: expected a list of texts"),
            (#""name":"tls","#, "", "input.protocol.name: missing"),
            (#""method":"GET","#, "", "input.request.method: missing"),
            (#","type":"AAAA""#, "", "input.question.type: missing"),
            (#","user":"app""#, "", "input.database.user: missing"),
            (#""ja4""#, #""ja5""#, "input.protocol.ja5: no such fact"),
            (#""team":"growth""#, #""team":1"#, "input.agent.labels: expected an object of texts"),
            (#"{"cgroup":"/sallyport.slice/x","uid":1001}"#, "5", "input.agent.process: expected an object"),
            (
                #""time":"2026-01-01T00:00:00Z""#, #""time":"now""#,
                "input.time: expected a time such as 2026-01-01T00:00:00Z"
            ),
        ])
    func refuses(from: String, to: String, message: String) throws {
        let changed = json.replacingOccurrences(of: from, with: to)
        #expect(changed != json)
        let value = try RegoValue(json: changed)
        do throws(PolicyInputError) {
            _ = try PolicyInput(value: value)
            Issue.record("was read")
        } catch {
            #expect(error.description == message)
        }
    }

    /// The leaves of the schema's properties, as key paths, with their descriptions.
    private func leaves(_ schema: [String: Any], _ keys: [String] = []) -> [String: String] {
        guard let properties = schema["properties"] as? [String: [String: Any]] else {
            return [keys.joined(separator: "."): schema["description"] as? String ?? ""]
        }
        return properties.reduce(into: [:]) { all, property in
            all.merge(leaves(property.value, keys + [property.key])) { first, _ in first }
        }
    }

    private func file(_ name: String) throws -> Data {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return try Data(contentsOf: root.appendingPathComponent(name))
    }

    @Test("the published schema has every fact, and the manual every key of the schema")
    func schema() throws {
        let schema = try #require(
            try JSONSerialization.jsonObject(with: file("policies/schema/input.schema.json")) as? [String: Any])
        let leaves = leaves(schema)
        for field in InputField.allCases {
            #expect(leaves[field.keys.joined(separator: ".")] != nil, "\(field)")
        }
        let manual = String(decoding: try file("docs/policy.md"), as: UTF8.self)
        for (key, description) in leaves {
            #expect(manual.split(separator: "\n").contains { $0.hasPrefix("| `\(key)` |") && $0.contains(description) })
        }
    }
}
