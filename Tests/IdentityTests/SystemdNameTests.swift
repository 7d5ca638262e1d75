import Testing

@testable import Identity

@Suite struct SystemdNameTests {
    @Test(
        "escapes as systemd-escape does",
        arguments: [
            ("research-bot", #"research\x2dbot"#), ("a/b", "a-b"), (".hidden", #"\x2ehidden"#),
            ("a.b_c:D9", "a.b_c:D9"),
            ("caf\u{e9} x", #"caf\xc3\xa9\x20x"#), (#"a\b"#, #"a\x5cb"#), ("", ""), ("-", #"\x2d"#), ("..", #"\x2e."#),
        ])
    func escapes(text: String, escaped: String) {
        #expect(SystemdName.escape(text) == escaped)
    }

    @Test("a slice lies in the slices that its name names")
    func paths() {
        #expect(SystemdName.path(ofSlice: "sallyport.slice") == "/sallyport.slice")
        #expect(SystemdName.path(ofSlice: "a-b-c.slice") == "/a.slice/a-b.slice/a-b-c.slice")
        #expect(SystemdName.path(ofAgent: "bot", in: "sallyport.slice") == "/sallyport.slice/sallyport-bot.slice")
        #expect(SystemdName.path(ofAgent: "x-y", in: "a-b.slice") == #"/a.slice/a-b.slice/a-b-x\x2dy.slice"#)
        #expect(SystemdName.path(ofAgent: "x-y", in: "s.slice") == #"/s.slice/s-x\x2dy.slice"#)
    }

    @Test(
        "knows units that can hold processes",
        arguments: [
            ("bot.service", true), ("bot@1.service", true), ("run-r1.scope", true), (#"a\x2db.slice"#, true),
            ("bot@.service", false), (".service", false), ("bot.socket", false), ("bot", false), ("a/b.service", false),
            ("b t.service", false), (String(repeating: "a", count: 248) + ".service", false),
        ])
    func units(name: String, isUnit: Bool) {
        #expect(SystemdName.isUnit(name) == isUnit)
    }

    @Test(
        "knows slices",
        arguments: [
            ("sallyport.slice", true), ("a-b.slice", true), ("-.slice", false), ("a--b.slice", false),
            ("-a.slice", false), ("a-.slice", false), ("bot.service", false),
        ])
    func slices(name: String, isSlice: Bool) {
        #expect(SystemdName.isSlice(name) == isSlice)
    }
}
