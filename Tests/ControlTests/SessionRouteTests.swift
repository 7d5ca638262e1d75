import Testing

@testable import Control

@Suite("Session routes")
struct SessionRouteTests {
    private func send(_ path: String, _ request: String, _ body: String = "") async throws -> String {
        let head = "\(request) HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
        return try await exchange(path, head + body)
    }

    @Test("opens, lists, finds, renews and closes a session, and binds a socket, as the client asks")
    func client() async throws {
        try await withServer { client, _, path in
            var request = OpenSessionRequest(customerToken: "t\"\u{1}")
            request.agent = "bot"
            request.agentToken = "u"
            request.binding = .ports(4000...4009)
            let opened = try await client.openSession(request)
            #expect(opened.id == "open bot t\"\u{1} u")
            #expect(opened.bindings.first?.cgroup == "\(BindingRequest.ports(4000...4009))")
            #expect(try await client.sessions().sessions.map(\.id) == ["list"])
            #expect(try await client.renewSession("a", customerToken: "t").id == "renew a t")
            try await client.closeSession("a")
            await #expect(throws: ControlError.self) { try await client.closeSession("none") }
            #expect(try await send(path, "GET /v1/sessions/a").contains(#""id":"find a""#))
            #expect(try await send(path, "GET /v1/sessions/none").hasPrefix("HTTP/1.1 404 "))
            #expect(try await send(path, "DELETE /v1/sessions/a").hasPrefix("HTTP/1.1 204 "))
            let largest = try await send(path, "POST /v1/sessions/a/sockets", #"{"cookie":18446744073709551615}"#)
            #expect(largest.contains(#""id":"bind 18446744073709551615 a""#))
            #expect(try await send(path, "POST /v1/sessions/a/sockets", #"{"cookie":"7"}"#).contains("bind 7 a"))
        }
    }

    @Test(
        "reads every binding",
        arguments: [
            (#"{"cgroup":"/a"}"#, BindingRequest.cgroup("/a")), (#"{"socket":"7"}"#, .socket(7)),
            (#"{"pid":7}"#, .pid(7)),
            (#"{"ports":"4000"}"#, .ports(4000...4000)), (#"{"ports":"4000-4001"}"#, .ports(4000...4001)),
        ])
    func bindings(json: String, binding: BindingRequest) throws {
        let body = try RequestBody(Array(#"{"customer_token":"t","binding":\#(json)}"#.utf8))
        #expect(try OpenSessionRequest(body).binding == binding)
    }

    @Test(
        "refuses what it does not understand, and says what",
        arguments: [
            ("", "no JSON"), ("[]", "no JSON object"), ("{}", "customer_token is missing"),
            (#"{"customer_token":7}"#, "customer_token is no text"),
            (#"{"customer_token":""}"#, "customer_token is no text"),
            (#"{"customer_token":"t","customer_token":"u"}"#, "twice"),
            (#"{"customer_token":"t","bindings":{}}"#, "bindings is not known"),
            (#"{"customer_token":"t","binding":[]}"#, "binding is no object"),
            (#"{"customer_token":"t","binding":{}}"#, "names one of"),
            (#"{"customer_token":"t","binding":{"pid":1,"socket":2}}"#, "names one of"),
            (#"{"customer_token":"t","binding":{"pid":0}}"#, "no pid"),
            (#"{"customer_token":"t","binding":{"pid":4294967296}}"#, "no pid"),
            (#"{"customer_token":"t","binding":{"socket":-1}}"#, "64 bits"),
            (#"{"customer_token":"t","binding":{"socket":1.5}}"#, "64 bits"),
            (#"{"customer_token":"t","binding":{"ports":"0-5"}}"#, "range of ports"),
            (#"{"customer_token":"t","binding":{"ports":"9-5"}}"#, "range of ports"),
            (#"{"customer_token":"t","binding":{"source":"x"}}"#, "no address"),
            (#"{"customer_token":"t","binding":{"x":1}}"#, "binding.x is not known"),
            (#"{"customer_token":"t"} x"#, "no JSON"),
        ])
    func refuses(body: String, sign: String) async throws {
        try await withServer { _, _, path in
            let answer = try await send(path, "POST /v1/sessions", body)
            #expect(answer.hasPrefix("HTTP/1.1 400 "))
            #expect(answer.contains(sign), "\(answer)")
        }
    }

    @Test("names the methods that are known at a path")
    func methods() async throws {
        try await withServer { _, _, path in
            for (request, known) in [
                ("PUT /v1/sessions", "GET, POST"), ("POST /v1/sessions/a", "GET, DELETE"),
                ("GET /v1/sessions/a/sockets", "POST"), ("GET /v1/decide", "POST"),
            ] {
                let answer = try await send(path, request)
                #expect(answer.hasPrefix("HTTP/1.1 405 "))
                #expect(answer.contains("allow: \(known)\r\n"))
            }
            for target in ["/v1/sessions/", "/v1/sessions/a/b", "/v1/sessions//sockets", "/v1/sessions/a/sockets/b"] {
                #expect(try await send(path, "GET \(target)").hasPrefix("HTTP/1.1 404 "))
            }
        }
    }

    @Test("a confined caller asks about sessions and decisions to come, and about nothing else")
    func confined() async throws {
        let everybody = FakeDaemon(confinedPeers: ConfinedPeers(cgroups: ["/"], uids: []))
        try await withServer(everybody) { client, _, path in
            #expect(try await client.sessions().sessions.map(\.agent) == ["confined"])
            let decided = try await send(path, "POST /v1/decide", #"{"url":"https://a/","data":{"k":[1]}}"#)
            #expect(decided.contains(#""policy_reason":"https://a/""#))
            #expect(decided.contains(#""rule":"{\"k\":[1]}""#))
            for target in ["/v1/status", "/v1/agents", "/v1/flows", "/v1/names", "/v1/decisions"] {
                #expect(try await send(path, "GET \(target)").hasPrefix("HTTP/1.1 403 "))
            }
        }
    }

    @Test("agents cannot take the operators' places, nor one another's")
    func places() {
        let live = LiveConnections(limit: 16)
        let (one, two) = (ControlCaller.confined(cgroup: "/a", uid: 1), ControlCaller.confined(cgroup: "/b", uid: 1))
        #expect((0..<3).map { _ in live.enter(.success(one)) != nil } == [true, true, false])
        #expect(live.enter(.success(two)) != nil)
        for number in 0..<20 { _ = live.enter(.success(.confined(cgroup: "/\(number)", uid: 1))) }
        #expect(live.enter(.failure(.notAnOperator)) == nil)
        #expect(
            (0..<9).map { _ in live.enter(.success(.operator)) != nil } == Array(repeating: true, count: 8) + [false])
        live.leave(.cgroup("/a"))
        #expect(live.enter(.success(one)) != nil)
    }
}
