import Testing

@testable import Rego

/// What Go's `text/template` writes, as OPA calls it.
@Suite struct TextTemplateTests {
    static let data = #"""
        {"b": "", "c": 1, "h": "<a b>&\"c", "l": [1, 2, 3], "o": {"k": "v", "a": 2}, "n": null, "z": 0, "e": []}
        """#

    private func render(_ template: String) throws -> String? {
        try value(
            of: "strings.render_template(input.template, \(Self.data))", input: #"{"template": \#(quoted(template))}"#)
    }

    private func quoted(_ text: String) -> String { RegoValue.string(text).json }

    @Test(
        "functions, pipelines and variables",
        arguments: [
            (#"{{not .a}}"#, "true"), (#"{{and .b .c}}"#, ""), (#"{{or .b .c}}"#, "1"),
            (#"{{html .h}}"#, "&lt;a b&gt;&amp;&#34;c"), (#"{{js .h}}"#, #"\u003Ca b\u003E\u0026\"c"#),
            (#"{{.h | urlquery}}"#, "%3Ca+b%3E%26%22c"), (#"{{print "a" 1 2 "b"}}"#, "a1 2b"),
            (#"{{println .c}}"#, "1\n"), (#"{{printf "%s-%v" .h .c}}"#, #"<a b>&"c-1"#),
            (#"{{.h | printf "%q"}}"#, #""<a b>&\"c""#), (#"{{printf "%v" .l}}"#, "[1 2 3]"),
            (#"{{len .l}}{{len .h}}"#, "38"), (#"{{index .l 1}}{{index .o "k"}}"#, "2v"), (#"{{slice .h 1 2}}"#, "a"),
            (#"{{(index .l 0)}}"#, "1"), (#"{{eq .h "x" .h}}{{lt "a" "b"}}{{ne 1 2}}{{ge 2 3}}"#, "truetruetruefalse"),
            (#"{{$x := .c}}{{$x}}{{$x = "q"}}{{$x}}"#, "1q"), ("{{`r`}}{{'a'}}{{0x10}}{{1.5}}", "r97161.5"),
            (#"{{"a\tb\u00e9"}}"#, "a\tb\u{e9}"),
        ])
    func functions(template: String, expected: String) throws {
        #expect(try render(template) == quoted(expected))
    }

    @Test(
        "conditions, loops and templates in templates",
        arguments: [
            (#"{{if .z}}1{{else}}0{{end}}"#, "1"), (#"{{if .e}}1{{else if .c}}2{{else}}3{{end}}"#, "2"),
            (#"{{with .o}}{{.k}}{{$.c}}{{end}}"#, "v1"), (#"{{with .b}}a{{else}}b{{end}}"#, "b"),
            (#"{{with $x := .o.k}}{{$x}}{{end}}"#, "v"),
            (#"{{range $i, $e := .l}}{{if $i}},{{end}}{{$e}}{{end}}"#, "1,2,3"),
            (#"{{range $k, $v := .o}}{{$k}}{{$v}};{{end}}"#, "a2;kv;"), (#"{{range .e}}1{{else}}none{{end}}"#, "none"),
            (#"{{range $i, $e := .l}}{{if eq $i 1}}{{continue}}{{end}}{{$e}}{{end}}"#, "13"),
            (#"{{range $i, $e := .l}}{{if $i}}{{break}}{{end}}{{$e}}{{end}}"#, "1"),
            (#"{{range 3}}{{.}}{{end}}"#, "012"),
            (#"{{define "t"}}<{{.}}>{{end}}{{template "t" .c}}{{template "t"}}"#, "<1><<undefined>>"),
            (#"{{block "b" .o}}{{.k}}{{end}}"#, "v"), ("a {{- /* not said */ -}} b", "ab"),
            ("a\n {{- .c -}} \n b", "a1b"), (#"{{.n}}{{.missing}}{{.missing.x}}"#, "<undefined><undefined><undefined>"),
        ])
    func control(template: String, expected: String) throws {
        #expect(try render(template) == quoted(expected))
    }

    @Test(
        "what is no template, or asks for what is not there, is an error",
        arguments: [
            "{{", "{{.c", "{{ }}", "{{else}}", "{{end}}", "{{if}}{{end}}", "{{if .c}}", "{{foo}}", "{{nil}}",
            "{{.c.x}}",
            "{{index .l 9}}", "{{len 3}}", "{{break}}", "{{$y}}", "{{eq .c 1}}", "{{template \"u\"}}", "{{\"a}}",
            "{{1 | 2}}",
            "{{(.c}}", "{{.c)}}", "{{slice .h 5 2}}", "{{range .c}}{{end}}",
            #"{{define "t"}}{{template "t"}}{{end}}{{template "t"}}"#,
        ])
    func errors(template: String) throws {
        #expect(throws: RegoError.self) { try render(template) }
    }

    @Test("ends where it costs too much")
    func cost() {
        var limits = RegoLimits()
        limits.instructions = 100_000
        let found = failure {
            _ = try evaluate(
                "package test\np := strings.render_template(input, {})", input: quoted("{{range 100000000}}x{{end}}"),
                limits: limits)
        }
        #expect(found != nil)
    }
}
