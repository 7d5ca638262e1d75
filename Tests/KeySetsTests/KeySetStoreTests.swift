import Glibc
import JOSE
import Synchronization
import Testing
import Tokens
import WholeFile

@testable import KeySets

/// Collects what a store reports.
private final class Events: Sendable {
    let list = Mutex<[KeySetStore.Event]>([])
    var all: [KeySetStore.Event] { list.withLock { $0 } }
}

@Suite("KeySetStore")
struct KeySetStoreTests {
    private let directory = "/tmp/sallyport-test-keys-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    private static let first =
        #"{"kty":"EC","crv":"P-256","kid":"1","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#
        + #""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#
    private static let secret =
        #"{"kty":"oct","alg":"HS256","kid":"s","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#

    init() { mkdir(directory, 0o700) }

    private func write(_ text: String, mode: mode_t = 0o644) -> String {
        let path = directory + "/keys.json"
        // Another file each time, as an operator's editor leaves one.
        let new = path + ".\(UInt32.random(in: 0 ... .max))"
        let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL, mode)
        _ = Array(text.utf8).withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        fchmod(descriptor, mode)
        close(descriptor)
        rename(new, path)
        return path
    }

    private func issuer(_ source: KeySource) -> TokenIssuer {
        TokenIssuer(name: "i", audiences: ["a"], keys: source)
    }

    @Test("reads a file at once, and keeps the last good set when the file is spoilt")
    func file() async throws {
        let events = Events()
        let store = KeySetStore { event in events.list.withLock { $0.append(event) } }
        let path = write(#"{"keys":[\#(Self.first)]}"#)
        let issuer = issuer(.file(path))
        store.configure([issuer])
        #expect(try store.keys(of: issuer).names == ["1"])
        #expect(events.all == [.loaded(source: path, count: 1, leftOut: [])])
        _ = write("{")
        #expect(await store.refresh(issuer) == false)
        #expect(try store.keys(of: issuer).names == ["1"])
        #expect(store.problems.count == 1)
        #expect(events.all.count == 2)
        _ = write(#"{"keys":[\#(Self.first.replacing(#""kid":"1""#, with: #""kid":"2""#))]}"#)
        #expect(await store.refresh(issuer))
        #expect(try store.keys(of: issuer).names == ["2"])
        #expect(store.problems == [])
    }

    @Test("says why there are no keys")
    func missing() {
        let store = KeySetStore { _ in }
        let issuer = issuer(.file(directory + "/none.json"))
        store.configure([issuer])
        #expect(throws: TokenFailure.keys("\(directory)/none.json: cannot be opened: No such file or directory")) {
            try store.keys(of: issuer)
        }
        #expect(KeySetStore.problem(issuer) != nil)
    }

    @Test("takes a shared secret only where one is promised, and only from a file that is its owner's alone")
    func secrets() {
        let store = KeySetStore { _ in }
        let path = write(Self.secret, mode: 0o600)
        let (asKeys, asSecret) = (issuer(.file(path)), issuer(.secret(path)))
        store.configure([asKeys, asSecret])
        #expect(throws: TokenFailure.self) { try store.keys(of: asKeys) }
        #expect((try? store.keys(of: asSecret).names) == ["s"])
        _ = write(Self.secret, mode: 0o640)
        let other = KeySetStore { _ in }
        other.configure([asSecret])
        #expect {
            try other.keys(of: asSecret)
        } throws: {
            "\($0)".contains("chmod 600")
        }
        _ = write(Self.first, mode: 0o600)
        other.configure([])
        other.configure([asSecret])
        #expect(throws: TokenFailure.self) { try other.keys(of: asSecret) }
    }

    @Test("forgets the keys of an issuer that left the configuration")
    func forget() {
        let store = KeySetStore { _ in }
        let issuer = issuer(.file(write(#"{"keys":[\#(Self.first)]}"#)))
        store.configure([issuer])
        store.configure([])
        #expect(throws: TokenFailure.self) { try store.keys(of: issuer) }
    }

    // MARK: Sets that an earlier run fetched

    private static let place = KeyAddress(url: "https://127.0.0.1:1/keys")

    /// A store over a file in which an earlier run kept a set that is `age` seconds old.
    private func store(age: UInt64, authorities: String? = nil) -> (store: KeySetStore, events: Events) {
        let path = directory + "/keys.jsonl"
        var now = timespec()
        clock_gettime(CLOCK_BOOTTIME, &now)
        var place = Self.place
        place.authorities = authorities
        let readAt = UInt64(now.tv_sec) - min(age, UInt64(now.tv_sec))
        KeptKeySets(path: path).write([
            place: .init(text: Array(#"{"keys":[\#(Self.first)]}"#.utf8), readAt: readAt * 1_000_000_000)
        ])
        let events = Events()
        return (KeySetStore(path: path) { event in events.list.withLock { $0.append(event) } }, events)
    }

    @Test("a fetched set counts in the next run as long as it may, from the same place and on the same word")
    func kept() throws {
        var address = Self.place
        address.keepSeconds = 3
        let (young, events) = store(age: 0)
        young.configure([issuer(.url(address))])
        #expect(try young.keys(of: issuer(.url(address))).names == ["1"])
        #expect(events.all == [.loaded(source: address.url, count: 1, leftOut: [])])

        let old = store(age: 5).store
        old.configure([issuer(.url(address))])
        #expect(throws: TokenFailure.self) { try old.keys(of: issuer(.url(address))) }
        let foreign = store(age: 0, authorities: "/other.pem").store
        foreign.configure([issuer(.url(address))])
        #expect(throws: TokenFailure.self) { try foreign.keys(of: issuer(.url(address))) }
    }

    @Test("what is kept is only for us, of this boot, and gone with its issuer")
    func keptFile() throws {
        let path = directory + "/keys.jsonl"
        let (store, _) = store(age: 0)
        var facts = stat()
        #expect(stat(path, &facts) == 0 && facts.st_mode & 0o777 == 0o600)
        let kept = KeptKeySets(path: path)
        #expect(kept.read().keys.map(\.url) == [Self.place.url])
        store.configure([])
        #expect(kept.read() == [:])

        _ = self.store(age: 0)
        chmod(path, 0o644)
        #expect(kept.read() == [:])
        _ = self.store(age: 0)
        let boot = try #require(WholeFile.bootID)
        let text = String(decoding: try #require(WholeFile.readOwn(path)), as: UTF8.self)
        close(WholeFile.replace(path, Array(text.replacing(boot, with: "another").utf8)))
        #expect(kept.read() == [:])
        close(WholeFile.replace(path, Array((text + "{\n[]\n\u{0}\n").utf8)))
        #expect(kept.read().count == 1)
    }
}
