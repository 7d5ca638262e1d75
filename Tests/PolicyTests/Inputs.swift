import Identity
import PacketHeaders
import Policy

/// An input of few values, so that parts of it come again.
func randomInput(_ random: inout SplitMix) -> PolicyInput {
    var input = PolicyInput(
        time: random.next(), stage: [.connect, .hello, .request].randomElement(using: &random) ?? .connect,
        agent: Agent(
            id: "bot",
            labels: [[:], ["a": "1"], ["a": "2"], ["a": "1", "b": "2"]].randomElement(using: &random) ?? [:],
            selectors: []),
        address: IPAddress(v4: UInt32.random(in: 1...3, using: &random)),
        port: [80, 443, 8443].randomElement(using: &random) ?? 1, transport: .tcp)
    input.host = [nil, "a.example", "b.example", "caf\u{e9}", "cafe\u{301}"].randomElement(using: &random) ?? nil
    if Bool.random(using: &random) {
        var facts = ProtocolFacts(name: "tls")
        facts.alpn =
            [nil, [], ["h2"], ["h2", "http/1.1"], ["http/1.1", "h2"]].randomElement(using: &random) ?? nil
        input.protocol = facts
    }
    if input.stage == .request {
        input.request = RequestFacts(
            method: ["GET", "POST"].randomElement(using: &random) ?? "GET",
            path: ["/a", "/b"].randomElement(using: &random) ?? "/", query: nil, url: nil,
            headers: [[:], ["x": "1"], ["y": "1"]].randomElement(using: &random) ?? [:])
    }
    return input
}

/// Whether this is a debug build.
let isDebugBuild: Bool = {
    #if DEBUG
        true
    #else
        false
    #endif
}()

/// Repeatable random numbers (SplitMix64).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
