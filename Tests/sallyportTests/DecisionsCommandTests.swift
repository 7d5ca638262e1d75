import DecisionLog
import Glibc
import Testing

@testable import sallyport

/// Against a systemd-journald of the test's own (`Tests/EndToEnd/lib/journald.sh`).
@Suite(
    "sallyport decisions and explain",
    .enabled(
        if: getuid() == 0 && access("/lib/systemd/systemd-journald", X_OK) == 0,
        "needs root and systemd-journald (the package systemd)"), .serialized)
struct DecisionsCommandTests {
    private static let script =
        String(#filePath.dropLast("sallyportTests/DecisionsCommandTests.swift".count))
        + "EndToEnd/lib/journald.sh"

    @Test("filters by verdict, agent, host and time")
    func filters() async throws {
        try await withJournal("cli-filters", records) { _ in
            #expect(try await hosts("cli-filters", "") == ["a.example.com", "b.example.com", "c.test", "c.test"])
            #expect(try await hosts("cli-filters", "--denied") == ["b.example.com", "c.test", "c.test"])
            #expect(try await hosts("cli-filters", "--agent other") == ["c.test", "c.test"])
            #expect(try await hosts("cli-filters", "--agent nobody") == [])
            #expect(try await hosts("cli-filters", "--customer acme") == [])
            #expect(try await hosts("cli-filters", "--host '*.EXAMPLE.com'") == ["a.example.com", "b.example.com"])
            #expect(try await hosts("cli-filters", "--host example.com") == [])
            #expect(try await hosts("cli-filters", "--since 1h --lines 1") == ["c.test"])
            #expect(try await hosts("cli-filters", "--since 2099-01-01T00:00:00Z") == [])
            let wrong = try await Program.run("decisions --namespace cli-filters --since nonsense")
            #expect(wrong.status == 2)
            #expect(wrong.complaint.hasPrefix("sallyport: --since: Failed to parse timestamp: nonsense"))
        }
    }

    @Test("shows a line a decision")
    func text() async throws {
        try await withJournal("cli-text", records) { _ in
            let lines = try await Program.run("decisions --namespace cli-text").output.split(separator: "\n")
            #expect(lines.count == 5)
            #expect(
                lines[1]
                    == "2023-11-14T22:13:20.000Z  allow    bot             a.example.com:443                 tls       "
                    + "\(decision(1, allow: true).id)  rule web")
            #expect(lines[2].hasSuffix("  policy, rule web, not on the list"))
            #expect(lines[4].hasSuffix("  policy, rule web, not on the list, 2 more"))
        }
    }

    @Test("does not believe what others write under Sallyport's name")
    func forged() async throws {
        try await withJournal("cli-forged", []) { socket in
            let forge = """
                python3 -c '
                import os, socket, sys
                os.setuid(65534)
                s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                s.connect("\(socket)")
                s.send(b"MESSAGE=allow\\nSYSLOG_IDENTIFIER=sallyport\\nSALLYPORT_DECISION_ID=01a3185c-5000-7000-8000-000000000000\\n")'
                """
            #expect(try await blocking { try shell(forge).status } == 0)
            #expect(try await blocking { try shell("\(Self.script) sync cli-forged").status } == 0)
            let seen = try await blocking {
                try shell("journalctl --namespace cli-forged -q -t sallyport -o cat").output
            }
            #expect(seen == "allow\n")
            #expect(try await Program.run("decisions --json --namespace cli-forged").output == "")
            let explained = try await Program.run(
                "explain --namespace cli-forged 01a3185c-5000-7000-8000-000000000000")
            #expect(explained.status == 1)
        }
    }

    @Test("follows the decisions to come")
    func follow() async throws {
        try await withJournal("cli-follow", records) { socket in
            let seen = try await blocking {
                // The record that is awaited is written again until it was seen: nothing says when journalctl is ready.
                guard let stream = popen("exec \(Program.path) decisions --follow --json --namespace cli-follow", "re")
                else { throw TestFailure("popen") }
                defer { pclose(stream) }
                var line = [CChar](repeating: 0, count: 8192)
                var number: UInt64 = 100
                while fgets(&line, Int32(line.count), stream) != nil {
                    let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                    if text.contains("late.example.com") { return true }
                    if text.contains("\"repeats\":2") {
                        number += 1
                        try Self.write([decision(number, allow: true, host: "late.example.com")], to: socket)
                    }
                }
                return false
            }
            #expect(seen)
        }
    }

    @Test("explains a decision: input, rule, reason, and whether its policy is in force")
    func explain() async throws {
        let refused = decision(2, allow: false, host: "b.example.com").id
        try await withJournal("cli-explain", records) { _ in
            try await withDaemon { socket in
                let text = try await Program.run("explain \(refused) --namespace cli-explain --socket \(socket)")
                #expect(text.status == 0)
                #expect(
                    text.output == """
                        decision   \(refused)
                        time       2023-11-14T22:13:20.000000Z
                        verdict    deny
                        reason     policy
                        because    not on the list
                        rule       web
                        policy     revision 0123456789ab, in force now
                        stage      hello
                        latency    87 µs from the packet's arrival to its verdict
                        input
                        {
                          "agent" : {
                            "id" : "bot",
                            "process" : {
                              "uid" : 1001
                            }
                          },
                          "destination" : {
                            "address" : "198.18.0.1",
                            "address_matches_host" : true,
                            "host" : "b.example.com",
                            "host_source" : "sni",
                            "names" : [
                              "cdn.example.net",
                              "b.example.com"
                            ],
                            "port" : 443,
                            "transport" : "tcp"
                          },
                          "protocol" : {
                            "alpn" : [
                              "h2",
                              "http/1.1"
                            ],
                            "name" : "tls"
                          },
                          "stage" : "hello",
                          "time" : "2023-11-14T22:13:20.000000Z"
                        }

                        """)
            }
            // What is shown is an input that a policy takes.
            let asked = try await blocking {
                let explain = "\(Program.path) explain --json \(refused) --namespace cli-explain --socket /nonexistent"
                let pick = "python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)[\"input\"]))'"
                let policies = Self.script.replacing("Tests/EndToEnd/lib/journald.sh", with: "policies")
                return try shell("\(explain) | \(pick) | \(Program.path) policy decide \(policies) --input -").output
            }
            #expect(asked.hasPrefix("deny (policy, rule "))
            let json = try await Program.run("explain --json \(refused) --namespace cli-explain --socket /nonexistent")
            #expect(json.output.contains(#""decision_id" : "\#(refused)""#))
            #expect(!json.output.contains("policy_revision_in_force"))
        }
    }

    @Test("explains a decision that was folded by the record that it is counted in")
    func explainFolded() async throws {
        try await withJournal("cli-folded", records) { _ in
            // The middle one of three equal refusals: it is in no field of the record.
            let result = try await Program.run(
                "explain \(decision(4, allow: false, agent: "other", host: "c.test", second: 1).id) --namespace cli-folded"
            )
            #expect(result.status == 0)
            #expect(result.output.contains("stands for this decision and 1 like it"))
            let unknown = try await Program.run(
                "explain \(decision(9, allow: true, second: 99).id) --namespace cli-folded")
            #expect(unknown.status == 1)
        }
    }

    /// Four records in the journal: an allowed one, a refused one, and three equal refusals in two.
    private var records: [DecisionRecord] {
        [decision(1, allow: true, host: "a.example.com"), decision(2, allow: false, host: "b.example.com")]
            + (0..<3).map { decision(3 + $0, allow: false, agent: "other", host: "c.test", second: $0) }
    }

    private func hosts(_ name: String, _ arguments: String) async throws -> [String] {
        let result = try await Program.run("decisions --json --namespace \(name) \(arguments)")
        #expect(result.status == 0)
        return result.output.split(separator: "\n").map { line in
            String(line.split(separator: "\"host\":\"", maxSplits: 1).last?.prefix { $0 != "\"" } ?? "")
        }
    }

    private func withJournal(
        _ name: String, _ records: [DecisionRecord], _ body: (String) async throws -> Void
    ) async throws {
        let (status, output) = try await blocking { try shell("\(Self.script) start \(name)") }
        guard status == 0 else { throw TestFailure(output) }
        defer { _ = try? shell("\(Self.script) stop \(name)") }
        let socket = "/run/systemd/journal.\(name)/socket"
        try await blocking {
            try Self.write(records, to: socket)
            #expect(try shell("\(Self.script) sync \(name)").status == 0)
        }
        try await body(socket)
    }

    private static func write(_ records: [DecisionRecord], to socket: String) throws {
        var options = LogThread.Options()
        options.socketPath = socket
        let log = LogThread(options: options, ringCount: 1)
        for record in records { #expect(log.rings[0].push(record)) }
        log.stop()
        log.run()
        #expect(log.counters.lost == 0)
    }
}
