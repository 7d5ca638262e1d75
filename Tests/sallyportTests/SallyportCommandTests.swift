import ArgumentParser
import Control
import Testing

@testable import Diagnosis
@testable import sallyport

@Suite("sallyport")
struct SallyportCommandTests {
    @Test("prints its version, and help for every command, on standard output")
    func help() async throws {
        let version = try await Program.run("--version")
        #expect(version.status == 0)
        #expect(version.output == "sallyport \(SallyportVersion.current)\n")
        for command in [
            "", "run", "status", "doctor", "flows", "names", "agents", "decisions", "explain", "rules", "policy",
            "policy check",
            "policy test", "policy eval", "policy decide", "session", "session open", "session renew", "session list",
            "session close",
        ] {
            let help = try await Program.run(command + " --help")
            #expect(help.status == 0)
            #expect(help.output.contains("USAGE: sallyport"))
            #expect(help.complaint == "")
        }
    }

    @Test(
        "answers bad usage and bad input with 2 and one line",
        arguments: [
            "nonsense", "status --nonsense", "flows --limit 0", "flows --limit x", "names --limit 10001", "explain",
            "explain not-an-id",
            "decisions --lines -1", "decisions --namespace a --directory b", "decisions --config /nonexistent",
            "session open", "session open --customer-token /nonexistent/t", "session open --customer-token /dev/null",
            "session open --customer-token /etc/hostname --ports 9-5", "session close",
            "session open --customer-token /etc/hostname --cookie 1 --pid 2", "status --config /nonexistent",
            "doctor --config /nonexistent", "doctor --nonsense",
            "status --socket " + String(repeating: "x", count: 200),
        ])
    func badUsage(arguments: String) async throws {
        let result = try await Program.run(arguments)
        #expect(result.status == 2)
        #expect(result.output == "")
        #expect(result.complaint.hasPrefix("sallyport: "))
        #expect(result.complaint.hasSuffix(")\n"))
        #expect(result.complaint.split(separator: "\n").count == 1)
    }

    @Test("answers with 1 and what to do where no daemon answers", arguments: ["status", "flows", "names", "agents"])
    func noDaemon(command: String) async throws {
        let result = try await Program.run(command + " --socket /nonexistent")
        #expect(result.status == 1)
        #expect(
            result.complaint
                == "sallyport: /nonexistent: sallyportd does not answer: No such file or directory (systemctl status "
                + "sallyportd; run as root or in the group sallyport; --socket for another path)\n")
    }

    @Test("shows the status as text and as JSON, and says by its exit status whether flows are decided")
    func status() async throws {
        try await withDaemon { socket in
            let text = try await Program.run("status --socket \(socket)")
            #expect(text.status == 0)
            #expect(
                text.output == """
                    sallyportd  0.1.0, pid 42, since 2027-01-15T08:00:00.000000Z
                    enforcing   yes
                    policy      revision 0123456789ab from /etc/sallyport/policies
                    rules       in place (nft_queue)
                    agents      0
                    sessions    0 open
                    flows       12 live of 131072, 0 allowed, 3 refused (policy 2, no_name 1)
                    log         0 written, 0 folded, 0 waiting, 0 lost

                    QUEUE  WAITING  RECEIVED  DROPPED  UNDELIVERED  TRUNCATED
                    8800   0        0         0        0            0
                    8801   0        0         0        0            0

                    """)
            let json = try await Program.run("status --json --socket \(socket)")
            let report = try ControlCoding.decode(StatusReport.self, from: Array(json.output.utf8))
            #expect(report == (await FakeDaemon().status()))
        }
        try await withDaemon(FakeDaemon(isHealthy: false)) { socket in
            let result = try await Program.run("status --socket \(socket)")
            #expect(result.status == 1)
            #expect(result.complaint == "sallyport: rules: not in place: gone (sallyport rules apply)\n")
            #expect(try await Program.run("status --json --socket \(socket)").status == 1)
        }
    }

    @Test("shows what doctor found with why and what to do, and nothing that could move a cursor")
    func doctor() {
        let report = DiagnosisReport([
            .ok(.rules, "table inet sallyport", "as it was applied"),
            .hole(.root, "process 7 (\u{1B}[2Jsh)", "is uid 0", remedy: "start it with sallyport run"),
        ])
        #expect(
            DoctorCommand.text(report) == [
                "hole     root                process 7 (\\x1b[2Jsh): is uid 0",
                "         why: uid 0 can leave its cgroup and change the rules",
                "         do:  start it with sallyport run",
                "ok       rules               table inet sallyport: as it was applied",
                "1 ok, 1 holes, 0 unknown",
            ])
    }

    @Test("says how many flows could not be cut, where there are any")
    func uncutFlows() async {
        var report = await FakeDaemon().status()
        #expect(!StatusCommand.text(report).contains { $0.contains("NOT CUT") })
        report.flows.uncut = 2
        #expect(StatusCommand.text(report).contains { $0.contains("2 NOT CUT") })
    }

    @Test("shows flows and agents aligned, and says how many flows there are more")
    func tables() async throws {
        try await withDaemon { socket in
            let flows = try await Program.run("flows --agent other --customer acme --socket \(socket)")
            #expect(
                flows.output == """
                    STATE    AGENT  CUSTOMER  SOURCE            DESTINATION    HOST             PROTOCOL  AGE
                    allowed  other  acme      198.18.0.2:40000  [fd00::1]:443  api.example.com  tcp       1 s
                    1 of 5 flows (--limit, --agent, --customer)

                    """)
            let names = try await Program.run("names --socket \(socket)")
            #expect(
                names.output == """
                    AGENT  NAME             ADDRESS     FOR ANOTHER
                    (all)  db.example.com   198.18.0.9  -
                    bot    api.example.com  fd00::1     61 s
                    2 of 3 names (--limit, --agent, a pattern)

                    """)
            #expect(try await Program.run("names off --socket \(socket)").output.contains("not watched"))
            let agents = try await Program.run("agents --socket \(socket)")
            #expect(
                agents.output == """
                    AGENT  LIVE  ALLOWED  REFUSED  SELECTORS  LABELS
                    bot    0     0        0        uid 1001   team=growth

                    """)
            #expect(try await Program.run("agents --json --socket \(socket)").output.hasPrefix("{\n"))
        }
    }

    @Test("says nothing that could move a terminal's cursor")
    func safeErrors() async throws {
        var table = TextTable(["CUSTOMER"])
        table.append([.init("ac\u{1B}[2Jme")])
        #expect(table.lines.last?.contains("\\u{1b}[2J") == true)
        let result = try await Program.run("status --socket $'/nonexistent\\x1b[2J'")
        #expect(!result.complaint.utf8.contains(0x1B))
    }

    @Test("has every command in its manual")
    func manual() throws {
        let path =
            String(#filePath.dropLast("Tests/sallyportTests/SallyportCommandTests.swift".count))
            + "docs/manual/sallyport.8.md"
        let manual = try shell("cat \(path)").output
        for command in SallyportCommand.configuration.subcommands {
            #expect(manual.contains("`" + (command.configuration.commandName ?? "?")))
        }
    }
}
