import Testing

@testable import Rego

/// Tables of expressions and what OPA makes of them.
@Suite struct BuiltinTests {
    @Test(arguments: [
        ("1 + 2", "3"), ("0.1 + 0.2", "0.3"), ("100000000000000000000 / 3", "33333333333333333334"), ("7 % 3", "1"),
        ("-7 % 3", "-1"), ("1 / 3", "0.33333333333333333334"), ("9223372036854775807 + 1", "9223372036854775808"),
        ("abs(-1.5)", "1.5"), ("abs(1e2)", "100"), ("round(2.5)", "3"), ("round(-2.5)", "-3"), ("ceil(1.1)", "2"),
        ("floor(-1.5)", "-2"), ("ceil(-0.5)", "1"), ("bits.lsh(1, 70)", "1180591620717411303424"),
        ("bits.rsh(-5, 1)", "-3"), ("bits.negate(0)", "-1"), ("numbers.range(3, 1)", "[3,2,1]"),
        ("numbers.range_step(0, 5, 2)", "[0,2,4]"), ("format_int(255, 16)", "\"ff\""), ("to_number(\"1e3\")", "1e3"),
    ])
    func numbers(_ expression: String, _ expected: String) throws {
        #expect(try value(of: expression) == expected)
    }

    @Test(arguments: [
        ("concat(\",\", [\"a\", \"b\"])", "\"a,b\""), ("indexof(\"日本語\", \"語\")", "2"),
        ("indexof_n(\"aXbXc\", \"X\")", "[1,3]"), ("substring(\"héllo\", 1, 2)", "\"él\""),
        ("split(\"a,b,,c\", \",\")", "[\"a\",\"b\",\"\",\"c\"]"),
        ("strings.split_n(\"a,b,c\", \",\", 2)", "[\"a\",\"b\"]"),
        ("strings.split_n(\"a,b,c\", \",\", -1)", "[\"c\"]"), ("replace(\"aaa\", \"aa\", \"b\")", "\"ba\""),
        ("strings.replace_n({\"a\": \"b\", \"b\": \"c\"}, \"ab\")", "\"bc\""), ("trim(\"xxaxx\", \"x\")", "\"a\""),
        ("trim_space(\" \\t a \\n\")", "\"a\""), ("upper(\"ß\")", "\"ß\""), ("lower(\"İ\")", "\"i\""),
        ("strings.reverse(\"abc\")", "\"cba\""), ("strings.count(\"cheese\", \"e\")", "3"),
        ("sprintf(\"%5d|%-5d|%05d\", [1, 2, 3])", "\"    1|2    |00003\""),
        ("sprintf(\"%v %d %s\", [1.0, 1.0, \"x\"])", "\"1 1 x\""),
        ("sprintf(\"%d\", [1e3])", "\"%!d(string=1e3)\""),
        ("sprintf(\"%#d\", [\"a\"])", "\"%!d(string=a)\""), ("sprintf(\"%s\", [1])", "\"%!s(int64=1)\""),
        ("sprintf(\"%[2]v %[1]v\", [1, 2])", "\"2 1\""), ("sprintf(\"%q\", [\"a\\\"\"])", "\"\\\"a\\\\\\\"\\\"\""),
        ("sprintf(\"%+v %+d\", [1, 1])", "\"1 +1\""), ("sprintf(\"%#d\", [0.25])", "\"%!d(float64=0.250000)\""),
        ("sprintf(\"%x %b\", [0.1, -1.5])", "\"0x1.999999999999ap-04 -6755399441055744p-52\""),
        ("sprintf(\"%#g %#.3g %#.0f\", [0.1, 1e300, 2.5])", "\"0.100000 %!g(string=1e3) 2.\""),
        (
            "format_int(1e100, 16)",
            "\"1249ad2594c37ceb00000000000000000000000000000000000000000000000000000000000000000000\""
        ),
        ("format_int(12345678901234567890123, 10)", "\"12345678901234567890123\""),
        ("sprintf(\"%v\", [12345678.9])", "\"1.23456789e+07\""), ("startswith(\"abc\", \"ab\")", "true"),
    ])
    func strings(_ expression: String, _ expected: String) throws {
        #expect(try value(of: expression) == expected)
    }

    @Test(arguments: [
        ("glob.match(\"x{a,b\", [], \"xb\")", "true"), ("glob.match(\"{a\", [], \"b\")", "false"),
        (
            "json.verify_schema({\"type\": 1})[1]",
            "\"jsonschema: Invalid type. Expected: type, given: string/Array Of Strings\""
        ),
        ("regex.match(\"^a+$\", \"aaa\")", "true"), ("regex.match(\"(?<n>a)\", \"a\")", "true"),
        ("regex.replace(\"foo bar\", \"(\\\\w+) (\\\\w+)\", \"$2 $1\")", "\"bar foo\""),
        ("regex.split(\"-\", \"a-b-\")", "[\"a\",\"b\",\"\"]"),
        ("regex.find_n(\"a.\", \"abacad\", 2)", "[\"ab\",\"ac\"]"),
        ("regex.template_match(\"urn:{.*}:x\", \"urn:foo:x\", \"{\", \"}\")", "true"),
        ("glob.match(\"*.github.com\", [\".\"], \"api.github.com\")", "true"),
        ("glob.match(\"*.github.com\", [\".\"], \"a.api.github.com\")", "false"),
        ("glob.match(\"**.com\", [\".\"], \"a.b.com\")", "true"), ("glob.match(\"[a-c]x\", null, \"bx\")", "true"),
        ("glob.match(\"{ab,cd}*\", null, \"cdx\")", "true"),
    ])
    func patterns(_ expression: String, _ expected: String) throws {
        #expect(try value(of: expression) == expected)
    }

    @Test(arguments: [
        ("net.cidr_contains(\"10.0.0.0/8\", \"10.1.2.3\")", "true"),
        ("net.cidr_contains(\"10.0.0.0/8\", \"::ffff:10.0.0.1\")", "true"),
        ("net.cidr_contains(\"::/0\", \"10.0.0.1\")", "false"),
        ("net.cidr_intersects(\"10.0.0.0/8\", \"10.1.0.0/16\")", "true"),
        ("net.cidr_merge([\"192.0.2.0/28\", \"192.0.2.16/28\"])", "[\"192.0.2.0/27\"]"),
        ("net.cidr_merge([\"10.0.0.1\", \"11.0.0.0/8\"])", "[\"10.0.0.0/7\"]"),
        ("net.cidr_expand(\"127.0.0.1/31\")", "[\"127.0.0.0\",\"127.0.0.1\"]"),
        ("semver.compare(\"v1.0.0-alpha.1\", \"1.0.0\")", "-1"), ("semver.is_valid(\"1.0\")", "false"),
        ("units.parse(\"0.0005K\")", "0.5000000000"), ("units.parse_bytes(\"1KiB\")", "1024"),
        ("time.parse_rfc3339_ns(\"1970-01-01T00:00:01Z\")", "1000000000"), ("time.date(0)", "[1970,1,1]"),
        ("time.weekday([1517832000000000000, \"America/New_York\"])", "\"Monday\""),
        // After the last transition of the zone's file its footer says what holds, on both sides of the equator.
        ("time.clock([2510000000000000000, \"Europe/Berlin\"])", "[0,13,20]"),
        ("time.clock([2500000000000000000, \"Europe/Berlin\"])", "[5,26,40]"),
        ("time.clock([2510000000000000000, \"Australia/Sydney\"])", "[8,13,20]"),
        ("time.clock([2500000000000000000, \"Australia/Sydney\"])", "[15,26,40]"),
        ("time.format([9223372036854775807, \"America/New_York\"])", "\"2262-04-11T19:47:16.854775807-04:00\""),
        ("time.parse_duration_ns(\"1h1d\")", "90000000000000"),
        ("time.diff(1517832000000000000, 0)", "[48,1,4,12,0,0]"),
        ("json.patch({\"a\": [1]}, [{\"op\": \"add\", \"path\": \"a/-\", \"value\": 2}])", "{\"a\":[1,2]}"),
        ("json.filter({\"a\": {\"b\": 1, \"c\": 2}}, [\"a/b\"])", "{\"a\":{\"b\":1}}"),
        ("json.remove({\"a\": [1, 2, 3]}, [\"a/0\", \"a/1\"])", "{\"a\":[3]}"),
        ("json.marshal({\"<\": 1})", "\"{\\\"\\\\u003c\\\":1}\""), ("yaml.unmarshal(\"a: yes\")", "{\"a\":true}"),
        ("yaml.marshal({\"a\": [\"x: y\", \"multi\\nline\"]})", "\"a:\\n- 'x: y'\\n- |-\\n  multi\\n  line\\n\""),
        ("graph.reachable({\"a\": [\"b\"], \"b\": []}, [\"a\"])", "[\"a\",\"b\"]"),
        ("graph.reachable_paths({\"a\": [\"b\"], \"b\": [\"a\"]}, [\"a\"])", "[[\"a\",\"b\"]]"),
        ("object.union_n([{\"a\": 1}, {\"a\": 2}])", "{\"a\":2}"), ("uuid.parse(\"x\")", nil),
        ("urlquery.encode(\"a b&\")", "\"a+b%26\""), ("base64url.encode_no_pad(\"a\")", "\"YQ\""),
        ("crypto.sha256(\"\")", "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\""),
    ])
    func others(_ expression: String, _ expected: String?) throws {
        #expect(try value(of: expression) == expected)
    }

    @Test(arguments: [
        (
            "count(input.x)",
            "eval_type_error: count: operand 1 must be one of {array, object, set, string} but got number"
        ),
        (
            "time.add_date(-1, 1, 1e0, 1)",
            "eval_type_error: time.add_date: operand 3 must be integer number but got floating-point number"
        ),
        ("1 / input.y", "eval_builtin_error: div: divide by zero"),
        ("regex.match(\"[\", \"a\")", "eval_builtin_error: regex.match: error parsing regexp: missing closing ]: `[`"),
        ("net.cidr_contains(\"x\", \"10.0.0.1\")", "eval_builtin_error: net.cidr_contains: invalid CIDR address: x"),
    ])
    func saysWhatIsWrong(_ expression: String, _ expected: String) {
        #expect(failure { _ = try value(of: expression, input: #"{"x": 1, "y": 0}"#) } == expected)
    }

    @Test func errorsAreUndefinedUnlessStrict() throws {
        #expect(try evaluate("package test\np := x if { x := 1 / input.y }\n", input: #"{"y": 0}"#) == nil)
    }

    @Test func matchesSchemas() throws {
        let schema = #"{"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}"#
        #expect(try value(of: "json.match_schema({\"id\": 1}, \(schema))") == "[true,[]]")
        let refused = try value(of: "json.match_schema({\"id\": \"x\"}, \(schema))")
        #expect(
            refused
                == #"[false,[{"desc":"Invalid type. Expected: integer, given: string","error":"id: Invalid type. Expected: integer, given: string","field":"id","type":"invalid_type"}]]"#
        )
        // A schema that refers to itself comes to an end.
        let recursive = ##"{"properties": {"next": {"$ref": "#"}}, "additionalProperties": false}"##
        #expect(try value(of: "json.match_schema({\"next\": {\"next\": {}}}, \(recursive))[0]") == "true")
        #expect(try value(of: "json.match_schema({\"next\": {\"x\": 1}}, \(recursive))[0]") == "false")
    }

    @Test func signsAndVerifiesTokens() throws {
        let module = """
            package test
            key := {"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}
            token := io.jwt.encode_sign({"alg": "HS256", "typ": "JWT"}, {"iss": "x", "exp": 2000000000}, key)
            secret := base64url.decode("c2VjcmV0")
            p := [
                io.jwt.decode(token)[1],
                io.jwt.decode_verify(token, {"secret": secret})[0],
                io.jwt.verify_hs256(io.jwt.encode_sign({"alg": "HS256"}, {}, {"kty": "oct", "k": "c2VjcmV0"}), secret),
            ]
            """
        #expect(try evaluate(module) == #"[{"exp":2000000000,"iss":"x"},false,true]"#)
    }
}
