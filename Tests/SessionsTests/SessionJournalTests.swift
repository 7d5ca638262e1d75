import Enforcement
import Glibc
import Identity
import JOSE
import Policy
import Testing

@testable import Sessions
@testable import Tokens

private let now = SessionTime(wall: 1_800_000_000_000_000_000, boot: 5_000_000_000_000)

private func token(_ customer: String, number: UInt8 = 0) throws -> VerifiedToken {
    var issuer = TokenIssuer(name: "i", audiences: ["a"], keys: .file("/k"))
    issuer.inputClaims = ["tier"]
    return VerifiedToken(
        issuer: issuer, subject: customer, expires: now.wall + 60_000_000_000,
        claims: try StrictJSON(parsing: Array(#"{"tier":["gold",1.50]}"#.utf8)), digest: Array(customer.utf8) + [number]
    )
}

@Suite("SessionJournal")
struct SessionJournalTests {
    private let path = "/tmp/sallyport-test-sessions-\(getpid())-\(UInt32.random(in: 0 ... .max)).jsonl"
    private let agents: AgentTable

    init() throws {
        agents = try AgentTable([Agent(id: "bot", labels: [:], selectors: [.cgroup(path: "/agents/bot")])])
    }

    /// Opens sessions a (bound to a cgroup and a socket), b (renewed) and c (closed), each remembered.
    private func write() throws {
        var registry = SessionRegistry()
        var journal = try SessionJournal(path, into: &registry)
        let cgroup = RequestedBinding.cgroup(path: "/agents/bot/w", CgroupID(rawValue: 3))
        for (id, binding) in [("a", cgroup), ("b", nil), ("c", RequestedBinding.ports(4000...4001))]
            as [(String, RequestedBinding?)]
        {
            let session = try registry.open(
                id: id, agent: "bot", token: token(id), binding: binding, caller: .operator, in: agents, now: now
            ).session
            try journal.note(session)
        }
        let bound = try registry.bind(SocketCookie(rawValue: .max), to: "a", caller: .operator, in: agents).session
        try journal.note(.socket(SocketCookie(rawValue: .max)), of: bound)
        try journal.note(try registry.renew("b", token: token("b", number: 1), caller: .operator, now: now).session)
        let closed = try registry.close("c", caller: .operator).session
        try journal.note(ended: [closed], .sessionClosed, isUsedUp: true)
    }

    private func append(_ text: String) {
        let descriptor = open(path, O_WRONLY | O_APPEND)
        _ = Array(text.utf8).withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        close(descriptor)
    }

    @Test("remembers sessions, their bindings, their renewals and their ends")
    func remembers() throws {
        try write()
        for _ in 0..<2 {
            var registry = SessionRegistry()
            _ = try SessionJournal(path, into: &registry)
            let list = registry.list(for: .operator)
            #expect(list.map(\.id) == ["a", "b"])
            #expect(
                list[0].bindings == [
                    .cgroup(CgroupID(rawValue: 3), path: "/agents/bot/w"), .socket(SocketCookie(rawValue: .max)),
                ])
            #expect(list[0].customer.claims?.text == #"{"tier":["gold",1.50]}"#)
            #expect(list[0].deadline == now.boot + 60_000_000_000)
            let changes = registry.allChanges
            // c: opened, bound, ended; a: opened, bound twice; b: opened.
            #expect(changes.count == 7)
            guard case .ended = changes[2] else {
                Issue.record("what ended comes first")
                return
            }
            #expect(throws: SessionError.ended) { try registry.session("c", for: .operator) }
            // Its token is used up, the next number is a new one.
            #expect(throws: SessionError.self) {
                try registry.open(
                    id: "d", agent: "bot", token: token("c"), binding: nil, caller: .operator, in: agents, now: now)
            }
            let next = try registry.open(
                id: "e", agent: "bot", token: token("e"), binding: nil, caller: .operator, in: agents, now: now)
            #expect(next.session.number.rawValue == 4)
        }
    }

    @Test("is nobody's but its owner's, and has no token in it")
    func secrecy() throws {
        try write()
        var facts = stat()
        #expect(stat(path, &facts) == 0)
        #expect(facts.st_mode & 0o777 == 0o600)
    }

    @Test("leaves out a last line that was cut short")
    func cutShort() throws {
        try write()
        append(#"{"session":{"id":"zz""#)
        var registry = SessionRegistry()
        _ = try SessionJournal(path, into: &registry)
        let count = registry.count
        #expect(count == 2)
    }

    @Test("refuses a file that holds something else, and says where")
    func spoilt() throws {
        try write()
        append("no line\n")
        var registry = SessionRegistry()
        do {
            _ = try SessionJournal(path, into: &registry)
            Issue.record("taken")
        } catch {
            #expect(error.description.hasPrefix("\(path):"))
        }
    }

    @Test("begins anew after a boot of the machine")
    func otherBoot() throws {
        try write()
        let descriptor = open(path, O_RDWR)
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = read(descriptor, &bytes, bytes.count)
        close(descriptor)
        let text = String(decoding: bytes[..<count], as: UTF8.self)
        let changed = text.replacing(#/"boot":"[^"]*"/#, with: #""boot":"another""#)
        unlink(path)
        let new = open(path, O_WRONLY | O_CREAT, 0o600)
        _ = Array(changed.utf8).withUnsafeBytes { Glibc.write(new, $0.baseAddress, $0.count) }
        close(new)
        var registry = SessionRegistry()
        _ = try SessionJournal(path, into: &registry)
        let sessions = registry.count
        #expect(sessions == 0)
    }

    @Test("says so where it cannot be written")
    func unwritable() {
        var registry = SessionRegistry()
        do {
            _ = try SessionJournal("/proc/sallyport-none/sessions", into: &registry)
            Issue.record("written")
        } catch {
            #expect(error.description.contains("cannot be written") || error.description.contains("cannot be made"))
        }
    }
}
