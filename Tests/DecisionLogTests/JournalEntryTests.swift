import Testing

@testable import DecisionLog

@Suite("JournalEntry")
struct JournalEntryTests {
    @Test("decodes strings, byte arrays, repeated fields and what was too long")
    func decodes() throws {
        let entry = try JournalEntry(
            json: Array(#"{"A":"x","B":[104,105,10],"C":["x","y"],"D":null,"E":[255,65],"F":[[1,2],[3]]}"#.utf8))
        #expect(entry.fields == ["A": "x", "B": "hi\n", "E": #"\xffA"#])
        #expect(entry.repeatedFields == ["C", "F"])
    }

    @Test("says what it cannot read", arguments: ["", "x", "[]", #"{"A":1}"#, #"{"A":{}}"#])
    func unreadable(text: String) {
        #expect(throws: JournalError.unreadable(text)) { _ = try JournalEntry(json: Array(text.utf8)) }
    }

    @Test("gives our fields back as JSON under their names in lower case")
    func json() throws {
        let entry = try JournalEntry(
            json: Array(
                #"{"_UID":"0","SALLYPORT_PORT":"443","SALLYPORT_HOST":"a\"b","MESSAGE":"m","SALLYPORT_CUSTOMER":"acme"}"#
                    .utf8
            ))
        #expect(entry.jsonLine == #"{"message":"m","customer":"acme","host":"a\"b","port":443}"#)
    }

    @Test(
        "believes nobody but the daemon",
        arguments: [
            (#"{"_TRANSPORT":"journal","_UID":"0","_SYSTEMD_CGROUP":"/system.slice/sallyportd.service"}"#, true),
            (#"{"_TRANSPORT":"journal","_UID":"1001","_SYSTEMD_CGROUP":"/user.slice"}"#, false),
            (#"{"_TRANSPORT":"stdout","_UID":"0","_SYSTEMD_CGROUP":"/system.slice/sallyportd.service"}"#, false),
            (#"{"_TRANSPORT":"journal","_UID":"0","_SYSTEMD_CGROUP":"/sallyport.slice/bot.service"}"#, false),
            (#"{"_TRANSPORT":"journal","_UID":"0","_SYSTEMD_CGROUP":"/sallyport.slice"}"#, false),
            (#"{"_TRANSPORT":"journal","_UID":"0","_SYSTEMD_CGROUP":"/x","_SYSTEMD_UNIT":"bot.service"}"#, false),
            (#"{"_TRANSPORT":"journal","_UID":"0"}"#, false), ("{}", false),
            (
                #"{"_TRANSPORT":"journal","_UID":"0","_SYSTEMD_CGROUP":"/x","SALLYPORT_VERDICT":["deny","allow"]}"#,
                false
            ),
        ])
    func trust(json: String, isBelieved: Bool) throws {
        let trust = JournalTrust(
            confinedCgroups: ["/sallyport.slice"], confinedUnits: ["bot.service"], requiresCgroup: true)
        #expect(trust.accepts(try JournalEntry(json: Array(json.utf8))) == isBelieved)
    }
}
