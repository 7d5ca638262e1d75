import Testing

@testable import DecisionLog

@Suite("JournalText")
struct JournalTextTests {
    @Test(
        "escapes in a name all but printable ASCII",
        arguments: [
            ("api.example.com", "api.example.com"), ("a\nSALLYPORT_VERDICT=allow", #"a\x0aSALLYPORT_VERDICT=allow"#),
            ("a\u{0}b", #"a\x00b"#), ("a b", #"a\x20b"#), (#"a\x41"#, #"a\x5cx41"#), ("é", #"\xc3\xa9"#),
            ("\u{1B}[31m", #"\x1b[31m"#), ("\u{7F}", #"\x7f"#), ("", ""),
        ])
    func name(value: String, escaped: String) {
        #expect(JournalText.escape(value, as: .name, limit: 253) == escaped)
    }

    @Test(
        "leaves Unicode in a sentence, but for what hides or moves text",
        arguments: [
            ("nicht erlaubt: Größe 5", "nicht erlaubt: Größe 5"), ("a\tb", #"a\x09b"#), ("a\u{85}b", #"a\xc2\x85b"#),
            ("a\u{202E}b", #"a\xe2\x80\xaeb"#), ("a\u{2028}b", #"a\xe2\x80\xa8b"#), ("a\u{200B}b", #"a\xe2\x80\x8bb"#),
            (#"c:\x"#, #"c:\x5cx"#),
        ])
    func sentence(value: String, escaped: String) {
        #expect(JournalText.escape(value, as: .sentence, limit: 253) == escaped)
    }

    @Test("cuts at the limit and says how much is missing")
    func limit() {
        #expect(
            JournalText.escape(String(repeating: "a", count: 300), as: .name, limit: 253)
                == String(repeating: "a", count: 253) + #"\+47"#)
        #expect(JournalText.escape("aaa\n", as: .name, limit: 6) == #"aaa\+1"#)
        #expect(JournalText.escape("aéb", as: .sentence, limit: 2) == #"a\+3"#)
        #expect(JournalText.escape("aéb", as: .sentence, limit: 4) == "aéb")
    }

    @Test("can be undone")
    func reversible() {
        let value = String(decoding: (0..<128).map { UInt8($0) }, as: UTF8.self) + "é\u{202E}" + #"\+5 \x41"#
        for form in [JournalText.Form.name, .sentence] {
            #expect(undo(JournalText.escape(value, as: form, limit: 4096)) == value)
        }
    }

    private func undo(_ text: String) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == 0x5C, rest.first == 0x78,
                let value = UInt8(String(decoding: rest.dropFirst().prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
