import Testing

@testable import Rego

/// Indexes against naive twins.
@Suite struct IndexTests {
    private static func word(_ chance: inout Chance) -> String {
        (0..<chance.below(5)).map { _ in ["a", "b", ".", "é"][chance.below(4)] }.joined()
    }

    @Test(arguments: ["suffix", "prefix"])
    func findsAffixesAsTheNaiveTwin(_ kind: String) throws {
        var chance = Chance(11)
        let function = kind == "suffix" ? "endswith" : "startswith"
        for _ in 0..<40 {
            let words = (0..<chance.below(30)).map { _ in Self.word(&chance) }
            let data = RegoValue.object([(.string("words"), .array(words.map { .string($0) }))])
            let module = """
                package test
                p contains [i, w] if { some i, w in data.words; \(function)(input.text, w) }
                q if { some w in data.words; \(function)(input.text, w) }
                """
            let policy = try CompiledPolicy(modules: [("a.rego", module)], data: data)
            let (all, any) = (try policy.entryPoint("data.test.p"), try policy.entryPoint("data.test.q"))
            let evaluator = Evaluator(policy)
            for _ in 0..<30 {
                let text = Self.word(&chance) + Self.word(&chance)
                let bytes = Array(text.utf8)
                let expected = words.enumerated().filter { _, word in
                    let affix = Array(word.utf8)
                    return kind == "suffix"
                        ? bytes.suffix(affix.count) == affix[...] : bytes.prefix(affix.count) == affix[...]
                }
                let input = RegoValue.object([(.string("text"), .string(text))])
                let found = try evaluator.evaluate(all, input: evaluator.makeInput(input), time: 0).value
                #expect(
                    found == .set(expected.map { .array([RegoValue($0.offset), .string($0.element)]) }),
                    "\(text) in \(words)")
                let holds = try evaluator.evaluate(any, input: evaluator.makeInput(input), time: 0).boolean
                #expect(holds == (expected.isEmpty ? nil : true))
            }
        }
    }

    @Test func findsBlocksAsTheNaiveTwin() throws {
        var chance = Chance(12)
        for _ in 0..<30 {
            let blocks = (0..<chance.below(25)).map { _ in
                chance.below(4) == 0
                    ? "2001:db8:\(chance.below(3))::/\([32, 48, 64, 128][chance.below(4)])"
                    : "10.\(chance.below(3)).\(chance.below(3)).\(chance.below(4) * 64)/\([8, 16, 24, 26, 32][chance.below(5)])"
            }
            let data = RegoValue.object([(.string("blocks"), .set(blocks.map { .string($0) }))])
            let module = "package test\np contains b if { some b in data.blocks; net.cidr_contains(b, input.ip) }\n"
            let policy = try CompiledPolicy(modules: [("a.rego", module)], data: data)
            let entry = try policy.entryPoint("data.test.p")
            let evaluator = Evaluator(policy)
            for _ in 0..<30 {
                let address =
                    chance.below(4) == 0
                    ? "2001:db8:\(chance.below(3))::\(chance.below(2))"
                    : "10.\(chance.below(3)).\(chance.below(3)).\(chance.below(256))"
                let bytes = AddressRange.address(Array(address.utf8)) ?? []
                let expected = blocks.filter { AddressRange(block: Array($0.utf8))?.contains(bytes) == true }
                let input = RegoValue.object([(.string("ip"), .string(address))])
                let found = try evaluator.evaluate(entry, input: evaluator.makeInput(input), time: 0).value
                #expect(found == .set(expected.map { .string($0) }), "\(address) in \(blocks)")
            }
        }
    }

    @Test func findsRulesAsTheNaiveTwin() throws {
        var chance = Chance(13)
        for _ in 0..<40 {
            var module = "package test\n"
            var rules: [(a: Int?, b: [Int], value: Int)] = []
            for value in 0..<(3 + chance.below(20)) {
                let a = chance.below(3) == 0 ? nil : chance.below(4)
                let b = (0..<chance.below(3)).map { _ in chance.below(4) }
                rules.append((a, b, value))
                var body: [String] = []
                if let a { body.append(chance.below(2) == 0 ? "input.a == \(a)" : "\(a) == input.a") }
                if !b.isEmpty { body.append("input.b in {\(b.map { String($0) }.joined(separator: ", "))}") }
                if body.isEmpty { body.append("true") }
                module += "p contains \(value) if { \(body.joined(separator: "; ")) }\n"
            }
            let policy = try CompiledPolicy(modules: [("a.rego", module)])
            let entry = try policy.entryPoint("data.test.p")
            let evaluator = Evaluator(policy)
            for a in 0..<5 {
                for b in 0..<5 {
                    var fields: [(key: RegoValue, value: RegoValue)] = []
                    if a < 4 { fields.append((.string("a"), .number(b % 2 == 0 ? "\(a)" : "\(a).0"))) }
                    if b < 4 { fields.append((.string("b"), RegoValue(b))) }
                    let expected = rules.filter { rule in
                        (rule.a == nil || rule.a == a) && (rule.b.isEmpty || rule.b.contains(b))
                    }
                    let found = try evaluator.evaluate(entry, input: evaluator.makeInput(.object(fields)), time: 0)
                        .value
                    #expect(found == .set(expected.map { RegoValue($0.value) }), "a \(a), b \(b): \(module)")
                }
            }
        }
    }

    @Test func aRuleMayHaveTenThousandDefinitions() throws {
        var module = "package test\np := v if { v := q }\nq := concat(\"\", [\"none\"]) if input.kind == \"none\"\n"
        // Each with variables of its own, of which only one definition's are in use at once.
        for number in 0..<10_000 {
            module += "q := z if { input.kind == \"k\(number)\"; x := [\(number)]; some y in x; z := [y, x] }\n"
        }
        for (kind, answer) in [("k0", "[0,[0]]"), ("k9999", "[9999,[9999]]"), ("none", "\"none\"")] {
            #expect(try evaluate(module, input: "{\"kind\": \"\(kind)\"}") == answer)
        }
    }

    @Test func replacedDocumentsAreNotLookedUpInTheIndex() throws {
        let module = """
            package test
            allow if { some s in data.suffixes; endswith(input.host, s) }
            member if input.host in data.hosts
            p := [x | some x in [
                {1 | allow}, {2 | allow with data.suffixes as [".org"]}, {3 | member}, {4 | member with data.hosts as ["a.org"]},
            ]]
            """
        let data = #"{"suffixes": [".com"], "hosts": ["a.com"]}"#
        #expect(try evaluate(module, data: data, input: #"{"host": "a.org"}"#) == "[[],[2],[],[4]]")
        #expect(try evaluate(module, data: data, input: #"{"host": "a.com"}"#) == "[[1],[],[3],[]]")
    }

    @Test func rulesOfDataAloneFollowTheData() throws {
        let module = """
            package test
            hosts contains lower(h) if some h in data.list
            p := [count(hosts), input.host in hosts]
            """
        let policy = try CompiledPolicy(
            modules: [("a.rego", module)], data: try RegoValue(json: #"{"list": ["A", "B"]}"#))
        #expect(policy.program.constantGroups.count == 1)
        let entry = try policy.entryPoint("data.test.p")
        let evaluator = Evaluator(policy)
        func answer() throws -> String? {
            try evaluator.evaluate(entry, input: evaluator.makeInput(json: Array(#"{"host": "c"}"#.utf8)), time: 0).json
        }
        #expect(try answer() == "[2,false]")
        let next = policy.replacing(data: try RegoValue(json: #"{"list": ["C"]}"#))
        #expect(evaluator.use(next))
        #expect(try answer() == "[1,true]")
    }

    /// Patterns are indexed by what stands before their first wildcard; what matches is what would match without an index.
    @Test func findsGlobsAsTheNaiveTwin() throws {
        var chance = Chance(23)
        let pieces = ["a", "b", "ab", "", "*", "**", "a*", "?", "{a,b}", "[ab]", "\\\\a"]
        for delimiters in ["[\"/\"]", "[]", "[\"/\", \".\"]", "null"] {
            let delimiter = delimiters == "[]" ? "." : "/"
            for _ in 0..<12 {
                let patterns = (0..<8).map { _ in
                    (0..<1 + chance.below(3)).map { _ in pieces[chance.below(pieces.count)] }.joined(
                        separator: delimiter)
                }
                let rules = patterns.enumerated().map {
                    "p contains \($0.offset) if glob.match(\"\($0.element)\", \(delimiters), input.text)"
                }
                let list = patterns.map { "\"\($0)\"" }.joined(separator: ", ")
                let twin = "q contains i if { some i, g in [\(list)]; glob.match(g, \(delimiters), input.text) }"
                let module = "package test\n" + rules.joined(separator: "\n") + "\n" + twin + "\n"
                let policy = try CompiledPolicy(modules: [("a.rego", module)])
                let (all, naive) = (try policy.entryPoint("data.test.p"), try policy.entryPoint("data.test.q"))
                let evaluator = Evaluator(policy)
                for _ in 0..<20 {
                    let text = (0..<1 + chance.below(3)).map { _ in ["a", "b", "ab", "", "aa"][chance.below(5)] }
                        .joined(separator: delimiter)
                    let input = RegoValue.object([(.string("text"), .string(text))])
                    let found = try evaluator.evaluate(all, input: evaluator.makeInput(input), time: 0).value
                    let expected = try evaluator.evaluate(naive, input: evaluator.makeInput(input), time: 0).value
                    #expect(found == expected, "\(text) against \(patterns), \(delimiters)")
                }
            }
        }
    }
}
