import KernelRules
import Testing

@testable import Diagnosis

@Suite("RulesCheck")
struct RulesCheckTests {
    private static let local = KernelRulesParameters(example)
    private static let behind = KernelRulesParameters(forwarding)

    @Test("says each line of what differs, and what to do")
    func table() {
        let problem = "table inet sallyport was changed: missing: tcp flags urg (sallyport rules apply)"
        let findings = RulesCheck.table(.success([problem, problem]))
        #expect(findings.map(\.state) == [.hole, .hole])
        #expect(findings[0].detail == "table inet sallyport was changed: missing: tcp flags urg")
        #expect(findings[0].remedy == "sallyport rules apply")
        #expect(RulesCheck.table(.success([])).map(\.state) == [.ok])
    }

    /// One rule in one base chain.
    private static func findings(
        _ effect: RuleEffect, _ hook: String, _ priority: Int, _ parameters: KernelRulesParameters = local
    ) -> [Finding] {
        var rule = ForeignRule()
        rule.effects = [effect]
        rule.deletion = "nft delete rule ip other c handle 2"
        var chain = ForeignChain(table: "ip other", name: "c", hook: hook, priority: priority)
        chain.insertion = "nft insert rule ip other c"
        chain.rules = [rule]
        return RulesCheck.otherTables(ForeignRules(chains: [chain]), parameters)
    }

    @Test(
        "finds what undoes a verdict",
        arguments: [
            (RuleEffect.untracks, "output", -300), (.untracks, "prerouting", -201),
            (.changesPacketMark(0x0F00_0000), "output", -150), (.changesPacketMark(.max), "forward", -148),
            (.changesConnectionMark(0x0100_0000), "postrouting", 300), (.changesConnectionMark(.max), "input", -300),
            (.queues(0...65535), "output", 0), (.queues(8803...8803), "postrouting", 0),
            (.translates, "output", -100), (.copies, "prerouting", -300),
        ] as [(RuleEffect, String, Int)])
    func harmful(_ effect: RuleEffect, _ hook: String, _ priority: Int) {
        let findings = Self.findings(effect, hook, priority)
        #expect(findings.map(\.state) == [.hole])
        #expect(findings.first?.subject == "ip other c")
        #expect(findings.first?.remedy?.hasPrefix("nft ") == true)
    }

    @Test(
        "leaves alone what does not",
        arguments: [
            (RuleEffect.untracks, "output", -199), (.untracks, "input", -300),
            (.changesPacketMark(0x0F00_0000), "output", -151), (.changesPacketMark(0x0F00_0000), "output", -147),
            (.changesPacketMark(0xFF), "output", -150), (.changesPacketMark(.max), "postrouting", -150),
            (.changesConnectionMark(0xF0FF_FFFF), "output", 0), (.queues(8804...65535), "output", 0),
            (.queues(0...8799), "output", 0), (.translates, "prerouting", -100), (.copies, "output", 0),
            (.offloads, "forward", 0), (.forwards, "ingress", 0),
        ] as [(RuleEffect, String, Int)])
    func harmless(_ effect: RuleEffect, _ hook: String, _ priority: Int) {
        #expect(Self.findings(effect, hook, priority).map(\.state) == [.ok])
    }

    @Test("counts what skips the forward hook where agents are behind the host")
    func forwarded() {
        #expect(Self.findings(.offloads, "forward", 0, Self.behind).map(\.state) == [.hole])
        #expect(Self.findings(.forwards, "ingress", 0, Self.behind).map(\.state) == [.hole])
    }

    @Test("takes a translation for harmless once every confined sender is taken out before it")
    func exempted() {
        var translation = ForeignRule()
        translation.effects = [.translates]
        translation.deletion = "nft delete rule ip nat OUTPUT handle 9"
        var chain = ForeignChain(table: "ip nat", name: "OUTPUT", hook: "output", priority: -100)
        chain.insertion = "nft insert rule ip nat OUTPUT"
        chain.rules = [translation]
        var remedy = RulesCheck.otherTables(ForeignRules(chains: [chain]), Self.local).first?.remedy
        #expect(
            remedy == "nft insert rule ip nat OUTPUT socket cgroupv2 level 1 '\"sallyport.slice\"' accept; "
                + "nft insert rule ip nat OUTPUT meta skuid 1500 accept")
        chain.rules.insert(ForeignRule(exempts: ["cgroup sallyport.slice"]), at: 0)
        remedy = RulesCheck.otherTables(ForeignRules(chains: [chain]), Self.local).first?.remedy
        #expect(remedy == "nft insert rule ip nat OUTPUT meta skuid 1500 accept")
        chain.rules.insert(ForeignRule(exempts: ["uid 1500"]), at: 1)
        #expect(RulesCheck.otherTables(ForeignRules(chains: [chain]), Self.local).map(\.state) == [.ok])
        // Behind the translation it helps nothing.
        chain.rules.append(chain.rules.remove(at: 0))
        #expect(RulesCheck.otherTables(ForeignRules(chains: [chain]), Self.local).map(\.state) == [.hole])
    }

    @Test("says what could not be read")
    func unread() {
        let rules = ForeignRules(unread: ["rules of iptables: iptables-nft-save: not found"])
        #expect(RulesCheck.otherTables(rules, Self.local).map(\.state) == [.unknown])
    }
}

@Suite("NFTListing")
struct NFTListingTests {
    private static func read(_ rules: String...) throws -> (chains: [ForeignChain], hasTargets: Bool) {
        let items = rules.map {
            ",{\"rule\":{\"family\":\"ip\",\"table\":\"o\",\"chain\":\"c\",\"handle\":7,\"expr\":[\($0)]}}"
        }
        return try NFTListing.read(
            """
            {"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"family":"ip","name":"o","handle":1}},
            {"chain":{"family":"ip","table":"o","name":"c","handle":1,"type":"nat","hook":"output","prio":-100}},
            {"chain":{"family":"inet","table":"sallyport","name":"output","handle":1,"hook":"output","prio":-150}}
            \(items.joined())]}
            """)
    }

    @Test(
        "reads what a rule does",
        arguments: [
            (#"{"notrack":null}"#, RuleEffect.untracks), (#"{"redirect":{"port":8080}}"#, .translates),
            (#"{"dnat":{"addr":"5.6.7.8"}}"#, .translates), (#"{"queue":{"num":8800}}"#, .queues(8800...8800)),
            (#"{"queue":{"num":{"range":[1,3]},"flags":"bypass"}}"#, .queues(1...3)),
            (#"{"queue":{"num":{"numgen":{"mode":"inc","mod":2}}}}"#, .queues(0...65535)),
            (#"{"flow":{"op":"add","flowtable":"@f"}}"#, .offloads), (#"{"dup":{"addr":"1.2.3.4"}}"#, .copies),
            (#"{"fwd":{"dev":"lo"}}"#, .forwards),
            (#"{"mangle":{"key":{"meta":{"key":"mark"}},"value":1}}"#, .changesPacketMark(.max)),
            (
                #"{"mangle":{"key":{"ct":{"key":"mark"}},"value":{"|":[{"&":[{"ct":{"key":"mark"}},4294967040]},2]}}}"#,
                .changesConnectionMark(0xFF)
            ),
            (
                #"{"mangle":{"key":{"ct":{"key":"mark"}},"value":{"^":[{"ct":{"key":"mark"}},16]}}}"#,
                .changesConnectionMark(16)
            ),
            (
                #"{"mangle":{"key":{"ct":{"key":"mark"}},"value":{"meta":{"key":"mark"}}}}"#,
                .changesConnectionMark(.max)
            ),
        ] as [(String, RuleEffect)])
    func effects(_ statement: String, _ effect: RuleEffect) throws {
        let chain = try #require(try Self.read(statement).chains.first)
        #expect(chain.rules.map(\.effects) == [[effect]])
        #expect(chain.rules[0].deletion == "nft delete rule ip o c handle 7")
        #expect((chain.hook, chain.priority) == ("output", -100))
    }

    @Test("leaves out our own table, and reads nothing into other statements")
    func others() throws {
        let read = try Self.read(
            #"{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"tcp"}},{"counter":{"packets":0,"bytes":0}},{"accept":null}"#
        )
        #expect(read.chains.map(\.name) == ["c"])
        #expect(read.chains[0].rules.map(\.effects) == [[]])
        #expect(!read.hasTargets)
        #expect(try Self.read(#"{"xt":{"type":"target","name":"CT"}}"#).hasTargets)
    }

    @Test("follows jumps, also those of maps, and knows who is taken out")
    func targets() throws {
        let read = try Self.read(
            #"{"match":{"op":"==","left":{"socket":{"key":"cgroupv2"}},"right":"sallyport.slice"}},{"accept":null}"#,
            #"{"match":{"op":"==","left":{"meta":{"key":"skuid"}},"right":{"set":[1500,1501]}}},{"return":null}"#,
            #"{"match":{"op":"!=","left":{"meta":{"key":"skuid"}},"right":7}},{"accept":null}"#,
            #"{"vmap":{"key":{"meta":{"key":"l4proto"}},"data":{"set":[["tcp",{"jump":{"target":"sub"}}],["udp",{"goto":{"target":"other"}}]]}}}"#
        )
        #expect(read.chains[0].rules.map(\.exempts) == [["cgroup sallyport.slice"], ["uid 1500", "uid 1501"], [], []])
        #expect(read.chains[0].rules[3].targets == ["sub", "other"])
    }

    @Test("reaches the rules of chains that a base chain jumps to, once")
    func reachable() {
        var base = ForeignChain(table: "ip o", name: "c", hook: "output")
        var sub = ForeignChain(table: "ip o", name: "sub")
        base.rules = [ForeignRule(targets: ["sub"]), ForeignRule(effects: [.copies])]
        sub.rules = [ForeignRule(effects: [.untracks]), ForeignRule(targets: ["sub"])]
        let rules = ForeignRules(chains: [base, sub]).reachable()
        #expect(rules.count == 1)
        #expect(rules[0].rules.flatMap(\.rule.effects) == [.untracks, .copies])
    }

    @Test("refuses what is no listing")
    func broken() {
        #expect(throws: (any Error).self) { try NFTListing.read("{\"nftables\":") }
    }
}

@Suite("IptablesListing")
struct IptablesListingTests {
    @Test(
        "reads what a rule does",
        arguments: [
            ("-p udp --dport 99 -j CT --notrack", RuleEffect.untracks), ("-j NOTRACK", .untracks),
            ("-j MARK --set-xmark 0x7/0xff", .changesPacketMark(0xFF)),
            ("-j CONNMARK --set-xmark 0x7/0xffffffff", .changesConnectionMark(.max)),
            ("-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff", .changesPacketMark(0xFF)),
            ("-j CONNMARK --save-mark --nfmask 0xf00 --ctmask 0xff", .changesConnectionMark(0xFFF)),
            ("-j NFQUEUE --queue-balance 8800:8803 --queue-bypass", .queues(8800...8803)),
            ("-j NFQUEUE --queue-num 5", .queues(5...5)), ("-j DNAT --to-destination 1.2.3.4", .translates),
            ("-j TEE --gateway 1.2.3.4", .copies), ("-j FLOWOFFLOAD", .offloads),
        ] as [(String, RuleEffect)])
    func effects(_ words: String, _ effect: RuleEffect) throws {
        let text = "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT \(words)\nCOMMIT\n"
        let chain = try #require(IptablesListing.read(text, family: "ip", program: "iptables-nft").first)
        #expect(chain.rules.map(\.effects) == [[effect]])
        #expect((chain.table, chain.hook, chain.priority) == ("ip mangle", "output", -150))
        #expect(chain.rules[0].deletion == "iptables-nft -t mangle -D OUTPUT \(words)")
    }

    @Test("knows jumps and who is taken out, and takes nothing else for it")
    func others() {
        let text = """
            *nat
            :OUTPUT ACCEPT [0:0]
            :DOCKER - [0:0]
            -A OUTPUT -m cgroup --path "sallyport.slice" -j ACCEPT
            -A OUTPUT -m owner --uid-owner 1500 -j RETURN
            -A OUTPUT -p tcp -m tcp --dport 1 -j RETURN
            -A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
            COMMIT
            """
        let chains = IptablesListing.read(text, family: "ip", program: "iptables-legacy")
        #expect(chains.map(\.hook) == ["output", nil])
        #expect(chains[0].priority == -100)
        #expect(chains[0].rules.map(\.exempts) == [["cgroup sallyport.slice"], ["uid 1500"], [], []])
        #expect(chains[0].rules[3].targets == ["DOCKER"])
    }
}
