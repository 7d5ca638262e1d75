import DecisionLog
import Glibc
import Testing

@testable import Control

@Suite("ControlServer")
struct ControlServerTests {
    @Test("answers the reports, which the client reads back as they were")
    func reports() async throws {
        try await withServer { client, daemon, _ in
            let status = try await client.status()
            #expect(status == (await daemon.status()))
            let agents = try await client.agents()
            #expect(agents == (await daemon.agents()))
            let flows = try await client.flows(FlowQuery(limit: 5, agent: "a b&c", customer: "d=e"))
            #expect(flows.total == 5)
            #expect(flows.flows.first?.agent == "a b&c")
            #expect(flows.flows.first?.customer == "d=e")
            let names = try await client.names(NameQuery(limit: 6, agent: "a&b", match: "*.example.com"))
            #expect(names.total == 6)
            #expect(names.names.map(\.agent) == ["a&b"])
            #expect(names.names.map(\.name) == ["*.example.com"])
        }
    }

    @Test("writes keys in snake case and leaves reasons and labels as they are")
    func keys() async throws {
        try await withServer { client, _, _ in
            let status = String(decoding: try await client.get("/v1/status"), as: UTF8.self)
            #expect(status.contains(#""uptime_seconds":7"#))
            #expect(status.contains(#""refused_by_reason":{"name_not_at_ip":3}"#))
            let agents = String(decoding: try await client.get("/v1/agents"), as: UTF8.self)
            #expect(agents.contains(#""cost_center":"4""#))
        }
    }

    @Test(
        "answers what it does not know with a problem document",
        arguments: [
            ("GET /nothing", 404), ("POST /v1/status", 405), ("GET /v1/status?x=1", 400),
            ("GET /v1/flows?limit=0", 400),
            ("GET /v1/flows?limit=10001", 400), ("GET /v1/names?limit=0", 400), ("GET /v1/names?host=x", 400),
            ("GET /v1/flows?limit=1&limit=2", 400),
            ("GET /v1/decisions?follow=maybe", 400), ("GET /v1/decisions?verdict=perhaps", 400),
            ("GET /v1/flows?agent=%zz", 400),
        ])
    func problems(request: String, status: Int) async throws {
        try await withServer { _, _, path in
            let answer = try await exchange(path, request + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
            #expect(answer.contains("content-type: application/problem+json\r\n"))
            #expect(answer.contains(#""status":\#(status)"#))
        }
    }

    @Test("closes on what is not HTTP, on large headers, on a large body and on a second request")
    func bounds() async throws {
        try await withServer { _, _, path in
            let follow = "GET /v1/decisions?follow=true HTTP/1.1\r\nHost: x\r\n"
            for request in [
                "\u{1}\u{2}\u{3}\r\n\r\n",
                "GET /health HTTP/1.1\r\nX: " + String(repeating: "x", count: 9000) + "\r\n\r\n",
                follow + "Content-Length: 9000\r\n\r\n" + String(repeating: "x", count: 9000),
                follow + "\r\n" + follow + "\r\n",
            ] {
                // Without its bound the connection would stay open, and this would not return.
                let answer = try await exchange(path, request)
                #expect(!answer.contains("\"status\":\"ok\""))
            }
        }
    }

    @Test("gives the last records and follows the next ones, by agent and verdict")
    func decisions() async throws {
        let daemon = FakeDaemon()
        daemon.decisions.publish(decision(1, allow: false, agent: "bot"))
        daemon.decisions.publish(decision(2, allow: true, agent: "bot"))
        daemon.decisions.publish(decision(3, allow: false, agent: "other"))
        try await withServer(daemon) { client, _, path in
            let recent = String(decoding: try await client.get("/v1/decisions"), as: UTF8.self)
            #expect(recent.split(separator: "\n").count == 3)
            let refused = String(decoding: try await client.get("/v1/decisions?agent=bot&verdict=deny"), as: UTF8.self)
            #expect(refused.split(separator: "\n").count == 1)
            #expect(refused.contains(#""verdict":"deny""#))
            let descriptor = try connect(path)
            defer { close(descriptor) }
            let request = Array("GET /v1/decisions?follow=true&agent=late HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
            #expect(send(descriptor, request, request.count, 0) == request.count)
            #expect((try await readSome(descriptor)).contains("200 OK"))
            daemon.decisions.publish(decision(4, allow: true, agent: "late"))
            #expect((try await readSome(descriptor)).contains(#""agent":"late""#))
            daemon.decisions.finish()
            #expect((try await readSome(descriptor)).contains("0\r\n\r\n"))
        }
    }

    @Test("refuses a confined caller, but for its health")
    func confined() async throws {
        let everybody = FakeDaemon(isHealthy: false, confinedPeers: ConfinedPeers(cgroups: ["/"], uids: []))
        try await withServer(everybody) { client, _, path in
            await #expect(throws: ControlError.self) { try await client.status() }
            let answer = try await exchange(path, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 403 "))
            let health = try await exchange(path, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(health.hasPrefix("HTTP/1.1 503 "))
            #expect(health.hasSuffix("{\"status\":\"failing\"}\n"))
        }
        let uid = FakeDaemon(confinedPeers: ConfinedPeers(cgroups: [], uids: [getuid()]))
        try await withServer(uid) { _, _, path in
            let answer = try await exchange(path, "GET /v1/flows HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 403 "))
        }
    }

    @Test(
        "refuses a caller in another namespace, even as uid 0",
        .enabled(if: getuid() == 0, "needs root to make namespaces"),
        arguments: ["unshare --pid --fork --mount-proc", "unshare --user --map-root-user", "unshare --user"])
    func namespaces(entering: String) async throws {
        try await withServer { _, _, path in
            let curl = "curl -s -o /dev/null -w '%{http_code}' --unix-socket \(path) http://localhost/v1/status"
            let outside = try await blocking { try shell(curl).output }
            #expect(outside == "200")
            // A socket that only root may open is out of reach of an unmapped user, which is as good as a refusal.
            let inside = try await blocking { try shell("\(entering) \(curl)").output }
            #expect(["403", "000"].contains(inside))
        }
    }

    @Test("tells a caller to come back when there are too many")
    func tooMany() async throws {
        var limits = ControlServer.Limits()
        limits.connections = 1
        try await withServer(limits: limits) { _, _, path in
            let first = try connect(path)
            defer { close(first) }
            let request = Array("GET /v1/decisions?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
            #expect(send(first, request, request.count, 0) == request.count)
            #expect((try await readSome(first)).contains("200 OK"))
            let answer = try await exchange(path, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 503 "))
        }
    }

    @Test("cuts off a caller that sends nothing")
    func silent() async throws {
        var limits = ControlServer.Limits()
        limits.timeout = .milliseconds(1)
        try await withServer(limits: limits) { _, _, path in
            let answer = try await exchange(path, "")
            #expect(answer == "")
        }
    }

    private func readSome(_ descriptor: Int32) async throws -> String {
        try await blocking {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = read(descriptor, &chunk, chunk.count)
            guard count >= 0 else { throw TestFailure("read") }
            return String(decoding: chunk[..<count], as: UTF8.self)
        }
    }
}
