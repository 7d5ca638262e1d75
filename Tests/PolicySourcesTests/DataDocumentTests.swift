import Rego
import Testing

@testable import PolicySources

@Suite struct DataDocumentTests {
    private func read(_ files: [(String, String)]) throws(PolicyLoadError) -> String {
        let files = files.map { PolicyDirectory.File(name: $0.0, bytes: Array($0.1.utf8)) }
        return try DataDocument(PolicyDirectory(path: "p", files: files)).value.json
    }

    private func problems(_ files: [(String, String)]) -> String {
        do throws(PolicyLoadError) {
            return try read(files)
        } catch {
            return error.description
        }
    }

    @Test("a file's directory says where its content stands")
    func directories() throws {
        let read = try read([
            ("data.yaml", "a: 1\nsub: {x: 1}"), ("data.json", #"{"b": 2}"#), ("sub/data.yml", "y: 2"),
            ("sub/deep/data.json", #"{"z": [3]}"#),
        ])
        #expect(read == #"{"a":1,"b":2,"sub":{"deep":{"z":[3]},"x":1,"y":2}}"#)
    }

    @Test(
        "YAML has JSON's kinds of values",
        arguments: [
            ("a: 1", #"{"a":1}"#), ("a: 123456789012345678901234567890", "{\"a\":123456789012345678901234567890}"),
            ("a: 0.10", #"{"a":0.10}"#), ("a: 1e3", #"{"a":1e3}"#), ("a: 0x10", #"{"a":16}"#), ("a: .5", #"{"a":0.5}"#),
            ("a: true", #"{"a":true}"#), ("a: null", #"{"a":null}"#), ("a:", #"{"a":null}"#), ("a: ~", #"{"a":null}"#),
            ("a: '1'", #"{"a":"1"}"#), ("a: 2026-01-01", #"{"a":"2026-01-01"}"#), ("8080: x", #"{"8080":"x"}"#),
            ("a: [1, two, [three]]", #"{"a":[1,"two",["three"]]}"#), ("a: {}", #"{"a":{}}"#),
            ("\"*.example.com\":", #"{"*.example.com":null}"#), ("203.0.113.0/24:", #"{"203.0.113.0/24":null}"#),
            ("a: &x {k: 1}\nb: *x", #"{"a":{"k":1},"b":{"k":1}}"#),
            ("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}", #"{"a":{"k":1,"l":2},"b":{"k":3,"l":2}}"#),
            ("", "{}"), ("# nothing", "{}"), ("a: |\n  x\n  y", #"{"a":"x\ny"}"#),
        ])
    func yaml(text: String, json: String) throws {
        #expect(try read([("data.yaml", text)]) == json)
    }

    @Test(
        "says file, line and what to do",
        arguments: [
            (
                [("data.yaml", "a: 1\nb: ]")],
                "p/data.yaml:2: not valid YAML: did not find expected node content, at column 4"
            ),
            ([("data.yaml", "a: 1\na: 2")], "p/data.yaml:1: the key a is given twice in one mapping (remove one)"),
            ([("data.yaml", "- a")], "p/data.yaml: the content is no mapping (write key: value)"),
            ([("data.yaml", "\n\ntrue: 1")], "p/data.yaml:3: a key has to be text (put it in quotes)"),
            ([("data.yaml", "a: .inf")], "p/data.yaml:1: .inf is no value that JSON has (put it in quotes)"),
            ([("data.json", "[1]")], "p/data.json: the content is no mapping (write key: value)"),
            (
                [("data.yaml", "a: 1"), ("data.json", #"{"a": 1}"#)],
                "p/data.yaml: data.a is defined in p/data.json too (keep one of them)"
            ),
            (
                [("a/data.yaml", "b: 1"), ("data.yaml", "a: {b: 2}")],
                "p/data.yaml: data.a.b is defined in p/a/data.yaml too (keep one of them)"
            ),
            (
                [("a/b/data.yaml", "c: 1"), ("data.yaml", "a: {b: 2}")],
                "p/data.yaml: data.a.b is defined in another data file too (keep one of them)"
            ),
        ] as [([(String, String)], String)])
    func errors(files: [(String, String)], message: String) {
        #expect(problems(files) == message)
    }

    @Test("invalid JSON names its file")
    func json() {
        #expect(problems([("data.json", "{")]).hasPrefix("p/data.json: not valid JSON: "))
    }

    @Test("aliases cannot spell a document that fills memory")
    func laughs() {
        let lines = (1...9).map { level in
            "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ") + "]"
        }
        let text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + lines.joined(separator: "\n")
        do throws(PolicyLoadError) {
            _ = try YAMLDocument.parse(Array(text.utf8), path: "x", maximumNodes: 10_000)
            Issue.record("was read")
        } catch {
            #expect(error.description.contains("more than 10000 values"))
        }
    }
}
