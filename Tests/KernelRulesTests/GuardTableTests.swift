import Glibc
import Netlink
import NetworkLab
import PacketHeaders
import Testing

@testable import KernelRules

/// The daemon's own table: whom it obeys. That it is in no packet's way every other test of the rules shows.
@Suite(
    "GuardTable", .enabled(if: NetworkNamespace.isAvailable, "needs root and network namespaces"), .serialized)
struct GuardTableTests {
    private static func listing() throws -> String {
        try Program.run("nft", "list", "tables").contains("sallyport_guard")
            ? try Program.run("nft", "-s", "list", "table", "inet", "sallyport_guard") : ""
    }

    @Test("nobody else deletes or changes it, and it goes with its owner")
    func owned() throws {
        try RuleLab.with(guarded: false) { lab, _ in
            do {
                let table = GuardTable()
                try table.hold(lab.rules)
                let listing = try Self.listing()
                for command in [
                    "delete table inet sallyport_guard", "flush chain inet sallyport_guard confined",
                    "insert rule inet sallyport_guard output accept",
                ] {
                    #expect(throws: LabError.self) { try Program.run("nft", command) }
                }
                try Program.run("nft", "flush", "ruleset")
                #expect(try Program.run("nft", "list", "tables") == "table inet sallyport_guard\n")
                #expect(try Self.listing() == listing)
                try lab.rules.apply()
                try table.release()
                #expect(try Self.listing() == "")
                try table.release()
                try table.hold(lab.rules)
                #expect(try Self.listing() == listing)
            }
            #expect(try Self.listing() == "")
        }
    }

    @Test("it follows the configuration, and is left alone where it is as it should be")
    func follows() throws {
        try RuleLab.with(guarded: false) { lab, _ in
            let table = GuardTable()
            try table.hold(lab.rules)
            let first = try Program.run("nft", "-a", "list", "table", "inet", "sallyport_guard")
            try table.hold(lab.rules)
            #expect(try Program.run("nft", "-a", "list", "table", "inet", "sallyport_guard") == first)
            var parameters = lab.rules.parameters
            parameters.uids = [65534]
            parameters.interfaces = ["guest0"]
            parameters.sources = [try #require(IPPrefix("198.18.5.0/24")), try #require(IPPrefix("fd00:18:5::/64"))]
            try table.hold(RuleSet(parameters, stateDirectory: lab.rules.stateDirectory))
            let listing = try Self.listing()
            for element in ["65534", "\"guest0\"", "198.18.5.0/24", "fd00:18:5::/64"] {
                #expect(listing.contains(element), "\(element) is missing")
            }
        }
    }

    @Test("another program's table of that name is an error that says so")
    func taken() throws {
        try RuleLab.with(guarded: false) { lab, _ in
            let (first, second) = (GuardTable(), GuardTable())
            try first.hold(lab.rules)
            #expect {
                try second.hold(lab.rules)
            } throws: { error in
                "\(error)".contains("sallyport_guard: not taken") && "\(error)".contains("Operation not permitted")
            }
            // What has no owner is replaced.
            try first.release()
            try Program.run("nft", "add", "table", "inet", "sallyport_guard")
            try second.hold(lab.rules)
            #expect(try Self.listing().contains("flags owner"))
        }
    }

    @Test("it confines whom the rules confine, and lets the link's own traffic through as they do")
    func alike() {
        for chain in ["output", "forward", "input", "confined_input"] {
            let rules = Self.lines(of: chain, in: RuleTemplate.source)
            let own = Self.lines(of: chain, in: RuleTemplate.guardSource)
            let senders = rules.filter { $0.contains("goto confined") || chain == "confined_input" }
            #expect(!senders.isEmpty)
            #expect(own.filter { $0.contains("goto confined") || chain == "confined_input" } == senders)
        }
    }

    /// The rules of a chain in a template.
    private static func lines(of chain: String, in template: String) -> [String] {
        var lines: [String] = []
        var isInside = false
        for line in template.split(separator: "\n") {
            let text = String(line.drop { $0 == " " })
            if text == "}" { isInside = false }
            if isInside, !text.hasPrefix("#") { lines.append(text) }
            if text == "chain \(chain) {" { isInside = true }
        }
        return lines
    }
}
