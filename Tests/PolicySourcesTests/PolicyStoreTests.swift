import Glibc
import Identity
import PacketHeaders
import Policy
import Synchronization
import Testing

@testable import PolicySources

@Suite struct PolicyStoreTests {
    /// Allows everything and says its number.
    private struct Numbered: PolicyEngine {
        let revision: String

        func makeSession() -> any PolicySession { Session(revision: revision) }

        final class Session: PolicySession {
            let revision: String

            init(revision: String) { self.revision = revision }

            func decide(_: PolicyInput) -> PolicyDecision {
                PolicyDecision(allow: true, reason: .allowed, rule: revision)
            }
        }
    }

    private let input = PolicyInput(
        time: 0, stage: .connect, agent: Agent(id: "a", labels: [:], selectors: []), address: IPAddress(v4: 1), port: 1,
        transport: .tcp)

    @Test("refuses everything until a policy was loaded")
    func empty() {
        let reader = PolicyStore().makeReader()
        let decision = reader.session.decide(input)
        #expect(!decision.allow)
        #expect(decision.reason == .policyError)
        #expect(decision.policyReason?.contains("no policy was ever loaded") == true)
        #expect(reader.revision == "none")
        #expect(!reader.refresh())
    }

    @Test("a reader takes what was published, once")
    func publish() {
        let store = PolicyStore()
        let reader = store.makeReader()
        store.publish(Numbered(revision: "1"))
        #expect(reader.session.decide(input).rule == nil)
        #expect(reader.refresh())
        #expect(reader.session.decide(input).rule == "1")
        #expect(!reader.refresh())
        store.publish(Numbered(revision: "2"))
        store.publish(Numbered(revision: "3"))
        #expect(reader.refresh())
        #expect(reader.revision == "3")
        #expect(store.engine.revision == "3")
        #expect(store.makeReader().revision == "3")
    }

    @Test("readers on other threads only go forward and end with the last policy")
    func concurrent() async {
        let store = PolicyStore()
        let last = 2000
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<3 {
                group.addTask {
                    let reader = store.makeReader()
                    var seen = 0
                    while seen < last {
                        reader.refresh()
                        let revision = Int(reader.revision) ?? 0
                        guard revision >= seen, reader.session is Numbered.Session || revision == 0 else {
                            return false
                        }
                        seen = revision
                    }
                    return true
                }
            }
            for revision in 1...last { store.publish(Numbered(revision: String(revision))) }
            for await wentForward in group { #expect(wentForward) }
        }
    }
}
