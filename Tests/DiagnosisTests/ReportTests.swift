import Control
import Testing

@testable import Diagnosis

@Suite("DiagnosisReport")
struct ReportTests {
    private static let findings: [Finding] = [
        .ok(.rules, "table inet sallyport", "as it was applied"),
        .unknown(.boot, "this host", "no systemd", remedy: "run it"),
        .hole(.journal, "records", "3 were lost", remedy: "raise log.ring"),
        .hole(.queues, "queue 8800", "nobody attends it", remedy: "systemctl restart sallyportd"),
    ]

    @Test("has holes first, then what is unknown, each in the order of the checks, and counts them")
    func order() {
        let report = DiagnosisReport(Self.findings)
        #expect(report.findings.map(\.check) == [.queues, .journal, .boot, .rules])
        #expect((report.ok, report.holes, report.unknown) == (1, 2, 1))
    }

    @Test("says why and what to do of everything that is not in order, in JSON of a stable form")
    func json() throws {
        let report = DiagnosisReport([Self.findings[3]])
        let text = String(decoding: try ControlCoding.encode(report), as: UTF8.self)
        #expect(
            text == """
                {"findings":[{"check":"queues","detail":"nobody attends it","remedy":"systemctl restart sallyportd",\
                "state":"hole","subject":"queue 8800","why":"nobody, or somebody else, decides what the rules hand over"}],\
                "holes":1,"ok":0,"unknown":0}
                """)
    }

    @Test("names its checks in snake case", arguments: Check.allCases)
    func names(_ check: Check) {
        #expect(!check.rawValue.isEmpty && check.rawValue.allSatisfy { $0.isLowercase || $0 == "_" || $0.isNumber })
        #expect(!check.why.isEmpty)
    }

    @Test("takes a remedy out of a line that ends with one, and nothing else")
    func remedies() {
        #expect("queue 8800 has lost its rule (sallyport rules apply)".withoutRemedy == "queue 8800 has lost its rule")
        #expect("a (b) c (d)".withoutRemedy == "a (b) c")
        #expect("no remedy".withoutRemedy == "no remedy")
        #expect("(all)".withoutRemedy == "(all)")
    }

    @Test("finds its own flows in the daemon's records by address and port")
    func records() {
        let lines = Array(
            """
            {"address":"127.0.0.1","port":40001,"verdict":"deny"}
            {"address":"198.18.0.1","port":40002,"verdict":"deny"}
            {"missed":3}
            no JSON
            {"address":"::1","port":40003,"verdict":"deny"}
            """.utf8)
        #expect(Examination.ports(in: lines, to: ["127.0.0.1", "::1"]) == [40001, 40003])
    }
}
