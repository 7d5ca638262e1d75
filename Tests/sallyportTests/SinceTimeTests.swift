import Testing

@testable import sallyport

@Suite("SinceTime")
struct SinceTimeTests {
    @Test(
        "says in journalctl's words what the operator said",
        arguments: [
            ("10m", "-10m"), ("2h", "-2h"), ("90s", "-90s"), ("3d", "-3d"), ("-1h", "-1h"), ("today", "today"),
            ("2026-01-01T00:00:00Z", "2026-01-01 00:00:00 UTC"),
            ("2026-01-01T00:00:00.123456Z", "2026-01-01 00:00:00.123456 UTC"), ("2026-01-01 10:00", "2026-01-01 10:00"),
            ("@1767225600", "@1767225600"),
        ])
    func spelling(argument: String, journalText: String) {
        #expect(SinceTime(argument: argument)?.journalText == journalText)
    }

    @Test("takes no empty time")
    func empty() {
        #expect(SinceTime(argument: "") == nil)
    }
}

@Suite("JournalOptions")
struct JournalOptionsTests {
    @Test(
        "knows the namespace of a journal's socket",
        arguments: [
            ("/run/systemd/journal/socket", nil), ("/run/systemd/journal.lab/socket", "lab"),
            ("/run/systemd/journal.a/b/socket", nil), ("/run/systemd/journal./socket", nil), ("/tmp/socket", nil),
        ] as [(String, String?)])
    func namespace(path: String, name: String?) {
        #expect(JournalOptions.namespace(ofSocket: path) == name)
    }
}
