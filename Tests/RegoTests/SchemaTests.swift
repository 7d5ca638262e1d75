import Testing

@testable import Rego

/// Schemas of the input and of annotations.
@Suite struct SchemaTests {
    private static let schema = """
        {"type": "object", "additionalProperties": false, "properties": {
          "stage": {"enum": ["connect", "hello"]},
          "agent": {"type": "object", "properties": {"id": {"type": "string"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}}}},
          "destination": {"$ref": "#/$defs/place"},
          "names": {"type": "array", "items": {"type": "string"}},
          "claims": {"type": "object"},
          "port": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
         "$defs": {"place": {"allOf": [
           {"type": "object", "properties": {"host": {"type": "string"}}},
           {"type": "object", "properties": {"address": {"type": "string"}}}]}}}
        """

    private func errors(_ body: String, head: String = "p", metadata: String = "", schemas: [String: String]? = nil)
        throws -> [RegoError]
    {
        var options = CompileOptions()
        if let schemas {
            options.schemas = try schemas.mapValues { try RegoSchema(RegoValue(json: $0)) }
        } else {
            options.inputSchema = try RegoSchema(RegoValue(json: Self.schema))
        }
        let module = "package test\n\(metadata)\(head) if {\n\t\(body)\n}\n"
        do throws(RegoErrors) {
            _ = try CompiledPolicy(modules: [("test.rego", module)], options: options)
            return []
        } catch {
            return error.errors
        }
    }

    @Test(
        "what the schema has is good",
        arguments: [
            "input.stage == \"hello\"", "input.agent.labels.team == \"x\"", "input.destination.host == \"a\"",
            "input.destination.address == \"a\"", "input.names[_] == \"a\"", "input.claims.anything.at.all",
            "input.port == 1", "input.port == null", "some k, v in input.agent.labels; v == k", "x := input; x.stage",
            "input[k]; k == \"stage\"", "count(input.names) > 1",
        ])
    func good(_ body: String) throws { #expect(try errors(body) == []) }

    @Test(
        "what it has not is an error with a suggestion",
        arguments: [
            ("input.destination.hots == \"a\"", "input.destination.hots", "input.destination.host", 20, 4),
            ("input.host == \"a\"", "input.host", "input.destination.host", 8, 4),
            ("startswith(input.agent.di, \"a\")", "input.agent.di", "input.agent.id", 25, 2),
            ("x := input.destination; x.adress == 1", "input.destination.adress", nil, 0, 0),
            ("input.nonsense", "input.nonsense", nil, 8, 8),
        ])
    func bad(_ body: String, _ reference: String, _ suggestion: String?, _ column: Int, _ width: Int) throws {
        let found = try errors(body)
        let error = try #require(found.first)
        #expect(error.code == "rego_type_error")
        #expect((error.file, error.row) == ("test.rego", 3))
        guard column > 0 else {
            #expect(error.hint?.suggestion?.hasSuffix(".address") == true)
            return
        }
        #expect(error.message == "undefined ref: " + reference)
        #expect(error.hint?.suggestion == suggestion)
        #expect((error.hint?.row, error.hint?.column, error.hint?.width) == (3, column, width))
    }

    @Test("comparisons and calls that cannot hold are errors")
    func kinds() throws {
        #expect(try errors("input.stage == 5").first?.message == "match error")
        #expect(try errors("startswith(input.claims, \"a\")").first?.message == "startswith: invalid argument(s)")
        #expect(try errors("input.stage.deeper").first?.message == "undefined ref: input.stage.deeper")
    }

    @Test("without a schema everything is good")
    func none() throws { #expect(try errors("input.nonsense", schemas: [:]) == []) }

    @Test("annotations name schemas or hold them, for a rule, a package or a part of a document")
    func annotations() throws {
        let schemas = [
            "input": Self.schema, "users": #"{"type": "object", "properties": {"name": {"type": "string"}}}"#,
        ]
        let whole = "# METADATA\n# schemas:\n# - input: schema.input\n"
        #expect(try errors("input.stage", metadata: whole, schemas: schemas) == [])
        #expect(
            try errors("input.stag", metadata: whole, schemas: schemas).first?.hint?.suggestion == "input.stage")
        let data = "# METADATA\n# schemas:\n# - data.users: schema.users\n"
        #expect(try errors("data.users.name", metadata: data, schemas: schemas) == [])
        #expect(
            try errors("data.users.nam", metadata: data, schemas: schemas).first?.message
                == "undefined ref: data.users.nam")
        let inner =
            "# METADATA\n# schemas:\n# - input: schema.input\n# - input.claims: {type: object, properties: {a: {type: string}}}\n"
        #expect(try errors("input.claims.a; input.stage", metadata: inner, schemas: schemas) == [])
        #expect(
            try errors("input.claims.b", metadata: inner, schemas: schemas).first?.message
                == "undefined ref: input.claims.b")
        let missing = "# METADATA\n# schemas:\n# - input: schema.other\n"
        #expect(
            try errors("input.stage", metadata: missing, schemas: schemas).first?.message
                == "undefined schema: schema.other")
    }

    @Test(
        "what is no schema is refused",
        arguments: [
            "[]", "5", #"{"type": "strin"}"#, #"{"type": 5}"#, #"{"properties": []}"#, #"{"$ref": "other.json"}"#,
            ##"{"$ref": "#/nowhere"}"##, #"{"anyOf": {}}"#,
        ])
    func refused(_ text: String) throws {
        #expect(throws: RegoError.self) { try RegoSchema(RegoValue(json: text)) }
    }

    @Test("a schema that contains itself ends as any")
    func recursive() throws {
        let schema = try RegoSchema(
            RegoValue(json: ##"{"type": "object", "properties": {"next": {"$ref": "#"}, "v": {"type": "string"}}}"##))
        var options = CompileOptions()
        options.inputSchema = schema
        #expect(throws: Never.self) {
            try CompiledPolicy(modules: [("a.rego", "package a\np := input.next.next.v")], options: options)
        }
    }

    @Test("the nearest name is suggested, and none that is far")
    func spelling() {
        let names = ["host", "host_source", "address"]
        #expect(Spelling.nearest(to: "hots", of: names) == "host")
        #expect(Spelling.nearest(to: "Host", of: names) == "host")
        #expect(Spelling.nearest(to: "adress", of: names) == "address")
        #expect(Spelling.nearest(to: "port", of: ["agent", "stage"]) == nil)
    }
}
