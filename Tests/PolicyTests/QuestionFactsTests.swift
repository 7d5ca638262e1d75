import PacketHeaders
import Rego
import Testing

@testable import Policy

@Suite("QuestionFacts")
struct QuestionFactsTests {
    @Test(
        "labels are those of the name",
        arguments: [
            ("api.example.com", ["api", "example", "com"]), (".", []), ("a\\.b.test", ["a\\.b", "test"]),
            ("a\\\\.b", ["a\\\\", "b"]), ("com", ["com"]),
        ])
    func labels(name: String, labels: [String]) {
        #expect(QuestionFacts(name: name, type: "A").labels == labels)
    }

    @Test(
        "entropy is the highest of a label's",
        arguments: [
            ("aaaa.test", 150), ("aaaa.aa", 0), ("ab.aa", 100), ("abcd.aa", 200), ("abcdefgh.aaaa", 300), (".", 0),
            // 24 of the 32 characters of base32, all different: log2(24).
            ("abcdefghijklmnopqrstuvwx.test", 458),
        ])
    func entropy(name: String, hundredths: UInt32) {
        #expect(QuestionFacts(name: name, type: "A").entropy == hundredths)
    }

    @Test(
        "entropy is spelt as bits",
        arguments: [(UInt32(0), "0"), (300, "3"), (250, "2.5"), (205, "2.05"), (458, "4.58")])
    func spelling(hundredths: UInt32, text: String) throws {
        let value = InputFact.hundredths(hundredths).value
        #expect(value.json == text)
        #expect(FactType<UInt32>.hundredths.parse(value) == hundredths)
    }
}
