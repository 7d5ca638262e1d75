"""Calls of built-in functions with generated arguments, for rego-differential."""
import base64, json, os, re

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

STRINGS = ["", "a", "b", "abc", "ABC", "foo bar", "  x  ", "a.b.c", "a/b/c", "héllo", "日本語", "ß", "İ", "a\u0301", "\u00e1",
           "\U0001F600", "1", "12", "-1", "0", "1.5", "007", "1e3", "true", "null", "a\nb", "tab\t", "\"q\"", "back\\slash",
           "aaa", "aXbXc", "<b>&amp;</b>", "%", "%d", "a,b,,c", ",", "x" * 40, "\u2028", "\u00a0", "ǅ", "ﬃ", "\x00", "\x7f", "é" * 3]
NUMBERS = ["0", "1", "-1", "2", "3", "7", "10", "16", "100", "-5", "0.5", "-0.5", "1.5", "2.5", "-2.5", "1.0", "1e3", "1e2", "0.1", "0.2",
           "3.14159", "1e-7", "1e21", "1e20", "123456789012345678901234567890", "-123456789012345678901234567890", "9223372036854775807",
           "9223372036854775808", "-9223372036854775808", "4294967296", "0.30000000000000004", "1e100", "12345.678901234567890123", "64", "255", "0.0",
           "1E5", "1e+2", "100000000000000000000", "1.7976931348623157e308", "5e-324", "99999999999999999999.5", "0.1e1"]
SCALARS = ["null", "true", "false"]
ARRAYS = ["[]", "[1]", "[1,2,3]", "[3,1,2]", '["a","b"]', '["b","a","a"]', "[[1],[2,[3]]]", '[{"a":1}]', "[null]", "[true,false]", "[true,true]", "[1,\"a\"]",
          "[0.5,1]", "[1,1.0]", "[{1},{2}]", "[[\"a\",1]]", '["1","2"]', "[1,2,3,4,5,6]", '["a",["b",["c"]]]', '[[]]', '[{"op":"add","path":"a","value":1}]']
SETS = ["set()", "{1}", "{1,2,3}", '{"a","b"}', "{{1},{1,2}}", "{{1,2},{2,3}}", "{true}", "{null,1,\"a\",[1],{\"k\":1}}", "{1,1.0,2}", '{"b","c"}', "{[1,2]}", "{0.5,1}"]
OBJECTS = ["{}", '{"a":1}', '{"a":{"b":{"c":1}}}', '{"a":[1,2,3]}', '{"b":2,"a":1}', "{1:2}", '{"a":{"x":1},"b":null}', '{"a":"b"}', '{[1]:1,{2}:2}',
           '{"a":1,"b":{"c":[{"d":1},{"e":2}]}}', '{"1":1,1:2}', '{"a":{1,2}}', '{"a":["b"],"b":["c"],"c":["a"]}', '{"a":"x","b":["y","z"]}', '{"é":1,"<":">"}', "{null:1,true:2}"]


def quote(text):
    return json.dumps(text)


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


REGEXES = ["a", "a+", "^a", "a*", "(a)(b)?", "[a-z]+", "\\d+", "(?i)ABC", "(?P<n>a)", ".", "", "(", "[", "a{2}", "x{1001}", "\\", "*", "a**", "\\pL+", "^$", "a|b", "(?:ab)+",
           "[^.]+\\.com", "\\bfoo\\b", "(a*)*", "\\xzz", "(?P<>a)", "(?<n>a)", "(?=a)", "a{2,1}", "[z-a]", "(?s).", "$", "\\z", "\\Q.\\E", "[[:alpha:]]+", "[[:foo:]]"]
GLOBS = ["*", "**", "?", "a*", "*.com", "**.com", "*.*.com", "api.*", "{a,b}*", "[a-c]x", "[!a]x", "\\*", "a?c", "", "{*.com,foo}", "[abc", "{a", "a}", "**a**", "*:*", "?at", "[^a]", "{a,{b,c}}", "a[",
         "[!a-c]", "[a-]", "*x*", "foo**bar", "**/x", "/*/x", "日*", "{,a}b", "[]", "a\\", "\\a", "{a,b}{c,d}", "*.github.com"]
HOSTS = ["api.github.com", "a.b.example.com", "example.com", "foo", "", "a:b:c", "cat", "bat", "at", "/a/x", "/a/b/x", "日本", "b", "ab", "foo.bar", "foo/x/bar", "fooxbar", "*", "ac", "bd", "api.github"]
CIDRS = ["10.0.0.0/8", "10.1.2.3", "10.1.2.0/24", "192.168.0.0/16", "192.168.1.1/32", "::/0", "2001:db8::/32", "2001:db8::1", "0.0.0.0/0", "10.0.0.0/33", "10.0.0", "", "foo", "fe80::/10", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104",
         "10.0.0.5/29", "1.2.3.4/", "/8", "010.0.0.0/8", "10.0.0.0/08", "10.0.0.0/-1", "fe80::1%eth0", "2001:DB8::/126", "192.0.2.0/28", "192.0.2.16/28", "192.0.2.0/27", "127.0.0.1/31"]
TIMES = ["0", "1517832000000000000", "1582977600000000000", "-1", "-1000000000", "1700000000123456789", "9223372036854775807", "-9223372036854775808", "1e18", "9223372036854775808", "1.5", "946684799999999999", "253402300799000000000"]
ZONES = ["", "UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Local", "Foo/Bar", "America/Los_Angeles", "Australia/Lord_Howe", "EST", "../etc/passwd", "Pacific/Apia", "Africa/Monrovia", "Asia/Tokyo"]
LAYOUTS = ["2006-01-02", "2006-01-02T15:04:05Z07:00", "Mon Jan 2 15:04:05 2006", "02/01/06 03:04PM", "Jan _2 15:04:05.000", "RFC3339", "RFC3339Nano", "ANSIC", "RFC1123", "RFC822", "RFC822Z", "RFC850", "RFC1123Z", "UnixDate",
           "RubyDate", "Kitchen", "Stamp", "StampMilli", "", "Monday, January 2", "15h", "2006-002", "02 January 2006 MST", ".000000", "2006-01-02 15:04:05.999999999 -0700", "Z0700", "Z07", "-07:00:00", "__2", "DateTime", "DateOnly", "TimeOnly", "StampMicro", "StampNano", "Layout", "x3:4:5 pm", "05,000"]
TIMETEXTS = ["2018-02-05", "2018-02-05T12:00:00Z", "2018-02-05T12:00:00.123456789+02:00", "2018-13-05", "2018-02-30", "Mon Jan 2 15:04:05 2006", "05/02/18 03:04PM", "Mon, 02 Jan 2006 15:04:05 MST", "3:04PM", "2020-02-29T00:00:00-08:00",
             "1677-09-21T00:12:43Z", "2262-04-12T00:00:00Z", "0001-01-01T00:00:00Z", "2006-060", "foo", "", "2018-02-05 12:00:00.5 -0700", "2018-02-05T24:00:00Z", "2018-02-05t12:00:00z", "2018-2-5", "Jan  2 15:04:05.123", "2018-02-05T12:00:60Z", "02 Jan 06 15:04 MST", "02 Jan 06 15:04 -0700", "2018-02-05T12:00:00,5Z"]
DURATIONS = ["1h", "1h30m", "-1.5h", "1ns", "1us", "1µs", "100ms", "", "1", "h", "1x", "+5s", "0", ".5s", "1.s", ".s", "9223372036854775807ns", "9223372036854775808ns", "-9223372036854775808ns", "2562048h", "1h1h", "1 h", "1d", "1.0000000000000000000001s", "0.9999999999s", "1.7976931348623157h"]
UNITS = ["1", "1K", "1k", "1Ki", "1m", "1M", "100Mi", "1.5G", "0.5", "1e3", "1e3K", "-1", "+1", "1.5.5", "K", "", "1 K", "\"1K\"", "1E", "1e", "1Ei", "1P", "1pi", "1KB", "1kb", "1KiB", "1mib", "10GB", "1Tb", "1Z", ".5K", "5.", "1m5", "0.0005K", "0.1m",
         "0.3", "1_000", "0x10", "01", "00.5M", "1e-3", "1e1000000", "٣K", "1eb", "1ee", "1e3e", "1.5KiB", "1.5e2k", "9999999999999999999999G", "1.0"]
SEMVERS = ["1.0.0", "1.0.1", "v1.0.0", "1.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0+build", "01.0.0", "1.0.0-01", "1.0.0-", "", "1.2.3-rc.1+x.y", "1.0.0-alpha.beta", "1.0.0-2", "1.0.0-10", "999999999999999999999.0.0", "1.0.0-a..b", "1.0.0-a_b", "1.0.0.0", " 1.0.0"]
JSONS = ["{}", "[]", "1", "1.0", "\"a\"", "null", "{\"a\":1}", "{\"a\":1,\"a\":2}", "[1,]", "", " 1 ", "1 2", "{a:1}", "\"\\u00e9\"", "\"\\ud800\"", "nul", "01", "1e5", "[1,2", "{\"b\":1,\"a\":[true]}", "'a'", "\"\n\"", "-0", "1e400", "[[[[]]]]", "{\"a\":}", "\"\\x\"", "NaN", "-", ".5", "tru", "{\"a\" 1}", "[1 2]"]
YAMLS = ["a: 1", "- a\n- b", "a: [1, 2", "foo", "", "a: &x 1\nb: *x", "x: |\n  hi\n  there", "1.0", "~", "yes", "a: yes", "a: 0o17", "a: 0x1F", "1: 2", "a: 2001-01-01", "{a: 1, a: 2}", "a:\n- b: c\n  d: e", "--- 1\n--- 2", "true: 1", "a: .inf", "a: 1_000", "!!binary aGk=", "a: !!str 1", "\"a\\tb\"", "- - 1\n  - 2", "%", "a: b: c", "<<: {a: 1}\nb: 2", "null: 1", "a: 1e3", "a: 0.10", "a: 12345678901234567890123", "\t", "a: \"\\x\"", "? a\n: b", "a: 010", "on: off"]
PATHS = ['"a"', '"a/b"', '"/a/b"', '"a/b/c"', '["a"]', '["a","b"]', '["a",0]', '"a/0"', '"b/c/0/d"', '"a~1b"', '""', '[]', '"/"', '"x/y"', '"b/c/1"', '[1]', '1', '"a/-1"', '["b","c",0]', '"a/x"', '"a/00"', '"a/1/2"']
PATCHES = ['{"op":"add","path":"a","value":9}', '{"op":"add","path":"/a/b","value":9}', '{"op":"add","path":"a/0","value":9}', '{"op":"add","path":"a/-","value":9}', '{"op":"remove","path":"a"}', '{"op":"remove","path":"zz"}', '{"op":"replace","path":"a","value":{"n":1}}',
           '{"op":"move","from":"a","path":"b"}', '{"op":"copy","from":"a","path":"c"}', '{"op":"test","path":"a","value":1}', '{"op":"bad","path":"a"}', '{"path":"a"}', '{"op":"add","value":1}', '{"op":"add","path":"a"}', '{"op":"add","path":"","value":[1]}', '{"op":"replace","path":["a","b"],"value":2}',
           '{"op":"add","path":["a",7],"value":2}', '{"op":"remove","path":"a/1"}', '{"op":"move","path":"b"}', '1', '{"op":"add","path":1,"value":1}', '{"op":1,"path":"a"}', '{"op":"add","path":"a/5","value":1}', '{"op":"add","path":"a/1","value":7}', '{"op":"test","path":"a/b/c","value":1}', '{"op":"remove","path":""}', '{"op":"copy","from":"zz","path":"c"}', '{"op":"add","path":"x/y","value":1}']
FORMATS = ["%d", "%s", "%v", "%5d|", "%-5d|", "%05d", "%+d", "%x", "%X", "%o", "%b", "%q", "%f", "%.2f", "%e", "%g", "%t", "%%", "%", "%z", "%s %s", "%[2]s %[1]s", "%[3]d", "%*d", "%.*f", "%c", "%U", "%8.3f|", "%#x", "%T", "no verbs", "%6s|", "%-6s|", "%.1s", "%06.1f", "% d", "% x", "%#q", "%#v", "%#o", "%O", "%p", "%w", "%[1]", "%[x]d", "%!", "%d %d", "%G", "%E", "%+v", "%08s|", "%x %X", "%#U", "%+q", "%.3d", "%10.4d|", "%.0f", "%+.1e", "%!d", "%-08d|", "%[1]*d", "%s%"]
URLS = ["a=b", "a=b&c=d", "a=1&a=2", "%20", "%zz", "a%3Db", "", "a+b", "é", "a=%E9", "a;b", "&&", "=x", "a", "a=b=c", "%", "a&b=", "?x=1", "a/b?c#d"]
URIS = ["http://example.com", "https://user:pw@example.com:8080/a/b?c=d#e", "foo", "", "http://[::1]:80/", "mailto:a@b.c", "//host/path", "http://a b/", "%zz", ":", "http://host:port/", "/path?q=1#f", "http://example.com/%41%zz", "urn:isbn:123", "http://[fe80::1%25en0]/", "1http://x", "http://é.com/ü?x=ü", "http://h/?a=%zz", "ftp://x/;y", "http://host:/x", "http://[::1", "http://u@h@x/", "a:b:c", "http://h#", "http://h?", "//", "\x7f", "http://h/a b"]
UUIDS = ["00000000-0000-0000-0000-000000000000", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "f47ac10b-58cc-0372-8567-0e02b2c3d479", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "000003e8-a6d6-21ee-8c00-325096b39f47", "urn:uuid:f47ac10b-58cc-4372-a567-0e02b2c3d479", "{f47ac10b-58cc-4372-a567-0e02b2c3d479}", "f47ac10b58cc4372a5670e02b2c3d479", "", "foo", "F47AC10B-58CC-4372-A567-0E02B2C3D479", "018f4e9e-0f3a-7c3b-8a4e-2b1f3c4d5e6f", "1ef21d2f-1207-6660-8c4f-419efbd44d48", "f47ac10b-58cc-4372-c567-0e02b2c3d479", "f47ac10b-58cc-4372-e567-0e02b2c3d479", "f47ac10b-58cc-5372-1567-0e02b2c3d479", "f47ac10b_58cc_4372_a567_0e02b2c3d479", "(f47ac10b-58cc-4372-a567-0e02b2c3d479)"]
HEXES = ["", "00", "ff", "FF", "f", "zz", "616263", "0x61", "e9"]
B64S = ["", "YQ==", "YQ", "YWJj", "YWI=", "!!", "YQ=", "_-8=", "/+8=", "YQ==\n", "Y Q==", "YR==", "4pyT", "YWJjZA", "====", "YWJ", "6Q=="]
JWTS = [b64url(b'{"alg":"HS256","typ":"JWT"}') + "." + b64url(b'{"a":1}') + ".x", "a.b.c", "a.b", "", b64url(b'{"alg":"none"}') + "." + b64url(b"{}") + ".", b64url(b"[]") + "." + b64url(b"{}") + ".", b64url(b"{}") + "." + b64url(b"1") + ".",
        b64url(b'{"enc":"x"}') + "." + b64url(b"{}") + ".", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c", "e30.e30.e30", "e30=.e30.e30", "e30.!!.e30", "a.b.c.d.e"]
SCHEMAS = ['{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]}', '{"type":"string"}', '{"type":"unknown"}', '{}', '"{}"', '{"enum":[1,2]}', '{"type":["string","null"]}', '{"minimum":3}', '{"maxLength":2}', '{"pattern":"^a"}', '{"items":{"type":"number"}}', '{"oneOf":[{"type":"string"},{"type":"number"}]}',
           '{"anyOf":[{"type":"string"},{"minimum":2}]}', '{"allOf":[{"type":"number"},{"maximum":2}]}', '{"not":{"type":"string"}}', '{"additionalProperties":false,"properties":{"a":{}}}', '{"minItems":2,"uniqueItems":true}', '{"const":1}', '{"format":"email"}', '{"$ref":"#/definitions/x","definitions":{"x":{"type":"string"}}}', '"foo"', "1", "true", "[]", '{"type":1}', '{"required":"a"}', '{"minimum":"x"}', '{"properties":1}', '{"multipleOf":2}', '{"dependencies":{"a":["b"]}}', '{"if":{"type":"string"},"then":{"minLength":2},"else":{"minimum":1}}', '{"patternProperties":{"^x":{"type":"string"}}}', '{"propertyNames":{"maxLength":1}}', '{"contains":{"type":"string"}}', '{"exclusiveMinimum":1}', '{"minProperties":2}', '{"maxProperties":1}', '{"format":"ipv4"}', '{"format":"date-time"}', '{"items":[{"type":"string"}],"additionalItems":false}', '{"type":"integer"}', '{"maxItems":1}', '{"minLength":3}', '{"format":"uri"}', '{"format":"hostname"}', '{"format":"uuid"}', '{"format":"regex"}', '{"pattern":"("}']
GRAPHS = ['{"a":["b","c"],"b":["d"],"c":["d"],"d":[]}', '{"a":["a"]}', '{"a":["b"],"b":["a"]}', '{}', '{"a":{"b"},"b":{"c"}}', '{"a":null,"b":["a"]}', '{"a":["b","x"],"b":[]}', '{"a":"b","b":[]}', '{1:[2],2:[3],3:[]}', '{"a":["b"],"b":["c"],"c":["a","d"],"d":[]}']
GRAPHSTARTS = ['["a"]', '{"a"}', '["a","b"]', '[]', 'set()', '["x"]', '[1]', '{"b","c"}', '"a"']
TEMPLATES = ["hello {{.name}}", "{{.a}}", "{{if .a}}yes{{else}}no{{end}}", "{{range .a}}<{{.}}>{{end}}", "{{.a.b}}", "{{", "{{.missing}}", "{{range $i, $e := .a}}{{$i}}={{$e}} {{end}}", "{{len .a}}", "{{index .a 0}}", "{{printf \"%v-%v\" .a 1}}", "{{with .a}}{{.}}{{end}}", "{{/* c */}}x", "{{- .a -}} ", "{{eq .a 1}}", "{{.a | printf \"%v\"}}", "{{not .a}}", "{{and .a .b}}", "{{or .z .b}}", "{{html .b}}", "{{$x := .a}}{{$x}}", "{{\"lit\"}}", "{{1}}", "{{true}}", "{{end}}", "{{foo}}", "{{gt 2 1}}", "{{js .b}}", "{{urlquery .b}}", "{{slice .b 0 1}}", "{{print .a .b}}", "{{range .z}}x{{else}}none{{end}}"]
TEMPLATEVALUES = ['{"name":"x"}', '{"a":1,"b":"<x>"}', '{"a":[1,2],"b":"y z"}', '{"a":{"b":2},"b":""}', '{}', '{"a":[],"b":null}', '{"a":"s","b":1.5}', '{"a":false,"b":true}', '{"a":[{"x":1}],"b":"q"}', '{"a":0}', '{"a":1e3,"b":12345678901234567890}']


def strings(pool):
    return [quote(text) for text in pool]


def kinds():
    return STRINGS_Q + NUMBERS + SCALARS + ARRAYS + SETS + OBJECTS


STRINGS_Q = strings(STRINGS)
# For each function, a pool for each argument; a string names another pool.
POOLS = {
    "regex.match": [strings(REGEXES), "s"], "re_match": [strings(REGEXES), "s"], "regex.is_valid": [strings(REGEXES)],
    "regex.find_n": [strings(REGEXES), "s", ["-1", "0", "1", "2"]], "regex.find_all_string_submatch_n": [strings(REGEXES), "s", ["-1", "0", "1", "2"]],
    "regex.split": [strings(REGEXES), "s"], "regex.replace": ["s", strings(REGEXES), strings(["", "x", "$1", "${1}", "$n", "${n}x", "$$", "$1x", "\\1", "${", "$", "$0", "$12"])],
    "regex.template_match": [strings(["a{.*}", "{[a-z]+}/{\\d+}", "urn:{.*}:x", "{", "}", "a{b{c}}d", "", "{a}{b}", "a.b", "{(}"]), strings(["abc", "foo/12", "urn:foo:x", "a.b", "axb", "ab", ""]), strings(["{", "<", "{{", ""]), strings(["}", ">", ""])],
    "regex.globs_match": [strings(["a*", "a.b", ".*", "[a-c]+", "b.*", "", "a[", "x+y", "[a-b]*c", "a.a.[0-9]+.b", "a\\.b", "ab", "[^a]", ".", "a|b", "(a)", "[a-zA-Z]+", "b+"]), strings(["a.*", "abc", "[b-d]", "c", "x.y", "b*", "aa", ".", "[A-z]+", "\\.", "[0-9]+", "bbb"])],
    "glob.match": [strings(GLOBS), ['["."]', "[]", "null", '[":"]', '["."," ","/"]', '["ab"]', '["/"]', "[1]"], strings(HOSTS)],
    "glob.quote_meta": [strings(GLOBS)],
    "net.cidr_contains": [strings(CIDRS), strings(CIDRS)], "net.cidr_overlap": [strings(CIDRS), strings(CIDRS)], "net.cidr_intersects": [strings(CIDRS), strings(CIDRS)],
    "net.cidr_expand": [strings(["10.1.2.0/28", "10.0.0.5/29", "192.168.1.1/32", "127.0.0.1/31", "2001:db8::/126", "::1/128", "::ffff:10.0.0.0/124", "10.0.0.0", "foo", "10.0.0.0/33", "255.255.255.252/30"])], "net.cidr_is_valid": [strings(CIDRS)],
    "net.cidr_merge": [["[]", '["10.0.0.0/8"]', '["192.0.2.0/28","192.0.2.16/28"]', '{"192.0.2.0/28","192.0.2.16/28","10.0.0.1"}', '["foo"]', "[1]", '["2001:db8::/33","2001:db8:8000::/33"]', '["10.0.0.0/9","10.128.0.0/9","11.0.0.0/8"]', '["0.0.0.0/1","128.0.0.0/1"]', '["10.0.0.1","10.0.0.2"]', '["2001:db8::1"]', '["::/0","10.0.0.0/8"]', '["10.0.0.0/24","10.0.0.128/25","10.0.1.0/24"]', '["1.2.3.4/32","1.2.3.5/32","1.2.3.6/32"]', '"x"', '["10.0.0.5/24"]', '["::ffff:10.0.0.0/104"]', '["200.0.0.1"]', '["230.0.0.1"]']],
    "net.cidr_contains_matches": [['"10.0.0.0/8"', '["10.0.0.0/8","192.168.0.0/16"]', '{"10.0.0.0/8"}', '{"a":"10.0.0.0/8"}', '[["10.0.0.0/8","x"]]', '[1]', '1', '{["10.0.0.0/8",1]}', '[[]]', '{"a":["10.0.0.0/8",1]}', '["foo"]'], ['"10.1.2.3"', '["10.1.2.3","8.8.8.8"]', '{"10.1.2.3/32"}', '{"k":"192.168.1.1"}', '[["10.1.2.3",1]]', '["foo"]', 'null', '{"x":["10.0.0.1"]}']],
    "time.parse_ns": [strings(LAYOUTS), strings(TIMETEXTS)], "time.parse_rfc3339_ns": [strings(TIMETEXTS)], "time.parse_duration_ns": [strings(DURATIONS)],
    "time.add_date": [TIMES, ["0", "1", "-1", "100", "1.5"], ["0", "1", "-1", "13", "25"], ["0", "1", "-1", "31", "366", "1000000"]],
    "units.parse": [strings(UNITS)], "units.parse_bytes": [strings(UNITS)],
    "semver.compare": [strings(SEMVERS), strings(SEMVERS)], "semver.is_valid": [strings(SEMVERS)],
    "json.unmarshal": [strings(JSONS)], "json.is_valid": [strings(JSONS)], "yaml.unmarshal": [strings(YAMLS)], "yaml.is_valid": [strings(YAMLS)],
    "json.remove": ["o", ["[%s]" % p for p in PATHS] + ['{"a"}', '"a"', '["a","b/c"]', "[]", '{"a":1}']], "json.filter": ["o", ["[%s]" % p for p in PATHS] + ['{"a"}', '["a/b","b/c/0"]', "[]"]],
    "json.patch": [OBJECTS + ARRAYS + SETS + ["1"], ["[%s]" % p for p in PATCHES] + ["[%s,%s]" % (a, b) for a in PATCHES[:6] for b in PATCHES[3:9]] + ["{}", "1"]],
    "json.marshal_with_options": ["x", ["{}", '{"pretty":true}', '{"pretty":false}', '{"pretty":true,"indent":"  "}', '{"indent":"x","prefix":">"}', '{"prefix":"-","pretty":true}', '{"foo":1}', '{"pretty":1}', '{"indent":1}', '{"pretty":false,"indent":" "}', '{"indent":""}', '{"prefix":""}']],
    "json.match_schema": [['{"id":5}', '{"id":"x"}', '"abc"', '"{\\"id\\":5}"', "1", "null", "[1,2]", '["a",1]', "{}", '{"a":1,"b":2}', "2.5", '"a"', "true", '"{"', '"1.2.3.4"', '"2018-02-05T12:00:00Z"', "{1,2}", "[1,1]", "3", '{"xa":1}'], SCHEMAS], "json.verify_schema": [SCHEMAS],
    "sprintf": [strings(FORMATS), ["[]", "[1]", "[-1]", '["a"]', '["héllo"]', "[1.5]", "[true]", "[null]", '[{"a":1}]', "[[1,\"x\"]]", "[1,2]", '["a","b"]', "[12345678901234567890]", "[1e3]", "[1.0]", '[5,42]', "[2,3.14159]", "[65]", "[{1,2}]", "[-1.5]", "[0.1]", "[1e100]", "[0]", "[128512]", '["a\\nb"]', "[255]", "[-255]", "[3,\"x\"]", "[1e-7]", "[123456789.0]", "[1e21]"]],
    "urlquery.decode": [strings(URLS)], "urlquery.decode_object": [strings(URLS)], "urlquery.encode": ["s"],
    "urlquery.encode_object": [['{"a":"b"}', '{"a":["x","y"]}', '{"a":{"x","y"}}', "{}", '{"a":1}', '{1:"a"}', '{"a b":"c&d"}', '{"b":"1","a":"é"}', '{"a":[1]}', '{"a":[]}', '{"a":null}']],
    "uri.parse": [strings(URIS)], "uri.is_valid": [strings(URIS)], "uuid.parse": [strings(UUIDS)],
    "hex.decode": [strings(HEXES)], "base64.decode": [strings(B64S)], "base64url.decode": [strings(B64S)], "base64.is_valid": [strings(B64S)],
    "io.jwt.decode": [strings(JWTS)], "io.jwt.decode_verify": [strings(JWTS), ['{"secret":"your-256-bit-secret"}', '{"secret":"x"}', "{}", '{"secret":"your-256-bit-secret","alg":"HS256"}', '{"secret":"your-256-bit-secret","alg":"HS512"}', '{"cert":"x"}', '{"secret":1}', '{"foo":1,"secret":"x"}', '{"secret":"your-256-bit-secret","iss":"x"}', '{"secret":"your-256-bit-secret","aud":"x"}', '{"secret":"your-256-bit-secret","time":"x"}', '{"secret":"your-256-bit-secret","time":1}', '{"secret":"x","cert":"x"}']],
    "io.jwt.encode_sign": [['{"alg":"HS256"}', '{"alg":"HS256","typ":"JWT"}', '{"typ":"JWT"}', '{"alg":"foo"}', '{"alg":1}', "{}", '{"alg":"HS512","typ":"text"}', '{"alg":"RS256"}', '{"alg":"none"}', '{"alg":"HS256","crit":["x"]}', '{"alg":"HS256","kid":1}', '{"alg":"HS256","b64":false}'], ["{}", '{"a":1}', '{"exp":1.5}', '{"iat":1e3}', '{"b":"<>"}'], ['{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}', "{}", '{"kty":"foo"}', '{"kty":"oct"}', '{"kty":"oct","k":""}', '{"kty":"oct","k":"!!"}', '{"kty":1}']],
    "graph.reachable": [GRAPHS, GRAPHSTARTS], "graph.reachable_paths": [GRAPHS, GRAPHSTARTS],
    "strings.render_template": [strings(TEMPLATES), TEMPLATEVALUES],
    "numbers.range": [["0", "1", "5", "-3", "10", "1.5", "1.0", "1e1", "123456789012345678901234567890", "5.0"], ["0", "3", "-3", "10", "2.5", "123456789012345678901234567892", "1e1", "2.0"]],
    "numbers.range_step": [["0", "1", "5", "-3", "10", "1.5", "1.0"], ["0", "3", "-3", "10", "2.5"], ["1", "2", "0", "-1", "1.5", "3", "2.0"]],
    "bits.lsh": [["0", "1", "-1", "5", "123456789012345678901234567890", "1.5", "1e3"], ["0", "1", "64", "100", "-1", "1.5"]], "bits.rsh": [["0", "1", "-1", "5", "-5", "123456789012345678901234567890", "1.5"], ["0", "1", "64", "-1"]],
    "format_int": ["n", ["2", "8", "10", "16", "3", "0", "16.0"]], "substring": ["s", ["0", "1", "-1", "3", "100", "1.0"], ["0", "1", "-1", "2", "100", "-5"]],
    "strings.replace_n": [['{"a":"b"}', '{"a":"b","b":"c"}', '{"ab":"x","a":"y"}', "{}", '{"":"-"}', '{1:"a"}', '{"a":1}', '{"é":"e"}', '{"<":"&lt;","&":"&amp;"}', '{"a":"","b":"b"}', '{"aa":"1","aaa":"2","a":"3"}'], "s"],
    "object.get": ["o", ['"a"', '["a","b"]', '["a",0]', "1", "[]", '"zz"', '["zz"]', "[1]", "null", '["a","b","c"]', '["b","c",0,"d"]', "{2}"], ["0", "null"]],
    "object.union_n": [["[]", '[{"a":1},{"b":2}]', '[{"a":{"x":1}},{"a":{"y":2}}]', "[1]", '[{"a":1},{"a":{"b":1}},{"a":{"c":1}}]', '{"a":1}', '[{"a":{"x":1}},{"a":2},{"a":{"y":2}}]']],
    "array.slice": ["a", ["0", "1", "-1", "5", "1.5", "1.0"], ["0", "1", "-1", "2", "10"]], "strings.split_n": ["s", strings(["", ",", ".", "a", "X"]), ["-1", "0", "1", "2", "5"]],
    "split": ["s", strings(["", ",", ".", "a", " ", "X", "abc", "é"])], "time.diff": ["t", "t"], "time.format": ["tl"], "time.date": ["t"], "time.clock": ["t"], "time.weekday": ["t"],
    "to_number": [NUMBERS + STRINGS_Q + SCALARS + strings(["0x10", "1_000", " 1", "1 ", "+1", ".5", "5.", "1e", "Inf", "NaN", "-0", "1e400", "00", "0b1", "1E5", "--1"])],
    "trim": ["s", strings(["", "a", " ", "x ", "é", "ab"])], "trim_left": ["s", strings(["", "a", " ", "é", "ab"])], "trim_right": ["s", strings(["", "a", " ", "c", "é"])],
    "indexof": ["s", strings(["", "a", "b", "é", "語", "zz", "bar"])], "indexof_n": ["s", strings(["", "a", "b", "é", "aa", "zz"])], "strings.count": ["s", strings(["", "a", "b", "aa", "é"])],
    "crypto.x509.parse_certificates": [strings(["", "foobar", "YmFkc3RyaW5n", "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----", "-----BEGIN X-----\nYQ==\n-----END X-----", "!!"])],
    "crypto.x509.parse_certificate_request": [strings(["", "foobar", "YmFkc3RyaW5n", "-----BEGIN CERTIFICATE REQUEST-----\nYQ==\n-----END CERTIFICATE REQUEST-----", "!!"])],
    "crypto.x509.parse_and_verify_certificates": [strings(["", "foobar", "YmFkc3RyaW5n"])],
    "rego.parse_module": [strings(["x.rego"]), strings(["package a", "package a\np := 1", "package a.b\nimport data.x as y\np contains x if { x := input.y[_]; x > 1 }", "package", "", "package a\nimport rego.v1\nf(x) := y if { y := x + 1 } else := 2", "package a\n# METADATA\n# title: x\np if { some i; input[i] }", "package a\ndefault p := false\np if not input.x", "package a\np := {x: y | some x, y in input}", "package a\np := \"a\" with input as 1"])],
}
SKIP = {"http.send", "net.lookup_ip_addr", "providers.aws.sign_req", "opa.runtime", "rand.intn", "uuid.rfc4122", "time.now_ns", "trace", "internal.print", "internal.test_case", "rego.metadata.chain",
        "rego.metadata.rule", "crypto.parse_private_keys", "crypto.x509.parse_keypair", "crypto.x509.parse_rsa_private_key", "crypto.x509.parse_and_verify_certificates_with_options", "assign", "eq", "internal.template_string"}
INFIX = {"plus": "+", "minus": "-", "mul": "*", "div": "/", "rem": "%", "and": "&", "or": "|", "equal": "==", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "eq": "="}


def declarations():
    text = open(os.path.join(ROOT, "Sources/Rego/Compile/BuiltinDeclarations.swift")).read()
    for line in text.split("\n"):
        fields = line.strip().split("~")
        if len(fields) == 5:
            yield fields[0], fields[3].split(";") if fields[3] else []


def by_type(text):
    text = text.split(": ", 1)[1] if re.match(r"^\w+: ", text) else text
    pool = []
    for word, values in [("string", STRINGS_Q), ("number", NUMBERS), ("boolean", SCALARS[1:]), ("null", SCALARS[:1]), ("array", ARRAYS), ("set", SETS), ("object", OBJECTS)]:
        if re.search(r"\b" + word + r"\b", text.split("[")[0] if not text.startswith("any<") else text):
            pool += values
    return pool or kinds()


def times(random):
    number = random.choice(TIMES)
    return random.choice([number, "[%s,%s]" % (number, quote(random.choice(ZONES)))])


def timesWithLayout(random):
    number = random.choice(TIMES)
    return random.choice([number, "[%s,%s]" % (number, quote(random.choice(ZONES))), "[%s,%s,%s]" % (number, quote(random.choice(ZONES)), quote(random.choice(LAYOUTS))), "[%s,%s,%s]" % (number, quote(random.choice(ZONES)), quote(random.choice(LAYOUTS)))])


def argument(random, pool):
    if random.random() < 0.04:
        return random.choice(kinds())
    named = {"s": STRINGS_Q, "n": NUMBERS, "o": OBJECTS, "a": ARRAYS, "x": None}
    if pool == "t":
        return times(random)
    if pool == "tl":
        return timesWithLayout(random)
    if isinstance(pool, str):
        pool = named[pool] or kinds()
    return random.choice(pool)


def generate(random, count, only):
    table = [(name, POOLS.get(name) or [by_type(t) for t in types]) for name, types in declarations()]
    table = [(n, p) for n, p in table if n not in SKIP and not n.startswith("graphql") and not n.startswith("providers") and (not only or only in n)]
    each = max(1, count // max(1, len(table)))
    for name, pools in table:
        seen = set()
        for _ in range(each):
            given = [argument(random, pool) for pool in pools]
            if name.startswith("numbers.range") and any(len(text) > 12 for text in given) and not (
                    given[0].startswith("1234567") and given[1].startswith("1234567")):
                continue
            if name == "bits.lsh" and len(given[1]) > 6:
                continue
            key = ",".join(given)
            if key in seen:
                continue
            seen.add(key)
            slots = [f"input[{i}]" for i in range(len(given))]
            if name == "walk":
                query = "walk(input[0], x)"
            elif name in INFIX:
                query = f"x = input[0] {INFIX[name]} input[1]" if name not in ("equal", "neq", "lt", "lte", "gt", "gte") else f"x := {{1 | input[0] {INFIX[name]} input[1]}}"
            elif name == "internal.member_2":
                query = "x := {1 | input[0] in input[1]}"
            elif name == "internal.member_3":
                query = "x := {1 | input[0], input[1] in input[2]}"
            else:
                query = f"x = {name}({', '.join(slots)})"
            yield {"query": query, "input_term": "[" + ", ".join(given) + "]"}
