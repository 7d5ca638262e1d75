import Configuration
import Control
import Identity
import KernelRules
import Testing

@testable import Diagnosis

/// The configuration that the facts of these tests are about.
let example = configuration(
    """
    agents:
      - { id: research-bot, cgroup: /sallyport.slice/research }
      - { id: report-bot, unit: report-bot.service }
      - { id: uid-bot, uid: [1500] }
    resolvers: [198.18.10.1]
    queues: { base: 8800, count: 2 }
    """)

/// The same with agents behind the host.
let forwarding = configuration(
    """
    agents:
      - { id: guest, interface: [br0, veth7] }
      - { id: vm, source: [198.18.5.0/24] }
    resolvers: [198.18.10.1]
    """)

func configuration(_ text: String) -> Configuration {
    do {
        return try Configuration.parse(text, file: "test.yaml")
    } catch {
        Issue.record("\(error)")
        return Configuration()
    }
}

extension [Finding] {
    /// The findings of one check.
    func of(_ check: Check) -> [Finding] { filter { $0.check == check } }

    /// The states of one check's findings.
    func states(_ check: Check) -> [Finding.State] { of(check).map(\.state) }
}

/// One thing that is wrong with otherwise good facts, and which check must find it.
struct Fault<Facts>: Sendable, CustomTestStringConvertible {
    let check: Check
    let word: String
    let change: @Sendable (inout Facts) -> Void

    init(_ check: Check, _ word: String = "", _ change: @escaping @Sendable (inout Facts) -> Void) {
        self.check = check
        self.word = word
        self.change = change
    }

    var testDescription: String { "\(check.rawValue) \(word)" }
}
